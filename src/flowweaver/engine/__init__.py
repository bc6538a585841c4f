"""The conductor: one thread that takes what has happened, asks the core, commits, and then acts.

timers      what is due, on two clocks
durable     the store, asked until it answers
submissions runs whose rows are still being written
openings    which run it is that is asked for
observers   who watches which run
intake      how runs come into the world
inputs      what an attempt may know of its dependencies
gathering   when it pays to wait a moment for more
conductor   one turn: decide, commit, apply, act
looking     how a run stands, for other threads
engine      the thread around it, and what others may ask of it
"""

from flowweaver.engine.engine import Engine, SystemClock
from flowweaver.engine.looking import EngineHealth

__all__ = ["Engine", "EngineHealth", "SystemClock"]
