"""What systemd is told by a service of `Type=notify`: that it is ready, that it lives, that it stops."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping


class Notifier:
    """Sends to `NOTIFY_SOCKET`, see sd_notify(3); does nothing where that is not set, or nobody listens there."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.interval = _interval(environment) if address else None
        """Seconds between two words of life, half of what systemd waits for one; None: it waits for none."""

    def ready(self, status: str) -> None:
        """It has begun; `status` is shown by `systemctl status`."""
        self._send(f"READY=1\nSTATUS={status}")

    def alive(self) -> None:
        """It lives."""
        self._send("WATCHDOG=1")

    def stopping(self, status: str) -> None:
        """It is about to end."""
        self._send(f"STOPPING=1\nSTATUS={status}")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(1.0)
            sender.sendto(text.encode("utf-8", "replace"), self._address)


def _interval(environment: Mapping[str, str]) -> float | None:
    wanted, process = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not wanted.isdecimal() or not int(wanted) or process not in {"", str(os.getpid())}:
        return None
    return int(wanted) / 2e6
