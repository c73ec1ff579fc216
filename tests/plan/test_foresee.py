"""What is only foreseen: it stands where it will be, is never reckoned with, and never gets into a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from runbook.errors import Bug
from runbook.operation import Json
from runbook.placeholder import stand_for
from runbook.plan.model import Plan
from runbook.plan.render import Ahead, MissingOutput, Values, render_ahead, render_step
from tests.plan.given import codes, plan, steps

HEAD = "inputs: {flag: {type: boolean, default: true}, names: {type: list, of: string, default: [p, q]}}\n"
ASK: Mapping[str, Json] = {"value": stand_for("steps.ask.value"), "more": stand_for("steps.ask.more")}
DUMP: Mapping[str, Json] = {"artifact": {"name": "shop.dump", "bytes": "<bytes of shop.dump, from dump>"}}


def values(foreseen: Mapping[str, Mapping[str, Json]], **outputs: Mapping[str, Json]) -> Values:
    """Known outputs of some steps, foreseen ones of others."""
    return Values({"flag": True, "names": ["p", "q"]}, {}, outputs, {"id": "r1"}, {"name": "lab"}, foreseen)


def loaded(with_: str = "{}", when: str = "") -> Plan:
    """Three steps, of which the last one is rendered."""
    condition = f"\n  when: {when}" if when else ""
    return plan(
        steps(
            f"- id: ask\n  uses: x.y\n- id: dump\n  uses: x.y\n- id: use\n  uses: x.y\n  with: {with_}{condition}",
            head=HEAD,
        )
    )


def ahead(with_: str = "{}", when: str = "", **outputs: Mapping[str, Json]) -> Ahead:
    """The last step, while nobody has answered and nothing was dumped."""
    made = loaded(with_, when)
    foreseen = {name: told for name, told in {"ask": ASK, "dump": DUMP}.items() if name not in outputs}
    return render_ahead(made, made.step("use"), values(foreseen, **outputs))


@pytest.mark.parametrize(
    ("text", "shown", "given_by"),
    [
        ("{{ steps.ask.value }}", "<steps.ask.value>", {"ask"}),
        ("a {{ steps.ask.value }} b {{ inputs.flag }}", "a <steps.ask.value> b true", {"ask"}),
        ("{{ steps.ask.value.below }}", "<steps.ask.value.below>", {"ask"}),
        ("{{ steps.ask }}", "<steps.ask>", {"ask"}),
        ("{{ steps.ask.value | upper }}", "<steps.ask.value | upper>", {"ask"}),
        ("{{ steps.ask.value | default('x') }}", "<steps.ask.value | default('x')>", {"ask"}),
        ("{{ steps.ask.value is defined }}", "<steps.ask.value is defined>", {"ask"}),
        ("n={{ steps.ask.value + 1 }}.", "<n={{ steps.ask.value + 1 }}.>", {"ask"}),
        ("{{ steps.ask.value ~ steps.dump.artifact.name }}", "<steps.ask.value ~ steps.dump.artifact.name>", {"ask", "dump"}),
        ("{% if steps.ask.value %}x{% endif %}", "<{% if steps.ask.value %}x{% endif %}>", {"ask"}),
        ("{{ 'x' if inputs.flag else steps.ask.value }}", "x", set()),
        ("{{ steps.dump.artifact.name }}", "shop.dump", {"dump"}),
        ("{{ steps.dump.artifact.bytes }}", "<bytes of shop.dump, from dump>", {"dump"}),
        ("{{ steps.dump.artifact.name | upper }}", "<steps.dump.artifact.name | upper>", {"dump"}),
        ("{{ inputs.names | join('+') }}", "p+q", set()),
    ],
)  # fmt: skip
def test_what_stands_for_a_template(text: str, shown: str, given_by: set[str]) -> None:
    found = ahead(f'{{a: "{text}"}}')
    assert found.with_["a"] == shown
    assert found.given_by == given_by


def test_a_whole_output_keeps_what_is_known_of_it() -> None:
    found = ahead('{a: "{{ steps.dump.artifact }}", b: ["{{ steps.ask.value }}", fixed]}')
    assert found.with_ == {"a": DUMP["artifact"], "b": ["<steps.ask.value>", "fixed"]}
    assert found.given_by == {"ask", "dump"}


def test_what_is_known_is_used_and_evaluated() -> None:
    found = ahead('{a: "{{ steps.ask.value | upper }}", b: "{{ steps.dump.artifact.name }}"}', ask={"value": "yes"})
    assert found.with_ == {"a": "YES", "b": "shop.dump"}
    assert found.given_by == {"dump"}


def test_an_output_that_the_step_does_not_have_is_missing_all_the_same() -> None:
    with pytest.raises(MissingOutput):
        ahead('{a: "{{ steps.ask.other }}"}')
    assert codes(lambda: ahead('{a: "{{ inputs.flag.x | upper }}"}')) == ["E144"]


@pytest.mark.parametrize(
    "when",
    [
        "steps.ask.value",
        "steps.ask.value == 'yes'",
        "steps.ask.value is defined",
        "steps.ask.value | default(false)",
        "steps.dump.artifact.name == 'shop.dump'",
    ],
)
def test_a_condition_on_what_is_not_known_is_not_decided(when: str) -> None:
    found = ahead("{a: b}", when=f'"{when}"')
    assert (found.when, found.only_if, found.with_, found.given_by) == (None, (when,), {"a": "b"}, frozenset())
    assert found.decided_by == {"dump" if "dump" in when else "ask"}


def test_a_condition_that_can_be_decided_is() -> None:
    assert ahead("{}", "inputs.flag or steps.ask.value").when is True
    assert ahead("{}", "not inputs.flag and steps.ask.value") == Ahead({}, False)


INNER = steps(
    '- id: one\n  uses: x.y\n  with: {a: "{{ inputs.name }}", b: "{{ inputs.name | upper }}", c: "{{ inputs.count }}"}\n'
    "- id: two\n  uses: x.y\n  when: inputs.name == 'x'",
    head="inputs: {name: {type: string, choices: [x, y]}, count: {type: integer}}\n"
    'outputs: {plain: "{{ steps.one.value }}", made: "{{ steps.one.value | upper }}"}\n',
)
OUTER = steps(
    "- id: ask\n  uses: x.y\n"
    "- id: in\n  uses: ./inner.yaml\n  when: steps.ask.more\n"
    '  with: {name: "{{ steps.ask.value }}", count: "{{ steps.ask.more }}"}\n'
    "- id: after\n  uses: x.y\n  when: steps.ask.more\n"
    '  with: {a: "{{ steps.in.plain }}", b: "{{ steps.in.made }}", c: "{{ steps.in.plain | lower }}"}'
)


def test_included_plans_pass_on_what_is_only_foreseen() -> None:
    composed = plan(OUTER, inner=INNER)
    known = Values({}, {}, {}, {}, {}, {"ask": ASK, "in.one": {"value": stand_for("steps.in.one.value")}})
    one = render_ahead(composed, composed.step("in.one"), known)
    assert one.with_ == {"a": "<steps.ask.value>", "b": "<inputs.name | upper>", "c": "<steps.ask.more>"}
    assert one.given_by == one.decided_by == {"ask"}
    assert one.only_if == ("steps.ask.more",)
    two = render_ahead(composed, composed.step("in.two"), known)
    assert two.only_if == ("steps.ask.more", "inputs.name == 'x'")
    after = render_ahead(composed, composed.step("after"), known)
    assert after.with_ == {
        "a": "<steps.in.one.value>",
        "b": "<steps.one.value | upper>",
        "c": "<steps.in.plain | lower>",
    }
    assert after.given_by == {"in.one"}


def test_the_iterations_of_a_step_stand_together() -> None:
    use = '- id: use\n  uses: x.y\n  with: {a: "{{ steps.copy[0].n }}", b: "{{ steps.copy }}"}'
    text = steps(f'- id: copy\n  uses: x.y\n  foreach: "{{{{ inputs.names }}}}"\n{use}', head=HEAD)
    made = replace(plan(text), groups={"copy": ("copy[p]", "copy[q]")})
    foreseen: Mapping[str, Mapping[str, Json]] = {"copy[q]": {"n": stand_for("steps.copy[q].n")}}
    known = Values({}, {}, {"copy[p]": {"n": 1}}, {}, {}, foreseen)
    found = render_ahead(made, made.step("use"), known)
    assert found.with_ == {"a": "<steps.copy[0].n>", "b": "<steps.copy>"}
    assert found.given_by == {"copy[q]"}


@pytest.mark.parametrize(("with_", "when"), [('{a: "{{ steps.ask.value }}"}', ""), ("{}", "steps.ask.value")])
def test_what_is_only_foreseen_never_gets_into_a_run(with_: str, when: str) -> None:
    made = loaded(with_, when)
    with pytest.raises(Bug):
        render_step(made, made.step("use"), values({"ask": ASK}))
    with pytest.raises(MissingOutput):
        render_step(made, made.step("use"), values({}))
