"""What a body of the same user can read of the operator's process, asked of the kernel."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")

# Root may read everything: it becomes somebody else. Changing the user shields already, so that is taken back first.
LOOK = """
import ctypes, json, os, subprocess
from flowweaver.operator.shielding import shield_this_process
from flowweaver.telemetry.metrics import Metrics

if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65532)
    os.setuid(65532)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)

def readable(path):
    return subprocess.run(["cat", path], capture_output=True).stdout != b""

def listable(path):
    return subprocess.run(["ls", path], capture_output=True).stdout != b""

def seen():
    own = f"/proc/{os.getpid()}"
    return readable(f"{own}/environ"), readable(f"{own}/maps"), listable(f"{own}/fd"), listable(f"{own}/cwd/")

before = seen()
shield_this_process()
after = seen()
lines = Metrics().exposition().decode().splitlines()
child = subprocess.Popen(["sleep", "60"], env={"PATH": os.environ["PATH"], "MARK": "mine"})
with open(f"/proc/{child.pid}/stat") as stat:
    stat.read()
while b"MARK=mine" not in open(f"/proc/{child.pid}/environ", "rb").read():
    pass
child.kill()
child.wait()
print(json.dumps({
    "before": before,
    "after": after,
    "own descriptors": len(os.listdir("/proc/self/fd")) > 0,
    "mounts": open("/proc/self/mountinfo").read() != "",
    "counted descriptors": any(line.startswith("process_open_fds ") for line in lines),
    "counted memory": any(line.startswith("process_resident_memory_bytes ") for line in lines),
}))
"""


def test_a_body_can_not_read_the_environment_the_memory_and_the_files_of_the_operator():
    looked = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=False, cwd="/")
    assert looked.returncode == 0, looked.stderr
    assert json.loads(looked.stdout) == {
        "before": [True, True, True, True],
        "after": [False, False, False, False],
        "own descriptors": True,
        "mounts": True,
        "counted descriptors": True,
        "counted memory": True,
    }
