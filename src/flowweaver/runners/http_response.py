"""What comes back: read within bounds, and turned into a result.

A server may be anybody's. So what it sends is counted while it arrives, packed and unpacked, one coding deep (a few
kilobytes of nested gzip unpack to terabytes), and a character set is only used when decoding it is cheap.
"""

from __future__ import annotations

import codecs
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from flowweaver.core.phases import Reason
from flowweaver.runners.failures import Refused, storable
from flowweaver.runners.http_failures import failure, one_line
from flowweaver.runners.results import MAX_RESULT_BYTES

_PIECE_BYTES = 64 * 1024
_EXCERPT_CHARACTERS = 200
_AUTOMATIC = 32 + zlib.MAX_WBITS  # gzip or zlib, by what it begins with

#: The names of Python's codecs that decode in linear time; `punycode` and others do not, or are no character sets.
_CHARSETS = frozenset(
    {"ascii", "utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"}
    | {f"iso8859-{part}" for part in range(1, 17)}
    | {f"cp{page}" for page in (437, 850, 852, 866, 874, 932, 936, 949, 950, *range(1250, 1259))}
    | {
        "koi8-r",
        "koi8-u",
        "mac-roman",
        "shift_jis",
        "euc_jp",
        "iso2022_jp",
        "gb2312",
        "gbk",
        "gb18030",
        "big5",
        "euc_kr",
    }
)


def header_map(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by lower-cased name; the values of one that came more than once are joined by ", "."""
    joined: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def is_expected(status: int, expected: Sequence[Any]) -> bool:
    """Whether the status is one of these: numbers (200) and classes ("2xx")."""
    return any(str(each) == str(status) or str(each).lower() == f"{status // 100}xx" for each in expected)


def read_body(what: str, headers: dict[str, str], chunks: Iterable[bytes]) -> bytes:
    """The whole body, unpacked; raises `Refused` (`ResultTooLarge`) as soon as it passes the limit."""
    parts, size = [], 0
    for part in _unpacked(what, headers, _bounded(what, chunks)):
        size += len(part)
        if size > MAX_RESULT_BYTES:
            raise _too_large(what)
        parts.append(part)
    return b"".join(parts)


def parse_body(what: str, headers: dict[str, str], body: bytes) -> Any:
    """JSON where the content type says so, else text; raises `Refused` for JSON that is none."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in {"application/json", "text/json"} and not kind.endswith("+json"):
        return _decoded(headers, body)
    if not body.strip():
        return None
    try:
        return json.loads(body, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError as exc:
        raise failure(f"{what} answered JSON that is nested too deep", "ResponseNotJson") from exc
    except ValueError as exc:  # of the syntax, the encoding and numbers alike
        raise failure(
            f'{what} answered with the content type "{one_line(kind)}", but its body is no JSON ({exc})',
            "ResponseNotJson",
        ) from exc


def excerpt(headers: dict[str, str], chunks: Iterable[bytes]) -> str:
    """The first characters of the body, on one line; empty where it can not be read."""
    parts, size = [], 0
    try:
        for part in _unpacked("", headers, chunks):
            parts.append(part)
            size += len(part)
            if size >= 8 * _EXCERPT_CHARACTERS:
                break
    except (Refused, OSError):
        pass  # the status is the news, not that its explanation is broken
    return shortened(_decoded(headers, b"".join(parts)[: 8 * _EXCERPT_CHARACTERS]))


def shortened(body: Any) -> str:
    """The first characters of a parsed body, on one line."""
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    return one_line(storable(text))[:_EXCERPT_CHARACTERS]


def _bounded(what: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > MAX_RESULT_BYTES:
            raise _too_large(what)
        yield chunk


def _unpacked(what: str, headers: dict[str, str], chunks: Iterable[bytes]) -> Iterator[bytes]:
    coding = headers.get("content-encoding", "").strip().lower()
    match coding:
        case "" | "identity":
            return iter(chunks)
        case "gzip" | "x-gzip" | "deflate":
            return _inflated(what, chunks)
        case _:
            raise failure(
                f'{what} answered in the coding "{one_line(coding)[:50]}", which can not be unpacked here: gzip can',
                "UnknownEncoding",
            )


def _inflated(what: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(_AUTOMATIC)
    started = False
    try:
        for chunk in chunks:
            rest, started = chunk, True
            while rest:
                if unpacker.eof:  # a gzip file may have several members
                    unpacker = zlib.decompressobj(_AUTOMATIC)
                yield unpacker.decompress(rest, _PIECE_BYTES)
                rest = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
        yield unpacker.flush()  # what the last piece had no room for: all input is in, so that it is little
    except zlib.error as exc:
        raise failure(f"{what} answered with a body that can not be unpacked ({exc})", "BrokenEncoding") from exc
    if started and not unpacker.eof:
        raise failure(f"{what} answered with a packed body that ends too early", "BrokenEncoding")


def _decoded(headers: dict[str, str], body: bytes) -> str:
    for parameter in headers.get("content-type", "").split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return body.decode(_charset(value.strip().strip("\"'")), "replace")
    return body.decode("utf-8", "replace")


def _charset(name: str) -> str:
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError):
        return "utf-8"
    return found if found in _CHARSETS else "utf-8"


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:40]} is too large a number")
    return number


def _too_large(what: str) -> Refused:
    return Refused(
        Reason.RESULT_TOO_LARGE,
        f"{what} answered more than {MAX_RESULT_BYTES} bytes, and that is the most that is kept: "
        "ask for less (a page, a filter), or fetch it to a file in a python or shell task",
    )
