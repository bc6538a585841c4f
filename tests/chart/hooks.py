"""The chart's hooks as processes: each with the account, the rights and the arguments that the chart gives it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cluster.control_plane import Access, write_kubeconfig
from tests.cluster.operators import COMMAND, RIGHTS, inherited, render_chart

Objects = list[dict[str, Any]]


def hook_objects(rendered: Objects, event: str) -> Objects:
    """What helm applies for that event and takes away again."""
    marks = [(item, (item["metadata"].get("annotations") or {}).get("helm.sh/hook")) for item in rendered]
    return [item for item, mark in marks if mark == event]


def pod_of_hook(objects: Objects) -> dict[str, Any]:
    """The spec of the hook's pod."""
    (runner,) = (item for item in objects if item["kind"] in {"Job", "Pod"})
    return runner["spec"]["template"]["spec"] if runner["kind"] == "Job" else runner["spec"]


def prepare_hook(
    access: Access,
    namespace: str,
    folder: Path,
    event: str,
    *,
    release: str = "operator",
    change: Callable[[Objects], None] = lambda objects: None,
    **values: Any,
) -> list[str | Path]:
    """Apply the rights of a hook; gives the command that its pod would run. `change` edits them before."""
    rendered = render_chart(release, namespace, {"namespaces": [namespace], **values}, hooks=True)
    objects = hook_objects(rendered, event)
    change(objects)
    access.kubectl.apply(*(found for found in objects if found["kind"] in RIGHTS))
    pod = pod_of_hook(objects)
    account = pod["serviceAccountName"]
    token = access.kubectl("create", "token", account, "--namespace", namespace).strip()
    kubeconfig = folder / f"{account}.kubeconfig"
    write_kubeconfig(kubeconfig, url=access.url, authority=access.authority, token=token)
    return ["env", f"KUBECONFIG={kubeconfig}", COMMAND, *pod["containers"][0]["args"]]


def run_hook(command: list[str | Path], *more: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end; `more` options win over those of the chart."""
    return subprocess.run([*command, *more], env=inherited(), capture_output=True, text=True, check=False, timeout=110)
