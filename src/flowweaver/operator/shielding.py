"""Keeps processes of the same user out of this one: bodies run as the same user as the engine.

They may do what the pod may do, but need not read the engine's environment, its memory (in it everybody's parameters
and results) and its open files (the store). The kernel asks of whoever looks into such a process for CAP_SYS_PTRACE,
which no pod has by default. What the process starts is not concerned: an exec makes it open again.
"""

from __future__ import annotations

import ctypes
import logging
import sys

_PR_SET_DUMPABLE = 4
logger = logging.getLogger(__name__)


def shield_this_process() -> None:
    """Close /proc/PID of this process to others of its user, and write no core files. Idempotent; Linux only."""
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        logger.warning("bodies can look into this process: prctl failed with errno %d", ctypes.get_errno())
