"""What was measured, as a table in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cases import Case, Contender
from ratios import Spread, figures
from rounds import OURS, Measured

HEAD = """\
| workload | contender | time or size | ours takes | limit | |
|---|---|---:|---:|---:|---|"""


def table(every: Sequence[Measured]) -> str:
    """A row for each contender; ours first in each workload."""
    return "\n".join([HEAD, *(line for measured in every for line in _rows(measured))])


def _rows(measured: Measured) -> Iterator[str]:
    case = measured.case
    ours = measured.spread(OURS)
    yield f"| **{case.name}**: {case.title} | {OURS} | {_numbers(ours, case.unit)} | | | {_failure(measured, OURS)} |"
    for contender in case.against:
        yield (
            f"| | {contender.name} | {_numbers(measured.spread(contender.name), case.unit)} "
            f"| {_compared(measured, contender)} | {_limit(case, contender)} "
            f"| {_failure(measured, contender.name) or measured.verdict(contender)} |"
        )


def _numbers(spread: Spread | None, unit: str) -> str:
    return f"{figures(spread.median)} {unit}" if spread else "–"


def _compared(measured: Measured, contender: Contender) -> str:
    spread = measured.compared(contender)
    if spread is None:
        return "–"
    sign, digits = _sign(measured.case)
    middle, low, high = (digits(value) for value in (spread.median, spread.low, spread.high))
    return f"{middle}{sign} ({low}–{high})"


def _limit(case: Case, contender: Contender) -> str:
    if contender.limit is None:
        return ""
    sign, digits = _sign(case)
    return f"{digits(contender.limit)}{sign}"


def _sign(case: Case):
    if case.difference:
        return f" {case.unit} more", lambda value: f"{value:,.0f}"
    return "×", figures


def _failure(measured: Measured, name: str) -> str:
    reason = measured.failures.get(name, "").replace("|", "/").replace("\n", " ")
    return f"no result: {reason}" if reason else ""
