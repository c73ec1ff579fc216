"""What may be asked of a supervisor, and what it answers, as frozen data.

Owns the translation to and from the wire. Secrets cross here in clear, over a unix socket in the run's 0700 directory, and
reach no record: a stage's ``env`` and ``files`` are never written down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from runbook.transports.supervisor.wire import CapturedWire, EndedWire, InputWire, SinkWire, StageWire, StartWire

LOG_MAX = 64 << 20
CAPTURE = 64 << 10
GRACE_S = 10.0
TIMES_OUT_NEVER = None


@dataclass(frozen=True, slots=True)
class User:
    """A numeric identity for a child; only a supervisor of root can give it."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Stage:
    """One process. ``env`` is its complete environment; ``files`` maps variables to contents that it gets as 0600 files.

    Such a file lives in memory, and as long as someone has it open: the variable holds ``/proc/self/fd/N``, so a program
    that closes all its descriptors first can't read it. ``preamble`` is fed to it before its real standard input, of which
    it gets ``most_bytes`` at most (0: all): with one more the operation ends as :attr:`Why.EXCEEDED`.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    user: User | None = None
    umask: int = 0o077
    ok_codes: tuple[int, ...] = (0,)
    preamble: str = ""
    most_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Nothing:
    """No input: the end at once."""


@dataclass(frozen=True, slots=True)
class Text:
    """This text as input."""

    text: str


@dataclass(frozen=True, slots=True)
class File:
    """A file: as input it is read; as a sink it is created anew, mode 0600, and synced at the end."""

    path: str


@dataclass(frozen=True, slots=True)
class Captured:
    """The last stage's standard output is captured, bounded, and goes to the log."""


@dataclass(frozen=True, slots=True)
class Discarded:
    """The bytes are counted and hashed, and go nowhere."""


Input: TypeAlias = Nothing | Text | File
Sink: TypeAlias = Captured | File | Discarded


class Hash(StrEnum):
    """Which bytes are counted and hashed (SHA-256): those that leave the source, or those that reach the sink."""

    NONE = "none"
    SOURCE = "source"
    SINK = "sink"


class Lifetime(StrEnum):
    """What may stay after the process ended: nothing, or a daemon, which has to look after its own output."""

    STEP = "step"
    DAEMON = "daemon"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawn:
    """Run one operation: a single process (one stage, output captured) or a pipeline (any number of stages).

    ``id`` is the operation's; it is recorded and marks the children. ``log`` is a path, or None for no log; ``log_max`` and
    ``capture`` bound it and what is given back of each stream, in bytes. ``timeout_s`` counts from the start and holds
    without an engine; TERM, and KILL after ``grace_s``. ``forms`` are the texts to be masked before anything is kept.
    """

    id: str
    stages: tuple[Stage, ...]
    input: Input = Nothing()
    sink: Sink = Captured()
    hash: Hash = Hash.NONE
    log: str | None = None
    log_max: int = LOG_MAX
    capture: int = CAPTURE
    lifetime: Lifetime = Lifetime.STEP
    timeout_s: float | None = TIMES_OUT_NEVER
    grace_s: float = GRACE_S
    forms: tuple[str, ...] = ()

    def wire(self) -> StartWire:
        """The message."""
        if not self.stages and isinstance(self.sink, Captured):
            raise ValueError("an operation without stages needs a sink")
        return {
            "op": "start",
            "id": self.id,
            "stages": [_stage(stage) for stage in self.stages],
            "input": _input(self.input),
            "sink": _sink(self.sink),
            "hash": self.hash.value,
            "log": self.log,
            "log_max": self.log_max,
            "capture": self.capture,
            "daemon": self.lifetime is Lifetime.DAEMON,
            "timeout_s": self.timeout_s,
            "grace_s": self.grace_s,
            "forms": list(self.forms),
        }


def _stage(stage: Stage) -> StageWire:
    user = stage.user
    return {
        "argv": list(stage.argv),
        "env": dict(stage.env),
        "files": dict(stage.files),
        "cwd": stage.cwd,
        "user": {"uid": user.uid, "gid": user.gid, "groups": list(user.groups)} if user else None,
        "umask": stage.umask,
        "ok": list(stage.ok_codes),
        "preamble": stage.preamble,
        "most": stage.most_bytes,
    }


def _input(value: Input) -> InputWire:
    match value:
        case Nothing():
            return {"kind": "none", "value": ""}
        case Text(text):
            return {"kind": "text", "value": text}
        case File(path):
            return {"kind": "file", "value": path}


def _sink(value: Sink) -> SinkWire:
    match value:
        case Captured():
            return {"kind": "capture", "value": ""}
        case File(path):
            return {"kind": "file", "value": path}
        case Discarded():
            return {"kind": "discard", "value": ""}


class Why(StrEnum):
    """How an operation ended: by itself (whatever its codes), or because someone or something ended it."""

    EXITED = "exited"
    KILLED = "killed"
    TIMED_OUT = "timed_out"
    NOT_STARTED = "not_started"
    BROKEN = "broken"
    STUCK = "stuck"
    EXCEEDED = "exceeded"


@dataclass(frozen=True, slots=True)
class Printed:
    """Bounded, redacted text of a stream; ``bytes`` counts all that was printed."""

    text: str = ""
    bytes: int = 0
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Exit:
    """How a stage's process ended: with a code, or by a signal; both None if that could not be seen."""

    program: str
    code: int | None
    signal: int | None
    stderr: Printed


@dataclass(frozen=True, slots=True)
class Ended:
    """How an operation ended, as its exit record says it.

    ``exits`` has one entry for each stage that was started. ``bytes`` and ``sha256`` are of the point that was asked for;
    the hash only where all stages ended well. ``log_truncated`` is why the log isn't complete, or empty. ``leftovers``
    counts descendants that had outlived their process and were ended. ``detail`` says what failed. ``at`` is wall time.
    ``taken``: what the last stage with a bound was given, in bytes.
    """

    id: str
    why: Why
    detail: str
    exits: tuple[Exit, ...]
    stdout: Printed
    bytes: int | None
    sha256: str | None
    log_truncated: str
    leftovers: int
    duration_s: float
    at: float
    taken: int | None = None

    @property
    def code(self) -> int | None:
        """The last stage's exit code; None if there is none."""
        return self.exits[-1].code if self.exits else None


def ended(record: EndedWire) -> Ended:
    """An exit record, understood."""
    return Ended(
        record["id"],
        Why(record["why"]),
        record["detail"],
        tuple(Exit(e["program"], e["code"], e["signal"], _printed(e["stderr"])) for e in record["exits"]),
        _printed(record["stdout"]),
        record["bytes"],
        record["sha256"],
        record["log_truncated"],
        record["leftovers"],
        record["duration_s"],
        record["at"],
        record.get("taken"),
    )


def _printed(wire: CapturedWire) -> Printed:
    return Printed(wire["text"], wire["bytes"], wire["truncated"])
