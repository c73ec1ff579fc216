"""Included plans are inlined with their own names, wait for what the including step waits for, and give their outputs."""

from __future__ import annotations

import pytest

from runbook.errors import Problem
from runbook.plan.compose import beside
from runbook.plan.model import Phase, Plan, Section
from runbook.plan.render import MissingOutput, Values, render_step
from tests.plan.given import codes, plan, problems, steps

INNER = (
    steps(
        '- id: pick\n  uses: backup.select\n  on: store\n  with: {name: "{{ inputs.name }}"}\n'
        '- id: left\n  uses: x.y\n  with: {a: "{{ steps.pick.artifact }}"}\n'
        "- id: right\n  uses: x.y\n  needs: [pick]",
        head="inputs: {name: {type: string, default: newest}, count: {type: integer, optional: true}}\nsystems: {store: store}\n"
        'outputs: {artifact: "{{ steps.pick.artifact }}", both: ["{{ steps.left.x }}", fixed]}\n',
    )
    + "finally:\n  - id: tell\n    uses: x.y\n"
)
OUTER = steps(
    "- id: before\n  uses: x.y\n"
    '- id: inner\n  title: The inner one\n  uses: ./inner.yaml\n  with: {name: "{{ steps.before.name }}"}\n'
    "  systems: {store: backups}\n  phase: restore\n"
    '- id: after\n  uses: x.y\n  with: {a: "{{ steps.inner.artifact.url }}"}',
    head="systems: {backups: store}\n",
)


def values(**outputs: dict[str, object]) -> Values:
    done = {name.replace("__", "."): fields for name, fields in outputs.items()}
    return Values({}, {"backups": {"name": "backups", "type": "store"}}, done, {"id": "r1"}, {"name": "lab"})  # type: ignore[arg-type]


@pytest.fixture
def composed() -> Plan:
    return plan(OUTER, inner=INNER)


def test_steps_are_inlined_in_their_place(composed: Plan) -> None:
    assert [step.id for step in composed.section(Section.STEPS)] == [
        "before",
        "inner.pick",
        "inner.left",
        "inner.right",
        "after",
    ]
    assert [step.id for step in composed.section(Section.FINALLY)] == ["inner.tell"]


def test_the_first_wait_for_what_is_above_and_what_is_below_waits_for_the_last(composed: Plan) -> None:
    needs = {step.id: step.needs for step in composed.steps}
    assert needs["inner.pick"] == ("before",)
    assert needs["inner.left"] == ("inner.pick",)
    assert needs["inner.right"] == ("inner.pick",)
    assert needs["after"] == ("inner.left", "inner.right")


def test_systems_are_the_environments(composed: Plan) -> None:
    assert composed.step("inner.pick").on == "backups"
    assert composed.frames["inner."].systems == {"store": "backups"}
    assert composed.frames["inner."].title == "The inner one"
    assert composed.step("inner.pick").phase is Phase.RESTORE


def test_inputs_are_rendered_in_the_including_plans_scope(composed: Plan) -> None:
    rendered = render_step(composed, composed.step("inner.pick"), values(before={"name": "x.dump"}))
    assert rendered.with_ == {"name": "x.dump"}


def test_outputs_are_rendered_in_the_included_plans_scope(composed: Plan) -> None:
    rendered = render_step(composed, composed.step("after"), values(inner__pick={"artifact": {"url": "file:///x"}}))
    assert rendered.with_ == {"a": "file:///x"}


def test_a_missing_output_inside_is_missing_outside(composed: Plan) -> None:
    with pytest.raises(MissingOutput) as caught:
        render_step(composed, composed.step("after"), values())
    assert (caught.value.step, caught.value.output) == ("inner.pick", "artifact")
    assert str(caught.value.problems[0].where) == "plan.yaml:15:19"


def test_all_files_are_sources(composed: Plan) -> None:
    assert [source.name for source in composed.sources] == ["plan.yaml", "inner.yaml"]


def test_the_condition_of_the_including_step_guards_every_inner_step() -> None:
    text = steps(
        "- id: a\n  uses: x.y\n- id: inner\n  uses: ./inner.yaml\n  when: steps.a.wanted\n  systems: {store: backups}",
        head="systems: {backups: store}\n",
    )
    composed = plan(text, inner=INNER.split("finally:")[0])
    for name in ("inner.pick", "inner.left"):
        assert render_step(composed, composed.step(name), values(a={"wanted": False})).when is False
    rendered = render_step(composed, composed.step("inner.pick"), values(a={"wanted": True}))
    assert (rendered.when, rendered.with_) == (True, {"name": "newest"})


def test_one_plan_may_be_included_twice_and_within_another() -> None:
    middle = steps("- id: one\n  uses: ./deep/leaf.yaml\n- id: two\n  uses: ./deep/leaf.yaml")
    composed = plan(
        steps("- id: m\n  uses: ./middle.yaml"), **{"middle": middle, "deep/leaf": steps("- id: x\n  uses: x.y")}
    )
    assert {step.id: step.needs for step in composed.steps} == {"m.one.x": (), "m.two.x": ("m.one.x",)}
    assert [source.name for source in composed.sources] == ["plan.yaml", "middle.yaml", "deep/leaf.yaml"]


def test_needs_and_releases_may_name_an_inner_step() -> None:
    inner = steps("- id: stop\n  uses: x.y\n- id: work\n  uses: x.y")
    composed = plan(
        steps("- id: i\n  uses: ./inner.yaml\n- id: go\n  uses: x.y\n  needs: [i.stop]\n  releases: i.stop"),
        inner=inner,
    )
    assert (composed.step("go").needs, composed.step("go").releases) == (("i.stop",), "i.stop")


def test_a_system_of_the_same_name_and_type_needs_no_mapping() -> None:
    inner = steps("- id: x\n  uses: x.y\n  on: db", head="systems: {db: postgres}\n")
    assert (
        plan(steps("- id: i\n  uses: ./inner.yaml", head="systems: {db: postgres}\n"), inner=inner).step("i.x").on
        == "db"
    )


def test_an_explosion_of_includes_is_refused() -> None:
    files = {f"p{n}": steps(f"- id: a\n  uses: ./p{n + 1}.yaml\n- id: b\n  uses: ./p{n + 1}.yaml") for n in range(14)}
    files["p14"] = steps("- id: x\n  uses: x.y")
    assert set(codes(lambda: plan(steps("- id: a\n  uses: ./p0.yaml"), **files))) <= {"E153", "E199"}


def test_a_type_that_is_wrong_only_at_run_time_is_an_invalid_input() -> None:
    text = steps('- id: a\n  uses: x.y\n- id: i\n  uses: ./inner.yaml\n  with: {n: "{{ steps.a.n }}"}')
    composed = plan(
        text, inner=steps('- id: x\n  uses: x.y\n  with: {n: "{{ inputs.n }}"}', head="inputs: {n: {type: integer}}\n")
    )
    assert render_step(composed, composed.step("i.x"), values(a={"n": 3})).with_ == {"n": 3}
    assert [p.code for p in problems(lambda: render_step(composed, composed.step("i.x"), values(a={"n": "3"})))] == [
        "E161"
    ]


@pytest.mark.parametrize(
    ("name", "written", "meant"),
    [
        ("plan.yaml", "./a.yaml", "a.yaml"),
        ("dir/plan.yaml", "./a.yaml", "dir/a.yaml"),
        ("dir/plan.yaml", "../a.yml", "a.yml"),
        ("dir/plan.yaml", "sub/./../a.yaml", "dir/a.yaml"),
    ],
)
def test_paths_are_relative_to_the_including_file(name: str, written: str, meant: str) -> None:
    assert beside(name, written) == meant


@pytest.mark.parametrize("written", ["../a.yaml", "/a.yaml", "a/../../b.yaml", "..\\a.yaml", "a.txt", "./a\0.yaml"])
def test_nothing_outside_the_root_has_a_name(written: str) -> None:
    assert isinstance(beside("plan.yaml", written), Problem)
