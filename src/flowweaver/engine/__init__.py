"""The conductor: one thread that takes what has happened, asks the core, commits, and then acts.

timers      what is due, on two clocks
submissions runs whose rows are still being written
inputs      what an attempt may know of its dependencies
conductor   one turn: decide, commit, apply, act
engine      the thread around it, and what others may ask of it
"""

from flowweaver.engine.engine import Engine, EngineHealth, SystemClock

__all__ = ["Engine", "EngineHealth", "SystemClock"]
