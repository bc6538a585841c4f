"""kubectl as a test calls it: the real program, one user's kubeconfig."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.cluster import assets


class KubectlError(AssertionError):
    """kubectl ended with another status than 0; has what it said."""

    def __init__(self, ended: subprocess.CompletedProcess[str]) -> None:
        super().__init__(f"{' '.join(map(str, ended.args))}\nstatus {ended.returncode}\n{ended.stdout}{ended.stderr}")
        self.stderr = ended.stderr


@dataclass(frozen=True, slots=True)
class Kubectl:
    """Call it as `kubectl("get", "fw")`; `namespace` is added where it is set."""

    kubeconfig: Path
    namespace: str = ""
    program: Path | None = None  # None: the one that was built with the API server

    def __call__(self, *arguments: str | Path, stdin: object = None, timeout_seconds: float = 100.0) -> str:
        """What it printed; raises `KubectlError`. `stdin` is text, or an object that is given as JSON."""
        ended = self.run(*arguments, stdin=stdin, timeout_seconds=timeout_seconds)
        if ended.returncode:
            raise KubectlError(ended)
        return ended.stdout

    def run(
        self, *arguments: str | Path, stdin: object = None, timeout_seconds: float = 100.0
    ) -> subprocess.CompletedProcess[str]:
        """How it ended, whatever its status."""
        where = ["--namespace", self.namespace] if self.namespace else []
        return subprocess.run(
            [self.program or assets.find("kubectl"), "--kubeconfig", self.kubeconfig, *where, *arguments],
            input=stdin if stdin is None or isinstance(stdin, str) else json.dumps(stdin),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_seconds,
        )

    def json(self, *arguments: str) -> Any:
        """What `kubectl … -o json` printed, read."""
        return json.loads(self(*arguments, "-o", "json"))

    def apply(self, *objects: object) -> str:
        """`kubectl apply -f -` of these objects."""
        return self("apply", "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": list(objects)})

    def within(self, namespace: str) -> Kubectl:
        """The same, in that namespace."""
        return replace(self, namespace=namespace)
