"""A dry-run of steps whose inputs other steps will give: shown with placeholders, or said to be unlisted, never left empty."""

from __future__ import annotations

import re

import pytest

from runbook.action import CheckFailed, Effect, Look, Scope
from runbook.errors import Bug, ExitCode, Problem, Refused
from runbook.host import LOCAL
from runbook.operation import Operations, Process, Write, canonical
from runbook.placeholder import stand_for
from runbook.runner.prepare import Sketch, prepare, prepare_ahead, values
from runbook.runner.preview import Sight
from runbook.system import Machine
from tests.runner.acts import ACTS, Make, ThingFacts, ThingInputs
from tests.runner.memory_run import MemoryRun, step
from tests.runner.world import World

SAID = "{{ steps.ask.said }}"


def asked(value: str, *, owner: str = "") -> MemoryRun:
    """One step that asks, and one that makes a thing of what it says."""
    return MemoryRun([step("ask", "once"), step("use", "make", "ask", thing="use", value=value, owner=owner)])


def contents(operations: Operations) -> list[str]:
    """What the written files hold."""
    return [str(one.content) for one in operations if isinstance(one, Write)]


def pattern(value: object) -> str:
    """A pattern of an operation's canonical form, in which a placeholder stands for anything."""
    return ".*".join(re.escape(part) for part in re.split(r"<steps\.[^<>]+>", repr(value)))


def test_what_runs_is_what_was_shown_with_values_for_placeholders() -> None:
    run = asked(value=f"it said {SAID}.", owner=SAID)
    use = run.preview()["use"]
    assert contents(use.operations) == ["it said <steps.ask.said>."]
    assert (use.known, use.given_by, use.listed, use.only_if) == ("after:ask", ("ask",), True, ())
    assert run.apply() is ExitCode.DONE
    performed = [one for one in run.world.performed if not isinstance(one, Process)]
    assert len(performed) == len(use.operations)
    for shown, ran in zip(use.operations, performed, strict=True):
        assert re.fullmatch(pattern(canonical(shown)), repr(canonical(ran)))
    assert "<steps." not in repr([canonical(one) for one in run.world.performed])


def test_a_run_can_not_be_prepared_with_what_is_only_foreseen() -> None:
    run = asked(SAID)
    setting, use = run.setting(), run.steps[1]
    foreseen = values(setting, {}, foreseen={"ask": {"said": stand_for("steps.ask.said")}})
    with pytest.raises(Bug, match="internal error"):
        prepare(setting, use, foreseen)
    ahead = prepare_ahead(setting, use, foreseen)
    assert isinstance(ahead, Sketch) and ahead.given_by == {"ask"}


def test_nothing_is_looked_at_for_the_sake_of_a_placeholder() -> None:
    run = asked(value=SAID)
    run.world = World(unreachable={"use"}, facts={"use": "new"})
    use = run.preview()["use"]
    assert use.problem is None
    assert [one.name for one in use.operations] == ["make", "commit"]


def test_what_is_made_of_a_placeholder_is_foreseen_in_its_turn() -> None:
    run = asked(value=SAID)
    run.steps = [
        *run.steps,
        step("last", "make", "use", thing="last", value="{{ steps.use.value }} {{ steps.use.made }}"),
    ]
    last = run.preview()["last"]
    assert contents(last.operations) == ["<steps.ask.said> use"]
    assert (last.known, last.given_by) == ("after:use", ("use",))


def test_a_default_is_not_taken_for_what_a_step_will_say() -> None:
    run = asked(value="{{ steps.ask.said | default('nothing') }}")
    assert contents(run.preview()["use"].operations) == ["<steps.ask.said | default('nothing')>"]


def test_where_no_list_can_be_made_of_it_the_step_says_so() -> None:
    run = MemoryRun([step("ask", "once"), step("use", "once", "ask", parts=SAID)])
    use = run.preview()["use"]
    assert (use.operations, use.listed, use.known, use.given_by) == ((), False, "after:ask", ("ask",))
    assert use.problem is None


def test_a_destructive_step_that_is_not_listed_still_says_what_it_replaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ACTS, "swap", Swap())
    run = MemoryRun([step("ask", "once"), step("use", "swap", "ask", thing="use", value=SAID)])
    use = run.preview()["use"]
    assert (use.listed, use.replaces) == (False, "use")


def test_the_release_of_a_hold_that_is_not_listed_is_not_listed_either() -> None:
    steps = [
        step("ask", "once"),
        step("stop", "pause", "ask", services=SAID),
        step("start", "unpause", "stop", releases="stop"),
    ]
    shown = MemoryRun(steps).preview()
    assert [(shown[name].listed, shown[name].given_by) for name in ("stop", "start")] == [
        (False, ("ask",)),
        (False, ("stop",)),
    ]


def test_a_condition_that_waits_is_told_and_the_list_is_what_runs_if_it_holds() -> None:
    when = "steps.ask.said == 'go'"
    run = MemoryRun([step("ask", "once"), step("use", "make", "ask", thing="use", when=when)])
    use = run.preview()["use"]
    assert (use.only_if, use.known, use.skipped, use.given_by) == ((when,), "after:ask", "", ())
    assert [one.name for one in use.operations] == ["make", "commit"]


def test_where_only_a_condition_waits_the_world_is_looked_at() -> None:
    maybe = step("use", "make", "ask", thing="use", value="v", when="steps.ask.said == 'go'")
    last = step("last", "make", "use", thing="last", value="{{ steps.use.value }}")
    done = MemoryRun([step("ask", "once"), maybe, last], World(facts={"use": "v"})).preview()
    assert (done["use"].operations, done["use"].listed, done["use"].known) == ((), True, "after:ask")
    assert contents(done["last"].operations) == ["v"]
    assert (done["last"].known, done["last"].given_by) == ("after:use", ("use",))


def test_what_would_stop_a_step_that_may_not_run_stops_nothing() -> None:
    maybe = step("use", "make", "ask", thing="use", when="steps.ask.said == 'go'")
    use = MemoryRun([step("ask", "once"), maybe], World(unreachable={"use"})).preview()["use"]
    assert (use.problem, use.known, [one.name for one in use.operations]) == (None, "after:ask", ["make", "commit"])


def test_what_a_step_gives_that_may_not_run_is_only_foreseen() -> None:
    steps = [
        step("ask", "once"),
        step("use", "make", "ask", thing="use", when="steps.ask.said == 'go'"),
        step("last", "make", "use", thing="last", value="{{ steps.use.value | default('none') }}"),
    ]
    last = MemoryRun(steps).preview()["last"]
    assert contents(last.operations) == ["<steps.use.value | default('none')>"]
    assert last.known == "after:use"


def test_the_last_step_that_decides_is_named() -> None:
    steps = [
        step("ask", "once"),
        step("more", "replace", "ask", on="one", thing="x"),
        step("use", "make", "more", on="one", thing="use", value=SAID),
    ]
    use = MemoryRun(steps).preview()["use"]
    assert (use.known, use.given_by) == ("after:more", ("ask",))


def test_an_output_that_a_skipped_step_never_gives_would_stop_the_run() -> None:
    steps = [step("a", when="inputs.no"), step("b", "make", "a", thing="b", value="{{ steps.a.value }}")]
    run = MemoryRun(steps, inputs={"no": False})
    problem = run.preview()["b"].problem
    assert problem is not None and problem.code == "E145"
    assert run.apply() is ExitCode.FAILED
    assert run.problem("b") == "E145"


def test_offline_placeholders_stand_as_well() -> None:
    use = asked(value=SAID).preview(Sight.OFFLINE)["use"]
    assert (contents(use.operations), use.known) == (["<steps.ask.said>"], "after:ask")


class Picky(Make):
    """Refuses some values, and reckons with others."""

    def assume(self, system: Machine | None, inputs: ThingInputs, scope: Scope) -> ThingFacts:
        match inputs.owner:
            case "value":
                raise Refused(Problem("E451", "it can't be called so", f"{inputs.value!r} is no name", ""))
            case "thing":
                raise Refused(Problem("E452", "it is not for sale", f"{inputs.thing} is ours", ""))
            case "check":
                raise CheckFailed(Problem("E453", "it is not so", "whatever the value", ""))
        int(inputs.value)
        return super().assume(system, inputs, scope)


class Swap(Picky):
    """The same, of a thing that is there."""

    effect = Effect.DESTROYS

    def replaces(self, system: Machine | None, inputs: ThingInputs) -> str:
        return inputs.thing


class Sweep(Swap):
    """Deletes, and takes others along."""

    verb = "deletes from"

    def along(self, look: Look, system: Machine | None, inputs: ThingInputs, scope: Scope) -> str:
        return f"Also: {look.text(LOCAL, 'others')}."


def test_what_goes_along_is_read_for_a_dry_run_that_looks_and_before_it_is_confirmed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(ACTS, "sweep", Sweep())
    steps = [step("ask", "once"), step("use", "sweep", "ask", thing="use", owner="none", value="1")]
    run = MemoryRun(steps, World(facts={"others": "crm"}), live=True)
    use = run.preview()["use"]
    assert (use.verb, use.replaces, use.along) == ("deletes from", "use", "Also: crm.")
    assert run.preview(Sight.OFFLINE)["use"].along == ""
    run.apply()
    (asked,) = run.asked
    assert (asked.instructions, asked.target) == ("Do use deletes from use.\nAlso: crm.", "use")


@pytest.mark.parametrize(
    ("owner", "listed", "code"),
    [("value", False, ""), ("thing", True, "E452"), ("check", True, "E453"), ("", False, "")],
)
def test_a_refusal_of_a_placeholder_is_none_of_the_step(
    owner: str, listed: bool, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ACTS, "picky", Picky())
    run = MemoryRun([step("ask", "once"), step("use", "picky", "ask", thing="use", value=SAID, owner=owner)])
    use = run.preview()["use"]
    assert (use.listed, use.problem.code if use.problem else "") == (listed, code)


@pytest.mark.parametrize("thing", ["a <b> c", "<none>", "<steps.other.said>"])
def test_angle_brackets_in_a_refusal_are_no_placeholder_by_themselves(
    thing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ACTS, "picky", Picky())
    run = MemoryRun([step("ask", "once"), step("use", "picky", "ask", thing=thing, value=SAID, owner="thing")])
    use = run.preview()["use"]
    assert use.problem is not None and use.problem.code == "E452"


@pytest.mark.parametrize(
    "value",
    [f"to {SAID}.dump", "{{ steps.ask.said.name }}", "{{ steps.ask.said | upper }}", "{{ steps.mid.value }} more"],
)
def test_a_placeholder_is_known_wherever_it_stands_in_a_refused_value(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ACTS, "picky", Picky())
    steps = [
        step("ask", "once"),
        step("mid", "make", "ask", thing="mid", value=SAID),
        step("use", "picky", "mid", thing="use", value=value, owner="value"),
    ]
    use = MemoryRun(steps).preview()["use"]
    assert (use.listed, use.problem) == (False, None)


def test_an_action_that_fails_without_placeholders_is_not_covered_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ACTS, "picky", Picky())
    run = MemoryRun([step("use", "picky", thing="use", value="none")])
    with pytest.raises(ValueError, match="invalid literal"):
        run.preview(Sight.OFFLINE)
