"""Templates keep types, are rendered once, reach nothing but their scope, and say where they fail."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbook.operation import Json
from runbook.plan.render import (
    MissingOutput,
    Scope,
    TemplateFault,
    Values,
    evaluate,
    references,
    render,
    render_outputs,
    render_step,
)
from runbook.plan.sandbox import MOST_ROUNDS
from runbook.plan.template import LARGEST_OUTPUT, Reference
from tests.plan.given import RESTORE, environment, plan, problems, steps

SCOPE = Scope(
    inputs={
        "name": "shop",
        "count": 3,
        "list": ["a", "b"],
        "none": None,
        "yes": True,
        "half": 0.5,
        "braces": "{{ 7*7 }}",
    },
    systems={"db": {"name": "db", "port": 5432}},
    steps={"pick": {"artifact": {"name": "x.dump", "bytes": 9}}, "copy": [{"n": 1}, {"n": 2}]},
    item="users",
    run={"id": "r1", "started_at": "2026-02-14T12:00:00Z"},
    environment={"name": "lab", "live": False},
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("{ a }", "{ a }"),
        ("{{ inputs.count }}", 3),
        ("{{inputs.list}}", ["a", "b"]),
        ("{{ inputs.none }}", None),
        ("{{ inputs.yes }}", True),
        ("{{ steps.pick.artifact.name }}", "x.dump"),
        ("{{ steps.pick.artifact }}", {"name": "x.dump", "bytes": 9}),
        ("{{ steps.copy[1].n }}", 2),
        ("{{ item }}", "users"),
        ("n={{ inputs.count }}", "n=3"),
        ("{{ inputs.count }}{{ inputs.count }}", "33"),
        (" {{ inputs.count }}", " 3"),
        ("{{ inputs.yes }}!", "true!"),
        ("{{ inputs.list }}.", '["a", "b"].'),
        ("{{ inputs.half }}s", "0.5s"),
        ("{{ inputs.count + 1 }}", 4),
        ("{{ inputs.count * 2 }}x", "6x"),
        ("{{ inputs.name ~ '-' ~ inputs.count }}", "shop-3"),
        ("{{ 'x' if inputs.yes else 'y' }}", "x"),
        ("{{ inputs.name == 'shop' }}", True),
        ("{{ 'a' in inputs.list }}", True),
        ("{{ inputs.none | default('d') }}", "d"),
        ("{{ steps.gone.x | default('d') }}", "d"),
        ("{{ inputs.list | join(',') }}", "a,b"),
        ("{{ inputs.list | length }}", 2),
        ("{{ inputs.list[0] | upper }}", "A"),
        ("{{ inputs['name'] }}", "shop"),
        ("{{ steps.pick.artifact.other is defined }}", False),
        ("{% if inputs.yes %}on{% else %}off{% endif %}", "on"),
        ("{% for x in inputs.list %}{{ x }};{% endfor %}", "a;b;"),
        ("{{ [1, 2.5, none] }}", [1, 2.5, None]),
        ("{{ inputs.name | sh }}", "shop"),
        ('{{ "a b\'c" | sh }}', "'a b'\"'\"'c'"),
        ("{{ ['a b', 'c'] | sh }}", "'a b' c"),
        ("{{ inputs.name[:2] }}", "sh"),
        ("{{ {'a': 1} }}", {"a": 1}),
        ("{{ run.id }}/{{ environment.name }}", "r1/lab"),
        ("{{ inputs.list | json }}", '["a", "b"]'),
        ("{{ 'b,a' | split(',') | sort }}", ["a", "b"]),
        ("{{ 'a\n' }}\n", "a\n\n"),
        ("{# a comment #}x", "x"),
        ("{% raw %}{{ a }}{% endraw %}", "{{ a }}"),
        ("{{ '%d' | replace('%d', 'x') }}", "x"),
        ("{{ inputs.count > 2 and not inputs.none }}", True),
        ("{{ 7 // 2 }}", 3),
        ("{{ 'abcdef'[1:][1:3] }}", "cd"),
        ("{{ ('abc' ~ 'def')[::-2] ~ 'x'[:1] }}", "fdbx"),
        ("{{ inputs.list[1:] }}", ["b"]),
        ("{{ inputs.gone[1:] | default('x') }}", "x"),
        ("{{ 1234 | round(-2) }}", 1200),
        ("{{ 1234 | round(-1000000000) }}", 0),
        ("{{ inputs.count ** 2 }}", 9),
    ],
)
def test_values(text: str, value: object) -> None:
    rendered = render(text, SCOPE)
    assert rendered == value
    assert type(rendered) is type(value)


def test_trees_are_rendered_in_their_texts_only() -> None:
    tree: Json = {"{{ inputs.name }}": ["{{ inputs.count }}", {"a": "x{{ item }}"}, 5, None, True]}
    assert render(tree, SCOPE) == {"{{ inputs.name }}": [3, {"a": "xusers"}, 5, None, True]}


def test_a_value_that_holds_braces_is_text() -> None:
    assert render("{{ inputs.braces }}", SCOPE) == "{{ 7*7 }}"
    assert render("a {{ inputs.braces }} {{ 1 + 1 }}", SCOPE) == "a {{ 7*7 }} 2"


@given(st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_no_value_is_ever_rendered_again(value: str) -> None:
    scope = Scope({"x": value}, {}, {"s": {"out": value}}, item=value)
    for template in (
        "{{ inputs.x }}",
        "{{ steps.s.out }}",
        "{{ item }}",
        "{{ inputs.x | default('') }}",
        "{{ inputs['x'] }}",
    ):
        assert render(template, scope) == value
    assert render("a{{ inputs.x }}b{{ inputs.x | string }}", scope) == f"a{value}b{value}"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{{ ''.__class__ }}", "E142"),
        ("{{ inputs.__class__ }}", "E142"),
        ("{{ inputs['__class__'] }}", "E142"),
        ("{{ inputs['__cl' ~ 'ass__'] }}", "E142"),
        ("{{ inputs.items() }}", "E142"),
        ("{{ inputs.name.upper() }}", "E142"),
        ("{{ range(10**9) }}", "E142"),
        ("{{ self }}", "E144"),
        ("{{ cycler }}", "E144"),
        ("{{ lipsum }}", "E144"),
        ("{{ 'a'*10**9 }}", "E143"),
        ("{{ 10**9*'a' }}", "E143"),
        ("{{ [0]*10**8 }}", "E144"),
        ("{{ 9**9**9 }}", "E143"),
        ("{{ 2**300 }}", "E143"),
        ("{{ 1.5**9999 }}", "E143"),
        ("{{ 'a' * 1000 * 2000 }}", "E143"),
        ("{{ '%1000000000d' % 1 }}", "E144"),
        ("{{ '%s' | format(1) }}", "E141"),
        ("{{ 'a' | center(10**9) }}", "E141"),
        ("{{ inputs | attr('x') }}", "E141"),
        ("{{ inputs | map(attribute='x') }}", "E141"),
        ("{{ 'aaa' | replace('a', 'b' * 500000) }}", "E143"),
        ("{{ ('a' * 1000000) ~ ('b' * 1000000) }}", "E143"),
        ("{{ 'a' * 1000000 + 'b' * 1000000 }}", "E143"),
        ("{{ ['a' * 1000000, 'b' * 1000000] | join }}", "E143"),
        ("{{ [" + "'a' * 1000000, " * 20 + "] }}", "E143"),
        ("x{{ [" + "'a' * 1000000, " * 20 + "] }}", "E143"),
        ("{{ 'a' * 1000000 }}{{ 'a' * 1000000 }}", "E143"),
        ("{% for a in inputs.list %}" * 20 + "{% endfor %}" * 20, "E143"),
        ("{{ [" + "'a' * 1000000, " * 50 + "] | unique | length }}", "E143"),
        ("{{ ('a' * 1000000) | upper | length }}" * 40, "E143"),
        ("{% set x = 1 %}", "E142"),
        ("{% include 'x' %}", "E142"),
        ("{% import 'x' as y %}", "E142"),
        ("{% extends 'x' %}", "E142"),
        ("{% macro m() %}{% endmacro %}", "E142"),
        ("{% block b %}{% endblock %}", "E142"),
        ("{{ ('9' * 5000) | int }}", "E143"),
        ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "E143"),
        ("{{ 1" + "+1" * 5000 + " }}", "E143"),
        ("{{ not " + "not " * 3000 + "1 }}", "E143"),
        ("{{ inputs." + "a" * 70_000 + " | upper }}", "E143"),
        ("{{ 1 / 0 }}", "E144"),
        ("{{ 1e308 * 10 }}", "E144"),
        ("{{ (-8) ** 0.5 }}", "E144"),
        ("{{ 'a' + 1 }}", "E144"),
        ("{{ inputs.name.x }}", "E144"),
        ("{{ inputs.gone }}", "E144"),
        ("{{ inputs.gone | upper }}", "E144"),
        ("{{ gone }}", "E144"),
        ("x{{ inputs.none }}", "E144"),
        ("{{ [] | first }}", "E144"),
        ("{{ inputs.list[9] }}", "E144"),
        ("{{ 3[0] }}", "E144"),
        ("{{ steps.pick.other }}", "E145"),
        ("{{ steps.gone.x }}", "E145"),
        ("a{{ steps.gone.x }}", "E145"),
        ("{{ steps.gone }}", "E145"),
        ("{{ steps.gone.x | upper }}", "E145"),
        ("{{ steps.gone.x ~ '' }}", "E145"),
        ("{{ steps.gone.x + 1 }}", "E145"),
        ("{% for x in steps.gone.x %}{% endfor %}", "E145"),
        ("{{ ", "E140"),
        ("{{ 1 + }}", "E140"),
        ("{% if %}", "E140"),
        ("{{ a b }}", "E140"),
        ("{{ 1 is fine }}", "E141"),
        ("{% for x in inputs.name %}{% endfor %}", "E144"),
        ("{{ inputs.list | sort(1) }}", "E144"),
    ],
)
def test_what_must_not_be_done_is_not_done(text: str, code: str) -> None:
    with pytest.raises(TemplateFault) as caught:
        render(text, SCOPE)
    assert caught.value.code == code


@pytest.mark.parametrize("made", ["'a' * 1000000, ", "v[1:], ", "v[1:][1:], ", "v | upper, ", "v ~ '', "])
def test_what_is_made_on_the_way_is_counted(made: str) -> None:
    text = "{% for v in ['b' * 999999] %}{{ [" + made * 120 + "] | length }}{% endfor %}"
    tracemalloc.start()
    try:
        with pytest.raises(TemplateFault) as caught:
            render(text, SCOPE)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.code == "E143"
    assert peak < 64 * 1024 * 1024


def test_limits_are_as_documented() -> None:
    assert len(str(render(f"{{{{ 'a' * {LARGEST_OUTPUT} }}}}", SCOPE))) == LARGEST_OUTPUT
    scope = Scope({"list": [0] * MOST_ROUNDS, "more": [0] * (MOST_ROUNDS + 1)}, {}, {})
    assert render("{% for a in inputs.list %}{% endfor %}", scope) == ""
    with pytest.raises(TemplateFault):
        render("{% for a in inputs.more %}{% endfor %}", scope)


def test_an_object_is_never_touched() -> None:
    class Trap:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"{name} was read")

        def __str__(self) -> str:
            raise AssertionError("it was shown")

    with pytest.raises(TemplateFault):
        render("{{ inputs.trap.x }}", Scope({"trap": Trap()}, {}, {}))
    with pytest.raises(TemplateFault):
        render("{{ inputs.trap['x'] | upper }}", Scope({"trap": Trap()}, {}, {}))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("plain", set()),
        ("{{ steps.pick.artifact.name }}", {Reference("steps", "pick", "artifact")}),
        ("a {{ inputs.x }} {{ item }}", {Reference("inputs", "x"), Reference("item")}),
        ("{{ steps['pick']['artifact'] }}", {Reference("steps", "pick", "artifact")}),
        ("{{ steps.copy[0].n }}", {Reference("steps", "copy")}),
        ("{{ steps.a.b | default('x') }}", {Reference("steps", "a", "b", guarded=True)}),
        ("{{ (steps.a.b).c | d(inputs.y) }}", {Reference("steps", "a", "b", guarded=True), Reference("inputs", "y")}),
        (
            "{{ steps.a.b is defined and steps.a.b }}",
            {Reference("steps", "a", "b", guarded=True), Reference("steps", "a", "b")},
        ),
        ("{{ inputs.x[inputs.y] }}", {Reference("inputs", "x"), Reference("inputs", "y")}),
        (
            "{% for x in inputs.l %}{{ x.y }}{{ steps.a.b }}{% endfor %}",
            {Reference("inputs", "l"), Reference("steps", "a", "b")},
        ),
        ("{{ foo.bar }}", {Reference("foo", "bar")}),
    ],
)
def test_references(text: str, found: set[Reference]) -> None:
    assert references(text) == found


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("inputs.yes", True),
        ("{{ inputs.yes }}", True),
        ("inputs.count > 5", False),
        ("steps.gone.x is defined", False),
        ("true", True),
    ],
)
def test_conditions_are_written_bare_or_in_braces(expression: str, value: bool) -> None:
    assert evaluate(expression, SCOPE) is value


def values(**outputs: dict[str, Any]) -> Values:
    return Values(
        {"backup": "newest", "tables": []},
        environment().public(),
        outputs,
        {"id": "r1"},
        {"name": "lab", "live": False},
    )


def test_a_step_is_rendered_with_the_outputs_of_others() -> None:
    loaded = plan(RESTORE)
    rendered = render_step(loaded, loaded.step("restore"), values(pick={"artifact": {"name": "{{ 7*7 }}"}}))
    assert (rendered.with_, rendered.when) == ({"artifact": {"name": "{{ 7*7 }}"}, "jobs": 2}, None)
    assert render_outputs(loaded, values(pick={"artifact": 1})) == {"artifact": 1}
    assert render_outputs(loaded, values()) == {"artifact": None}


def test_a_missing_output_is_its_own_kind_of_fault_with_its_place() -> None:
    loaded = plan(RESTORE)
    with pytest.raises(MissingOutput) as caught:
        render_step(loaded, loaded.step("restore"), values())
    assert (caught.value.step, caught.value.output) == ("pick", "artifact")
    assert str(caught.value.problems[0].where) == "plan.yaml:24:26"


def test_faults_have_the_place_of_their_text() -> None:
    text = steps(
        '- id: a\n  uses: x.y\n  with:\n    list:\n      - fine\n      - deep: "{{ inputs.n / 0 }}"',
        head="inputs: {n: {type: integer}}\n",
    )
    loaded = plan(text)
    (problem,) = problems(lambda: render_step(loaded, loaded.step("a"), Values({"n": 1}, {}, {}, {}, {})))
    assert (problem.code, str(problem.where)) == ("E144", "plan.yaml:10:17")


def test_conditions_are_true_or_false_and_nothing_else() -> None:
    head = "inputs: {n: {type: integer}, b: {type: boolean}}\n"
    loaded = plan(
        steps(
            '- id: a\n  uses: x.y\n  when: inputs.n\n- id: b\n  uses: x.y\n  when: inputs.b\n  with: {x: "{{ inputs.n / 0 }}"}',
            head=head,
        )
    )
    known = Values({"n": 1, "b": False}, {}, {}, {}, {})
    (problem,) = problems(lambda: render_step(loaded, loaded.step("a"), known))
    assert (problem.code, str(problem.where)) == ("E144", "plan.yaml:7:11")
    rendered = render_step(loaded, loaded.step("b"), known)
    assert (rendered.when, rendered.with_) == (False, {})


def test_secrets_and_hosts_are_in_no_scope() -> None:
    public = environment().public()["db"]
    assert sorted(public) == [
        "address",
        "archive",
        "binaries",
        "data_directory",
        "database",
        "name",
        "port",
        "type",
        "user",
    ]


@given(st.text(st.sampled_from("{}%#.|()[]'\"~*+-/ _abcinputsstepsx012,:"), max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_renders_or_is_refused(text: str) -> None:
    for tried in (text, f"{{{{ {text} }}}}", f"{{% {text} %}}"):
        try:
            references(tried)
            render(tried, SCOPE)
        except TemplateFault as fault:
            assert fault.code.startswith("E14")
