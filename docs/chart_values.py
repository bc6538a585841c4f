"""What the chart says of each value: its default, the comment above it, the setting of the operator that it fills."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

LINE = re.compile(r"^(?P<indent> *)(?P<name>\w+):(?: (?P<default>.+))?$")
VARIABLE = re.compile(r"name: (?P<variable>\w+)(?:,|\n) +value: (?P<value>.*)")


@dataclass(frozen=True, slots=True)
class Value:
    """One value, or a group of them, which has no default."""

    path: str
    default: str
    meaning: str


def values(chart: Path) -> list[Value]:
    """Every value of the chart in the order of its file; raises `ValueError` for a line that can not be read."""
    found: list[Value] = []
    above: list[tuple[int, str]] = []  # the groups that the line is in: how far they are indented, and their names
    comment: list[str] = []
    for line in (chart / "values.yaml").read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if not text or text.startswith("# ---"):
            comment = []
        elif text.startswith("#"):
            comment.append(text[1:].strip())
        elif read := LINE.match(line):
            while above and above[-1][0] >= len(read["indent"]):
                above.pop()
            above.append((len(read["indent"]), read["name"]))
            found.append(Value(".".join(name for _, name in above), read["default"] or "", " ".join(comment)))
            comment = []
        else:
            raise ValueError(f"{chart}/values.yaml: can not read {line!r}")
    return found


def variables(chart: Path) -> Mapping[str, str]:
    """Which environment variable of the operator each value fills, by itself or with others."""
    template = (chart / "templates" / "statefulset.yaml").read_text(encoding="utf-8")
    everything = "\n\n".join(path.read_text(encoding="utf-8") for path in sorted((chart / "templates").glob("*.*")))
    found: dict[str, str] = {}
    for match in VARIABLE.finditer(template):
        value = match["value"]
        for name in re.findall(r'include "([\w.]+)"', value):
            value += everything.partition(f'define "{name}"')[2].partition("\n\n")[0]  # an empty line ends each of them
        found.update(dict.fromkeys(re.findall(r"\.Values\.([\w.]+)", value), match["variable"]))
    return found


def table(chart: Path, options: Mapping[str, str]) -> Iterator[str]:
    """The lines of a table of all that, in Markdown; `options` are those of the command, by variable."""
    filled = variables(chart)
    yield "| value | default | variable, option | meaning |"
    yield "|---|---|---|---|"
    for value in values(chart):
        if not (value.default or value.meaning):
            continue  # a group of which nothing is said
        default = f"`{value.default}`" if value.default else ""
        variable = filled.get(value.path, "")
        names = ", ".join(filter(None, (f"`{variable}`" if variable else "", options.get(variable, ""))))
        meaning = value.meaning.replace("|", "\\|")
        yield f"| `{value.path}` | {default} | {names} | {meaning} |"
