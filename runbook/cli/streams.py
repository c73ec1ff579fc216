"""The process's three standard streams, as whoever started it left them.

Owns :func:`make_usable`. Promises: descriptors 0 to 2 are open before anything else is, so that no file of a run ever takes the
number that prose is written to; what a terminal's character set lacks is written in one that it has, and ends nothing.
"""

from __future__ import annotations

import codecs
import os
import sys
from io import TextIOWrapper

_NAMED = "runbook-plain"
_PLAIN = {
    "▸": ">",
    "▶": ">",
    "✓": "+",
    "✗": "x",
    "–": "-",
    "—": "-",
    "→": "->",
    "·": ".",
    "…": "...",
    "⋯": "...",
    "■": "#",
    "⚑": "!",
    "◷": "@",
    "↻": "~",
    "↶": "<",
    "│": "|",
    "•": "*",
}
"""Our own marks; whatever else is lacking is told by its number."""


def make_usable() -> None:
    """Open what is closed onto nothing, and let every text be written. To be called before the first file is opened."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  # for as long as the process lives
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    codecs.register_error(_NAMED, _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=_NAMED)


def _plain(error: UnicodeError) -> tuple[str, int]:
    """What stands for the characters that the stream's encoding has not (an error handler of :mod:`codecs`)."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(char) or char.encode("ascii", "backslashreplace").decode() for char in lacking), error.end
