"""The Docker engine that `hack/e2e` builds with. BASE_IMAGE and BUILD_HOST are as there."""

from __future__ import annotations

import os
import re
import subprocess

from tests.cluster.assets import ROOT

ENGINE = ["docker", *(["--host", host] if (host := os.environ.get("BUILD_HOST")) else [])]


def docker(*arguments: str, check: bool = True, seconds: float = 600) -> subprocess.CompletedProcess[str]:
    """Ask it; raises `AssertionError` where it fails, unless not to `check`."""
    ended = subprocess.run(
        [*ENGINE, *arguments], capture_output=True, text=True, check=False, timeout=seconds, errors="replace"
    )
    assert not check or ended.returncode == 0, f"docker {' '.join(arguments)}\n{ended.stdout}{ended.stderr}"
    return ended


def base_image() -> str:
    """What images are built on."""
    (usual,) = re.findall(r"(?m)^ARG BASE_IMAGE=(\S+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    return os.environ.get("BASE_IMAGE") or str(usual)
