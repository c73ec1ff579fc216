"""Small actions for tests of the runner, one for each way in which a step can live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runbook.action import (
    Action,
    Attempt,
    CheckFailed,
    Done,
    Effect,
    Inputs,
    Interrupted,
    Look,
    NoFacts,
    NoOutputs,
    Outputs,
    Scope,
    Undecidable,
    current,
    guard,
    pinned,
)
from runbook.actions.approval import Approval
from runbook.actions.manual import Manual
from runbook.errors import Problem, Refused
from runbook.host import LOCAL
from runbook.operation import Operation, Operations, Process, Ref, Remove, Rename, Write
from runbook.system import Machine

WRONG = Problem("E250", "the thing is not as it should be", "", "")
FORBIDDEN = Problem("E450", "the thing must not be touched", "", "")
MUDDLED = Problem("E650", "the thing is in no state that is known", "", "")


class ThingInputs(Inputs):
    """A thing and the value that it is to have."""

    thing: str
    value: str = "new"
    owner: str = ""


class Made(Outputs):
    """What there is now."""

    made: str
    value: str


@dataclass(frozen=True, slots=True)
class ThingFacts:
    """The thing, its half-made part, and whom it belongs to."""

    owner: str = guard()
    before: str | None = pinned()
    now: str | None = current()
    part: str | None = current()


def _found(look: Look, thing: str) -> ThingFacts:
    value = look.text(LOCAL, thing)
    return ThingFacts(look.text(LOCAL, f"{thing}.owner") or "", value, value, look.text(LOCAL, f"{thing}.part"))


class Make(Action[Machine | None, ThingInputs, ThingFacts, Made]):
    """Make a thing beside its name, then give it its name: one commit point."""

    effect = Effect.CREATES

    def observe(self, look: Look, system: Machine | None, inputs: ThingInputs, scope: Scope) -> ThingFacts:
        facts = _found(look, inputs.thing)
        if facts.now == "forbidden":
            raise Refused(FORBIDDEN)
        if facts.now == "muddled":
            raise Undecidable(MUDDLED)
        return facts

    def assume(self, system: Machine | None, inputs: ThingInputs, scope: Scope) -> ThingFacts:
        return ThingFacts("", None, None, None)

    def plan(self, system: Machine | None, inputs: ThingInputs, facts: ThingFacts, scope: Scope) -> Operations:
        part = f"{inputs.thing}.part"
        operations: list[Operation] = []
        if facts.now == inputs.value:
            return ()
        if facts.now is not None:
            operations.append(Remove(name="clear", path=inputs.thing, marker=inputs.thing, owned=False))
        if facts.part is None:
            operations.append(Write(name="make", path=part, content=inputs.value))
        return (*operations, Rename(name="commit", source=part, target=inputs.thing))

    def expect(self, system: Machine | None, inputs: ThingInputs, facts: ThingFacts) -> Made:
        return Made(made=inputs.thing, value=inputs.value)

    def verify(self, look: Look, system: Machine | None, inputs: ThingInputs, done: Done[ThingFacts]) -> Made:
        value = look.text(LOCAL, inputs.thing)
        if value != inputs.value:
            raise CheckFailed(WRONG)
        return Made(made=inputs.thing, value=value)


class Replace(Make):
    """The same, of a thing that is there: it goes away first."""

    effect = Effect.DESTROYS
    name = "replace"

    def replaces(self, system: Machine | None, inputs: ThingInputs) -> str:
        return inputs.thing


class Repeat(Action[Machine | None, ThingInputs, NoFacts, NoOutputs]):
    """May run twice."""

    effect = Effect.CHANGES
    interrupted = Interrupted.REPEATABLE

    def observe(self, look: Look, system: Machine | None, inputs: ThingInputs, scope: Scope) -> NoFacts:
        return NoFacts()

    def assume(self, system: Machine | None, inputs: ThingInputs, scope: Scope) -> NoFacts:
        return NoFacts()

    def plan(self, system: Machine | None, inputs: ThingInputs, facts: NoFacts, scope: Scope) -> Operations:
        return (Process(name="again", argv=("again", inputs.thing)),)

    def verify(self, look: Look, system: Machine | None, inputs: ThingInputs, done: Done[NoFacts]) -> NoOutputs:
        return NoOutputs()


class OnceInputs(Inputs):
    """How many programs run, one after the other."""

    parts: int = 1


class Said(Outputs):
    """What the last of them said."""

    said: str


class Once(Action[Machine | None, OnceInputs, NoFacts, Said]):
    """Programs whose effect nobody can see: the second is told what the first one said."""

    effect = Effect.CHANGES
    interrupted = Interrupted.ASK

    def observe(self, look: Look, system: Machine | None, inputs: OnceInputs, scope: Scope) -> NoFacts:
        return NoFacts()

    def assume(self, system: Machine | None, inputs: OnceInputs, scope: Scope) -> NoFacts:
        return NoFacts()

    def plan(self, system: Machine | None, inputs: OnceInputs, facts: NoFacts, scope: Scope) -> Operations:
        first = Process(name="part1", argv=("part", "1"))
        later = [
            Process(name=f"part{n}", argv=("part", str(n), Ref(f"part{n - 1}", "exit_code")))
            for n in range(2, inputs.parts + 1)
        ]
        return (first, *later)

    def verify(self, look: Look, system: Machine | None, inputs: OnceInputs, done: Done[NoFacts]) -> Said:
        return Said(said=str(done.results[f"part{inputs.parts}"]["stdout"]))


class Check(Action[Machine | None, ThingInputs, NoFacts, Made]):
    """Read a thing by a program that only reads, and once more to verify."""

    effect = Effect.READS

    def observe(self, look: Look, system: Machine | None, inputs: ThingInputs, scope: Scope) -> NoFacts:
        return NoFacts()

    def assume(self, system: Machine | None, inputs: ThingInputs, scope: Scope) -> NoFacts:
        return NoFacts()

    def plan(self, system: Machine | None, inputs: ThingInputs, facts: NoFacts, scope: Scope) -> Operations:
        return (Process(name="test", argv=("test", inputs.thing, inputs.value), reads=True),)

    def verify(self, look: Look, system: Machine | None, inputs: ThingInputs, done: Done[NoFacts]) -> Made:
        if look.text(LOCAL, inputs.thing) != inputs.value:
            raise CheckFailed(WRONG)
        return Made(made=inputs.thing, value=inputs.value)


@dataclass(frozen=True, slots=True)
class GrowFacts:
    """How far it has grown."""

    size: int = current()


class Grow(Action[Machine | None, ThingInputs, GrowFacts, Made]):
    """Three rounds, each planned from what the one before it left."""

    effect = Effect.CHANGES
    rounds = 3

    def observe(self, look: Look, system: Machine | None, inputs: ThingInputs, scope: Scope) -> GrowFacts:
        return GrowFacts(int(look.text(LOCAL, inputs.thing) or "0"))

    def assume(self, system: Machine | None, inputs: ThingInputs, scope: Scope) -> GrowFacts:
        return GrowFacts(0)

    def plan(self, system: Machine | None, inputs: ThingInputs, facts: GrowFacts, scope: Scope) -> Operations:
        if facts.size >= 3:
            return ()
        size = str(facts.size + 1)
        return (Write(name=f"grow{size}", path=inputs.thing, content=size),)

    def verify(self, look: Look, system: Machine | None, inputs: ThingInputs, done: Done[GrowFacts]) -> Made:
        return Made(made=inputs.thing, value=str(done.facts.size))


class Lie(Make):
    """Its list never comes to an end: the observer is wrong."""

    name = "lie"

    def observe(self, look: Look, system: Machine | None, inputs: ThingInputs, scope: Scope) -> ThingFacts:
        return ThingFacts("", None, None, None)

    def plan(self, system: Machine | None, inputs: ThingInputs, facts: ThingFacts, scope: Scope) -> Operations:
        return (Write(name="make", path=inputs.thing, content=inputs.value),)


class Mend(Make):
    """What a resume finds half made is removed first, by an operation that only a resume may add."""

    name = "mend"

    def plan(self, system: Machine | None, inputs: ThingInputs, facts: ThingFacts, scope: Scope) -> Operations:
        if facts.now == inputs.value:
            return ()
        write = Write(name="make", path=inputs.thing, content=inputs.value)
        stray = f"{inputs.thing}.stray"
        match facts.now:
            case "half":
                return (*self.recovery(system, inputs, facts, scope), write)
            case "stray":
                return (Remove(name="tidy", path=stray, marker=scope.tag), write)
            case "foreign":
                return (Write(name="surprise", path=inputs.thing, content="surprise"), write)
            case _:
                return (write,)

    def recovery(self, system: Machine | None, inputs: ThingInputs, facts: ThingFacts, scope: Scope) -> Operations:
        return (Remove(name="mend", path=inputs.thing, marker=inputs.thing, owned=False),)


class Exchange(Make):
    """The thing is shut while it is exchanged, and must not stay so when that fails."""

    name = "exchange"
    effect = Effect.DESTROYS

    def plan(self, system: Machine | None, inputs: ThingInputs, facts: ThingFacts, scope: Scope) -> Operations:
        if facts.now == inputs.value:
            return ()
        close = Write(name="close", path=f"{inputs.thing}.shut", content="yes")
        return (close, Write(name="exchange", path=inputs.thing, content=inputs.value))

    def retreat(
        self, system: Machine | None, inputs: ThingInputs, attempt: Attempt[ThingFacts], scope: Scope
    ) -> Operations:
        if "close" not in attempt.begun or "exchange" in attempt.succeeded:
            return ()
        return (Remove(name="open", path=f"{inputs.thing}.shut", marker=inputs.thing, owned=False),)


class ServiceInputs(Inputs):
    """Services by name."""

    services: tuple[str, ...] = ()


class Services(Outputs):
    """The services that were running."""

    ran: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """Which ran first, and which run now."""

    ran: tuple[str, ...] = pinned()
    running: tuple[str, ...] = current()


class Pause(Action[Machine | None, ServiceInputs, ServiceFacts, Services]):
    """A hold: stop services, for as long as other steps need."""

    effect = Effect.CHANGES
    holds = True

    def observe(self, look: Look, system: Machine | None, inputs: ServiceInputs, scope: Scope) -> ServiceFacts:
        running = tuple(name for name in inputs.services if look.text(LOCAL, name) == "running")
        return ServiceFacts(running, running)

    def assume(self, system: Machine | None, inputs: ServiceInputs, scope: Scope) -> ServiceFacts:
        return ServiceFacts(inputs.services, inputs.services)

    def plan(self, system: Machine | None, inputs: ServiceInputs, facts: ServiceFacts, scope: Scope) -> Operations:
        # all that ran when it was first taken, so that a hold that is taken again plans what was approved
        wanted = [name for name in facts.ran if name in facts.running]
        return tuple(Write(name=f"stop_{name}", path=name, content="stopped") for name in wanted)

    def verify(self, look: Look, system: Machine | None, inputs: ServiceInputs, done: Done[ServiceFacts]) -> Services:
        if any(look.text(LOCAL, name) == "running" for name in inputs.services):
            raise CheckFailed(WRONG)
        return Services(ran=done.facts.ran)


class Unpause(Action[Machine | None, ServiceInputs, ServiceFacts, Services]):
    """The release: start what ran before, and nothing else."""

    effect = Effect.CHANGES

    def observe(self, look: Look, system: Machine | None, inputs: ServiceInputs, scope: Scope) -> ServiceFacts:
        ran = _held(scope)
        return ServiceFacts(ran, tuple(name for name in ran if look.text(LOCAL, name) == "running"))

    def assume(self, system: Machine | None, inputs: ServiceInputs, scope: Scope) -> ServiceFacts:
        return ServiceFacts(_held(scope), ())

    def plan(self, system: Machine | None, inputs: ServiceInputs, facts: ServiceFacts, scope: Scope) -> Operations:
        wanted = [name for name in facts.ran if name not in facts.running]
        return tuple(Write(name=f"start_{name}", path=name, content="running") for name in wanted)

    def verify(self, look: Look, system: Machine | None, inputs: ServiceInputs, done: Done[ServiceFacts]) -> Services:
        if any(look.text(LOCAL, name) != "running" for name in done.facts.ran):
            raise CheckFailed(WRONG)
        return Services(ran=done.facts.ran)


def _held(scope: Scope) -> tuple[str, ...]:
    ran = (scope.held or {}).get("ran")
    return tuple(str(name) for name in ran) if isinstance(ran, list) else ()


ACTS: dict[str, Action[Any, Any, Any, Any]] = {
    "make": Make(),
    "replace": Replace(),
    "repeat": Repeat(),
    "once": Once(),
    "check": Check(),
    "grow": Grow(),
    "lie": Lie(),
    "mend": Mend(),
    "exchange": Exchange(),
    "pause": Pause(),
    "unpause": Unpause(),
    "manual": Manual(),
    "approval": Approval(),
}
