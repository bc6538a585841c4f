"""A cluster through the user's own kubectl: his kubeconfig, his contexts, his plugins for credentials.

Nothing here knows Kubernetes' client library, which people who run manifests on a laptop do not have.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flowweaver.errors import FlowWeaverError, UserError

WORKFLOWS = "workflows.flowweaver.io"
PATIENCE_SECONDS = 30
"""How long one answer may take."""

_HINTS = {
    "doesn't have a resource type": "FlowWeaver's resource is not installed in that cluster: "
    "flowweaver crds | kubectl apply --server-side -f -",
    "connection to the server": "is the right context set? kubectl config get-contexts lists them",
    "(Forbidden)": "ask the administrator for a role that allows it",
    "(Unauthorized)": "log in to the cluster again",
}
"""What mostly helps, by what kubectl says."""


_LOG_LINE = re.compile(r"[EWIF]\d{4} \d\d:\d\d:\d\d\.\d+ ")
"""What it notes for itself, before it says what is wrong."""


class KubectlFailed(FlowWeaverError):
    """kubectl, or the cluster behind it, has refused; the message is its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubectl:
    """Which cluster and which namespace are meant; empty: what the kubeconfig says."""

    context: str = ""
    namespace: str = ""
    all_namespaces: bool = False

    def text(self, *arguments: str, patience_seconds: float = PATIENCE_SECONDS, stdin: bytes | None = None) -> str:
        """What it prints; raises `UserError` where there is no kubectl, `KubectlFailed` where it refuses."""
        return self.content(*arguments, patience_seconds=patience_seconds, stdin=stdin).decode("utf-8", "replace")

    def content(self, *arguments: str, patience_seconds: float = PATIENCE_SECONDS, stdin: bytes | None = None) -> bytes:
        """The same as bytes."""
        try:
            ended = subprocess.run(  # noqa: S603 - the user's own kubectl, and no shell
                self._command(arguments),
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                check=False,
                timeout=patience_seconds + 5,
            )
        except subprocess.TimeoutExpired:
            raise KubectlFailed(f"kubectl did not answer within {patience_seconds + 5:.0f} s") from None
        if ended.returncode:
            raise _refusal(ended.stderr or ended.stdout, ended.returncode)
        return ended.stdout

    def json(self, *arguments: str) -> Any:
        """What `kubectl … -o json` prints, read."""
        return json.loads(self.text(*arguments, "-o", "json"))

    def get(self, *what: str) -> Any:
        """One object of `RESOURCE`, `NAME`, or a list of a resource's."""
        resource, *names = what
        wait = f"--request-timeout={PATIENCE_SECONDS}s"
        # Behind -- a name is a name, whatever it begins with.
        return json.loads(self.text("get", resource, wait, *self._everywhere(), "-o", "json", "--", *names))

    def start_watch(self, *names: str) -> subprocess.Popen[bytes]:
        """Begin to follow the Workflows of these names, or all; `events_of` reads what happens. Kill it at the end."""
        options = ("--watch", "--output-watch-events", *self._everywhere(), "-o", "json")
        return subprocess.Popen(  # noqa: S603 - the user's own kubectl, and no shell
            self._command(("get", WORKFLOWS, *options, "--", *names)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def _everywhere(self) -> tuple[str, ...]:
        return ("--all-namespaces",) if self.all_namespaces else ()

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        program = shutil.which("kubectl")
        if program is None:
            raise UserError(
                "kubectl is not on PATH, and clusters are reached through it: install it "
                "(https://kubernetes.io/docs/tasks/tools/)"
            )
        context = [f"--context={self.context}"] if self.context else []
        namespace = [f"--namespace={self.namespace}"] if self.namespace else []
        return [program, *context, *namespace, *arguments]


def events_of(watch: subprocess.Popen[bytes]) -> Iterator[tuple[str, Any]]:
    """`ADDED`, `MODIFIED` or `DELETED` and the object, from what is there now on, until the server ends the watch.

    Raises `KubectlFailed`.
    """
    assert watch.stdout is not None
    assert watch.stderr is not None
    lines: list[bytes] = []
    for line in watch.stdout:
        lines.append(line)
        # An event is one line, or indented, and then its own end alone stands at the beginning of a line.
        if line == b"}\n" or (len(lines) == 1 and line.endswith(b"}\n")):
            event = json.loads(b"".join(lines))
            lines.clear()
            yield str(event["type"]), event["object"]
    said = watch.stderr.read()
    if watch.wait():
        raise _refusal(said, watch.returncode)


def _refusal(said: bytes, status: int) -> KubectlFailed:
    from flowweaver.cli.progress import plain

    lines = [line for line in said.decode("utf-8", "replace").splitlines() if not _LOG_LINE.match(line)]
    text = plain(" ".join(lines)) or f"it ended with status {status}"
    hint = next((hint for part, hint in _HINTS.items() if part in text), "")
    return KubectlFailed(f"kubectl: {text}" + (f" ({hint})" if hint else ""))
