"""Measures cases in rounds: every contender once in each, in an order that turns round each time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cases import Case, Contender
from children import Box, Failed
from ratios import Spread, ratios

OURS = "FlowWeaver"


@dataclass(slots=True)
class Measured:
    """A case with its numbers: one a round, None where there was none."""

    case: Case
    values: dict[str, list[float | None]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)  # the first reason of each contender that gave no number

    def spread(self, name: str) -> Spread | None:
        """Of the numbers of one contender, in the unit of the case."""
        found = [value * self.case.scale for value in self.values.get(name, []) if value is not None]
        return Spread.of(found) if found else None

    def compared(self, contender: Contender) -> Spread | None:
        """Ours with theirs, round by round: the ratio, or the difference where the case says so."""
        ours, theirs = self.values.get(OURS, []), self.values.get(contender.name, [])
        if self.case.difference:
            both = zip(ours, theirs, strict=False)  # as for ratios
            found = [(mine - other) * self.case.scale for mine, other in both if mine is not None and other is not None]
        else:
            found = ratios(ours, theirs)
        return Spread.of(found) if found else None

    def missed(self, contender: Contender) -> bool:
        """Whether the median is over the limit, or there is none to tell."""
        if contender.limit is None:
            return False
        found = self.compared(contender)
        return found is None or found.median > contender.limit

    def verdict(self, contender: Contender) -> str:
        """One word for the table."""
        if contender.limit is None:
            return ""
        return "missed" if self.missed(contender) else "held"


def measure(
    cases: Sequence[Case], box: Box, *, pairs: int, peer_rounds: int, say: Callable[[str], None] | None = None
) -> list[Measured]:
    """All rounds of all cases, a round of each case before the next round, so that no case has a better hour.

    A KeyboardInterrupt ends it with what has been measured until then.
    """
    say = say or (lambda text: print(text, file=sys.stderr, flush=True))
    found = [Measured(case) for case in cases]
    try:
        _rounds(found, box, pairs, peer_rounds, say)
    except KeyboardInterrupt:
        say("interrupted: what follows is what was measured until now")
    return found


def _rounds(found: Sequence[Measured], box: Box, pairs: int, peer_rounds: int, say: Callable[[str], None]) -> None:
    for number in range(pairs):
        for measured in found:
            say(f"round {number + 1} of {pairs}: {measured.case.name}")
            _round(measured, box, number, with_peers=number < peer_rounds)


def _round(measured: Measured, box: Box, number: int, *, with_peers: bool) -> None:
    contenders = [Contender(OURS, measured.case.ours), *measured.case.against]
    if number % 2:
        contenders.reverse()
    for contender in contenders:
        values = measured.values.setdefault(contender.name, [])
        if (contender.peer and not with_peers) or contender.name in measured.failures:
            values.append(None)
            continue
        try:
            values.append(contender.measure(box))
        except Failed as failure:
            values.append(None)
            measured.failures[contender.name] = str(failure)
            print(f"{measured.case.name}, {contender.name}: {failure}", file=sys.stderr, flush=True)
