"""A virtual environment for each peer, made once. One that can not be made is said and left out."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from children import CACHE, Program, python


@dataclass(frozen=True, slots=True)
class Peer:
    """Another engine: what to install, and which program here drives it."""

    name: str
    requirements: tuple[str, ...]
    program: str

    @property
    def folder(self) -> Path:
        """Its environment, named after what is in it."""
        return CACHE / "envs" / self.name

    @property
    def interpreter(self) -> Path:
        """The Python of it."""
        return self.folder / "bin" / "python"

    def contender(self) -> Program:
        """How it is called."""
        return python(f"peers/{self.program}", interpreter=self.interpreter)


PEERS = {
    "flowweaver-0.2.2": Peer("flowweaver-0.2.2", ("flowweaver==0.2.2",), "flowweaver_0_2_2.py"),
    "dbos": Peer("dbos", ("dbos==3.4.0",), "dbos_steps.py"),
    "luigi": Peer("luigi", ("luigi==3.8.1",), "luigi_files.py"),
    # With newer ones of fastapi this release of prefect does not start its server.
    "prefect": Peer("prefect", ("prefect==3.8.8", "fastapi==0.139.0"), "prefect_flow.py"),
}


def wanted(text: str) -> list[Peer]:
    """The peers that `--peers` names: none, all, or some with commas between."""
    if text in {"none", "all"}:
        return list(PEERS.values()) if text == "all" else []
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in PEERS]:
        raise SystemExit(f"--peers: {', '.join(unknown)} is none of {', '.join(PEERS)}, none, all")
    return [PEERS[name] for name in names]


def installed(peer: Peer) -> str:
    """Make its environment where it is not there; gives why that can not be, empty where it is there."""
    stamp = peer.folder / "installed"
    if stamp.is_file() and stamp.read_text(encoding="utf-8").split() == list(peer.requirements):
        return ""
    print(f"installing {' '.join(peer.requirements)} into {peer.folder}", file=sys.stderr)
    shutil.rmtree(peer.folder, ignore_errors=True)
    commands = [
        [sys.executable, "-m", "venv", str(peer.folder)],
        [str(peer.interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.requirements],
    ]
    for command in commands:
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            said = (ended.stderr or ended.stdout).strip().splitlines()[-1:] or ["no reason given"]
            return said[0][:200]
    stamp.write_text("\n".join(peer.requirements), encoding="utf-8")
    return ""
