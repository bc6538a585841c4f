"""Play histories: `python -m tests.simulation --seed 17` tells the story of one."""

from __future__ import annotations

import argparse
import logging
import sys
import time
import traceback

from tests.simulation.history import History


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="play this one only, and tell its story")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--histories", type=int, default=300, help="how many seeds")
    arguments = parser.parse_args()
    logging.disable()  # the store fails all the time
    if arguments.seed is not None:
        return 0 if played(arguments.seed, tell=True) else 1
    began = time.monotonic()
    for seed in range(arguments.first, arguments.first + arguments.histories):
        if not played(seed):
            return 1
    say(f"{arguments.histories} histories, {time.monotonic() - began:.1f} s: all as the model says")
    return 0


def played(seed: int, *, tell: bool = False) -> bool:
    """Whether the history went as the model says; where not, its story is told."""
    story, error = [], ""
    try:
        history = History(seed)
        story = history.story
        history.play()
    except Exception:  # noqa: BLE001 - a bug in the engine may raise whatever it likes
        error = traceback.format_exc()
    if tell or error:
        say(*story)
    if error:
        say(error, f"seed {seed}: python -m tests.simulation --seed {seed}")
    return not error


def say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    sys.exit(main())
