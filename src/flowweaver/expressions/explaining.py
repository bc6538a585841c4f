"""What the library says, turned into sentences for somebody who wrote a manifest."""

from __future__ import annotations

import re

_KEY = re.compile(r'Key not found in map : "?(.*?)"?$')
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")
_OVERLOAD = re.compile(
    r"No matching overloads found : ([^\s(]+)(?:\((.*)\))?|no matching overload for '([^']+)' applied to '\((.*)\)'"
)
_UNEXPECTED = re.compile(
    r"(?:mismatched|extraneous) input '(.+?)'(?: expecting|$)|no viable alternative at input '(.+)'"
)
_UNREADABLE = re.compile(r"token recognition error at: '(.*)'$")
_MISSING = re.compile(r"missing '(.+?)' at '(.+)'")

_SENTENCES = {
    "Iteration budget exceeded": "it takes more than 10,000 steps: filter earlier, or compute it in a python task",
    "recursion": "it is nested or chained more than 32 deep: split it up over several value tasks",
    "Unable to convert function return value": "it gives an optional value: end it with .orValue(…)",
    "<iter_range>": "only a list or a map can be gone through with map, filter, all or exists",
    "input '<EOF>'": "it ends too early: something is missing at its end",
    "divide by zero": "it divides by zero",
    "modulus by zero": "it divides by zero",
    "integer overflow": "a whole number does not fit into 64 bits: calculate with double(…)",
    "out of int64 range": "the number does not fit into 64 bits",
    "invalid int literal": "the number does not fit into 64 bits: write it as 1.0e20",
    "non-message type": "a field is asked of something that has none: only maps have fields",
    "Invalid container type": "an index is asked of something that is no list and no map",
    "String to Timestamp": "the text is no instant in RFC 3339, such as 2030-01-01T00:00:00Z",
    "String to Duration": "the text is no duration, such as 90s or 1h30m",
}
_INSTEAD = {"and": "&&", "or": "||", "not": "!", "is": "==", "=": "==", "mod": "%"}
_CONDITIONS = frozenset({"<jump_condition>", "_&&_", "_||_", "!_"})


def explain(message: str, *, called: bool = False) -> str:
    """One sentence that says what is wrong and the fix. `called`: it is about a name before a parenthesis."""
    text = re.sub(r"\s*\[[A-Z_]+\]\s*$", "", message.strip())
    text = re.sub(r"^(?:[A-Z_]+|Syntax error): ", "", text.split("\n", 1)[0])
    text = re.sub(r"^Syntax error: ", "", text)
    if found := _KEY.match(text):
        return no_key(found[1])
    if found := _UNDECLARED.search(text):
        return f'there is no function "{found[1]}"' if called else f'nothing is named "{found[1]}" here'
    for part, sentence in _SENTENCES.items():
        if part in text:
            return sentence
    if found := _OVERLOAD.search(text):
        return _mismatch(found[1] or found[3], found[2] or found[4] or "")
    return _syntax(text)


def no_key(name: str) -> str:
    """The sentence about a key that a map does not have."""
    return f'there is no "{name}" in it: test with has(…) first, or give a default with .?{name}.orValue(…)'


def _mismatch(function: str, types: str) -> str:
    if function in _CONDITIONS or (function == "_?_:_" and not types.startswith("bool")):
        return "a condition must be true or false: compare with ==, > or the like"
    if function == "_?_:_":
        return "both sides of the : must have the same type: convert one, or wrap both in dyn(…)"
    name = function.strip("_").replace("@", "").replace("_", "")
    types = types.replace("int64", "int").replace("null_type", "null")
    shown = f"({types})" if types else "these types"
    return f'"{name}" does not work on {shown}: convert with string(…), int(…) or double(…)'


def _syntax(text: str) -> str:
    if found := _UNREADABLE.search(text):
        piece = found[1].strip()
        if piece[:1] in {"'", '"'}:
            return "a text is not closed, or holds a backslash that means nothing: write \\\\ for a backslash"
        return f'"{piece}" means nothing here{_hint(piece)}'
    if found := _UNEXPECTED.search(text):
        piece = found[1] or found[2]
        return f'"{piece}" is not expected here{_hint(piece)}'
    if found := _MISSING.search(text):
        return f'"{found[1]}" is missing'
    return re.sub(r" expecting (?:\{.*|<EOF>)", "", text)


def _hint(piece: str) -> str:
    instead = _INSTEAD.get(piece)
    return f": write {instead}" if instead else ""
