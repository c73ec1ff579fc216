"""Which of the plan's own inputs a step's values are made of."""

from __future__ import annotations

from runbook.plan.model import Frame, Objectives, Plan, Step
from runbook.plan.origin import inputs_behind

FRAMES = {
    "": Frame("", None, {}, {}, {}),
    "in.": Frame("in.", "", {}, {"age": "{{ inputs.oldest }}", "fixed": "1d", "both": "{{ inputs.a ~ inputs.b }}"}, {}),
    "in.deep.": Frame("in.deep.", "in.", {}, {"days": "{{ inputs.age }}"}, {}),
}


def behind(frame: str, with_: dict[str, object], *fields: str) -> tuple[str, ...]:
    step = Step(id="s", title="", uses="x", frame=frame, with_=with_)  # type: ignore[arg-type]
    plan = Plan("p", "", "", "", "", (), {}, {}, (step,), FRAMES, Objectives())
    return inputs_behind(plan, step, fields)


def test_the_inputs_of_a_field_or_of_all() -> None:
    with_: dict[str, object] = {
        "a": "{{ inputs.x }}",
        "b": ["{{ inputs.y | upper }}", {"c": "no {{ inputs.x }}"}],
        "d": 1,
    }
    assert behind("", with_, "a") == ("x",)
    assert behind("", with_) == ("x", "y")
    assert behind("", with_, "d") == ()
    assert behind("", {"a": "{{ steps.one.out }}"}, "a") == ()


def test_through_included_plans() -> None:
    assert behind("in.", {"a": "{{ inputs.age }}"}) == ("oldest",)
    assert behind("in.deep.", {"a": "{{ inputs.days }}"}) == ("oldest",)
    assert behind("in.", {"a": "{{ inputs.fixed }}"}) == ()
    assert behind("in.", {"a": "{{ inputs.both }}"}) == ("a", "b")
    assert behind("in.", {"a": "{{ inputs.left_to_its_default }}"}) == ()
