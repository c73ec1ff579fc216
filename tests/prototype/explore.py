"""Every state that crashes can leave, at any depth: each is resumed from, and each resume crashes everywhere again.

Owns :func:`explore`. A run of the model shows every state on its way at which it could be cut off; the states that are new are
gone on from, until none is. So crashes of crashes of crashes are covered by what they leave, not by what led there, and the whole
is small. Promises: it ends (bounded), and a fault is told with the shortest way that leads to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TypeVar

from tests.prototype.life import Case, Ended, Life, State

W = TypeVar("W", bound=Hashable)
MOST_STATES = 20_000


class Fault(AssertionError):
    """A rule that did not hold, with the crashes that led there."""


@dataclass(frozen=True, slots=True)
class Explored:
    """How much was seen: states, the depth of crashes after which nothing new appears, how the goes ended."""

    states: int
    depth: int
    ends: Counter[str]


def explore(case: Case[W], *, fenced: bool = True, ends: tuple[str, ...] = ("succeeded",)) -> Explored:
    """Crash everywhere, resume, crash again, until no new state appears. Raises :class:`Fault`.

    ``ends``: how a go may end. Every end that succeeded has to be like that of the go that nothing disturbed.
    """
    start = State(case.start)
    trail: dict[State[W], tuple[str, ...]] = {start: ()}
    todo = [start]
    wanted: Hashable = None
    ended: Counter[str] = Counter()
    for state in todo:
        way = trail[state]

        def seen(where: str, left: State[W], way: tuple[str, ...] = way) -> None:
            if why := case.wrong(left.world):
                raise Fault(f"{why}\n{told((*way, where))}\n{left.world}")
            if left not in trail:
                trail[left] = (*way, where)
                todo.append(left)

        found = Life(case, state, seen, fenced=fenced).go()
        ended[found.status] += 1
        wanted = _judged(case, found, wanted, ends, way)
        if len(trail) > MOST_STATES:
            raise Fault(f"more than {MOST_STATES} states: the model grows without a bound")
    return Explored(len(trail), max(map(len, trail.values())), ended)


def _judged(case: Case[W], found: Ended[W], wanted: Hashable, ends: tuple[str, ...], way: tuple[str, ...]) -> Hashable:
    if found.status not in ends:
        raise Fault(f"{found.status}: {found.why}\n{told(way)}\n{found.world}")
    if why := case.wrong(found.world):
        raise Fault(f"{why}\n{told(way)}\n{found.world}")
    if found.status != "succeeded":
        return wanted
    end = case.end(found.world)
    if wanted is not None and end != wanted:
        raise Fault(f"another end\n{told(way)}\nwanted {wanted}\nfound  {end}")
    return end


def told(way: tuple[str, ...]) -> str:
    """The crashes on the way, one a line."""
    return "\n".join(f"  crash at: {where}" for where in way) or "  nothing disturbed it"
