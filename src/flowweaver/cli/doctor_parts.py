"""What a report is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from flowweaver.cli.doctor_redaction import redacted
from flowweaver.cli.progress import plain

LONGEST_LINE = 600
"""Characters; what is cut is whole in the archive, where it is a file."""


@dataclass(slots=True)
class Part:
    """One heading of the report: lines to read, what is wrong, files for the archive. All of it is redacted here."""

    title: str
    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    def say(self, text: str) -> None:
        """A line."""
        line = redacted(plain_keeping_indent(text))
        self.lines.append(line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}…")

    def table(self, rows: Iterable[tuple[str, object]]) -> None:
        """Lines of a name and a value, the values below each other."""
        told = [(name, str(value)) for name, value in rows]
        width = max((len(name) for name, _ in told), default=0)
        for name, value in told:
            self.say(f"{name.ljust(width)}  {value}")

    def wrong(self, text: str) -> None:
        """Something that a maintainer looks at first; it is told at the end once more."""
        self.say(f"! {text}")
        self.problems.append(redacted(plain(f"{self.title}: {text}")))

    def missing(self, what: str) -> None:
        """Something could not be looked at, and why; no problem of FlowWeaver's."""
        self.say(f"not looked at: {what}")

    def keep(self, name: str, text: str) -> None:
        """A file of the archive."""
        self.files[name] = redacted(text).encode("utf-8", "replace")


def gathered(title: str, gather: Callable[[Part], None]) -> Part:
    """A part that is filled as far as that goes: what fails in one part must not keep the others from being told."""
    part = Part(title)
    try:
        gather(part)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the rest of the report with it
        part.wrong(f"could not be told any further: {type(error).__name__}: {error}")
    return part


def plain_keeping_indent(text: str) -> str:
    """One line without what a terminal would obey, blanks between columns as they are."""
    return "".join(letter if letter.isprintable() else " " for letter in text).rstrip()
