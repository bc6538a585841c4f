"""What is kept of an error."""

import pytest

from flowweaver.runners.failures import MAX_MESSAGE, failure_of


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no text")


def test_the_type_is_the_class_and_the_message_the_text():
    failure = failure_of(ValueError("wrong"))
    assert (failure.reason, failure.error_type, failure.message, failure.retryable) == (
        "TaskFailed",
        "ValueError",
        "wrong",
        True,
    )


def test_a_long_message_is_cut_and_the_cut_shows():
    message = failure_of(ValueError("x" * 10_000)).message
    assert len(message) < MAX_MESSAGE + 50
    assert message.endswith(f"… ({10_000 - MAX_MESSAGE} more characters)")


def test_a_message_is_storable():
    assert failure_of(ValueError("a\ud800b\0c")).message == "a\ufffdb\ufffdc"


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (SystemExit(3), "sys.exit(3)"),
        (Unprintable(), "__str__ raises"),
        (ExceptionGroup("several", [ValueError("a"), KeyError("b")]), "ValueError: a; KeyError: 'b'"),
    ],
)
def test_errors_that_say_little_are_explained(raised, words):
    failure = failure_of(raised)
    assert words in failure.message
    assert failure.error_type == type(raised).__name__


def test_a_message_has_nothing_that_a_terminal_obeys():
    told = "\x1b[31mred\x1b[0m\ttab\r\nnext\rlast\x1b]0;title\x07 \x9b2J\u2028end"
    message = failure_of(ValueError(told)).message
    assert message == "red\ttab\nnext\nlast\ufffd]0;title\ufffd \ufffd2J\ufffdend"
