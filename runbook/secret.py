"""Secrets: named everywhere, held by nobody, revealed in transports only.

Owns :class:`SecretRef` (where a secret is to be read, as data: safe to print, hash and journal), :class:`Secret` (the
value itself: not a ``str``, masked by construction) and :class:`Redactor` (the filter before every sink). Promises:
no ``repr``, ``str``, format or pickle of a :class:`Secret` holds its value.
"""

from __future__ import annotations

import base64
import json
import shlex
from dataclasses import dataclass
from typing import NoReturn, TypeAlias
from urllib.parse import quote, quote_plus

MASK = "•••"
SHORTEST_REDACTED = 8
"""Shorter values are not searched for: masking every ``a`` hides more of the truth than of the secret."""


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

    Forms: raw, base64 (three alignments), URL-quoted, JSON-escaped, shell-quoted. ``longest`` is the length of the
    longest form: a streaming sink holds back that many characters less one, so that a value split over two chunks is found.
    """

    def __init__(self, secrets: tuple[Secret, ...] = ()) -> None:
        self._forms: dict[str, None] = {}
        self._public: tuple[str, ...] = ()
        for secret in secrets:
            self.learn(secret)

    def disclose(self, *texts: str) -> None:
        """Texts that everybody reads anyway (the plan, the environment, the inputs): a value that stands in one is not masked.

        A password that is the database's name as well would else take that name out of the journal, and a resume reads
        inputs, targets and baselines from there. To be called before secrets are learnt.
        """
        self._public += texts

    def learn(self, secret: Secret) -> None:
        """Watch for one more secret, from now on."""
        value = secret.reveal()
        if len(value) < SHORTEST_REDACTED or any(value in text for text in self._public):
            return
        forms = {value, quote(value, safe=""), quote_plus(value), shlex.quote(value)}
        # most programs that print JSON keep letters beyond ASCII; some write them as escapes
        forms |= {json.dumps(value, ensure_ascii=escaped)[1:-1] for escaped in (True, False)}
        raw = value.encode()
        for shift in range(3):
            encoded = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
            forms.add(encoded[0 if shift == 0 else shift + 1 : len(encoded) - 1])
        for form in sorted(forms, key=len, reverse=True):
            if len(form) >= SHORTEST_REDACTED:
                self._forms[form] = None

    @property
    def longest(self) -> int:
        """Length of the longest watched form, in characters; 0 if nothing is watched."""
        return max(map(len, self._forms), default=0)

    @property
    def forms(self) -> tuple[str, ...]:
        """The watched forms, longest first; for the supervisor, which redacts what children print."""
        return tuple(sorted(self._forms, key=len, reverse=True))

    def __call__(self, text: str) -> str:
        """The text with every watched form masked."""
        for form in self.forms if self._forms else ():
            if form in text:
                text = text.replace(form, MASK)
        return text
