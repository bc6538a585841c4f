"""Where the parts of a real control plane are on this machine. Builds nothing: `make control-plane` does."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl", "helm")


class MissingPartError(Exception):
    """A part is not there; the message says how to get it."""


@functools.cache
def _found(assets: str | None) -> dict[str, Path]:
    del assets  # only what the answer depends on
    finding = subprocess.run([ROOT / "hack/control-plane", "--find"], capture_output=True, text=True, check=False)
    return {name: Path(path) for name, path in (line.split(" ", 1) for line in finding.stdout.splitlines())}


def find(part: str) -> Path:
    """The program of that name; raises `MissingPartError`."""
    try:
        return _found(os.environ.get("KUBEBUILDER_ASSETS"))[part]
    except KeyError:
        message = f"there is no {part}: run `make control-plane` once, or set KUBEBUILDER_ASSETS to its folder"
        raise MissingPartError(message) from None


def missing() -> list[str]:
    """The parts that are not there."""
    found = _found(os.environ.get("KUBEBUILDER_ASSETS"))
    return [part for part in PARTS if part not in found]
