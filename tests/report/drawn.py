"""Plans and graphs for the tests of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import strategies as st

from runbook.action import Effect
from runbook.plan.model import Plan, Step
from runbook.report.diagram import Picture, picture


def plan_of(*steps: Step, title: str = "A plan") -> Plan:
    """A plan of these steps, with nothing else in it."""
    return Plan(
        name="small",
        title=title,
        description="",
        scenario="",
        digest="",
        sources=(),
        inputs={},
        systems={},
        steps=steps,
        frames={},
    )


def drawn(*steps: Step, effects: Mapping[str, Effect] | None = None, title: str = "A plan") -> Picture:
    """The picture of these steps; what isn't said reads."""
    known = effects or {}
    return picture(plan_of(*steps, title=title), {step.id: known.get(step.id, Effect.READS) for step in steps})


@st.composite
def needs(draw: st.DrawFn) -> Sequence[tuple[int, ...]]:
    """What each of some steps needs of those before it, by number."""
    count = draw(st.integers(1, 14))
    return [tuple(sorted(draw(st.sets(st.integers(0, at - 1), max_size=4)))) if at else () for at in range(count)]
