"""Random plans: graphs of small steps with conditions, retries, failures, holds, people, and what follows a failure.

Owns :func:`random_plan`. Promises: a plan is fixed by its seed, and carried out without faults it succeeds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from runbook.errors import Problem
from runbook.operation import Json
from runbook.plan.inputs import _expand as expand
from runbook.plan.model import Backoff, OnFailure, Retry, Section, Step
from runbook.plan.scope import Values
from tests.runner.memory_run import plan_of, step

MOST_STEPS = 200
_KINDS = (
    ("make",) * 6
    + ("once",) * 4
    + ("repeat",) * 2
    + ("grow",) * 2
    + ("check",) * 2
    + ("mend", "replace", "exchange", "exchange", "manual", "approval")
)
_FOREACH = ("make", "repeat", "grow", "mend", "exchange")
_GIVES_VALUE = ("make", "mend", "check", "grow")


@dataclass(frozen=True, slots=True)
class Simulated:
    """Steps, the facts that are there beforehand, and the services of each hold."""

    steps: tuple[Step, ...]
    facts: dict[str, str]
    services: dict[str, tuple[str, ...]]


def random_plan(chance: Random) -> Simulated:
    """A plan of 1 to 200 steps, of which most are few."""
    dice = chance.random()
    count = chance.randint(1, 8) if dice < 0.86 else chance.randint(11, 40 if dice < 0.99 else MOST_STEPS - 10)
    main: list[Step] = []
    for number in range(count):
        main.append(_step(chance, f"s{number}", main))
    facts = {one.id: "old" for one in main if one.uses == "replace"}
    services: dict[str, tuple[str, ...]] = {}
    for number in range(chance.choice((0, 0, 1, 1, 2))):
        main = _held(chance, f"h{number}", main, facts, services)
    last = [_aside(chance, f"f{number}", Section.FINALLY) for number in range(chance.choice((0, 0, 1, 2)))]
    alarm = [_aside(chance, f"a{number}", Section.ON_FAILURE) for number in range(chance.choice((0, 0, 1)))]
    main, last = _late(main, last)
    return Simulated(_expanded((*main, *alarm, *last)), facts, services)


def _expanded(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps with one for each item of each ``foreach``, as a plan is bound; the longest plans go without."""
    problems: list[Problem] = []
    plan = plan_of(steps)
    found = expand(plan, Values({}, {}, {}, {}, {}), problems).steps
    assert not problems
    return found if len(found) <= MOST_STEPS else tuple(replace(one, foreach=None, item="only") for one in steps)


def _step(chance: Random, name: str, earlier: list[Step]) -> Step:
    uses = chance.choice(_KINDS)
    needs = _needs(chance, earlier)
    with_: dict[str, Json] = {"thing": name}
    match uses:
        case "once":
            with_ = {"parts": chance.choice((1, 1, 2, 3))}
        case "manual":
            with_ = {"instructions": "Do it."}
        case "approval":
            with_ = {"subject": "Is it well?", "needed": chance.choice((1, 2))}
        case "check":
            sure = [one for one in earlier if one.uses == "make" and _certain(one)]
            if not sure:
                uses = "make"
            else:
                seen = chance.choice(sure)
                with_, needs = {"thing": seen.id, "value": seen.with_.get("value", "new")}, {*needs, seen.id}
        case "make":
            giving = [one for one in earlier if one.uses in _GIVES_VALUE and _certain(one)]
            if giving and chance.random() < 0.4:
                giver = chance.choice(giving)
                with_, needs = {"thing": name, "value": f"{{{{ steps.{giver.id}.value }}}}"}, {*needs, giver.id}
    made = replace(step(name, uses, *sorted(needs)), with_=with_)
    return _adorned(chance, made)


def _certain(one: Step) -> bool:
    """Whether the step surely has outputs once it is done."""
    return not one.when and one.on_failure is OnFailure.STOP and one.foreach is None


def _adorned(chance: Random, made: Step) -> Step:
    if chance.random() < 0.15:
        retry = Retry(chance.randint(2, 4), chance.choice((0.0, 1.0, 30.0)), chance.choice(list(Backoff)))
        made = replace(made, retry=retry)
    if chance.random() < 0.1:
        made = replace(made, when=chance.choice(("inputs.yes", "inputs.no")))
    if chance.random() < 0.1:
        made = replace(made, on_failure=OnFailure.CONTINUE)
    if chance.random() < 0.05:
        made = replace(made, confirm="Sure?")
    if chance.random() < 0.2:
        made = replace(made, timeout_s=20.0)
    if made.uses in _FOREACH and "value" not in made.with_ and chance.random() < 0.06:
        listed: tuple[Json, ...] = ("a", "b/c", "d")[: chance.randint(1, 3)]
        items: Json = list(listed)
        made = replace(made, foreach=items, with_={"thing": f"{made.id}.{{{{ item }}}}"}, group=made.id)
    return made


def _needs(chance: Random, earlier: list[Step]) -> set[str]:
    if not earlier:
        return set()
    if chance.random() < 0.5:
        return {earlier[-1].id}
    return {one.id for one in chance.sample(earlier, min(len(earlier), chance.randint(0, 3)))}


def _held(
    chance: Random, name: str, main: list[Step], facts: dict[str, str], services: dict[str, tuple[str, ...]]
) -> list[Step]:
    """The list with a hold before some of its steps and its release after them; holds may nest and overlap."""
    first = chance.randint(0, len(main) - 1)
    last = chance.randint(first, min(len(main) - 1, first + 6))
    mine = tuple(f"{name}.{letter}" for letter in "ab"[: chance.randint(1, 2)])
    services[name] = mine
    facts |= {service: "running" if chance.random() < 0.8 else "absent" for service in mine}
    held: Json = list(mine)
    inside = [replace(one, needs=(*one.needs, name)) for one in main[first : last + 1]]
    before = _needs(chance, main[:first])
    take = step(name, "pause", *sorted(before), services=held)
    release = step(f"r{name}", "unpause", name, *(one.id for one in inside), releases=name, services=held)
    after = [replace(one, needs=(*one.needs, release.id)) if chance.random() < 0.5 else one for one in main[last + 1 :]]
    return [*main[:first], take, *inside, release, *after]


def _late(main: list[Step], last: list[Step]) -> tuple[list[Step], list[Step]]:
    """Some of the releases moved into ``finally``, which may be a chain. Thrown apart, so that the rest of a seed's plan stays."""
    chance = Random(repr([(one.id, one.uses) for one in main]))
    late = {one.id for one in main if one.releases and chance.random() < 0.3}
    left = [replace(one, needs=tuple(need for need in one.needs if need not in late)) for one in main]
    last = [*(replace(one, needs=(), section=Section.FINALLY) for one in left if one.id in late), *last]
    if chance.random() < 0.5:
        last = [replace(one, needs=(last[place - 1].id,) if place else ()) for place, one in enumerate(last)]
    return [one for one in left if one.id not in late], last


def _aside(chance: Random, name: str, section: Section) -> Step:
    return replace(step(name, chance.choice(("make", "repeat"))), section=section)
