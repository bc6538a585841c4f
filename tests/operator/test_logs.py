"""Log lines: one a step, with its particulars, in text or JSON."""

from __future__ import annotations

import json
import logging
import queue
import subprocess
import sys

import pytest

from flowweaver.telemetry.logs import JsonLines, TextLines, _Dropping


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    found = logging.LogRecord("flowweaver.runs", logging.INFO, __file__, 1, message, args, None)
    found.created = 1_767_268_800.5
    for name, value in extra.items():
        setattr(found, name, value)
    return found


def test_a_text_line_has_its_particulars_behind_it():
    line = TextLines().format(record("a task has %s", "completed", workflow="shop/etl", task="load", attempt=2))
    assert line == "2026-01-01T12:00:00.500Z INFO a task has completed workflow=shop/etl task=load attempt=2"


def test_a_value_with_spaces_is_quoted_and_an_empty_one_left_out():
    assert TextLines().format(record("x", workflow="a b", reason="")).endswith(' INFO x workflow="a b"')


@pytest.mark.parametrize("odd", ["two\nlines", 'a "quote"', "\ud800", "…"])
def test_a_json_line_is_one_line_of_json_whatever_stands_in_it(odd):
    line = JsonLines().format(record("%s", odd, workflow=odd, seconds=0.5))
    assert "\n" not in line
    read = json.loads(line)
    assert (read["message"], read["workflow"], read["seconds"], read["level"]) == (odd, odd, 0.5, "info")


FETCH = """
import http.server, logging, threading
import httpx
from flowweaver.telemetry import logs

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Set-Cookie", "session=SECRET")
        self.end_headers()

    def log_message(self, *_):
        pass

logs.set_up(style="text", level="debug")
server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}/?token=SECRET"
assert httpx.get(address, headers={"Authorization": "SECRET"}, trust_env=False).status_code == 200
logging.getLogger("flowweaver.runs").debug("it was fetched")
"""


def test_no_address_and_no_header_of_an_http_request_is_logged_at_any_level():
    fetched = subprocess.run([sys.executable, "-c", FETCH], capture_output=True, text=True, check=False)
    assert fetched.returncode == 0, fetched.stderr
    assert "DEBUG it was fetched" in fetched.stderr
    assert "SECRET" not in fetched.stderr


def test_a_traceback_is_kept():
    try:
        raise ValueError("why")  # noqa: TRY301 - a traceback is wanted
    except ValueError:
        found = record("x")
        found.exc_info = sys.exc_info()
    assert "ValueError: why" in json.loads(JsonLines().format(found))["traceback"]
    assert TextLines().format(found).endswith("ValueError: why")


def test_what_users_say_forges_no_line_and_steers_no_terminal():
    forged = record("a task has failed: %s", "x\n2026-01-02T03:04:05.678Z INFO all is well\x1b[2J", task="a\u2028b")
    line = TextLines().format(forged)
    assert "\n" not in line
    assert "\x1b" not in line
    assert line.endswith(r'x\n2026-01-02T03:04:05.678Z INFO all is well\x1b[2J task="a\\u2028b"')


def test_lines_for_which_there_was_no_room_are_counted():
    lines = queue.Queue(1)
    handler = _Dropping(lines)
    for number in range(4):
        handler.handle(record(f"line {number}"))
    assert lines.get().getMessage() == "line 0"
    handler.handle(record("line 4"))
    assert lines.get().getMessage() == "3 lines of this log were dropped"
