"""Manifests in files: reading them, whatever is in there, and saying in which line a problem is.

What a manifest means is the business of `flowweaver.manifest`; here are files and lines only.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowweaver.errors import ManifestError, UserError

if TYPE_CHECKING:
    import yaml

    from flowweaver.manifest.problems import Problem

LARGEST_FILE = 16 * 1024 * 1024
"""In bytes. A Workflow has at most 512 KiB; a file may hold several, and a device file never ends."""

GROUP = "flowweaver.io/"
STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A problem and the place of it."""

    file: str
    problem: Problem
    line: int | None = None

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.problem} ({self.problem.reason})"


@dataclass(frozen=True)
class Document:
    """One YAML document of a file."""

    file: str
    text: str  # of the whole file
    position: int  # among the file's documents that are not empty
    content: Mapping[str, Any]

    @property
    def ours(self) -> bool:
        """Whether FlowWeaver is meant; a file may hold other things for kubectl too."""
        return str(self.content.get("apiVersion", "")).startswith(GROUP)

    def finding(self, problem: Problem) -> Finding:
        """That problem, with the line of the nearest thing that is there."""
        return Finding(file=self.file, problem=problem, line=self._line(problem.path))

    def _line(self, path: str) -> int | None:
        node, line = self._node, None
        for name, index in STEP.findall(path):
            mark, node = _below(node, name, index)
            if mark is None:
                break
            line = mark.line + 1
        return line

    @cached_property
    def _node(self) -> yaml.Node | None:
        import yaml

        # The loader in C, where there is one, is many times faster and tells lines too.
        loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
        nodes = [node for node in yaml.compose_all(self.text, Loader=loader) if not _is_empty(node)]
        return nodes[self.position] if self.position < len(nodes) else None


def read_text(file: str) -> str:
    """The file's text, `-` being the standard input; raises `UserError` for whatever is no text."""
    try:
        if file == "-":
            content = sys.stdin.buffer.read(LARGEST_FILE + 1)
        else:
            with Path(file).open("rb") as stream:
                content = stream.read(LARGEST_FILE + 1)
    except OSError as error:
        raise UserError(f"{file}: can not be read: {error.strerror or error}") from error
    if len(content) > LARGEST_FILE:
        raise UserError(f"{file}: is larger than {LARGEST_FILE // 1024**2} MiB, which is no manifest")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: is not UTF-8 text (byte {error.start}): write the manifest as UTF-8") from error


def read_documents(file: str) -> Iterator[Document]:
    """The documents of a file, in order; raises `UserError` where it holds no YAML or nothing at all."""
    from flowweaver.manifest import load_documents

    text = read_text(file)
    try:
        contents = load_documents(text)
    except ManifestError as error:
        raise UserError("\n".join(f"{file}: {problem}" for problem in error.problems)) from error
    if not contents:
        raise UserError(f"{file}: is empty: a manifest starts with apiVersion: {GROUP}v1alpha1")
    for position, content in enumerate(contents):
        yield Document(file, text, position, content)


def meant(documents: Iterable[Document]) -> list[Document]:
    """Those that are FlowWeaver's; all of them where none is, because then an apiVersion may be misspelt."""
    every = list(documents)
    return [document for document in every if document.ours] or every


def _below(node: yaml.Node | None, name: str, index: str) -> tuple[yaml.Mark | None, yaml.Node | None]:
    """Where that entry of a node begins, for a mapping at its key, and the entry's own node."""
    import yaml

    if isinstance(node, yaml.SequenceNode) and index and int(index) < len(node.value):
        entry = node.value[int(index)]
        return entry.start_mark, entry
    if isinstance(node, yaml.MappingNode) and name:
        for key, value in node.value:
            if key.value == name:
                return key.start_mark, value
    return None, None


def _is_empty(node: yaml.Node | None) -> bool:
    return node is None or bool(node.tag == "tag:yaml.org,2002:null")
