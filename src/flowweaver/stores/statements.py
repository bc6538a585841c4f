"""Finds the SQL. It stands in `.sql` files, in blocks named `-- name: …`, so that it can be read and tried as SQL.

Statements take parameters; nothing here or elsewhere builds SQL out of values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import NamedTuple

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_COMMENT = re.compile(r"^--.*\n?", re.MULTILINE)  # behind a statement it would be parsed each time that this is run
_MIGRATION = re.compile(r"(\d{4})_(\w+)\.sql")


class Migration(NamedTuple):
    """One step from the layout `version - 1` to `version`. Once released, it is never changed."""

    version: int
    title: str
    sql: str


@cache
def statements() -> Mapping[str, str]:
    """Every named statement, by its name."""
    found: dict[str, str] = {}
    for file in sorted(files(__package__).joinpath("sql").iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".sql"):
            _, *parts = _NAME.split(file.read_text("utf-8"))
            found.update(zip(parts[::2], (_COMMENT.sub("", part).strip() for part in parts[1::2]), strict=True))
    return MappingProxyType(found)


@cache
def migrations() -> tuple[Migration, ...]:
    """All migrations, oldest first: versions 1, 2, 3 … without a gap."""
    found = sorted(
        Migration(int(match[1]), match[2], file.read_text("utf-8"))
        for file in files(__package__).joinpath("sql", "migrations").iterdir()
        if (match := _MIGRATION.fullmatch(file.name))
    )
    assert [migration.version for migration in found] == list(range(1, len(found) + 1)), "a migration is missing"
    return tuple(found)
