"""Secrets that were written into a file: how to spot them, and how to show a line without them.

Owns the patterns. Promises: :func:`mask` hides the value beside every key that looks like a secret's and every token of
a known form; :func:`leaks` reports only what is almost certainly a secret, so that it may be refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from runbook.secret import MASK

_REFERENCE = (
    r"(?!\{\s*(?:(?:env|file|aws_secret)\s*:[^,{}]*|command\s*:\s*\[[^\]{}]*\]\s*)\})"
    r"(?![\"']?\{\{)(?!\s*$)(?![|>][+-]?\s*$)(?!null\b|~)"
)
_SHY_WORD = (
    r"(?:password|passwd|passphrase|pwd|(?<!aws_)secret|token|api_?key|access_?key|private_?key|credential"
    r"|authorization|cookie)"
)
_SHY = re.compile(rf"(?i)(?P<key>(?<![\w-])[\w-]*{_SHY_WORD}[\w-]*[\"']?\s*[:=]\s*){_REFERENCE}\S.*")
_SHY_KEY = re.compile(rf"(?i)[\w-]*{_SHY_WORD}[\w-]*")
_SHY_BLOCK = re.compile(rf"(?i)^\s*(?:- )?[\"']?{_SHY_KEY.pattern[4:]}[\"']?\s*:\s*(?:[|>][+-]?\d?)?\s*$")

_KINDS: tuple[tuple[str, tuple[str, ...], re.Pattern[str]], ...] = (
    ("an AWS access key", ("AKIA", "ASIA"), re.compile(r"\b(A(?:KIA|SIA)[0-9A-Z]{16})\b")),
    ("a private key", ("-----BEGIN",), re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY)")),
    ("a password in a URL", ("://",), re.compile(r"://[^/\s:@\"'{}]*:((?!\{\{|\$)[^@\s/\"']+)@")),
    ("a GitHub token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), re.compile(r"\b(gh[pousr]_[A-Za-z0-9]{30,})\b")),
    ("a Slack token", ("xox",), re.compile(r"\b(xox[abprs]-[A-Za-z0-9-]{10,})")),
    (
        "a credential in a header",
        ("uthorization",),
        re.compile(r"(?i:authorization[\"']?\s*:\s*[\"']?(?:bearer|basic)\s+)((?!\{\{)[^\s\"']+)"),
    ),
    (
        "a password in a command",
        ("--password", "--passwd", "--token", "--secret", "PGPASSWORD=", "MYSQL_PWD=", "REDISCLI_AUTH=", " -a "),
        re.compile(
            r"(?:--(?:password|passwd|token|secret)[= ]|\b(?:PGPASSWORD|MYSQL_PWD|REDISCLI_AUTH)="
            r"|\bredis-cli\b[^\n]{0,200} -a )[\"']?((?!\{\{|\$|-)[^\s\"',\]]+)"
        ),
    ),
)
"""What it is, words without which it isn't there (looked for first: that is quick), and its pattern."""
_WORDS = re.compile(r"passw|passphrase|secret_|private_key|api_key")
_LITERAL = re.compile(
    r"(?m)(?<![\w.-])[\"']?(?:password|passwd|passphrase|secret_key|secret_access_key|private_key|api_key)[\"']?:[ \t]++"
    rf"(?P<literal>{_REFERENCE}(?![#&*\[\{{]|[\"']?(?:string|text)\b)\S[^\n,}}]*)"
)


@dataclass(frozen=True, slots=True)
class Leak:
    """A secret that stands in a text: what it seems to be, where it begins (characters from 0) and how long it is."""

    kind: str
    offset: int
    length: int


def leaks(text: str, *, keys: bool) -> Iterator[Leak]:
    """Secrets written out in ``text``; with ``keys`` also literal values beside keys such as ``password:``."""
    for kind, pattern in _possible(text):
        for match in pattern.finditer(text):
            yield Leak(kind, match.start(1), match.end(1) - match.start(1))
    if keys and _WORDS.search(text):
        for match in _LITERAL.finditer(text):
            yield Leak("a password or key", match.start("literal"), len(match["literal"].rstrip()))


def is_shy(key: str) -> bool:
    """Whether a key's name says that its value is a secret."""
    return _SHY_KEY.fullmatch(key) is not None


def mask(line: str, before: str = "") -> str:
    """The line as it may be shown. ``before`` is the line above it: a secret's block begins below its key."""
    if before and _SHY_BLOCK.match(before):
        return line[: len(line) - len(line.lstrip())] + MASK
    line = _SHY.sub(lambda match: match["key"] + MASK, line)
    for _, pattern in _possible(line):
        if match := pattern.search(line):
            line = line[: match.start(1)] + MASK
    return line


def _possible(text: str) -> Iterator[tuple[str, re.Pattern[str]]]:
    for kind, words, pattern in _KINDS:
        if any(word in text for word in words):
            yield kind, pattern
