"""`flowweaver get` and `flowweaver status`: the Workflows of a cluster, and how one of them stands."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import typer

from flowweaver.cli.arguments import OutputFormat
from flowweaver.cli.cluster_kubectl import WORKFLOWS, Kubectl
from flowweaver.errors import UserError

Namespace = Annotated[
    str, typer.Option("-n", "--namespace", metavar="NS", help="Default: the one of the kubeconfig.", show_default=False)
]
Context = Annotated[
    str, typer.Option(metavar="NAME", help="A context of the kubeconfig. Default: the current one.", show_default=False)
]
Watch = Annotated[bool, typer.Option("-w", "--watch", help="Go on as things change, until Ctrl-C.")]
Output = Annotated[OutputFormat, typer.Option("-o", "--output", help="json and yaml: the objects as they are.")]
STATUSES = {"Completed": 0, "Failed": 1, "Cancelled": 3}
"""The exit status of a watch that has seen the end: as that of `run`."""


def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One Workflow; default: all.", show_default=False)] = "",
    *,
    namespace: Namespace = "",
    all_namespaces: Annotated[bool, typer.Option("-A", "--all-namespaces", help="Of every namespace.")] = False,
    context: Context = "",
    output: Output = OutputFormat.TABLE,
    watch: Watch = False,
) -> None:
    """List the Workflows of a cluster, through your own kubectl."""
    if all_namespaces and (name or namespace):
        raise UserError("--all-namespaces shows them all: leave NAME and --namespace away")
    cluster = Kubectl(context=context, namespace=namespace, all_namespaces=all_namespaces)
    names = (name,) if name else ()
    if watch:
        from flowweaver.cli.cluster_watch import watch_many

        raise typer.Exit(watch_many(cluster, names, output))
    found = cluster.get(WORKFLOWS, *names)
    if output is not OutputFormat.TABLE:
        print_objects(found, output)
        return
    items = [found] if name else found["items"]
    if not items:
        print("No Workflows" if all_namespaces else "No Workflows in this namespace; --all-namespaces looks everywhere")
        return
    from flowweaver.cli.cluster_tables import of_many, printed

    printed(of_many(items, namespaces=all_namespaces, now=time.time()))


def status(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A Workflow of the cluster.")],
    *,
    namespace: Namespace = "",
    context: Context = "",
    output: Output = OutputFormat.TABLE,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Follow it until it has finished, or Ctrl-C.")] = False,
) -> None:
    """Show how one Workflow of a cluster stands: tasks, conditions, outputs.

    With --watch the exit status tells how it ended: 0: completed, 1: failed, 3: cancelled.
    """
    cluster = Kubectl(context=context, namespace=namespace)
    if watch:
        from flowweaver.cli.cluster_watch import watch_one

        raise typer.Exit(watch_one(cluster, name, output))
    found = cluster.get(WORKFLOWS, name)
    if output is not OutputFormat.TABLE:
        print_objects(found, output)
        return
    from flowweaver.cli.cluster_tables import of_one, printed

    printed(of_one(found, now=time.time()))


def print_objects(found: Any, output: OutputFormat, *, several: bool = False) -> None:
    """As JSON or YAML; `several`: one of a row of objects, a line or a document each."""
    if output is OutputFormat.JSON:
        print(json.dumps(found, indent=None if several else 2, ensure_ascii=False), flush=several)
        return
    import yaml

    text = yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=120)
    print(f"---\n{text}" if several else text, end="", flush=several)
