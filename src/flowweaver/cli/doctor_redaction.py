"""Takes out of a text what must not leave a machine: credentials, wherever they are likely to stand.

It is no proof that nothing is left: who sends a report on reads it first. Results and parameters of workflows, and the
values of foreign environment variables, never come here in the first place.
"""

from __future__ import annotations

import re
from collections.abc import Callable

LEFT_OUT = "[left out]"

_TELLTALE_WORDS = (
    r"pass(?:word|wd|phrase)?|pwd|secret|token|api[-_.]?key|access[-_.]?key|private[-_.]?key|client[-_.]?secret|"
    r"credentials?|authorization|auth[-_.]?key|signature|sig|session[-_.]?(?:id|key)|cookie|dsn|connection[-_.]?string"
)

_SCHEME = r"\b(?i:[a-z][a-z0-9+.-]*)://"

_RULES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    # Keys and certificates, also where a log wrote the line ends out.
    (re.compile(r"-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|\Z)", re.DOTALL), LEFT_OUT),
    # Who logs in, and what an address asks for: scheme://user:password@host/path?query#fragment
    (re.compile(rf"(?P<scheme>{_SCHEME})[^\s/@'\"<>]*@"), rf"\g<scheme>{LEFT_OUT}@"),
    (
        re.compile(rf"(?P<address>{_SCHEME}[^\s?#'\"<>]*)[?#](?!\[left out\])[^\s'\"<>]*"),
        rf"\g<address>?{LEFT_OUT}",
    ),
    # Authorization: Bearer …, and the same without the header's name
    (
        re.compile(
            r"(?P<name>authorization\\?[\"']?\s*[:=]\s*\\?[\"']?)(?!\[left out\])(?:[a-z]+\s+)?[^\s\"',;]+",
            re.IGNORECASE,
        ),
        rf"\g<name>{LEFT_OUT}",
    ),
    (re.compile(r"\b(?P<kind>(?i:bearer))\s+[\w.~+/=:-]{6,}"), rf"\g<kind> {LEFT_OUT}"),
    (
        re.compile(r"\b(?P<kind>(?i:basic|token|digest|negotiate))\s+(?=\S*[A-Z0-9=])[\w.~+/=:-]{6,}"),
        rf"\g<kind> {LEFT_OUT}",
    ),
    # password=…, "apiKey": "…", --token …, SECRET_TOKEN: …
    (
        re.compile(
            rf"(?P<name>[\w.-]*(?:{_TELLTALE_WORDS})[\w.-]*\\?[\"']?\s*[:=]\s*)"
            rf"(?:\\?\"(?:[^\"\\]|\\.)*\\?\"|\\?'[^']*'|(?!\[left out\])[^\s,;&}})\]]+)",
            re.IGNORECASE,
        ),
        rf"\g<name>{LEFT_OUT}",
    ),
    (
        re.compile(rf"(?P<name>--[\w-]*(?:{_TELLTALE_WORDS})[\w-]*\s+)(?!\[left out\])\S+", re.IGNORECASE),
        rf"\g<name>{LEFT_OUT}",
    ),
    # Tokens that tell what they are: JWT, GitHub, GitLab, Slack, AWS, Google, npm, PyPI, Stripe.
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?"), LEFT_OUT),
    (
        re.compile(
            r"\b(?:gh[opusr]_|github_pat_|glpat-|xox[abeoprs]-|npm_|pypi-|[srp]k_(?:live|test)_|AIza|ya29\.)[\w.-]{10,}"
        ),
        LEFT_OUT,
    ),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), LEFT_OUT),
)


def redacted(text: str) -> str:
    """The text without what looks like a credential. Idempotent."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text
