"""A real Ctrl-C, in a process of its own, at any moment of a run in the caller's thread."""

import signal
import subprocess
import sys
import time

import pytest

PATIENCE_SECONDS = 60.0
PROGRAM = """
import sys, threading, time
from queue import SimpleQueue
from flowweaver.core.events import AttemptId, Completed
from flowweaver.executors.sequential import SequentialExecutor
from flowweaver.testing.executors import WallClock, attempt_of

def run(attempt):
    if sys.argv[1] == "in the body":
        print("running", flush=True)
        while True:
            time.sleep(0.01)
    if attempt.id.number == 100:
        print("running", flush=True)
    return Completed()

def conduct():
    number = 0
    while not over.is_set():
        number += 1
        started.append(number)
        executor.start(attempt_of(number), ends.put)
        told.append(ends.get().attempt.number)

started, told, ends, over = [], [], SimpleQueue(), threading.Event()
executor = SequentialExecutor(run, WallClock())
lane = executor.lend(1)
conductor = threading.Thread(target=conduct, daemon=True)
conductor.start()
try:
    lane.serve()
except KeyboardInterrupt:
    over.set()
for _ in range(3):  # what the engine takes for running; one may have been started meanwhile
    for each in started[-2:]:
        executor.abandon(AttemptId(1, 0, each))
    conductor.join(0.2)
lane.close()
executor.close()
conductor.join(9)
assert set(told) == set(started), f"nobody ever heard of the end of {set(started) - set(told)}"
print("all told")
"""


@pytest.mark.parametrize("moment", ["in the body", *(f"after {delay} s" for delay in (0.01, 0.05))])
def test_after_ctrl_c_the_end_of_every_attempt_is_told(moment):
    with subprocess.Popen([sys.executable, "-c", PROGRAM, moment], stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        if moment != "in the body":
            time.sleep(float(moment.split()[1]))
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=PATIENCE_SECONDS)[0]
    assert process.returncode == 0
    assert output.splitlines()[-1] == "all told"
