"""What the process keeps to itself: the secrets that a command has read, its memory, and the frames of an exception.

Owns the one redactor of a command, through which everything goes that :mod:`runbook.cli.screen` shows, and what is set up before
the first command. Promises: a value that was read as a secret is shown in no text, whoever made that text; the process leaves no
core, and others of the same user can't read its memory.
"""

from __future__ import annotations

import resource
import sys
import threading
from typing import TYPE_CHECKING

from runbook.secret import Redactor

if TYPE_CHECKING:
    from runbook.operation import Json

_SET_DUMPABLE = 4
"""Of prctl(2)."""


class _Command:
    """The command that is running; there is one at a time."""

    redactor = Redactor()


def begin() -> Redactor:
    """A command begins, and knows no secret yet."""
    _Command.redactor = Redactor()
    return _Command.redactor


def redactor() -> Redactor:
    """What knows the secrets that this command has read. To be handed to whatever reads some."""
    return _Command.redactor


def masked(text: str) -> str:
    """The text as it may be shown."""
    return _Command.redactor(text)


def masked_json(value: Json) -> Json:
    """The value as it may be shown, every text in it."""
    if not _Command.redactor.longest:
        return value
    from runbook.runner.ledger import masked as filtered

    return filtered(value, _Command.redactor)


def keep_private() -> None:
    """Leave no core, let nobody of the same user read this memory, and show an exception of a thread as any other text.

    RLIMIT_CORE alone is not asked where the kernel pipes cores to a program (core(5)), hence PR_SET_DUMPABLE too. What is executed
    from here has its own memory, and inherits the limit.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0, 0, 0, 0)
    threading.excepthook = _told


def traced(error: BaseException) -> str:
    """Where an exception came from: lines of source, the texts of the exceptions; no arguments and no local values."""
    import traceback

    return "".join(traceback.format_exception(error)).rstrip("\n")


def _told(ended: threading.ExceptHookArgs) -> None:
    from runbook.quoting import visible

    if ended.exc_value is not None:
        told = masked(traced(ended.exc_value))
        sys.stderr.write("\n".join(visible(line) for line in told.split("\n")) + "\n")
