"""A hold over several steps, with failure and resume: services are stopped, a step works, exactly those are started again.

The stop and the start are the real actions' plans. A run is in small what the engine makes of it: the steps in their order; after a
crash a hold that is in force is taken again first; after a failure that changed nothing it is released.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import asdict, dataclass, replace
from typing import Any

import pytest

from runbook.actions.compose.project import Member
from runbook.actions.compose.start import Start, StartFacts, StartInputs
from runbook.actions.compose.stop import Stop, StopFacts, StopInputs
from runbook.operation import Json, Operations, Rename, Wait
from runbook.system import ComposeProject
from tests.actions.backups import scope
from tests.prototype.explore import Fault, search
from tests.prototype.life import Broke, Case, Journal, Life, Op, Results, State, Worlds
from tests.prototype.words import commands, line_of

SHOP = ComposeProject(type="compose", project="shop")
WRITERS = ("web", "worker", "beat")
RAN = frozenset({"web", "worker"})
BEFORE, AFTER = "the original", "the copy"


@dataclass(frozen=True, slots=True)
class House:
    """Which services run, which database is in place; ``lost``: somebody wrote while it was replaced."""

    up: frozenset[str] = RAN
    place: str = BEFORE
    lost: bool = False


class Step(Case[House]):
    """What the three have in common. At boot a service with ``restart: always`` comes back, even one that was stopped."""

    start = House()

    def perform(self, world: House, operation: Op, results: Results) -> Worlds[House]:
        for command in commands(line_of(operation, results)):  # type: ignore[arg-type]  # a real one
            match command.argv:
                case ("docker", "stop", *_, container):
                    world = replace(world, up=world.up - {container})
                case ("docker", "start", container):
                    world = replace(world, up=world.up | {container})
                case ("docker", "inspect", *_) if not isinstance(operation, Wait):
                    raise Broke("only a wait looks")
            yield world, ()

    def crashed(self, world: House) -> tuple[House, ...]:
        return (world, replace(world, up=world.up | RAN))

    def wrong(self, world: House) -> str:
        return "a write was lost" if world.lost else ""


def members(services: frozenset[str] | tuple[str, ...]) -> tuple[Member, ...]:
    """One container a service, called like it."""
    return tuple(Member(service, 1, service) for service in WRITERS if service in services)


class Stopping(Step):
    """Takes the hold."""

    inputs = StopInputs(services=WRITERS)

    def observe(self, world: House) -> StopFacts:
        return StopFacts(running=members(world.up), up=members(world.up))

    def plan(self, facts: object) -> Operations:
        assert isinstance(facts, StopFacts)
        return Stop().plan(SHOP, self.inputs, facts, scope())

    def recovery(self, facts: object) -> Operations:
        assert isinstance(facts, StopFacts)
        return Stop().recovery(SHOP, self.inputs, facts, scope())

    def verify(self, world: House) -> str:
        return "still up" if world.up else ""


@dataclass(frozen=True, slots=True)
class WorkFacts:
    """Which database is in place."""

    place: str


class Working(Step):
    """Replaces the database; ``works`` False: it refuses before anything is changed."""

    works = True

    def observe(self, world: House) -> WorkFacts:
        return WorkFacts(world.place)

    def plan(self, facts: object) -> Operations:
        assert isinstance(facts, WorkFacts)
        if not self.works:
            raise Broke("the dump is damaged")
        return () if facts.place == AFTER else (Rename(name="swap", source="/copy", target="/place"),)

    def perform(self, world: House, operation: Op, results: Results) -> Worlds[House]:
        yield replace(world, place=AFTER, lost=bool(world.up)), ()


class Releasing(Step):
    """Starts what the hold found running, as its journal has it."""

    def __init__(self, held: Journal) -> None:
        pinned: dict[str, Any] = dict(held.pinned or ())
        forms: dict[str, Json] = {key: [asdict(member) for member in value] for key, value in pinned.items()}
        self.scope = replace(scope(), held=forms)
        self.wanted = tuple(pinned.get("running", ()))

    def observe(self, world: House) -> StartFacts:
        down = tuple(member for member in self.wanted if member.service not in world.up)
        return StartFacts(was_down=down, wanted=self.wanted, down=down, unready=down)

    def plan(self, facts: object) -> Operations:
        assert isinstance(facts, StartFacts)
        return Start().plan(SHOP, StartInputs(), facts, self.scope)

    def recovery(self, facts: object) -> Operations:
        assert isinstance(facts, StartFacts)
        return Start().recovery(SHOP, StartInputs(), facts, self.scope)


@dataclass(frozen=True, slots=True)
class Run:
    """A run as a crash leaves it: the world, and of each step its status and its journal."""

    world: House
    status: tuple[str, str, str] = ("", "", "")
    journals: tuple[Journal, Journal, Journal] = (Journal(), Journal(), Journal())

    def at(self, number: int, world: House, journal: Journal, status: str = "") -> Run:
        """The same with one step further on."""

        def put(items: tuple[Any, ...], item: object) -> Any:
            return (*items[:number], item, *items[number + 1 :])

        return Run(world, put(self.status, status or self.status[number]), put(self.journals, journal))


HOLD, WORK, RELEASE = range(3)


@dataclass
class Engine:
    """Carries a run to its end. ``takes_again`` and ``pins`` False leave out a rule, to show what it is for."""

    works: bool = True
    takes_again: bool = True
    pins: bool = True

    def go(self, run: Run, seen: Callable[[str, Run], None]) -> tuple[str, Hashable]:
        """From where it is: what is wrong with the end, and the end."""
        if run.status[HOLD] == "succeeded" and not run.status[RELEASE] and self.takes_again:
            run = self._lived(run, HOLD, seen)
        for number in (HOLD, WORK, RELEASE):
            if not run.status[number]:
                run = self._lived(run, number, seen)
        wanted = House(RAN, AFTER if self.works else BEFORE)
        why = "" if replace(run.world, lost=False) == wanted else f"at the end: {run.world}"
        return why or Step().wrong(run.world), (run.world, run.status)

    def _lived(self, run: Run, number: int, seen: Callable[[str, Run], None]) -> Run:
        working = Working()
        working.works = self.works
        case = (Stopping(), working, Releasing(run.journals[HOLD]))[number]
        journal = run.journals[number]
        if number == HOLD and not self.pins:
            journal = replace(journal, pinned=None)
        last = [journal]

        def left(where: str, state: State[House]) -> None:
            last[0] = state.journal
            seen(f"{where} of step {number + 1}", run.at(number, state.world, state.journal))

        ended = Life(case, State(run.world, journal), left).go()
        if ended.status != "succeeded" and number != WORK:
            raise Fault(f"step {number + 1} {ended.status}: {ended.why}\n{ended.world}")
        done = run.at(number, ended.world, replace(last[0], begun=None, exit=None), ended.status)
        for world in case.crashed(done.world):
            seen(f"after step {number + 1}", replace(done, world=world))
        return done


def wrong(run: Run) -> str:
    """What may never be seen."""
    return Step().wrong(run.world)


@pytest.mark.parametrize("works", [True, False])
def test_exactly_those_that_ran_run_again_and_nothing_is_lost(works: bool) -> None:
    assert search(Run(House()), Engine(works=works).go, wrong).states > 50


def test_a_hold_that_the_boot_has_undone_is_taken_again_before_work_goes_on() -> None:
    with pytest.raises(Fault, match="a write was lost"):
        search(Run(House()), Engine(takes_again=False).go, wrong)


def test_what_ran_is_pinned_before_anything_is_stopped() -> None:
    with pytest.raises(Fault, match="at the end"):
        search(Run(House()), Engine(pins=False).go, wrong)
