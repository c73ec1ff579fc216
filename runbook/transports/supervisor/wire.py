"""The shapes of what the engine and its supervisor say to each other, and of what stands in ``supervisor.jsonl``.

For the type checker only: the supervisor never imports this file, since :mod:`typing` costs it a third of its start.
A message is one line of JSON. Times are seconds; ``at`` is wall time since the epoch; sizes are bytes.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict


class UserWire(TypedDict):
    """The numeric identity that a child gets."""

    uid: int
    gid: int
    groups: list[int]


class StageWire(TypedDict):
    """One process: its complete environment, and secrets that it gets as 0600 files named by variables.

    ``preamble`` is what it reads before its real standard input (a far-side worker's header with secrets); ``most``, how many bytes
    of that there may be (0: any number).
    """

    argv: list[str]
    env: dict[str, str]
    files: dict[str, str]
    cwd: str | None
    user: UserWire | None
    umask: int
    ok: list[int]
    preamble: str
    most: int


class InputWire(TypedDict):
    """What the first stage reads."""

    kind: Literal["none", "text", "file"]
    value: str


class SinkWire(TypedDict):
    """Where the last stage's output goes."""

    kind: Literal["capture", "file", "discard"]
    value: str


class StartWire(TypedDict):
    """Start one operation: a process, or a pipeline of processes."""

    op: Literal["start"]
    id: str
    stages: list[StageWire]
    input: InputWire
    sink: SinkWire
    hash: Literal["none", "source", "sink"]
    log: str | None
    log_max: int
    capture: int
    daemon: bool
    timeout_s: float | None
    grace_s: float
    forms: list[str]


class CapturedWire(TypedDict):
    """Bounded, redacted text; ``bytes`` counts what was printed."""

    text: str
    bytes: int
    truncated: bool


class ExitWire(TypedDict):
    """How one stage ended: a code or a signal; neither if it never ran."""

    program: str
    code: int | None
    signal: int | None
    stderr: CapturedWire


Why = Literal["exited", "killed", "timed_out", "not_started", "broken", "stuck", "exceeded"]


class EndedWire(TypedDict):
    """The exit record, which is also the answer to ``start``."""

    event: Literal["exit"]
    id: str
    at: float
    why: Why
    detail: str
    exits: list[ExitWire]
    stdout: CapturedWire
    bytes: int | None
    taken: NotRequired[int | None]
    sha256: str | None
    log_truncated: str
    leftovers: int
    duration_s: float


class ProcessWire(TypedDict):
    """A living thing of an operation: found again by pid and start time (clock ticks since boot)."""

    pid: int
    start: int
    program: str


class RecordWire(TypedDict):
    """Any line of ``supervisor.jsonl``, or any message of the supervisor; which keys are there depends on ``event``."""

    event: Literal["opened", "start", "pids", "exit", "progress", "absent", "status", "lock", "refused"]
    id: NotRequired[str]
    at: NotRequired[float]
    boot: NotRequired[str]
    pid: NotRequired[int]
    daemon: NotRequired[bool]
    processes: NotRequired[list[ProcessWire]]
    bytes: NotRequired[int]
    running: NotRequired[list[str]]
    path: NotRequired[str]
    held: NotRequired[bool]
    holder: NotRequired[str]
    reason: NotRequired[str]


class LockWire(TypedDict):
    """Take a lock."""

    op: Literal["lock"]
    path: str
    mode: Literal["exclusive", "shared"]
    holder: str


class KillWire(TypedDict):
    """End an operation and all that descends from it."""

    op: Literal["kill"]
    id: str
    grace_s: float


class AskWire(TypedDict):
    """Ask to be told of an operation's end (answered at once by ``absent`` if it isn't running), or what is running.

    ``unlock`` gives every lock back, if nothing runs; it is answered as ``status`` is.
    """

    op: Literal["wait", "status", "unlock"]
    id: str
