"""Problems and exit codes: what can be wrong, said so that a tired person knows what to do.

Owns :class:`Problem` (one fault, with place, cause and remedy), :class:`ExitCode` (the contract with callers) and the
exceptions that carry problems to the command line. Promises: importing this module loads nothing but the standard
library, and rendering a problem never shows a value that the problem itself does not contain.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class ExitCode(IntEnum):
    """How a command ended; fixed by the contract, shown in ``--help``."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    INVALID = 3
    REFUSED = 4
    BUSY = 5
    WAITING = 6
    JOURNAL = 7
    MISSED = 8
    INTERRUPTED = 130

    @property
    def meaning(self) -> str:
        """One line for ``--help``."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.DONE: "done, or nothing to find fault with",
    ExitCode.FAILED: "an operation or a check failed; `runbook resume` can go on",
    ExitCode.USAGE: "the command line was wrong",
    ExitCode.INVALID: "the plan, the environment or an input is invalid; nothing ran",
    ExitCode.REFUSED: "refused by a guard: drift, wrong target, missing confirmation; nothing ran further",
    ExitCode.BUSY: "another run holds this run or one of its targets",
    ExitCode.WAITING: "journalled, and waits for a person: manual step, approval, an outcome that can't be known",
    ExitCode.JOURNAL: "the journal or its storage is at fault",
    ExitCode.MISSED: "everything ran, and an objective or a health threshold was missed",
    ExitCode.INTERRUPTED: "interrupted by the operator; `runbook resume` goes on",
}


class Severity(StrEnum):
    """How much a problem matters: only errors make a plan invalid (``--strict``: warnings too)."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a text a problem is. ``line`` and ``column`` count from 1; ``width`` is the caret's length in columns.

    ``text`` is the line itself, as it is to be shown (never a line that holds a secret's value).
    """

    file: str
    line: int
    column: int
    width: int = 1
    text: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault. ``summary`` is constant per code; ``detail`` says what and why; ``fix`` is the next thing to do."""

    code: str
    summary: str
    detail: str = ""
    fix: str = ""
    where: Place | None = None
    severity: Severity = Severity.ERROR

    def render(self) -> str:
        """The problem as text: position, severity and code, then the line with a caret, then detail and remedy."""
        head = f"{self.severity}[{self.code}]: {self.summary}"
        lines = [f"{self.where}: {head}" if self.where else head]
        if self.where and self.where.text:
            number = str(self.where.line)
            lines.append(f" {number} | {self.where.text}")
            caret = " " * (self.where.column - 1) + "^" * max(1, self.where.width)
            lines.append(f" {' ' * len(number)} | {caret}{' ' + self.fix if self.fix else ''}")
        lines += [f"  {part}" for part in self.detail.splitlines()]
        if self.fix and not (self.where and self.where.text):
            lines.append(f"  → {self.fix}")
        return "\n".join(lines)


class RunbookError(Exception):
    """A failure that is understood: problems to show and the exit code that they mean.

    Subclasses fix the exit code. Expected failures inside a step are events, not exceptions of this kind.
    """

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, *problems: Problem) -> None:
        super().__init__(problems[0].summary if problems else "")
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(problem.render() for problem in self.problems)


class UsageFault(RunbookError):
    """The command line was wrong (exit 2)."""

    exit_code = ExitCode.USAGE


class InvalidInput(RunbookError):
    """A plan, an environment or an input is invalid (exit 3); nothing ran."""

    exit_code = ExitCode.INVALID


class Refused(RunbookError):
    """A guard said no (exit 4): drift, wrong target, missing confirmation."""

    exit_code = ExitCode.REFUSED


class Busy(RunbookError):
    """Another run holds this run or one of its targets (exit 5)."""

    exit_code = ExitCode.BUSY


class JournalFault(RunbookError):
    """The journal or its storage is at fault (exit 7); the run stops and starts nothing more."""

    exit_code = ExitCode.JOURNAL


class Bug(RunbookError):
    """An invariant of runbook itself is broken. The run stops; the text says whose fault it is."""

    exit_code = ExitCode.FAILED

    def __init__(self, detail: str) -> None:
        super().__init__(
            Problem("E900", "internal error", detail, "This is a bug in runbook. The journal is intact; keep it.")
        )


def nearest(word: str, known: tuple[str, ...] | list[str], *, likeness: float = 0.6) -> str:
    """The one of ``known`` that ``word`` is most like, or an empty string; at 0.8 it is hardly anything but a misspelling."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, known, n=1, cutoff=likeness)), "")


def suggest(word: str, known: tuple[str, ...] | list[str]) -> str:
    """``did you mean 'x'?`` for the nearest of ``known``, or an empty string."""
    near = nearest(word, known)
    return f"did you mean '{near}'?" if near else ""
