"""`flowweaver graph`: a workflow as a picture, before it runs, while it does, and after."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowweaver.cli.cluster import Context, Namespace
from flowweaver.errors import UserError

if TYPE_CHECKING:
    from flowweaver.cli.graph_picture import Picture


class GraphFormat(StrEnum):
    """How a picture is written."""

    TEXT = "text"
    MERMAID = "mermaid"
    SVG = "svg"


def graph(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="A file with one Workflow; - is the standard input.", show_default=False),
    ] = "",
    *,
    state: Annotated[
        Path | None, typer.Option(metavar="DB", help="Draw a run that is kept in this state file.")
    ] = None,
    run: Annotated[
        str,
        typer.Option(metavar="WORKFLOW", help="With --state: of which workflow the newest run.", show_default=False),
    ] = "",
    workflow: Annotated[
        str, typer.Option(metavar="NAME", help="Draw that Workflow of a cluster.", show_default=False)
    ] = "",
    namespace: Namespace = "",
    context: Context = "",
    form: Annotated[GraphFormat, typer.Option("-f", "--format", help="How it is drawn.")] = GraphFormat.TEXT,
) -> None:
    """Draw a workflow: its tasks, what depends on what, and how far each one has come."""
    if sum(map(bool, (file, state, workflow))) != 1:
        raise UserError("give one of FILE, --state DB and --workflow NAME: it says what is to be drawn")
    _check(run and not state, "--run", "--state")
    _check((namespace or context) and not workflow, "--namespace and --context", "--workflow")
    _write(_picture(file, state, run, workflow, namespace, context), form)


def _check(wrong: object, what: str, wanted: str) -> None:
    if wrong:
        raise UserError(f"{what} goes with {wanted}, which is not there")


def _picture(file: str, state: Path | None, run: str, workflow: str, namespace: str, context: str) -> Picture:
    from flowweaver.cli import graph_picture
    from flowweaver.cli.cluster_kubectl import Kubectl

    if state:
        return graph_picture.of_state(state, run)
    if workflow:
        return graph_picture.of_cluster(Kubectl(context=context, namespace=namespace), workflow)
    return graph_picture.of_manifest(file)


def _write(picture: Picture, form: GraphFormat) -> None:
    if form is GraphFormat.SVG:
        from flowweaver.cli.graph_svg import as_svg

        print(as_svg(picture))
        return
    from flowweaver.cli.cluster_tables import printed
    from flowweaver.cli.graph_formats import as_mermaid, as_text

    if form is GraphFormat.MERMAID:
        print(as_mermaid(picture))
    else:
        printed(as_text(picture))
