"""How a metric is described: what it means and what a rise of it tells, for a line of help and a table in the docs.

Labels are bounded: each has its values written down here, or has only as many as there are versions, HTTP codes or
classes of errors. No workflow, task or namespace has a label, so that a million Workflows make as many series as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds, for what should take milliseconds."""

LONG = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400)
"""Seconds, for what bodies do."""

OTHER = "other"
"""In place of a label's value that is not written down."""

ANY: tuple[str, ...] = ()
"""Values that nobody can write down beforehand, and of which there are few."""

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. A gauge is `read` when it is asked for, or set when something has happened."""

    name: str  # as it is exposed; of a histogram without the suffix
    kind: Kind
    meaning: str  # what the number is
    rise: str  # what it tells when it goes up (of a gauge: or down)
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))  # name → its values
    buckets: tuple[float, ...] = QUICK
    read: bool = False

    @property
    def closed(self) -> bool:
        """Whether every series of it can be shown from the start, at zero: what has never happened is seen too."""
        return all(values for values in self.labels.values())

    @property
    def help(self) -> str:
        """The line of help."""
        return f"{self.meaning} {self.rise}"


def counter(name: str, meaning: str, rise: str, /, **labels: tuple[str, ...]) -> Metric:
    """Something that happens."""
    return Metric(name, "counter", meaning, rise, labels)


def gauge(name: str, meaning: str, rise: str, /, **labels: tuple[str, ...]) -> Metric:
    """Something that is read whenever it is asked for."""
    return Metric(name, "gauge", meaning, rise, labels, read=True)


def told(name: str, meaning: str, rise: str, /, **labels: tuple[str, ...]) -> Metric:
    """A gauge that is set when something has happened."""
    return Metric(name, "gauge", meaning, rise, labels)


def seconds(
    name: str, meaning: str, rise: str, buckets: tuple[float, ...] = QUICK, /, **labels: tuple[str, ...]
) -> Metric:
    """How long things took."""
    return Metric(name, "histogram", meaning, rise, labels, buckets)
