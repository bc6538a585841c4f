"""What an `http` attempt says when it fails: plain words, and nothing of a URL that may hold a secret."""

from __future__ import annotations

import re
import socket
import ssl

import httpcore
import httpx

from flowweaver.core.phases import Reason
from flowweaver.runners.failures import Refused
from flowweaver.runners.http_connection import CONNECT_SECONDS, DeadlinePassed, Gone

_LONGEST_PATH = 200
_BLANKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


def one_line(text: str) -> str:
    """The text with every run of white space and control characters as one blank."""
    return _BLANKS.sub(" ", text).strip()


def shown(url: httpx.URL) -> str:
    """The URL for a message: without user, password, query and fragment, and the host as it is asked for: not every one
    that can be asked for can be spelled in another alphabet.
    """
    name = url.raw_host.decode("ascii")
    host = f"[{name}]" if ":" in name else name
    port = "" if url.port is None else f":{url.port}"
    path = url.path if len(url.path) <= _LONGEST_PATH else f"{url.path[:_LONGEST_PATH]}…"
    return one_line(f"{url.scheme}://{host}{port}{path}")


def failure(message: str, error_type: str, *, retryable: bool = True) -> Refused:
    """The exception for an attempt that failed for a reason that may have gone by the next one."""
    return Refused(Reason.TASK_FAILED, message, error_type=error_type, retryable=retryable)


def exchange_failure(what: str, exc: Exception) -> Refused:
    """A failure out of what broke the exchange named `what` ("GET https://host/path")."""
    if isinstance(exc, Refused):
        return exc
    error_type, why = _explained(exc)
    return failure(f"{what} {why}", error_type)


def _explained(exc: Exception) -> tuple[str, str]:
    name = type(exc).__name__
    match exc:
        case Gone():
            found = ("Cancelled", "was given up: nobody waits for the answer any more")
        case DeadlinePassed():
            found = ("Timeout", "took too long: the timeout of the task (5 minutes where it has none) is over")
        case ssl.SSLCertVerificationError():
            found = (name, f"failed: the server's certificate is not trusted ({exc.verify_message})")
        case ssl.SSLError():
            found = (name, f"failed: no TLS connection came about ({exc.reason or exc})")
        case httpcore.ProtocolError():
            found = ("ProtocolError", f"failed: the server does not speak HTTP as it should ({exc})")
        case TimeoutError():
            found = (name, f"failed: no connection within {CONNECT_SECONDS:g} seconds")
        case OSError():
            found = (name, f"failed: {exc.strerror or exc}")
        case _:
            found = (name, f"failed: {exc}")
    return found


def unresolved(what: str, host: str, exc: OSError) -> Refused:
    """A failure out of a name that has no address."""
    text = exc.strerror if isinstance(exc, socket.gaierror) else str(exc)
    return failure(f"{what} failed: {host} could not be resolved ({text})", "NameNotResolved")
