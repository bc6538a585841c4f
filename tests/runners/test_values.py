"""`value`, `outputs`, `wait`, and what `retry.when` says."""

import datetime as dt
import json

import pytest

from flowweaver.core.events import Completed, Deferred, Failed
from flowweaver.core.plan import RetryPolicy
from flowweaver.policy import Policy
from flowweaver.runners import registry, run_attempt
from tests.runners.attempts import attempt_of, completed, failure_of, result_of, run

NOW = 1_800_000_000.0
at_now = run_attempt(registry(Policy(), now=lambda: NOW))


def test_a_value_is_rendered_and_keeps_its_types():
    body = {"value": {"n": "${params.n + 1}", "rows": "${tasks.a.result}", "text": "n=${params.n}"}}
    outcome = run(attempt_of("value", body, params={"n": 1}, dependencies={"a": completed([1, None])}))
    assert result_of(outcome) == {"n": 2, "rows": [1, None], "text": "n=1"}


@pytest.mark.parametrize("value", [None, False, 0, "", [], {}])
def test_a_falsy_value_stays_what_it_is(value):
    assert result_of(run(attempt_of("value", {"value": value}))) == value


def test_outputs_come_in_the_order_of_the_manifest():
    outputs = [{"name": "b", "value": "${tasks.a.result.x}"}, {"name": "a", "value": 0}]
    outcome = run(attempt_of("outputs", {"outputs": outputs}, dependencies={"a": completed({"x": 5})}))
    assert result_of(outcome) == [{"name": "b", "value": 5}, {"name": "a", "value": 0}]


@pytest.mark.parametrize(
    ("kind", "body", "path"),
    [
        ("value", {"value": {"rows": ["${tasks.a.result.nothing}"]}}, "value.rows[0]: "),
        ("outputs", {"outputs": [{"name": "o", "value": {"x": "${1 / 0}"}}]}, 'outputs["o"].value.x: '),
        ("python", {"function": "json:dumps", "args": {"obj": "${tasks.a.result.nothing}"}}, "python.args.obj: "),
        ("python", {"function": "json:dumps", "args": "${tasks.a.result.list}"}, "python.args: "),
        ("shell", {"command": ["echo", "${tasks.a.result.nothing}"]}, "shell.command[1]: "),
        ("shell", {"command": ["echo", "${tasks.a.result}"]}, "shell.command[1]: "),
        ("shell", {"script": "true", "env": [{"name": "A", "value": "${1 / 0}"}]}, 'shell.env["A"]: '),
        ("wait", {"duration": "${tasks.a.result.nothing}"}, "wait.duration: "),
        ("wait", {"duration": "${string(5)}"}, "wait.duration: "),
        ("wait", {"duration": "${5}"}, "wait.duration: "),
        ("wait", {"until": "${'tomorrow'}"}, "wait.until: "),
        ("wait", {"until": "2030-01-01T00:00:00"}, "wait.until: "),
    ],
)
def test_what_only_the_run_can_know_fails_the_task_with_the_path_of_the_field(kind, body, path):
    failure = failure_of(run(attempt_of(kind, body, dependencies={"a": completed({"x": 1, "list": [1]})})))
    assert failure.reason == "ExpressionError"
    assert failure.message.startswith(path)
    assert not failure.retryable


@pytest.mark.parametrize(
    ("body", "until"),
    [
        ({"duration": "90s"}, NOW + 90),
        ({"duration": "1h30m"}, NOW + 5400),
        ({"duration": "${params.pause}"}, NOW + 0.25),
        ({"until": "2030-01-01T00:00:00Z"}, dt.datetime(2030, 1, 1, tzinfo=dt.UTC).timestamp()),
        ({"until": "2030-01-01T02:00:00+02:00"}, dt.datetime(2030, 1, 1, tzinfo=dt.UTC).timestamp()),
    ],
)
def test_a_wait_is_deferred_until_its_instant(body, until):
    assert at_now(attempt_of("wait", body, params={"pause": "250ms"})) == Deferred(until=until)


@pytest.mark.parametrize("body", [{"until": "2020-01-01T00:00:00Z"}, {"duration": "0s"}])
def test_a_wait_for_what_is_past_completes_at_once(body):
    assert at_now(attempt_of("wait", body)) == Completed(b"null")


def failing(when, *, limit=1, number=1):
    body = {"source": "def main():\n    raise ValueError('bad gateway')", "isolation": "Thread"}
    return failure_of(run(attempt_of("python", body, retry=RetryPolicy(limit=limit, when=when), number=number)))


@pytest.mark.parametrize(
    ("when", "retried"),
    [
        (None, True),
        ("${error.type == 'ValueError'}", True),
        ("${error.message.contains('gateway')}", True),
        ("${error.type == 'KeyError'}", False),
        ("${attempt < 3}", True),
    ],
)
def test_retry_when_decides_whether_a_failure_is_retried(when, retried):
    assert failing(when).retryable is retried


def test_retry_when_sees_the_number_of_the_attempt():
    assert failing("${attempt < 3}", number=3).retryable is False


def test_a_retry_when_that_can_not_be_evaluated_ends_the_retries_and_the_error_stays_readable():
    failure = failing("${error.nothing}")
    assert not failure.retryable
    assert failure.error_type == "ValueError"
    assert failure.message.startswith("bad gateway (no retry: retry.when: ")


def test_a_kind_without_a_runner_is_a_failure_that_names_it():
    failure = failure_of(run(attempt_of("job", {})))
    assert 'the kind "job"' in failure.message
    assert not failure.retryable


def test_a_runner_that_raises_fails_its_attempt_alone():
    def broken(_):
        raise SystemExit(1)

    outcome = run_attempt({"value": broken})(attempt_of("value", {}))
    assert isinstance(outcome, Failed)
    assert outcome.error_type == "SystemExit"


def test_every_kind_that_a_plan_can_have_has_a_runner():
    assert set(registry(Policy())) == {"value", "outputs", "wait", "http", "python", "shell"}


def test_a_result_is_encoded_once_and_compact():
    assert run(attempt_of("value", {"value": {"a": [1, 2]}})) == Completed(b'{"a":[1,2]}')
    assert json.loads(b'{"a":[1,2]}') == {"a": [1, 2]}


@pytest.mark.parametrize("value", [10**309, {"a": [1, -(10**400)]}], ids=["number", "within"])
def test_an_output_that_would_keep_the_status_from_being_written_is_refused(value):
    body = {"outputs": [{"name": "o", "value": "${tasks.a.result}"}]}
    failure = failure_of(run(attempt_of("outputs", body, dependencies={"a": completed(value)})))
    assert failure.reason == "ResultNotJson"
    assert failure.message.startswith('outputs["o"].value holds a whole number of more than 308 digits')


def test_ten_thousand_expressions_on_a_large_result_fail_their_task_alone():
    body = {"value": ["${tasks.a.result}"] * 10_000}
    failure = failure_of(run(attempt_of("value", body, dependencies={"a": completed("x" * 1_000_000)})))
    assert failure.reason == "ExpressionError"
    assert "give more than 32 MiB in all" in failure.message


def test_the_expressions_of_all_fields_of_a_body_are_on_one_account():
    outputs = [{"name": f"o{number}", "value": "${tasks.a.result}"} for number in range(100)]
    failure = failure_of(
        run(attempt_of("outputs", {"outputs": outputs}, dependencies={"a": completed("x" * 1_000_000)}))
    )
    assert "give more than 32 MiB in all" in failure.message
