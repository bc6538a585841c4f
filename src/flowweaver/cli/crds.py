"""`flowweaver crds`: the custom resource definitions as the models make them, and whether the files say the same."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Annotated

import typer

from flowweaver.errors import UserError


def crds(
    *,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 with a diff where the files have drifted.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Write the files again.")] = False,
    folder: Annotated[Path, typer.Option(help="The checkout whose files are meant.", file_okay=False)] = Path(),
) -> None:
    """Print the CRDs, for kubectl apply -f -; in a checkout, compare or write the files."""
    if check and write:
        raise UserError("give --check or --write, not both")
    from flowweaver.manifest import CRD_FILE, crd_yaml

    text = crd_yaml()
    if not (check or write):
        print(text, end="")
        return
    files = _files(folder, CRD_FILE)
    if write:
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            print(f"wrote {file}")
        return
    drifted = [file for file in files if not _shows_no_difference(file, text)]
    if drifted:
        raise typer.Exit(1)
    print(f"{', '.join(map(str, files))}: as the models make them")


def _files(folder: Path, name: str) -> list[Path]:
    if not (folder / "crds").is_dir():
        raise UserError(
            f"{folder}: there is no crds/ here; run it in a checkout of FlowWeaver, or name one by --folder"
        )
    chart = folder / "charts" / "flowweaver"
    folders = [folder / "crds", *([chart / "files" / "crds"] if chart.is_dir() else [])]
    return [each / name for each in folders]


def _shows_no_difference(file: Path, text: str) -> bool:
    there = file.read_text(encoding="utf-8") if file.exists() else ""
    difference = difflib.unified_diff(
        there.splitlines(keepends=True), text.splitlines(keepends=True), str(file), "as the models make it"
    )
    lines = list(difference)
    sys.stderr.writelines(lines)
    return not lines
