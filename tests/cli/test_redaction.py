"""What is taken out of a report, and what stays readable in it."""

from __future__ import annotations

import pytest

from flowweaver.cli.doctor_parts import LONGEST_LINE, Part, gathered
from flowweaver.cli.doctor_redaction import redacted

SECRET = "hunter2-Zk9"
HOLDING = [
    f"postgres://ada:{SECRET}@db.example:5432/shop",
    f"redis://:{SECRET}@cache:6379",
    f"GET https://api.example/orders?api_key={SECRET}&page=2 failed",
    f"https://store.example/file?X-Amz-Signature={SECRET}",
    f"https://login.example/back#access_token={SECRET}",
    f"Authorization: Bearer {SECRET}",
    f"authorization=Basic {SECRET}",
    f"password={SECRET}",
    f"PASSWORD: {SECRET}",
    f"db_password = '{SECRET} and more'",
    f'{{"password": "{SECRET}", "user": "ada"}}',
    f'{{"clientSecret":"{SECRET}"}}',
    f'{{"message": "{{\\"token\\": \\"{SECRET}\\"}}"}}',
    f"MY_API_KEY={SECRET} other=1",
    f"mysql --password {SECRET} -h db",
    f"curl --token={SECRET}",
    f"Cookie: session_id={SECRET}",
    f"AccountKey=x;SharedAccessSignature={SECRET}",
    f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----",
    f"-----BEGIN PRIVATE KEY-----\\n{SECRET}\\n",
    f"eyJhbGciOiJIUzI1NiJ9.{SECRET}.c2ln",
    f"ghp_{SECRET}0123456789abcdef",
    f"xoxb-1234567890-{SECRET}",
]


@pytest.mark.parametrize("text", HOLDING)
def test_a_credential_is_taken_out(text):
    found = redacted(text)

    assert SECRET not in found
    assert "[left out]" in found
    assert redacted(found) == found


def test_what_stands_around_a_credential_stays():
    assert redacted(f"connect to postgres://ada:{SECRET}@db.example:5432/shop: refused") == (
        "connect to postgres://[left out]@db.example:5432/shop: refused"
    )
    assert redacted(f'{{"password": "{SECRET}", "user": "ada"}}') == '{"password": [left out], "user": "ada"}'


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-02T03:04:05.678Z WARNING a task has failed workflow=shop/etl task=load reason=TaskFailed",
        'flowweaver_task_attempts_total{body="http",outcome="completed"} 4.0',
        "https://api.example/orders answered 503",
        "store 410d873e-1201-4428-88c3-9c9efc463fbf, epoch 1, commit 9",
        "sha256:" + "a1b2" * 16,
        "/work/state.db is locked: passed on to the next life",
        "basic checks passed",
    ],
)
def test_what_is_no_credential_is_left_alone(text):
    assert redacted(text) == text


def test_all_that_a_part_holds_is_redacted():
    part = Part("a part")
    part.say(f"password={SECRET}")
    part.table([("token", f"token={SECRET}")])
    part.wrong(f"https://u:{SECRET}@host")
    part.keep("file.txt", f"Bearer {SECRET}-and-more")

    assert SECRET not in repr(part)


def test_a_part_that_fails_is_told_and_keeps_what_it_had():
    def gather(part):
        part.say("one")
        raise ValueError(f"password={SECRET}")

    part = gathered("a part", gather)

    assert part.lines == ["one", "! could not be told any further: ValueError: password=[left out]"]
    assert part.problems == ["a part: could not be told any further: ValueError: password=[left out]"]


def test_a_line_is_one_line_whatever_is_in_it_and_is_cut():
    part = Part("a part")
    part.say("a\nb\x1b[2Jc" + "x" * 1000)

    assert part.lines[0].startswith("a b [2Jc")
    assert len(part.lines[0]) == LONGEST_LINE + 1
