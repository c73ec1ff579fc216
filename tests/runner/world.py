"""A world in memory for the runner's tests: things with values, and a ledger of every effect.

Owns the two halves of it (:class:`World` performs, :class:`Eyes` look) and the fates that an operation can meet. Promises: an
effect is counted the moment it happens; after a crash nothing of the dead engine happens any more, but for children that live on;
what a fence says is what the records of a supervisor could show.

``Write`` gives a thing a value, ``Rename`` moves it, ``Remove`` takes it away, ``Process`` only leaves its mark in the ledger.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from pathlib import Path
from typing import cast

from runbook.action import Look, Unreachable
from runbook.errors import Problem
from runbook.host import Host
from runbook.late import text
from runbook.operation import Fields, Operation, Process, Remove, Rename, Write
from runbook.transports.outcome import (
    Begun,
    Failed,
    Lost,
    NeverStarted,
    Outcome,
    Settled,
    Succeeded,
    Unsettled,
    Use,
)

BROKEN = Problem("E300", "it did not work", "", "")
CUT_OFF = Problem("E302", "it was cut off", "", "")


class Crash(BaseException):
    """The engine was killed; none of its code runs after this."""


class Fate(Enum):
    """What becomes of an operation. ``RECORDED``: a supervisor's record shows its end; ``LIVING``: its child goes on."""

    WELL = auto()
    FAILS = auto()
    LOST_BEFORE = auto()
    LOST_AFTER = auto()
    LOST_LIVING = auto()
    CRASH_BEFORE = auto()
    CRASH_BEFORE_RECORDED = auto()
    CRASH_AFTER = auto()
    CRASH_AFTER_RECORDED = auto()
    CRASH_FAILED_RECORDED = auto()
    CRASH_LIVING = auto()


NOON = datetime(2026, 2, 14, 12, tzinfo=UTC)


class Clock:
    """A clock that only moves when something takes time. The wall's may be set; the other begins anew with each boot."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.boots = 0
        self._booted_at = 0.0
        self._set_off_s = 0.0

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds + self._set_off_s)

    def monotonic(self) -> float:
        return 1000.0 + self.seconds - self._booted_at

    def jump(self, seconds: float) -> None:
        """Somebody sets the wall's clock, forward or backward."""
        self._set_off_s += seconds

    def boot(self) -> None:
        """The machine begins anew."""
        self.boots += 1
        self._booted_at = self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass
class Left:
    """What an operation left behind that the engine never heard of: what a fence can still learn of it."""

    operation: Operation
    use: Use
    settled: Settled
    lives: bool = False


@dataclass
class World:
    """See the module. ``fate`` decides for each operation; ``seen`` is told of each before it is performed.

    ``ledger`` counts effects by step and operation; ``marks`` are the ids under which they happened, in order; ``performed`` and
    ``ran`` are the operations that were begun, whatever came of them, and their ids. ``done`` is told of each effect; ``says`` is
    what programs and errors say besides; ``held`` takes a lock, and ``closed`` gives locks back.
    """

    clock: Clock = field(default_factory=Clock)
    facts: dict[str, str] = field(default_factory=dict)
    ledger: Counter[tuple[str, str]] = field(default_factory=Counter)
    marks: list[str] = field(default_factory=list)
    performed: list[Operation] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    fates: dict[tuple[str, str], list[Fate]] = field(default_factory=dict)
    takes_s: dict[str, float] = field(default_factory=dict)
    left: dict[str, Left] = field(default_factory=dict)
    fenced: list[str] = field(default_factory=list)
    unreachable: set[str] = field(default_factory=set)
    stopped: list[str] = field(default_factory=list)
    swept: int = 0
    dead: bool = False
    unfenceable: bool = False
    fate: Callable[[Operation, Use], Fate] | None = None
    seen: Callable[[Operation, Use], None] = lambda operation, use: None
    done: Callable[[Operation, Use], None] = lambda operation, use: None
    says: Callable[[], str] = lambda: ""
    held: Callable[[Path, bool], None] = lambda path, exclusive: None
    closed: Callable[[], None] = lambda: None
    turn: Callable[[str], None] = lambda what: None
    on_crash: Callable[[], None] = lambda: None

    @property
    def look(self) -> Look:
        """The reading half."""
        return cast(Look, Eyes(self))

    def meets(self, step: str, operation: str, *fates: Fate) -> None:
        """These fates, one a performance; after them all is well."""
        self.fates[(step, operation)] = list(fates)

    def perform(self, operation: Operation, use: Use) -> Outcome:
        """Perform one operation, as fate has it."""
        self.breathe(f"perform {use.id}")
        self.seen(operation, use)
        self.performed.append(operation)
        self.ran.append(use.id)
        self.clock.seconds += self.takes_s.get(operation.name, 0.01)
        fate = self._fate(operation, use)
        if operation.reads:
            return self._read(operation, use, fate)
        late = use.deadline is not None and self.clock.monotonic() > use.deadline
        match Fate.LOST_AFTER if late and fate is Fate.WELL else fate:
            case Fate.WELL:
                self._leave(operation, use, ended := Succeeded(self._effect(operation, use)))
                return ended
            case Fate.FAILS:
                self._leave(operation, use, broke := Failed(self._broken()))
                return broke
            case Fate.LOST_BEFORE:
                self._leave(operation, use, Unsettled())
                return Lost(CUT_OFF)
            case Fate.LOST_AFTER:
                self._effect(operation, use)
                self._leave(operation, use, Unsettled())
                return Lost(CUT_OFF)
            case Fate.LOST_LIVING:
                self._leave(operation, use, Unsettled(), lives=True)
                return Lost(CUT_OFF)
            case Fate.CRASH_BEFORE:
                self._leave(operation, use, Unsettled())
            case Fate.CRASH_BEFORE_RECORDED:
                self._leave(operation, use, NeverStarted())
            case Fate.CRASH_AFTER:
                self._effect(operation, use)
                self._leave(operation, use, Unsettled())
            case Fate.CRASH_AFTER_RECORDED:
                self._leave(operation, use, Succeeded(self._effect(operation, use)))
            case Fate.CRASH_FAILED_RECORDED:
                self._leave(operation, use, Failed(self._broken()))
            case Fate.CRASH_LIVING:
                self._leave(operation, use, Unsettled(), lives=True)
        raise self.crash()

    def fence(self, begun: Begun, use: Use) -> Settled | Lost:
        """Wait for what lives, and say what the records show."""
        self.breathe(f"fence {begun.id}")
        self.fenced.append(begun.id)
        if self.unfenceable:
            return Lost(CUT_OFF)
        left = self.left.get(begun.id)
        if left is None:
            return NeverStarted()
        assert left.operation == begun.operation, "an operation comes back from the journal as it was"
        if left.lives:
            left.settled = Succeeded(self._effect(left.operation, left.use))
            left.lives = False
        return left.settled

    def stop(self, use_id: str, grace_s: float) -> None:
        """Remember whom a second interrupt would have ended."""
        self.stopped.append(use_id)

    def sweep(self) -> None:
        """Remember that what was left elsewhere for a resume was taken away."""
        self.swept += 1

    def lock(self, path: Path, *, exclusive: bool, owner: object) -> None:
        """Take a lock, as a supervisor does for its engine."""
        self.held(path, exclusive)

    def close(self) -> None:
        """Give locks back, unless the engine is dead: then nobody does."""
        if not self.dead:
            self.closed()

    def alive(self) -> tuple[Left, ...]:
        """The children of dead engines that still work."""
        return tuple(left for left in self.left.values() if left.lives)

    def crash(self) -> Crash:
        """Kill the engine: whatever it calls from now on ends it."""
        self.dead = True
        self.on_crash()
        return Crash()

    def breathe(self, what: str) -> None:
        """A point at which the engine may turn out to be dead, or another thread may go on."""
        if self.dead:
            raise Crash
        self.turn(what)
        if self.dead:
            raise Crash

    def moves(self, thing: str) -> bool:
        """Whether a child of a dead engine still works on the thing."""
        return any(thing in things_of(left.operation) for left in self.alive())

    def _broken(self) -> Problem:
        said = self.says()
        return replace(BROKEN, detail=said) if said else BROKEN

    def _fate(self, operation: Operation, use: Use) -> Fate:
        listed = self.fates.get((use.id.split("/")[0], operation.name))
        if listed:
            return listed.pop(0)
        return self.fate(operation, use) if self.fate else Fate.WELL

    def _read(self, operation: Operation, use: Use, fate: Fate) -> Outcome:
        if fate.name.startswith("CRASH"):
            raise self.crash()
        if fate is not Fate.WELL:
            return Failed(self._broken()) if fate is Fate.FAILS else Lost(CUT_OFF)
        if isinstance(operation, Process) and operation.argv[0] == "test":
            thing, wanted = str(operation.argv[1]), str(operation.argv[2])
            found = self.facts.get(thing)
            return Succeeded({"value": found}) if found == wanted else Failed(BROKEN, {"value": found})
        return Succeeded({})

    def _leave(self, operation: Operation, use: Use, settled: Settled, *, lives: bool = False) -> None:
        self.left[use.id] = Left(operation, use, settled, lives)

    def _effect(self, operation: Operation, use: Use) -> Fields:
        self.ledger[(use.id.split("/")[0], operation.name)] += 1
        self.marks.append(use.id)
        self.done(operation, use)
        match operation:
            case Write(path=path, content=str(content)):
                self.facts[path] = content
            case Rename(source=source, target=target):
                assert target not in self.facts, "a rename refuses an existing target"
                self.facts[target] = self.facts.pop(source)
            case Remove(path=path):
                self.facts.pop(path, None)
            case Process(argv=argv):
                said = " ".join(text(argument, use.results) for argument in argv) + self.says()
                return {"exit_code": 0, "stdout": said, "count": sum(self.ledger.values())}
        return {}


def things_of(operation: Operation) -> tuple[str, ...]:
    """What the operation works on."""
    match operation:
        case Write(path=path) | Remove(path=path):
            return (path,)
        case Rename(source=source, target=target):
            return (source, target)
    return ()


class Eyes:
    """What observers may read: a thing's value."""

    def __init__(self, world: World) -> None:
        self._world = world

    def text(self, host: Host, path: str) -> str | None:
        """The thing's value, None where it isn't. Nobody may look while something still moves there."""
        self._world.breathe(f"look {path}")
        assert not self._world.moves(path), f"{path} is looked at while a child of an earlier executor works on it"
        if path in self._world.unreachable:
            raise Unreachable(CUT_OFF)
        return self._world.facts.get(path)


def things(facts: Mapping[str, str], prefix: str = "") -> dict[str, str]:
    """The facts whose names begin so."""
    return {name: value for name, value in facts.items() if name.startswith(prefix)}
