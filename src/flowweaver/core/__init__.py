"""What happens next, decided by pure functions.

No clock, thread, I/O, randomness or logging in this room: time is a parameter and decisions are frozen values, so that
the same code runs in the engine, in a simulator and under a property test.

    plan      what a run does: tasks, their dependencies and policies
    graph     dependencies as numbers; cycles found and named
    phases    the words, and the table of all transitions
    state     where a run stands
    events    what has happened, or is asked for
    changes   what follows: rows to commit, then attempts to start
    decide    (state, events, now) -> changes: the order within a batch, and who gets a free worker
    drafts    what happens to one run
    steps     the steps that its tasks take then, and what follows from each
    backoff   how long a retry waits
    apply     changes -> state, once they are committed
    invariants what is true between any two turns
"""
