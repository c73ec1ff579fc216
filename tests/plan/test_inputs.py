"""Binding: what was given goes before the environment, that before defaults; foreach follows from it."""

from __future__ import annotations

import pytest

from runbook.plan.inputs import Bound, Origin, bind, iteration_id
from runbook.plan.model import Section
from runbook.plan.render import Values, render_step
from tests.plan.given import ENVIRONMENT, RESTORE, codes, environment, plan, problems, steps


def bound(**given: object) -> Bound:
    return bind(plan(RESTORE), environment(), given)  # type: ignore[arg-type]


def test_precedence() -> None:
    made = bound()
    assert made.inputs == {"backup": "newest", "tables": ["users", "orders"]}
    assert made.origins == {"backup": Origin.DEFAULT, "tables": Origin.ENVIRONMENT}
    made = bound(tables="a,b,c", backup="x.dump")
    assert made.inputs == {"backup": "x.dump", "tables": ["a", "b", "c"]}
    assert set(made.origins.values()) == {Origin.GIVEN}


def test_an_absent_optional_is_null() -> None:
    made = bind(
        plan(steps("- id: a\n  uses: x.y", head="inputs: {x: {type: datetime, optional: true}}\n")), environment(), {}
    )
    assert (made.inputs, made.origins) == ({"x": None}, {"x": Origin.ABSENT})


def test_foreach_becomes_one_step_for_each_item() -> None:
    made = bound(tables=["a", "b"])
    assert [step.id for step in made.plan.section(Section.STEPS)] == [
        "pick", "stop_writers", "restore", "count[a]", "count[b]", "start_writers",
    ]  # fmt: skip
    one = made.plan.step("count[a]")
    assert (one.item, one.group, one.needs, one.foreach) == ("a", "count", ("restore",), None)
    assert made.plan.step("start_writers").needs == ("count[a]", "count[b]", "stop_writers")
    assert made.plan.groups == {"count": ("count[a]", "count[b]")}
    rendered = render_step(made.plan, one, Values(made.inputs, {}, {}, {}, {}))
    assert rendered.with_ == {"checks": [{"query": "SELECT count(*) FROM a", "at_least": 1}]}


def test_an_empty_foreach_hands_its_needs_on() -> None:
    made = bound(tables=[])
    assert made.plan.groups == {"count": ()}
    assert made.plan.step("start_writers").needs == ("restore", "stop_writers")


def test_the_outputs_of_a_group_are_a_list_in_order() -> None:
    text = steps(
        "- id: copy\n  uses: x.y\n  foreach: [b, a]\n- id: all\n  uses: x.y\n  with:\n"
        '    a: "{{ steps.copy }}"\n    n: "{{ steps.copy[1].n }}"'
    )
    made = bind(plan(text), environment(), {})
    assert made.plan.step("all").needs == ("copy[b]", "copy[a]")
    known = Values({}, {}, {"copy[a]": {"n": 1}, "copy[b]": {"n": 2}}, {}, {})
    assert render_step(made.plan, made.plan.step("all"), known).with_ == {"a": [{"n": 2}, {"n": 1}], "n": 1}


def test_ids_of_iterations_are_safe_in_paths() -> None:
    assert iteration_id("copy", "public.users") == "copy[public.users]"
    assert iteration_id("copy", "../../etc/x y") == "copy[..%2F..%2Fetc%2Fx%20y]"


def test_a_foreach_inside_of_an_included_plan() -> None:
    inner = steps(
        '- id: each\n  uses: x.y\n  foreach: "{{ inputs.names }}"\n- id: end\n  uses: x.y',
        head="inputs: {names: {type: list}}\n",
    )
    text = steps(
        '- id: i\n  uses: ./inner.yaml\n  with: {names: "{{ inputs.tables }}"}', head="inputs: {tables: {type: list}}\n"
    )
    made = bind(plan(text, inner=inner), environment(), {})
    assert [step.id for step in made.plan.steps] == ["i.each[users]", "i.each[orders]", "i.end"]
    assert made.plan.groups == {"i.each": ("i.each[users]", "i.each[orders]")}
    late = text.replace("{{ inputs.tables }}", "{{ steps.z.names }}") + "  - id: z\n    uses: x.y\n    needs: []\n"
    assert codes(lambda: bind(plan(late, inner=inner), environment(), {})) == ["E135"]


def test_two_long_lists_want_a_step_between_them() -> None:
    each = '- id: {}\n  uses: x.y\n  foreach: "{{{{ inputs.names }}}}"\n'
    head = "inputs: {names: {type: list}}\n"
    names = ",".join(f"t{number}" for number in range(1_001))
    (found,) = problems(
        lambda: bind(plan(steps(each.format("a") + each.format("b"), head=head)), environment(), {"names": names})
    )
    assert (found.code, found.detail) == (
        "E153",
        "Its items would wait for each other 1,002,001 times; at most 1,000,000 are taken.",
    )
    between = each.format("a") + "- id: all\n  uses: x.y\n" + each.format("b")
    made = bind(plan(steps(between, head=head)), environment(), {"names": names})
    assert made.plan.step("b[t7]").needs == ("all",)


def test_all_faults_at_once() -> None:
    head = (
        "inputs: {a: {type: integer, help: How many}, b: {type: boolean}, c: {type: string}, tables: {type: integer}}\n"
    )
    found = problems(
        lambda: bind(plan(steps("- id: x\n  uses: x.y", head=head)), environment(), {"a": "seven", "bb": "true"})
    )
    assert [(problem.code, problem.summary) for problem in found] == [
        ("E161", "wrong value for input 'tables'"),
        ("E162", "missing input 'b'"),
        ("E162", "missing input 'c'"),
        ("E160", "unknown input 'bb'"),
        ("E161", "wrong value for input 'a'"),
    ]
    assert str(found[0].where) == "lab.yaml:2:18"
    assert found[3].fix == "did you mean 'b'?"
    assert "seven" not in found[4].detail + found[4].fix


@pytest.mark.parametrize("given", ["a,a", "a,,b", "x\u202e,y"])
def test_items_are_unique_printable_texts(given: str) -> None:
    assert codes(lambda: bound(tables=given)) == ["E135"]


def test_a_condition_that_is_known_early_is_checked_early() -> None:
    text = steps("- id: x\n  uses: x.y\n  when: inputs.n", head="inputs: {n: {type: integer, default: 1}}\n")
    (problem,) = problems(lambda: bind(plan(text), environment(), {}))
    assert (problem.code, str(problem.where)) == ("E144", "plan.yaml:7:11")


def test_an_included_input_that_is_known_early_is_checked_early() -> None:
    inner = steps("- id: x\n  uses: x.y", head="inputs: {n: {type: integer}}\n")
    text = steps(
        '- id: i\n  uses: ./inner.yaml\n  with: {n: "{{ inputs.t }}"}', head="inputs: {t: {type: string, default: x}}\n"
    )
    (problem,) = problems(lambda: bind(plan(text, inner=inner), environment(ENVIRONMENT), {}))
    assert (problem.code, str(problem.where)) == ("E161", "inner.yaml:3:10")
