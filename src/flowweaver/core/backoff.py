"""How long to wait before the next attempt."""

from __future__ import annotations

from flowweaver.core.plan import Jitter, RetryPolicy


def delay_seconds(policy: RetryPolicy, failures: int, random: float) -> float:
    """The delay after the `failures`-th failure (1 is the first): `delay × factor^(failures - 1)`, at most `max_delay`.

    `random` in [0, 1) spreads it over the whole delay where the policy says `Full`.
    """
    try:
        delay = policy.delay_seconds * policy.factor ** (failures - 1)
    except OverflowError:
        delay = policy.max_delay_seconds if policy.delay_seconds else 0.0
    delay = min(delay, policy.max_delay_seconds)
    return delay * random if policy.jitter is Jitter.FULL else delay
