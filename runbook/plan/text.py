"""The text of one file: bytes that were checked, and places in it that can be shown.

Owns size, encoding and forbidden characters. Promises: a :class:`Text` holds UTF-8 without control, bidirectional or
zero-width characters and with no line break but ``\\n`` and ``\\r\\n``; a place never shows a line's secret.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from itertools import islice

from runbook.errors import InvalidInput, Place, Problem
from runbook.plan.codes import orderly, problem
from runbook.plan.leak import leaks, mask
from runbook.quoting import DECEIVING

LARGEST_BYTES = 4 * 1024 * 1024
LONGEST_SHOWN = 160
"""Characters of a line that a place shows; longer lines are shown without their text."""

LONGEST_MASKED = 1000
"""Characters of a line that is looked through for secrets, to be shown: a whole plan may stand on one line, once for each fault."""
MOST_LEAKS = 200

_BREAKS = "\r(?!\n)|[\x85\u2028\u2029]"
_CONTROL = "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufdd0-\ufdef\ufffe\uffff]"
_HIDDEN = f"[{DECEIVING}]"
_FORBIDDEN = re.compile(f"{_BREAKS}|{_CONTROL}|{_HIDDEN}")
_PRINTED = re.compile(f"{_CONTROL}|{_HIDDEN}|[\x85\r]")
_WIDE_MARKS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


@dataclass(frozen=True, slots=True)
class Text:
    """A checked file. ``lines`` are without their breaks; ``content`` is without a byte order mark."""

    name: str
    raw: bytes
    content: str
    lines: tuple[str, ...]

    def place(self, line: int, column: int, width: int = 1) -> Place:
        """The place at ``line`` and ``column`` (both from 0), with its line, masked, where that can be shown."""
        if not 0 <= line < len(self.lines):
            return Place(self.name, line + 1, column + 1, width)
        raw = self.lines[line]
        if len(raw) > LONGEST_MASKED:
            return Place(self.name, line + 1, column + 1, width)
        shown = mask(raw, self.lines[line - 1] if line else "")
        if len(shown) > LONGEST_SHOWN or (shown != raw and column >= len(shown)):
            return Place(self.name, line + 1, column + 1, width)
        if shown != raw:
            return Place(self.name, line + 1, column + 1, max(1, min(width, len(shown) - column)), shown)
        before = escape(raw[:column])
        width = len(escape(raw[column : column + width])) or 1
        return Place(self.name, line + 1, len(before) + 1, width, before + escape(raw[column:]))

    def place_at(self, offset: int, width: int = 1) -> Place:
        """The place of a character of ``content``, counted from 0."""
        line = self.content.count("\n", 0, offset)
        return self.place(line, offset - (self.content.rfind("\n", 0, offset) + 1), width)

    def secrets(self, *, keys: bool) -> list[Problem]:
        """Secrets that are written out in this file; see :func:`runbook.plan.leak.leaks`."""
        return [
            problem(
                "E180",
                f"This looks like {leak.kind}. Whatever stands here ends up in journals, reports and version control.",
                fix="name it in the environment: {env: NAME}, {file: PATH}, {command: [...]} or {aws_secret: NAME}",
                where=self.place_at(leak.offset, leak.length),
            )
            for leak in islice(leaks(self.content, keys=keys), MOST_LEAKS)
        ]


def decode(name: str, raw: bytes) -> Text:
    """The checked text of a file; :class:`InvalidInput` with every forbidden character otherwise."""
    if len(raw) > LARGEST_BYTES:
        raise InvalidInput(
            problem(
                "E101",
                f"{name} has {len(raw):,} bytes; the limit is {LARGEST_BYTES:,}.",
                fix="divide it: include plans",
            )
        )
    for mark, encoding in _WIDE_MARKS:
        if raw.startswith(mark):
            raise InvalidInput(
                problem(
                    "E110",
                    f"The file begins with the mark of {encoding}.",
                    fix="save it as UTF-8",
                    where=Place(name, 1, 1),
                )
            )
    try:
        content = raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as fault:
        raise InvalidInput(_undecodable(name, raw, fault.start)) from None
    text = Text(name, raw, content, tuple(line.removesuffix("\r") for line in content.split("\n")))
    if match := _FORBIDDEN.search(content):
        found = [match, *_FORBIDDEN.finditer(content, match.end())]
        raise InvalidInput(*orderly(_forbidden(text, each) for each in found[:200]))
    return text


def escape(text: str) -> str:
    """The text with characters that a terminal obeys or hides written as their code points."""
    return _PRINTED.sub(lambda match: _escaped(match[0]), text)


def describe(character: str) -> str:
    """``U+202E RIGHT-TO-LEFT OVERRIDE``."""
    return f"U+{ord(character):04X} {unicodedata.name(character, 'control character')}".rstrip()


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _undecodable(name: str, raw: bytes, offset: int) -> Problem:
    line = raw.count(b"\n", 0, offset)
    start = raw.rfind(b"\n", 0, offset) + 1
    column = len(raw[start:offset].decode("utf-8", "replace"))
    detail = f"The byte 0x{raw[offset]:02x} (number {offset + 1:,} of the file) isn't part of a UTF-8 character."
    return problem("E110", detail, fix="save the file as UTF-8", where=Place(name, line + 1, column + 1))


def _forbidden(text: Text, match: re.Match[str]) -> Problem:
    character = match[0]
    why = "it hides or reorders text" if re.match(_HIDDEN, character) else "it isn't allowed in YAML here"
    return problem("E111", f"{describe(character)}: {why}.", fix="remove it", where=text.place_at(match.start()))
