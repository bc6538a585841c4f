"""`flowweaver first-workflow`: what `helm test` runs."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import Annotated

import typer

from flowweaver.cli.operating import check_libraries


def first_workflow(
    *,
    namespace: Annotated[str, typer.Option(help="Where to create it.", metavar="NS")] = "default",
    instance: Annotated[str, typer.Option(help="Which operator is meant.", metavar="NAME")] = "default",
    timeout_seconds: Annotated[float, typer.Option(help="How long it may take.", metavar="SECONDS")] = 60.0,
) -> None:
    """Create a small Workflow in the cluster, wait until it has completed, and delete it."""
    check_libraries()
    from flowweaver.operator.api import Api, configuration
    from flowweaver.operator.trial import run_first

    with closing(Api(configuration())) as api:
        trial = run_first(api, namespace=namespace, instance=instance, timeout_seconds=timeout_seconds)
    if not trial.completed:
        print(f"flowweaver: {trial.workflow} has not completed: {trial.message}", file=sys.stderr)
        raise typer.Exit(1)
    print(f"{trial.workflow}: {trial.message}")
