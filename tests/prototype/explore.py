"""Every state that crashes can leave, at any depth: each is resumed from, and each resume crashes everywhere again.

Owns :func:`explore`. A run of the model shows every state on its way at which it could be cut off; the states that are new are
gone on from, until none is. So crashes of crashes of crashes are covered by what they leave, not by what led there, and the whole
is small. Promises: it ends (bounded), and a fault is told with the shortest way that leads to it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar

from tests.prototype.life import Case, Life, State

W = TypeVar("W", bound=Hashable)
MOST_STATES = 20_000


class Fault(AssertionError):
    """A rule that did not hold, with the crashes that led there."""


@dataclass(frozen=True, slots=True)
class Explored:
    """How much was seen: states, and the depth of crashes after which nothing new appears."""

    states: int
    depth: int


def explore(case: Case[W], *, fenced: bool = True) -> Explored:
    """Crash everywhere, resume, crash again, until no new state appears. Raises :class:`Fault`.

    Every go has to succeed, and every end to be like that of the go that nothing disturbed.
    """

    def go(state: State[W], seen: Callable[[str, State[W]], None]) -> tuple[str, Hashable]:
        ended = Life(case, state, seen, fenced=fenced).go()
        why = case.wrong(ended.world) or (f"{ended.status}: {ended.why}" if ended.status != "succeeded" else "")
        return (f"{why}\n{ended.world}" if why else "", case.end(ended.world))

    return search(State(case.start), go, lambda state: case.wrong(state.world))


S = TypeVar("S", bound=Hashable)


def search(
    start: S,
    go: Callable[[S, Callable[[str, S], None]], tuple[str, Hashable]],
    wrong: Callable[[S], str],
) -> Explored:
    """All states that are left from ``start`` on. ``go`` shows them and gives what is wrong with its end, and the end."""
    trail: dict[S, tuple[str, ...]] = {start: ()}
    todo = [start]
    ends: dict[Hashable, tuple[str, ...]] = {}
    for state in todo:
        way = trail[state]

        def seen(where: str, left: S, way: tuple[str, ...] = way) -> None:
            if why := wrong(left):
                raise Fault(f"{why}\n{told((*way, where))}\n{left}")
            if left not in trail:
                trail[left] = (*way, where)
                todo.append(left)

        why, end = go(state, seen)
        if why:
            raise Fault(f"{why}\n{told(way)}")
        ends.setdefault(end, way)
        if len(ends) > 1:
            raise Fault(f"two ends\n{told(way)}\n" + "\n".join(map(str, ends)))
        if len(trail) > MOST_STATES:
            raise Fault(f"more than {MOST_STATES} states: the model grows without a bound")
    return Explored(len(trail), max(map(len, trail.values())))


def told(way: tuple[str, ...]) -> str:
    """The crashes on the way, one a line."""
    return "\n".join(f"  crash at: {where}" for where in way) or "  nothing disturbed it"
