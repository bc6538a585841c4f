"""What an `http` body sends, what its result is, and what is said when it fails."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flowweaver.core.events import Completed, Failed, Outcome
from flowweaver.core.phases import Reason
from flowweaver.expressions import scope_of
from flowweaver.policy import Policy
from flowweaver.runners.failures import Refused
from flowweaver.runners.http import HttpRunner
from flowweaver.runners.http_request import build_request
from flowweaver.runners.http_response import read_body
from tests.security.sites import (
    PUBLIC,
    Network,
    Received,
    Reply,
    Site,
    attempt_of,
    failure_of,
    result_of,
    serving,
    speaking,
)

LOCAL = Policy(http_allow=("127.0.0.1",))
MEBIBYTE = 1024 * 1024


def run(body: dict[str, Any], **task: Any) -> Any:
    return HttpRunner(LOCAL)(attempt_of(body, **task))


def fetched(reply: Reply, **body: Any) -> Any:
    """The result of a GET that is answered so."""
    with serving(reply) as site:
        return result_of(run({"url": site.url(), **body}))


def failed(reply: Reply, **body: Any) -> Failed:
    """The failure of a GET that is answered so, its port made one that is known."""
    with serving(reply) as site:
        failure = failure_of(run({"url": site.url("/rows"), **body}))
        return Failed(
            reason=failure.reason,
            error_type=failure.error_type,
            retryable=failure.retryable,
            message=failure.message.replace(str(site.port), "80"),
        )


def sent(body: dict[str, Any], **task: Any) -> Received:
    """The one request that the body sends; `URL` in it is the server's."""
    with serving(Reply()) as site:
        body = {**body, "url": body.get("url", "URL/").replace("URL", site.url("").rstrip("/"))}
        result_of(run(body, **task))
        (request,) = site.requests
        return request


# -------------------------------------------------------------------------------------------------------------- results


def test_the_result_has_status_headers_by_lower_case_name_and_the_parsed_body() -> None:
    reply = Reply(201, b'{"rows": [1, 2.5, null]}', [("Content-Type", "application/json"), ("X-Kind", "a")])

    result = fetched(Reply(reply.status, reply.body, [*reply.headers, ("X-Kind", "b")]))

    assert (result["status"], result["body"]) == (201, {"rows": [1, 2.5, None]})
    assert result["headers"]["x-kind"] == "a, b"
    assert result["headers"]["content-length"] == "24"
    assert list(result) == ["status", "headers", "body"]


@pytest.mark.parametrize(
    ("content_type", "body", "value"),
    [
        ("application/json", b"[1]", [1]),
        ("Application/JSON; charset=utf-8", b'"\xc3\xa9"', "é"),
        ("application/problem+json", b"{}", {}),
        ("text/json", b"1", 1),
        ("application/json", b"", None),
        ("application/json", b"\xef\xbb\xbf[1]", [1]),
        ("application/json", b'"\\ud800"', "\ufffd"),
        ("application/x-ndjson", b"1\n2\n", "1\n2\n"),
        ("text/plain", b"[1]", "[1]"),
        ("text/plain", "é".encode(), "é"),
        ("text/plain; charset=ISO-8859-1", b"\xe9", "é"),
        ('text/plain; charset="windows-1252"', b"\x80", "€"),
        ("text/plain; charset=punycode", b"a-b", "a-b"),
        ("text/plain; charset=hex", b"6161", "6161"),
        ("text/plain; charset=no-such-charset", b"a", "a"),
        ("application/octet-stream", b"\xff", "\ufffd"),
        ("", b"a", "a"),
    ],
)
def test_a_body_is_json_where_its_content_type_says_so_and_else_text(
    content_type: str, body: bytes, value: Any
) -> None:
    assert fetched(Reply(200, body, [("Content-Type", content_type)]))["body"] == value


@pytest.mark.parametrize("body", [b"{", b"NaN", b"[1e999]", b"\xff", b"9" * 5000, b"[" * 100_000])
def test_a_body_that_is_no_json_though_it_says_so_fails(body: bytes) -> None:
    failure = failed(Reply(200, body, [("Content-Type", "application/json")]))

    assert (failure.error_type, failure.retryable) == ("ResponseNotJson", True)
    assert failure.message.startswith("GET http://127.0.0.1:80/rows answered ")
    assert len(failure.message) < 300


@pytest.mark.parametrize("method", ["HEAD", "DELETE"])
def test_an_answer_without_a_body_has_null_or_empty_text(method: str) -> None:
    assert fetched(Reply(200 if method == "HEAD" else 204), method=method)["body"] == ""


def test_a_body_whose_end_is_the_end_of_the_connection_is_read_whole() -> None:
    assert fetched(Reply(200, b"x" * 100_000, framed=False))["body"] == "x" * 100_000


@pytest.mark.parametrize(
    "pack",
    [gzip.compress, zlib.compress, lambda raw: gzip.compress(raw[:5]) + gzip.compress(raw[5:])],
    ids=["gzip", "deflate", "two gzip members"],
)
def test_a_packed_body_is_unpacked(pack: Any) -> None:
    coding = "deflate" if pack is zlib.compress else "gzip"

    assert (
        fetched(Reply(200, pack(b"hello world" * 9000), [("Content-Encoding", coding)]))["body"] == "hello world" * 9000
    )


@pytest.mark.parametrize(
    ("coding", "body", "error_type"),
    [
        ("gzip", b"no gzip", "BrokenEncoding"),
        ("gzip", gzip.compress(b"hello" * 1000)[:-9], "BrokenEncoding"),
        ("br", b"...", "UnknownEncoding"),
        ("gzip, gzip", gzip.compress(gzip.compress(b"bomb")), "UnknownEncoding"),
    ],
    ids=["not packed", "cut off", "unknown", "packed twice"],  # a packed body has the time in it
)
def test_a_body_that_can_not_be_unpacked_fails(coding: str, body: bytes, error_type: str) -> None:
    assert failed(Reply(200, body, [("Content-Encoding", coding)])).error_type == error_type


# --------------------------------------------------------------------------------------------------------------- bounds


def test_a_body_of_the_limit_is_too_large_with_what_is_around_it_and_a_smaller_one_is_kept() -> None:
    assert len(fetched(Reply(200, b"x" * (MEBIBYTE - 1000)))["body"]) == MEBIBYTE - 1000
    assert failed(Reply(200, b"x" * MEBIBYTE)).reason == Reason.RESULT_TOO_LARGE
    assert failed(Reply(200, b"x" * (MEBIBYTE + 1))) == Failed(
        reason=Reason.RESULT_TOO_LARGE,
        error_type="ResultTooLarge",
        message="GET http://127.0.0.1:80/rows answered more than 1048576 bytes, and that is the most that is kept: "
        "ask for less (a page, a filter), or fetch it to a file in a python or shell task",
        retryable=False,
    )


def test_a_packed_body_is_counted_as_it_unpacks() -> None:
    bomb = gzip.compress(b"\0" * (256 * MEBIBYTE), 9)
    assert len(bomb) < MEBIBYTE

    assert failed(Reply(200, bomb, [("Content-Encoding", "gzip")])).reason == Reason.RESULT_TOO_LARGE


def test_unpacking_takes_little_memory_however_much_is_packed() -> None:
    bomb = gzip.compress(b"\0" * (64 * MEBIBYTE), 9)
    tracemalloc.start()
    try:
        with pytest.raises(Refused):
            read_body("GET", {"content-encoding": "gzip"}, [bomb])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 8 * MEBIBYTE


def test_a_packed_body_that_never_unpacks_to_anything_is_counted_as_it_comes() -> None:
    nothing = gzip.compress(b"") * 60_000

    assert failed(Reply(200, nothing, [("Content-Encoding", "gzip")])).reason == Reason.RESULT_TOO_LARGE


def test_a_body_without_end_is_given_up_at_the_limit() -> None:
    def endless(connection: Any) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")

    with speaking(endless) as site:
        assert failure_of(run({"url": site.url()})).reason == Reason.RESULT_TOO_LARGE


# --------------------------------------------------------------------------------------------------------- what is sent


def test_a_get_is_sent_with_our_own_headers() -> None:
    request = sent({"url": "URL/path?a=1"})

    assert (request.method, request.path, request.body) == ("GET", "/path?a=1", b"")
    assert {name: value for name, value in request.headers.items() if name != "host"} == {
        "connection": "close",
        "accept": "*/*",
        "accept-encoding": "gzip",
        "user-agent": "flowweaver",
        "idempotency-key": "0d9f:fetch",
    }


def test_expressions_stand_in_url_query_headers_and_body() -> None:
    request = sent(
        {
            "method": "post",
            "url": "URL/${params.who}?a=1",
            "query": [
                {"name": "b c", "value": "${params.who} & co"},
                {"name": "n", "value": "${1 + 1}"},
                {"name": "none", "value": "${params.none}"},
                {"name": "n", "value": "${true}"},
            ],
            "headers": [{"name": "X-Who", "value": "${params.who}"}, {"name": "X-None", "value": "${params.none}"}],
            "body": {"who": "${params.who}", "n": "${[1, 2]}"},
        }
    )

    assert (request.method, request.path) == ("POST", "/Ada?a=1&b+c=Ada+%26+co&n=2&n=true")
    assert (request.headers["x-who"], "x-none" in request.headers) == ("Ada", False)
    assert json.loads(request.body) == {"who": "Ada", "n": [1, 2]}
    assert request.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("body", "headers", "content", "content_type"),
    [
        ({"body": "plain é"}, [], "plain é".encode(), "text/plain; charset=utf-8"),
        ({"body": "<a/>"}, [{"name": "Content-Type", "value": "text/xml"}], b"<a/>", "text/xml"),
        ({"body": [1]}, [{"name": "content-type", "value": "application/x+json"}], b"[1]", "application/x+json"),
        ({"body": None}, [], b"null", "application/json"),
        ({"body": ""}, [], b"", "text/plain; charset=utf-8"),
        ({"body": False}, [], b"false", "application/json"),
        ({}, [], b"", None),
    ],
)
def test_a_body_is_text_as_it_is_or_json(body: Any, headers: Any, content: bytes, content_type: str | None) -> None:
    request = sent({"method": "PUT", "headers": headers, **body})

    assert (request.body, request.headers.get("content-type")) == (content, content_type)
    assert request.headers["content-length"] == str(len(content))


def test_the_idempotency_key_is_the_attempts_own_unless_the_task_gives_one() -> None:
    first = sent({"method": "POST"}).headers["idempotency-key"]
    given = sent({"headers": [{"name": "Idempotency-Key", "value": "mine"}]}).headers["idempotency-key"]

    assert (first, given) == (attempt_of({}).idempotency_key, "mine")


def test_user_and_password_of_a_url_are_sent_as_basic_authorization() -> None:
    with serving(Reply()) as site:
        result_of(run({"url": f"http://ada:p%40ss@127.0.0.1:{site.port}/"}))
        assert site.requests[0].headers["authorization"] == "Basic YWRhOnBAc3M="


def test_a_request_remembers_no_user_password_or_fragment_of_its_url() -> None:
    request = build_request({"url": "http://ada:hunter2@h/a?b=1#c"}, scope_of(attempt_of({})), "key")

    assert str(request.url) == "http://h/a?b=1"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"headers": [{"name": "Host", "value": "x"}]}, 'http.headers[0].name "host" follows from the request'),
        ({"headers": [{"name": "Transfer-Encoding", "value": "chunked"}]}, "can not be given"),
        ({"headers": [{"name": "Proxy-Authorization", "value": "x"}]}, "can not be given"),
        ({"headers": [{"name": "a b", "value": "x"}]}, "http.headers[0].name is no header name"),
        ({"headers": [{"name": "a", "value": "x\r\nHost: evil"}]}, "http.headers[0].value holds a line break"),
        ({"headers": [{"name": "a", "value": "${[1]}"}]}, "http.headers[0].value is a list, and text is needed"),
        ({"query": [{"name": "a", "value": "${{'k': 1}}"}]}, "http.query[0].value is a map, and text is needed"),
        ({"method": "CONNECT"}, 'http.method "CONNECT" is none of DELETE, GET'),
        ({"url": "${[1]}"}, "http.url is a list"),
        ({"url": "/path"}, "only http and https"),
        ({"url": "http:///path"}, "names no host"),
        ({"url": "http://h:99999/"}, "ports are 1 to 65535"),
        ({"url": "http://h:0/"}, "ports are 1 to 65535"),
        ({"url": "http://ada:hunter2/x@h/"}, "is no valid URL: write https://host/path"),
        ({"url": "http://h/" + "x" * 70_000}, "is no valid URL"),
    ],
)
def test_a_request_that_can_not_be_sent_is_refused_with_the_field(body: dict[str, Any], said: str) -> None:
    failure = failure_of(HttpRunner(Policy())(attempt_of({"url": "http://unused.invalid/", **body})))

    assert (failure.error_type, failure.retryable) == ("InvalidRequest", False)
    assert said in failure.message
    assert "hunter2" not in failure.message


def test_an_expression_that_fails_names_its_field() -> None:
    failure = failure_of(run({"url": "http://h/", "headers": [{"name": "a", "value": "${params.nobody}"}]}))

    assert (failure.reason, failure.retryable) == (Reason.EXPRESSION_ERROR, False)
    assert failure.message.startswith("http.headers[0].value: ")


# --------------------------------------------------------------------------------------------------------- expectations


def test_a_status_that_is_not_expected_fails_with_the_beginning_of_what_was_said() -> None:
    said = b"<h1>Sorry</h1>\n\n  try again \xff later " + b"x" * 5000

    assert failed(Reply(503, said)) == Failed(
        reason=Reason.TASK_FAILED,
        error_type="HttpStatus",
        message="GET http://127.0.0.1:80/rows answered 503, expected 2xx: "
        + ("<h1>Sorry</h1> try again \ufffd later " + "x" * 200)[:200],
        retryable=True,
    )


@pytest.mark.parametrize(
    ("status", "expected", "outcome"),
    [
        (200, [200], Completed),
        (201, [200], Failed),
        (204, ["2xx"], Completed),
        (404, [200, "404"], Completed),
        (404, ["4XX"], Completed),
        (500, ["4xx"], Failed),
    ],
)
def test_what_is_expected_is_a_number_or_a_class(status: int, expected: list[Any], outcome: type[Outcome]) -> None:
    with serving(Reply(status)) as site:
        assert isinstance(run({"url": site.url(), "expect": {"status": expected}}), outcome)


def test_an_unexpected_status_is_told_however_large_or_broken_its_body_is() -> None:
    assert failed(Reply(500, b"x" * (2 * MEBIBYTE))).error_type == "HttpStatus"
    assert failed(Reply(500, b"no gzip", [("Content-Encoding", "gzip")])).message.endswith("answered 500, expected 2xx")


def test_expect_when_sees_the_response() -> None:
    reply = Reply.json({"done": True})
    when = "${response.body.done && response.status == 200 && response.headers['content-type'] == 'application/json'}"

    assert fetched(reply, expect={"when": when})["body"] == {"done": True}


def test_a_response_of_which_expect_when_is_false_fails_and_may_be_retried() -> None:
    assert failed(Reply.json({"done": False}), expect={"when": "${response.body.done}"}) == Failed(
        reason=Reason.TASK_FAILED,
        error_type="HttpExpectation",
        message='GET http://127.0.0.1:80/rows answered 200, but expect.when is false: {"done": false}',
        retryable=True,
    )


def test_an_expect_when_that_can_not_be_evaluated_is_an_error_of_the_expression() -> None:
    failure = failed(Reply.json({}), expect={"when": "${response.body.done}"})

    assert failure.reason == Reason.EXPRESSION_ERROR
    assert failure.message.startswith("http.expect.when: ")


# ------------------------------------------------------------------------------------------------------------ redirects


def hopping(status: int, **body: Any) -> list[Received]:
    """The requests of a body that is redirected once, within the same origin."""

    def answer(request: Received) -> Reply:
        return Reply.redirect("/next?b=2", status) if request.path == "/first" else Reply()

    with serving(answer) as site:
        run({"url": site.url("/first"), **body})
        return site.requests


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        *((status, "GET", "GET") for status in (301, 302, 303, 307, 308)),
        *((status, "HEAD", "HEAD") for status in (301, 303, 308)),
        *((status, "POST", "GET") for status in (301, 302, 303)),
        *((status, "PUT", "PUT") for status in (301, 302, 307, 308)),
        (303, "PUT", "GET"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
    ],
)
def test_the_method_after_a_redirect_is_that_of_rfc_9110(status: int, method: str, then: str) -> None:
    first, second = hopping(status, method=method, body={"a": 1}, headers=[{"name": "X-Own", "value": "x"}])

    assert (second.method, second.path, second.headers["x-own"]) == (then, "/next?b=2", "x")
    again = then == method and (status, method) != (303, "GET")  # See Other: what was sent is not sent again
    assert second.body == (first.body if again else b"")
    assert ("content-type" in second.headers) == again
    assert second.headers["idempotency-key"] == first.headers["idempotency-key"]


def test_where_the_origin_changes_nothing_goes_along_that_was_meant_for_the_first() -> None:
    secrets = {"Authorization": "Bearer hunter2", "Cookie": "id=hunter2", "X-Api-Key": "hunter2", "Accept": "a/b"}
    headers = [{"name": name, "value": value} for name, value in secrets.items()]
    with serving(Reply()) as other, serving(Reply.redirect(other.url("/there"), 307)) as site:
        result_of(run({"url": site.url(), "method": "POST", "headers": headers, "body": [1]}))
        (request,) = other.requests

    assert request.body == b"[1]"
    assert {name for name in request.headers if name not in {"host", "connection", "content-length"}} == {
        *("accept", "accept-encoding", "user-agent", "content-type")
    }
    assert (request.headers["accept"], "hunter2" in str(request)) == ("*/*", False)


def test_user_and_password_of_a_location_are_not_sent() -> None:
    with serving(Reply()) as other, serving(Reply.redirect(f"http://a:b@127.0.0.1:{other.port}/")) as site:
        result_of(run({"url": site.url()}))

    assert "authorization" not in other.requests[0].headers


def counting_down(request: Received) -> Reply:
    left = int(request.path.strip("/"))
    return Reply.redirect(f"/{left - 1}") if left else Reply()


def test_ten_redirects_are_followed_and_the_eleventh_is_not() -> None:
    with serving(counting_down) as site:
        result_of(run({"url": site.url("/10")}))
        failure = failure_of(run({"url": site.url("/11")}))

    assert failure.error_type == "TooManyRedirects"
    assert len(site.requests) == 11 + 11


def test_a_redirect_is_not_followed_where_the_task_says_so() -> None:
    reply = Reply.redirect("/next", 302)

    assert failed(reply, followRedirects=False).message == "GET http://127.0.0.1:80/rows answered 302, expected 2xx"
    assert fetched(reply, followRedirects=False, expect={"status": [302]})["headers"]["location"] == "/next"


def test_a_redirect_that_leads_nowhere_is_an_unexpected_status_or_an_invalid_request() -> None:
    assert failed(Reply(302)).error_type == "HttpStatus"
    assert failed(Reply.redirect("https://")).error_type == "InvalidRequest"
    assert failed(Reply.redirect("mailto:ada@example.com")).error_type == "InvalidRequest"


# --------------------------------------------------------------------------------------------------- broken connections


def test_a_refused_connection_is_told_in_plain_words() -> None:
    with serving(Reply()) as site:
        pass  # it listens no more

    failure = failure_of(run({"url": site.url("/x?token=hunter2")}))

    assert failure == Failed(
        reason=Reason.TASK_FAILED,
        error_type="ConnectionRefusedError",
        message=f"GET http://127.0.0.1:{site.port}/x failed: Connection refused",
        retryable=True,
    )


def test_the_next_address_of_a_name_is_tried_where_the_first_does_not_answer() -> None:
    with serving(Reply.json("here")) as site:
        network = Network(names={"two.example": [["2606:4700::1111", PUBLIC]]}, sites={PUBLIC: site})
        assert result_of(network.runner(Policy())(attempt_of({"url": "http://two.example/"})))["body"] == "here"

    assert network.dialled == ["2606:4700::1111", PUBLIC]


def test_a_name_that_does_not_resolve_is_told() -> None:
    failure = failure_of(HttpRunner(Policy())(attempt_of({"url": "http://no-such-host.invalid/x"})))

    assert (failure.error_type, failure.retryable) == ("NameNotResolved", True)
    assert failure.message.startswith(
        "GET http://no-such-host.invalid/x failed: no-such-host.invalid could not be resolved ("
    )


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nA b\r\n\r\n",
    ],
)
def test_a_server_that_does_not_speak_http_is_told(answer: bytes) -> None:
    def mumble(connection: Any) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    with speaking(mumble) as site:
        failure = failure_of(run({"url": site.url()}))

    assert (failure.error_type, failure.retryable) == ("ProtocolError", True)
    assert failure.message.startswith(f"GET http://127.0.0.1:{site.port}/ failed: the server does not speak HTTP")


def test_an_answer_is_read_also_where_the_server_does_not_take_the_whole_request() -> None:
    def impatient(connection: Any) -> None:
        connection.recv(1024)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")

    with speaking(impatient) as site:
        failure = failure_of(run({"url": site.url(), "method": "PUT", "body": "x" * MEBIBYTE * 8}))

    assert failure.error_type in {"HttpStatus", "ConnectionResetError"}  # the reset may overtake the answer


def test_many_attempts_share_one_runner() -> None:
    def echo(request: Received) -> Reply:
        return Reply.json(request.path)

    runner = HttpRunner(LOCAL)
    with serving(echo) as site, ThreadPoolExecutor(8) as pool:
        paths = [f"/{number}" for number in range(64)]
        outcomes = pool.map(lambda path: runner(attempt_of({"url": site.url(path)})), paths)
        assert [result_of(outcome)["body"] for outcome in outcomes] == paths


def test_no_message_holds_query_user_or_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Reply(500)) as site:
        url = f"http://ada:hunter2@127.0.0.1:{site.port}/rows?token=hunter2#hunter2"
        failures = [
            failure_of(run({"url": url})),
            failure_of(run({"url": url, "expect": {"status": [500], "when": "${false}"}})),
            failure_of(HttpRunner(Policy())(attempt_of({"url": url}))),
        ]

    assert [failure.error_type for failure in failures] == ["HttpStatus", "HttpExpectation", "AddressNotAllowed"]
    assert [failure.message for failure in failures if "hunter2" in failure.message or "ada" in failure.message] == []


def test_a_site_of_its_own_is_what_each_test_asks() -> None:
    """The servers of these tests are real: what they have received is what was sent over a socket."""
    with serving(Reply()) as one, serving(Reply()) as other:
        result_of(run({"url": one.url()}))

    assert [len(site.requests) for site in (one, other)] == [1, 0]
    assert isinstance(one, Site)
