"""How long a retry waits."""

from __future__ import annotations

import pytest

from flowweaver.core.backoff import delay_seconds
from flowweaver.core.plan import Jitter, RetryPolicy


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (RetryPolicy(), [1, 2, 4, 8]),
        (RetryPolicy(delay_seconds=0.5, factor=1), [0.5, 0.5, 0.5, 0.5]),
        (RetryPolicy(delay_seconds=10, factor=10, max_delay_seconds=300), [10, 100, 300, 300]),
        (RetryPolicy(delay_seconds=0), [0, 0, 0, 0]),
    ],
)
def test_delays_grow_by_the_factor_up_to_the_maximum(policy, expected):
    assert [delay_seconds(policy, failures, 0.5) for failures in (1, 2, 3, 4)] == expected


def test_full_jitter_spreads_a_delay_from_nothing_to_the_whole():
    policy = RetryPolicy(delay_seconds=8, jitter=Jitter.FULL)
    assert [delay_seconds(policy, 1, random) for random in (0.0, 0.25, 0.999)] == [0.0, 2.0, 7.992]


def test_a_delay_never_overflows():
    assert delay_seconds(RetryPolicy(factor=1e6), 10_000, 0.0) == 300.0


@pytest.mark.parametrize("factor", [100, 100.0])
def test_no_delay_stays_none_however_often_it_fails(factor):
    assert delay_seconds(RetryPolicy(limit=1000, delay_seconds=0, factor=factor), 1000, 0.0) == 0.0
