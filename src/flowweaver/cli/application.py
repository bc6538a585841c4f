"""All commands under one name."""

from __future__ import annotations

from typing import Annotated

import typer

from flowweaver import __version__
from flowweaver.cli import cluster, crds, doctor, graph, leaving, linting, operating, running, state, trying

application = typer.Typer(
    name="flowweaver",
    help="Durable workflows inside one process: run a manifest here, or serve a cluster.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
application.command("run")(running.run)
application.command("lint")(linting.lint)
application.command("get")(cluster.get)
application.command("status")(cluster.status)
application.command("graph")(graph.graph)
application.command("doctor")(doctor.doctor)
application.command("crds")(crds.crds)
application.command("operator")(operating.operator)
application.add_typer(state.commands, name="state")
application.command("release-finalizers", hidden=True)(leaving.release_finalizers)  # the chart's hooks run these two
application.command("first-workflow", hidden=True)(trying.first_workflow)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - a callback of typer gets the option's value
    if wanted:
        print(f"flowweaver {__version__}")
        raise typer.Exit


@application.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Durable workflows inside one process: run a manifest here, or serve a cluster."""
