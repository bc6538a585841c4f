"""The environment that code of a task gets: a short list of what programs need, and nothing of our own.

Where a program executes its own functions (`Policy.whole_environment`) it is all of the program's.

The operator's environment tells where its service account, its settings and the cluster's services are. None of that is
a task's business, so that a name has to be on this list to be passed on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

_NAMES = frozenset(
    {
        "HOME",
        "LANG",
        "LANGUAGE",
        "LD_LIBRARY_PATH",
        "LOGNAME",
        "PATH",
        "PYTHONPATH",
        "SHELL",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "TERM",
        "TMPDIR",
        "TZ",
        "USER",
        "VIRTUAL_ENV",
    }
)
MARK = "FLOWWEAVER_TASK_PROCESS"
"""Set in every process of a task and in what these start: how a restart knows a survivor from a stranger."""


def clean_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What of `environment` a task's process may see."""
    kept = {name: text for name, text in environment.items() if name in _NAMES or name.startswith("LC_")}
    return {"PATH": os.defpath, **kept, MARK: "1"}


def whole_environment() -> dict[str, str]:
    """All that this process has now, for a task's process."""
    texts = {name: os.environ.get(name) for name in list(os.environ)}  # another thread may be changing it
    return {**{name: text for name, text in texts.items() if text is not None}, MARK: "1"}
