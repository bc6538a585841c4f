"""The fenced blocks of the docs. The first word says what a block is, a second one why it is not run with the others:

yaml                a manifest: it is accepted, and run
yaml NAME.yaml      a file of that name, which commands of the page use; values….yaml: the chart takes it too
console             commands after `$`, run beside a copy of examples/; below one its output, `…` for anything
console cluster     commands that need an API server and an operator: run by test_docs_in_a_cluster.py
console node        commands that need a cluster that runs pods: run there too
console slow        commands that install things: run by .ci/run
console install     commands that install into /opt, in a checkout: run with another folder for it, among the slow tests
console kind        commands about a node, `node-1`: tests/node/test_node_loss.py says them to one that kind made
console image       commands that need the image and a Docker engine: run by tests/image
python              a part of a program: those of one page are run in order, as one program
python NAME.py      a file of that name beside it; parts below can import it, and commands run it
toml NAME.toml      a file of that name
dockerfile NAME     the same
cron                lines of a crontab: their commands are run
sql                 statements that a state file with runs in it answers with rows
lua                 a health check of Argo CD: asked about each state of a Workflow
text output         what the part above it prints, `…` for anything
text signature      how something of `flowweaver` is called: compared with the code
mermaid, text       nothing to run
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
KINDS = {
    "yaml",
    "yaml file",
    "console",
    "console cluster",
    "console node",
    "console kind",
    "console slow",
    "console install",
    "console image",
    "python",
    "python file",
    "toml file",
    "dockerfile file",
    "cron",
    "sql",
    "lua",
    "text output",
    "text signature",
    "mermaid",
    "text",
}


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    kind: str
    text: str
    file: str = ""  # the name of a "… file"

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks() -> list[Block]:
    return [
        _block(str(page.relative_to(ROOT)), token.map[0] + 1, token.info.strip(), token.content)
        for page in PAGES
        for token in MarkdownIt().parse(page.read_text(encoding="utf-8"))
        if token.type in {"fence", "code_block"}
    ]


def _block(page: str, line: int, info: str, text: str) -> Block:
    kind, _, name = info.partition(" ")
    if name.endswith(FILES.get(kind, " ")) or (kind == "dockerfile" and name):
        return Block(page, line, f"{kind} file", text, name)
    return Block(page, line, info, text)


FILES = {"python": ".py", "yaml": ".yaml", "toml": ".toml"}
BLOCKS = blocks()


def of(kind: str) -> list[Block]:
    return [block for block in BLOCKS if block.kind == kind]


def programs() -> list[str]:
    """The pages that are run as a whole, because what they say goes on from block to block."""
    return sorted({block.page for block in BLOCKS if block.kind.startswith("python")})


def write_files(page: str, folder: Path) -> None:
    """Write the files that a page's commands use: its own, the examples, the chart."""
    for name in ("examples", "charts"):
        shutil.copytree(ROOT / name, folder / name)
    for block in BLOCKS:
        if block.page == page and block.file:
            (folder / block.file).write_text(block.text, encoding="utf-8")


SHELL = ("bash", "-o", "pipefail", "-c")


def run_commands(
    text: str, folder: Path, environment: Mapping[str, str] | None = None, shell: Sequence[str] = SHELL
) -> None:
    """Run each command of a block in that folder; raises `AssertionError` where it fails or says something else."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for command, expected in commands(text):
        result = subprocess.run(
            [*shell, command],
            cwd=folder,
            env={**os.environ, "PATH": path, "COLUMNS": "120", **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert result.returncode == 0, f"{command}\n{result.stdout}"
        if expected:
            assert matches(result.stdout, expected), f"{command}\nsays\n{result.stdout}\nand the docs\n{expected}"


def commands(text: str) -> list[tuple[str, str]]:
    """Each command with the output that the docs show below it."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return [(command, "\n".join(lines)) for command, lines in found]


def matches(output: str, expected: str) -> bool:
    """Whether the output is what the docs show; `…` stands for anything."""
    pattern = ".*".join(re.escape(part) for part in expected.split("…"))
    return re.fullmatch(pattern, output.strip("\n"), re.DOTALL) is not None
