"""Canaries: a secret of its own for every place from which runbook takes one, and the forms in which one may turn up.

The forms are written down here, on their own: nothing is taken from the code that is under test. Each canary begins and ends with
a word of letters and digits that nobody can guess, which every quoting leaves as it is: a part of a secret is found as well as all
of it.
"""

from __future__ import annotations

import base64
import secrets
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

WORD = 14
"""Letters of each word: long enough that its inner part is found in base64, wherever that begins."""
PART = 8
"""So many of them, at a word's beginning or end, are enough to be found where the rest was cut off or masked."""
_LETTERS = string.ascii_letters + string.digits


@dataclass(frozen=True)
class Canary:
    """A secret of one kind of source: two words with odd characters between them."""

    kind: str
    value: str
    words: tuple[str, ...]

    @property
    def needles(self) -> Iterator[tuple[str, bytes]]:
        """What to look for: the name of a form, and its bytes. URL, JSON, shell, SQL, HTML and repr leave a word as it is."""
        for word in self.words:
            raw = word.encode()
            yield from (("raw or quoted", raw[:PART]), ("raw or quoted", raw[-PART:]))
            for shift in range(3):
                encoded = base64.b64encode(b"\0" * shift + raw)
                yield f"base64, alignment {shift}", encoded[4 if shift else 0 : len(raw) // 3 * 4]
            yield "hex", raw.hex().encode()
            yield "hex", raw.hex().upper().encode()
            yield "UTF-16", word.encode("utf-16-le")


def word() -> str:
    """A word that stands nowhere else."""
    return "".join(secrets.choice(_LETTERS) for _ in range(WORD))


def made(kind: str, between: str) -> Canary:
    """A fresh canary with these characters in its middle."""
    first, last = word(), word()
    return Canary(kind, f"{first}{between}{last}", (first, last))


def channel(port: int) -> Canary:
    """A notification's URL, whose path is the secret."""
    first, last = word(), word()
    value = f"json://127.0.0.1:{port}/notify/{first}/{quote(chr(34) + '&ü', safe='')}{last}"
    return Canary("channel", value, (first, last))


def several_lines() -> Canary:
    """A key of several lines, as they are kept in files."""
    words = tuple(word() for _ in range(3))
    lines = "\n".join(f"  {each}+/=" for each in words)
    return Canary("key of several lines", f"-----BEGIN THING-----\n{lines}\n-----END THING-----", words)


def minted(value: str) -> Canary:
    """One that the program made itself."""
    return Canary("minted", value, (value[:WORD], value[-WORD:]))


def found(data: bytes, canaries: Iterable[Canary]) -> list[tuple[str, str]]:
    """What of these stands there: kind and form."""
    return [(one.kind, form) for one in canaries for form, needle in one.needles if needle in data]
