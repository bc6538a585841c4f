"""`flowweaver lint`: every problem of every file, each with its place, before anything is applied."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from flowweaver.cli.manifests import Document, Finding, meant, read_documents
from flowweaver.errors import UserError


def lint(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help="Manifests; - is the standard input.")],
) -> None:
    """Check manifests without running them. Exit status 0: all are fine; 2: there are problems."""
    problems = [line for file in files for line in _problems(file)]
    for line in problems:
        print(line, file=sys.stderr)
    if problems:
        raise typer.Exit(2)
    print(f"{len(files)} {'file' if len(files) == 1 else 'files'}: no problems")


def _problems(file: str) -> Iterator[str]:
    try:
        documents = meant(read_documents(file))
    except UserError as error:
        yield str(error)
        return
    for document in documents:
        yield from map(str, findings(document))


def findings(document: Document) -> Iterator[Finding]:
    """What must change before that document can run."""
    from flowweaver.manifest import Rejected, validate
    from flowweaver.policy import Policy

    verdict = validate(document.content, Policy.permissive())
    if isinstance(verdict, Rejected):
        yield from map(document.finding, verdict.problems)
