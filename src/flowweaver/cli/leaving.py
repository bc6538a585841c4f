"""`flowweaver release-finalizers`: what the chart runs before a release goes; people may, too."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import Annotated

import typer

from flowweaver.cli.operating import check_libraries
from flowweaver.errors import UserError


def release_finalizers(
    *,
    instance: Annotated[str, typer.Option(help="Whose Workflows, by their label.", metavar="NAME")] = "default",
    namespace: Annotated[
        list[str] | None, typer.Option(help="Where they are; again for more. Default: everywhere.", metavar="NS")
    ] = None,
    statefulset: Annotated[
        str, typer.Option(help="The operator, to be stopped first, as NAMESPACE/NAME.", metavar="NS/NAME")
    ] = "",
    wait_seconds: Annotated[float, typer.Option(help="How long it may take to end.", metavar="SECONDS")] = 120.0,
    go_on: Annotated[
        bool, typer.Option("--go-on", help="Exit 0 also where not all was let go: an uninstallation must go on.")
    ] = False,
) -> None:
    """Stop an operator for good and take its finalizer off the Workflows that are under way."""
    check_libraries()
    from flowweaver.operator.api import Api, configuration
    from flowweaver.operator.farewell import Leaver, Leaving, by_hand

    leaving = Leaving(
        instance=instance,
        namespaces=tuple(namespace or ()),
        statefulset=_statefulset(statefulset),
        wait_seconds=wait_seconds,
    )
    with closing(Api(configuration())) as api:
        farewell = Leaver(api, leaving).leave()
    print(f"{_workflows(farewell.released)} let go")
    for problem in farewell.problems:
        print(f"flowweaver: {problem}", file=sys.stderr)
    if farewell.held:
        print(f"flowweaver: {_workflows(farewell.held)} not let go: {by_hand()}", file=sys.stderr)
    if (farewell.held or farewell.problems) and not go_on:
        raise typer.Exit(1)


def _statefulset(text: str) -> tuple[str, str] | None:
    if not text:
        return None
    namespace, separator, name = text.partition("/")
    if not (namespace and separator and name) or "/" in name:
        raise UserError(f'--statefulset is "{text}": write NAMESPACE/NAME')
    return namespace, name


def _workflows(number: int) -> str:
    return f"{number} Workflow{'' if number == 1 else 's'}"
