"""A step's life in small, for trying out the contract of an action: observe, plan, perform, observe again, verify.

Owns :class:`Journal` (what of a step is durable), :class:`State` (the journal and the world as a crash leaves them), :class:`Case`
(an action and a model of its world) and :class:`Life`, which goes through a step once and shows every state that a crash could
leave on the way. Worlds are frozen values, so that states can be compared. The rules are those of ``runbook/runner/step.py``;
they are written again here so that operations can be tried out that no transport performs yet.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Generic, Protocol, TypeVar

from runbook.action import Role
from runbook.operation import Pipeline, Process, Scalar, Sql
from runbook.operation import digest as digest_of

Fields = tuple[tuple[str, Scalar], ...]
Results = Mapping[str, Mapping[str, Scalar]]


class Op(Hashable, Protocol):
    """What every operation has, built or only proposed."""

    @property
    def name(self) -> str: ...
    @property
    def reads(self) -> bool: ...
    @property
    def owned(self) -> bool: ...


W = TypeVar("W", bound=Hashable)
Worlds = Iterator[tuple[W, Fields]]
"""What an operation makes visible, one after the other; the fields that go with the last one are its result."""


class Broke(Exception):
    """A definite failure."""


class Case(Generic[W]):
    """An action of the kind ``OBSERVE`` and the model of its world. ``start`` is the world before the step."""

    start: W

    def observe(self, world: W) -> object:
        """Facts: a frozen dataclass with roles."""
        raise TypeError(f"{type(self).__name__} does not observe")

    def told(self, facts: object, ended: Results) -> object:
        """The facts with what a resume takes from the records: results of what ended well, in the order of its beginning."""
        return facts

    def plan(self, facts: object) -> tuple[Op, ...]:
        """What remains."""
        raise TypeError(f"{type(self).__name__} does not plan")

    def recovery(self, facts: object) -> tuple[Op, ...]:
        """What only a resume may add."""
        return ()

    def perform(self, world: W, operation: Op, results: Results) -> Worlds[W]:
        """The operation's effects, one visible change after the other."""
        raise TypeError(f"{type(self).__name__} does not perform")

    def crashed(self, world: W) -> tuple[W, ...]:
        """What is left of a world when the engine dies; further ones: when the machine does, and so on."""
        return (world,)

    def outlives(self, operation: Op, world: W) -> bool:
        """Whether what was begun may go on from here after the engine's death: a child process, a server's backend."""
        return isinstance(operation, Process | Pipeline | Sql)

    def same(self, operation: Op) -> str:
        """What approval compares."""
        return digest(operation)

    def wrong(self, world: W) -> str:
        """What must never be seen, at no moment; '' = nothing."""
        return ""

    def verify(self, world: W) -> str:
        """What is not as it should be at the end; '' = nothing."""
        return ""

    def end(self, world: W) -> Hashable:
        """What of the end has to be the same, whatever happened on the way."""
        return world


@dataclass(frozen=True, slots=True)
class Journal:
    """What is durable of a step. ``begun``: an operation without a recorded end; ``exit``: its end was recorded elsewhere."""

    pinned: tuple[tuple[str, Hashable], ...] | None = None
    guards: tuple[tuple[str, Hashable], ...] = ()
    approved: frozenset[str] = frozenset()
    results: tuple[tuple[str, Fields], ...] = ()
    begun: Op | None = None
    exit: Fields | None = None


@dataclass(frozen=True, slots=True)
class Flight(Generic[W]):
    """What goes on without the engine: the worlds that it will make. ``witnessed``: its end will be recorded."""

    worlds: tuple[tuple[W, Fields], ...]
    witnessed: bool


@dataclass(frozen=True, slots=True)
class State(Generic[W]):
    """What a crash leaves: the world, the journal, and what still moves."""

    world: W
    journal: Journal = Journal()
    flight: Flight[W] | None = None


@dataclass(frozen=True, slots=True)
class Ended(Generic[W]):
    """How a go at the step ended: succeeded, failed, unknown or refused; and the world."""

    status: str
    why: str
    world: W


Seen = Callable[[str, State[W]], None]
"""Is told every state that a crash could leave, with where that was."""


@cache
def digest(operation: Op) -> str:
    """What the journal would record; an operation that is only proposed has a canonical form too."""
    return digest_of(operation)  # type: ignore[arg-type]


class Life(Generic[W]):
    """One go at a step, from a state. ``fenced`` False leaves out the fence, to show what it is for."""

    def __init__(self, case: Case[W], state: State[W], seen: Seen[W], *, fenced: bool = True) -> None:
        self._case = case
        self._seen = seen
        self._fenced = fenced
        self.world = state.world
        self._journal = state.journal
        self._flight = state.flight
        self._resumed = state.journal.pinned is not None

    def go(self) -> Ended[W]:
        """Go through it."""
        try:
            return self._go()
        except Broke as why:
            return Ended("failed", str(why), self.world)

    def _go(self) -> Ended[W]:
        if self._fenced:
            self._settle()
        facts = self._observe()
        if not self._fenced:
            self._settle()
        planned = self._case.plan(facts)
        if why := self._unapproved(planned, facts):
            return Ended("refused", why, self.world)
        if not self._journal.approved:
            approved = frozenset(self._case.same(one) for one in planned if not one.reads)
            self._journal = replace(self._journal, approved=approved)
        self._shown("planned")
        for operation in planned:
            self._perform(operation)
        if any(not one.reads for one in planned):
            left = [one.name for one in self._case.plan(self._observe()) if not one.reads]
            if left:
                return Ended("failed", f"left to be done: {', '.join(left)}", self.world)
            self._shown("closed")
        why = self._case.verify(self.world)
        return Ended("failed" if why else "succeeded", why, self.world)

    def _settle(self) -> None:
        """Nothing that was begun may still move; what is known of its end is adopted."""
        journal, flight = self._journal, self._flight
        if flight is not None:
            for place, (world, found) in enumerate(flight.worlds):
                rest = flight.worlds[place + 1 :]
                self.world = world
                self._seen("waiting", State(self._case.crashed(world)[0], journal, replace(flight, worlds=rest)))
                if not rest and flight.witnessed:
                    journal = replace(journal, exit=found)
        if journal.begun is not None and journal.exit is not None:
            self._finished(journal.begun, journal.exit)
        self._journal = replace(self._journal, begun=None, exit=None)

    def _observe(self) -> object:
        ended = {name: dict(found) for name, found in self._journal.results}
        facts = self._case.told(self._case.observe(self.world), ended)
        guards, pinned = role(facts, Role.GUARD), role(facts, Role.PINNED)
        if self._journal.pinned is None:
            self._journal = replace(self._journal, guards=guards, pinned=pinned)
        if guards != self._journal.guards:
            raise Broke(f"a guard drifted: {self._journal.guards} {guards}")
        return replace(facts, **dict(self._journal.pinned or ()))  # type: ignore[type-var]  # facts are dataclasses

    def _unapproved(self, planned: tuple[Op, ...], facts: object) -> str:
        if not self._resumed or not self._journal.approved:
            return ""
        known = self._journal.approved | {self._case.same(one) for one in self._case.recovery(facts)}
        new = [one.name for one in planned if not (one.reads or one.owned or self._case.same(one) in known)]
        return f"never approved: {', '.join(new)}" if new else ""

    def _perform(self, operation: Op) -> None:
        others = tuple((name, found) for name, found in self._journal.results if name != operation.name)
        begun = self._journal if operation.reads else replace(self._journal, begun=operation, results=others)
        results = {name: dict(found) for name, found in self._journal.results}  # with its own of an earlier go
        worlds = ((self.world, ()), *self._case.perform(self.world, operation, results))
        for place, (world, found) in enumerate(worlds):
            flies = not operation.reads and self._case.outlives(operation, world)
            last = place + 1 == len(worlds)
            where = f"{operation.name} {place}/{len(worlds) - 1}"
            for left in self._case.crashed(world):
                self._seen(where, State(left, begun))
                if last and flies and found:
                    self._seen(f"{where}, its end recorded", State(left, replace(begun, exit=found)))
            if flies and not last:
                # whether an end without a result is recorded makes no difference
                rest = tuple((self._case.crashed(later)[0], given) for later, given in worlds[place + 1 :])
                for witnessed in (True, False) if rest[-1][1] else (False,):
                    left = self._case.crashed(world)[0]
                    self._seen(f"{where}, going on", State(left, begun, Flight(rest, witnessed)))
        self.world = worlds[-1][0]
        self._finished(operation, worlds[-1][1])
        self._shown(f"after {operation.name}")

    def _finished(self, operation: Op, found: Fields) -> None:
        others = tuple((name, known) for name, known in self._journal.results if name != operation.name)
        self._journal = replace(self._journal, results=(*others, *([(operation.name, found)] if found else [])))

    def _shown(self, where: str) -> None:
        for world in self._case.crashed(self.world):
            self._seen(where, State(world, self._journal))


def role(facts: object, which: Role) -> tuple[tuple[str, Hashable], ...]:
    """The facts of a role, by name."""
    named = fields(facts)  # type: ignore[arg-type]  # facts are dataclasses
    return tuple((f.name, getattr(facts, f.name)) for f in named if f.metadata.get("role") == which)


def followed(case: Case[W]) -> W:
    """The world after somebody followed the lines as shown at first, one after the other: no journal, no resume."""
    world = case.start
    results: dict[str, dict[str, Scalar]] = {}
    for operation in case.plan(case.observe(world)):
        *_, (world, found) = case.perform(world, operation, results)
        results[operation.name] = dict(found)
    return world
