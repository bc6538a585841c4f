"""Whose status is to be written, and what it is about. Values only: a status is composed when it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowweaver.manifest.problems import Problem
from flowweaver.ports import StorePosition


@dataclass(frozen=True, slots=True)
class OfRun:
    """The status shows this run."""

    run: int


@dataclass(frozen=True, slots=True)
class OfRefusal:
    """The status says why it can not run."""

    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class OfLoss:
    """The status says that its state is gone."""

    message: str


@dataclass(frozen=True, slots=True)
class OfHistory:
    """The status notes an edit of something that has finished elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whose status it is and what it is about."""

    namespace: str
    name: str
    uid: str
    generation: int
    observed_rerun: str = ""
    token: str = ""  # the rerun token that is wished for; observed once the run has taken it up
    store: StorePosition | None = None  # what the object reports
    least_epoch: int = 0
    previous: Sequence[Mapping[str, Any]] = ()  # the conditions that the object has, as far as known
    about: OfRun | OfRefusal | OfLoss | OfHistory


@dataclass(frozen=True, slots=True)
class Composed:
    """A status to write."""

    status: dict[str, Any]
    final: bool  # nothing follows by itself
