"""Secrets: named everywhere, held by nobody, revealed in transports only.

Owns :class:`SecretRef` (where a secret is to be read, as data: safe to print, hash and journal), :class:`Secret` (the
value itself: not a ``str``, masked by construction) and :class:`Redactor` (the filter before every sink). Promises:
no ``repr``, ``str``, format or pickle of a :class:`Secret` holds its value.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock
from typing import NoReturn, TypeAlias
from urllib.parse import quote, quote_plus

MASK = "•••"
SHORTEST_REDACTED = 8
"""Shorter values are not searched for: masking every ``a`` hides more of the truth than of the secret."""
SHORTEST_LINE = 16
"""Of a secret of several lines (a key's file) each line is searched for as well, from this length on: programs indent them."""
_PERCENT = re.compile("%[0-9A-F]{2}")


@dataclass(frozen=True, slots=True)
class FromEnv:
    """``{env: NAME}``: an environment variable of the engine."""

    name: str

    def __str__(self) -> str:
        return f"${self.name}"


@dataclass(frozen=True, slots=True)
class FromFile:
    """``{file: PATH}``: a file that only its owner may read (mode 0600)."""

    path: str

    def __str__(self) -> str:
        return f"the content of {self.path}"


@dataclass(frozen=True, slots=True)
class FromCommand:
    """``{command: [...]}``: what a command prints, without the final newline."""

    argv: tuple[str, ...]

    def __str__(self) -> str:
        return f"the output of `{shlex.join(self.argv)}`"


@dataclass(frozen=True, slots=True)
class FromAws:
    """``{aws_secret: NAME}``: AWS Secrets Manager."""

    name: str

    def __str__(self) -> str:
        return f"AWS secret {self.name}"


@dataclass(frozen=True, slots=True)
class FromEscrow:
    """A secret that this run minted: a 0600 file below the run's directory, by name."""

    name: str

    def __str__(self) -> str:
        return f"the escrowed secret {self.name}"


SecretRef: TypeAlias = FromEnv | FromFile | FromCommand | FromAws | FromEscrow


class Secret:
    """A revealed secret. Only :meth:`reveal` gives the value; everything else gives a mask."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value; to be called in transports, next to the use."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not serialised")


class Redactor:
    """Replaces known secret values, in the forms in which they travel, by a mask.

    Forms: raw; base64, ordinary and for URLs, at its three alignments; hex; and as URLs, JSON, shells, SQL, libpq, HTML and Python
    quote them. Of a value of several lines, each long line too. ``longest`` is the length of the longest form: a streaming sink
    holds back that many characters less one, so that a value split over two chunks is found.
    """

    def __init__(self, secrets: tuple[Secret, ...] = ()) -> None:
        self._forms: tuple[str, ...] = ()
        self._known: frozenset[Secret] = frozenset()
        self._learning = Lock()
        self._public: tuple[str, ...] = ()
        for secret in secrets:
            self.learn(secret)

    def disclose(self, *texts: str) -> None:
        """Texts that everybody reads anyway (the plan, the environment, the inputs): a value that stands in one is not masked.

        A password that is the database's name as well would else take that name out of the journal, and a resume reads
        inputs, targets and baselines from there. What was learnt before is looked through anew.
        """
        with self._learning:
            self._public += texts
            self._forms = _longest_first(self._watched(*self._known))

    def learn(self, secret: Secret) -> None:
        """Watch for one more secret, from now on. Safe beside other threads that learn or filter."""
        if secret in self._known:
            return
        with self._learning:
            self._known |= {secret}
            self._forms = _longest_first({*self._forms, *self._watched(secret)})

    def _watched(self, *secrets: Secret) -> set[str]:
        """The forms of what stands nowhere in the open."""
        found: set[str] = set()
        for value in (secret.reveal() for secret in secrets):
            lines = [line.strip() for line in value.splitlines()] if "\n" in value else []
            for text in (value, *(line for line in lines if len(line) >= SHORTEST_LINE)):
                if len(text) >= SHORTEST_REDACTED and not any(text in public for public in self._public):
                    found |= {form for form in _forms(text) if len(form) >= SHORTEST_REDACTED}
        return found

    @property
    def longest(self) -> int:
        """Length of the longest watched form, in characters; 0 if nothing is watched."""
        return len(self._forms[0]) if self._forms else 0

    @property
    def forms(self) -> tuple[str, ...]:
        """The watched forms, longest first; for the supervisor, which redacts what children print."""
        return self._forms

    def __call__(self, text: str) -> str:
        """The text with every watched form masked."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return text


def _longest_first(forms: set[str]) -> tuple[str, ...]:
    return tuple(sorted(forms, key=lambda form: (-len(form), form)))


def _forms(value: str) -> Iterator[str]:
    """How a value looks in what programs print: quoted as they quote, and encoded."""
    yield value
    for quoted in (quote(value, safe=""), quote(value), quote_plus(value)):
        yield quoted
        yield _PERCENT.sub(lambda found: found[0].lower(), quoted)
    # most programs that print JSON keep letters beyond ASCII; some write them as escapes; and logs are JSON that holds JSON
    for once in (json.dumps(value, ensure_ascii=escaped)[1:-1] for escaped in (True, False)):
        yield from (once, json.dumps(once, ensure_ascii=False)[1:-1])
    yield shlex.quote(value)
    yield value.replace("'", "'\\''")
    doubled, slashed = value.replace("'", "''"), value.replace("\\", "\\\\")
    yield from (doubled, slashed.replace("'", "''"))
    yield from (slashed.replace("'", "\\'"), slashed.replace(":", "\\:"))  # in a conninfo string, in a password file
    yield from (html.escape(value), html.escape(value, quote=False))
    raw = value.encode()
    yield from (repr(value)[1:-1], repr(raw)[2:-1])
    yield from (raw.hex(), raw.hex().upper())
    for shift in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = encode(b"\0" * shift + raw).decode().rstrip("=")
            yield encoded[0 if shift == 0 else shift + 1 : len(encoded) - 1]
