"""Events: everything that a journal can say, as frozen data.

Owns one class per event of the contract and the two directions between an event and its JSON payload. The journal adds the
envelope (``seq``, ``at``, ``run``, ``epoch``, …) and never looks inside. Promises: ``parse(payload(e)) == e``; an unknown event
or a missing key is refused, since a journal of another schema must not be guessed at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import ClassVar, TypeAlias

from runbook.errors import JournalFault, Problem
from runbook.operation import Json

JsonObject: TypeAlias = Mapping[str, Json]

CONFIRM = "confirm"
"""The kind of question that is asked before a step begins; the other kinds are parts of a step."""


@dataclass(frozen=True, slots=True)
class RunCreated:
    """The binding record: what runs, where, for whom, with which inputs, on which targets."""

    event: ClassVar[str] = "run.created"
    plan: str
    digest: str
    environment: str
    live: bool
    operator: str
    started_at: str
    inputs: JsonObject
    targets: JsonObject
    tool: str
    objectives: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunResumed:
    """A new executor goes on. What was running is unknown until it is settled."""

    event: ClassVar[str] = "run.resumed"
    operator: str
    at_epoch: int


@dataclass(frozen=True, slots=True)
class RunWaiting:
    """Nothing can go on without a person; ``steps`` say who is waited for."""

    event: ClassVar[str] = "run.waiting"
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunInterrupted:
    """An operator asked the run to stop; what ran was let to its end, or ended (``forced``)."""

    event: ClassVar[str] = "run.interrupted"
    signal: str
    forced: bool = False


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The run ended with ``status``. Objectives: ``{target_s, actual_s, met}`` each, None where there is nothing to say.

    ``by`` and ``reason``: who abandoned it, and why.
    """

    event: ClassVar[str] = "run.finished"
    status: str
    duration_s: float
    exit_code: int
    rto: Json = None
    rpo: Json = None
    kept: tuple[str, ...] = ()
    by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StepStarted:
    """An executor begins the step, or goes on with it (``resumed``)."""

    event: ClassVar[str] = "step.started"
    step: str
    attempt: int
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class StepPlanned:
    """What the step will do: each operation's name, kind, digest and text; the facts that guard it and those pinned."""

    event: ClassVar[str] = "step.planned"
    step: str
    round: int
    operations: tuple[JsonObject, ...]
    guards: JsonObject = field(default_factory=dict)
    pinned: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OperationStarted:
    """The intent: synced before the operation may have any effect. ``id`` finds it again; ``changes``: it may change something.

    ``form`` is the operation's canonical form, for one that changes something: a resume fences what it began.
    """

    event: ClassVar[str] = "operation.started"
    step: str
    operation: str
    id: str
    changes: bool
    form: Json = None


@dataclass(frozen=True, slots=True)
class OperationNoted:
    """What is needed to find the operation's effect again: a transaction id, a handle, an upload id."""

    event: ClassVar[str] = "operation.noted"
    step: str
    operation: str
    fields: JsonObject


@dataclass(frozen=True, slots=True)
class OperationFinished:
    """The operation's end: ``succeeded`` or ``failed``. ``adopted``: learnt after a crash, from a record or the world."""

    event: ClassVar[str] = "operation.finished"
    step: str
    operation: str
    outcome: str
    fields: JsonObject = field(default_factory=dict)
    inner: JsonObject = field(default_factory=dict)
    problem: Json = None
    duration_s: float = 0.0
    adopted: bool = False


@dataclass(frozen=True, slots=True)
class StepSucceeded:
    """Its operations ended well, nothing was left to change, and its verification held."""

    event: ClassVar[str] = "step.succeeded"
    step: str
    outputs: JsonObject
    duration_s: float


@dataclass(frozen=True, slots=True)
class StepFailed:
    """A definite failure. ``refused``: a guard said no (exit 4)."""

    event: ClassVar[str] = "step.failed"
    step: str
    problem: Json
    duration_s: float
    refused: bool = False


@dataclass(frozen=True, slots=True)
class StepRetried:
    """A definite failure that is tried again after ``pause_s``."""

    event: ClassVar[str] = "step.retried"
    step: str
    attempt: int
    pause_s: float
    problem: Json


@dataclass(frozen=True, slots=True)
class StepSkipped:
    """The step isn't needed: its ``when`` is false, or a person skipped it with a reason."""

    event: ClassVar[str] = "step.skipped"
    step: str
    reason: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class StepCancelled:
    """The step will not begin in this execution: something before it did not succeed."""

    event: ClassVar[str] = "step.cancelled"
    step: str
    because: str


@dataclass(frozen=True, slots=True)
class StepWaiting:
    """A person has to answer. ``kind``: confirm, manual or approval; ``needs`` approvals, or the name to be confirmed."""

    event: ClassVar[str] = "step.waiting"
    step: str
    kind: str
    instructions: str
    target: str = ""
    subject: str = ""
    needs: int = 1
    approvers: tuple[str, ...] = ()
    questions: tuple[JsonObject, ...] = ()


@dataclass(frozen=True, slots=True)
class StepConfirmed:
    """A person answered. ``by`` is the operating system's user, ``claimed`` what ``--as`` said."""

    event: ClassVar[str] = "step.confirmed"
    step: str
    by: str
    claimed: str = ""
    fields: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepApproved:
    """A person approved ``subject`` (a hash). ``by`` is the operating system's user, who typed it on ``host``; ``claimed`` what
    ``--as`` said. ``signature`` has room for one.
    """

    event: ClassVar[str] = "step.approved"
    step: str
    by: str
    subject: str
    claimed: str = ""
    signature: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class StepUnknown:
    """The step was begun, and how it ended can't be shown."""

    event: ClassVar[str] = "step.unknown"
    step: str
    problem: Json


@dataclass(frozen=True, slots=True)
class StepResolved:
    """A person says how an unknown step ended: ``outcome`` is done or not-done."""

    event: ClassVar[str] = "step.resolved"
    step: str
    outcome: str
    by: str
    reason: str
    outputs: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepUndone:
    """The step's compensation ended well."""

    event: ClassVar[str] = "step.undone"
    step: str


@dataclass(frozen=True, slots=True)
class TargetRebound:
    """A step replaced a target: its identity from now on."""

    event: ClassVar[str] = "target.rebound"
    step: str
    system: str
    identity: Json


RunEvent: TypeAlias = RunCreated | RunResumed | RunWaiting | RunInterrupted | RunFinished | TargetRebound
StepEvent: TypeAlias = (
    StepStarted
    | StepPlanned
    | OperationStarted
    | OperationNoted
    | OperationFinished
    | StepSucceeded
    | StepFailed
    | StepRetried
    | StepSkipped
    | StepCancelled
    | StepWaiting
    | StepConfirmed
    | StepApproved
    | StepUnknown
    | StepResolved
    | StepUndone
)
Event: TypeAlias = RunEvent | StepEvent

STEP_EVENTS: tuple[type[StepEvent], ...] = (
    StepStarted,
    StepPlanned,
    OperationStarted,
    OperationNoted,
    OperationFinished,
    StepSucceeded,
    StepFailed,
    StepRetried,
    StepSkipped,
    StepCancelled,
    StepWaiting,
    StepConfirmed,
    StepApproved,
    StepUnknown,
    StepResolved,
    StepUndone,
)
RUN_EVENTS: tuple[type[RunEvent], ...] = (
    RunCreated,
    RunResumed,
    RunWaiting,
    RunInterrupted,
    RunFinished,
    TargetRebound,
)
_BY_NAME: dict[str, type[Event]] = {kind.event: kind for kind in (*STEP_EVENTS, *RUN_EVENTS)}
_KEYS: dict[type[Event], tuple[str, ...]] = {kind: tuple(f.name for f in fields(kind)) for kind in _BY_NAME.values()}
ENVELOPE = frozenset({"seq", "at", "run", "epoch", "boot", "mono", "prev", "hash", "event"})


def payload(event: Event) -> dict[str, Json]:
    """The event as the journal's payload: its name first, then its fields."""
    body: dict[str, Json] = {"event": event.event}
    for key in _KEYS[type(event)]:
        value = getattr(event, key)
        body[key] = list(value) if isinstance(value, tuple) else value
    return body


def parse(body: Mapping[str, Json]) -> Event:
    """The event of a payload or a whole record. Raises :class:`JournalFault` for one that this version doesn't know."""
    kind = _BY_NAME.get(str(body.get("event")))
    if kind is None:
        raise JournalFault(_foreign(f"it holds an event {body.get('event')!r} that this version doesn't know"))
    keys = _KEYS[kind]
    given = {key: value for key, value in body.items() if key not in ENVELOPE}
    if set(given) != set(keys):
        raise JournalFault(_foreign(f"its event {kind.event} has the keys {sorted(given)}, not {sorted(keys)}"))
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in given.items()})  # type: ignore[arg-type]


def problem_json(problem: Problem) -> dict[str, Json]:
    """A problem as events carry it."""
    return {"code": problem.code, "summary": problem.summary, "detail": problem.detail, "fix": problem.fix}


def _foreign(detail: str) -> Problem:
    return Problem(
        "E710",
        "the journal is of another version of runbook",
        detail,
        "finish this run with the version that began it (`jq .tool journal.jsonl` names it)",
    )
