"""A plan that comes out of the loader says what was written, in the order that it means."""

from __future__ import annotations

import hashlib

import pytest

from runbook.plan.load import FrozenReader, load_plan
from runbook.plan.model import Backoff, OnFailure, Phase, Retry, Section
from runbook.plan.render import uses_of
from tests.plan.given import RESTORE, codes, plan, problems, reader, steps


def test_every_key_arrives() -> None:
    loaded = plan(RESTORE)
    assert (loaded.name, loaded.title, loaded.scenario) == (
        "restore-db",
        "Restore the shop's database",
        "database-corruption",
    )
    assert (loaded.objectives.rto_s, loaded.objectives.rpo_s) == (14_400, 129_600)
    assert loaded.component_objectives["db"].rto_s == 3_600
    assert loaded.systems == {"db": "postgres", "backups": "store"}
    assert loaded.inputs["backup"].default == "newest"
    assert (loaded.inputs["tables"].type, loaded.inputs["tables"].of, loaded.inputs["tables"].has_default) == (
        "list",
        "string",
        False,
    )
    restore = loaded.step("restore")
    assert (restore.on, restore.timeout_s, restore.phase) == ("db", 7_200, Phase.RESTORE)
    assert restore.confirm == "The present database is kept under another name."
    assert restore.with_ == {"artifact": "{{ steps.pick.artifact }}", "jobs": 2}
    assert loaded.step("count").retry == Retry(3, 2.0, Backoff.DOUBLING)
    assert loaded.step("start_writers").releases == "stop_writers"
    assert [step.id for step in loaded.section(Section.FINALLY)] == ["tell"]
    assert loaded.outputs == {"artifact": "{{ steps.pick.artifact }}"}
    assert loaded.frames[""].systems == {"db": "db", "backups": "backups"}


def test_a_step_follows_the_one_above_it_what_it_needs_and_what_it_reads() -> None:
    needs = {step.id: step.needs for step in plan(RESTORE).steps}
    assert needs == {
        "pick": (),
        "stop_writers": (),
        "restore": ("stop_writers", "pick"),
        "count": ("restore",),
        "start_writers": ("count", "stop_writers"),
        "tell": (),
    }


def test_a_condition_is_a_dependency_too() -> None:
    loaded = plan(
        steps(
            "- id: a\n  uses: x.y\n- id: b\n  uses: x.y\n  needs: []\n  when: steps.a.ok\n- id: c\n  uses: x.y\n  when: true"
        )
    )
    assert loaded.step("b").needs == ("a",)
    assert loaded.step("c").when == "true"


def test_defaults_of_a_short_step() -> None:
    (step,) = plan(steps("- id: a\n  uses: x.y")).steps
    assert (step.title, step.on, step.retry, step.on_failure) == ("a", "", Retry(), OnFailure.STOP)
    assert (step.timeout_s, step.when, step.phase, step.frame, step.section) == (None, "", None, "", Section.STEPS)


def test_places_point_into_the_file() -> None:
    loaded = plan(RESTORE)
    restore = loaded.step("restore")
    assert str(restore.where) == "plan.yaml:21:9"
    assert str(restore.marks["with.artifact"]) == "plan.yaml:24:22"
    assert str(restore.marks["timeout"]) == "plan.yaml:26:14"
    assert str(loaded.marks["objectives.rto"]) == "plan.yaml:5:19"
    assert str(loaded.inputs["tables"].where) == "plan.yaml:8:3"


def test_the_digest_is_that_of_the_bytes() -> None:
    loaded = plan(RESTORE)
    assert [source.name for source in loaded.sources] == ["plan.yaml"]
    assert loaded.sources[0].sha256 == hashlib.sha256(RESTORE.encode()).hexdigest()
    assert plan(RESTORE + "# more\n").digest != loaded.digest


def test_a_frozen_plan_loads_again_from_its_sources() -> None:
    loaded = plan(RESTORE)
    again = load_plan("plan.yaml", FrozenReader.of(loaded.sources))
    assert again.digest == loaded.digest
    assert [step.needs for step in again.steps] == [step.needs for step in loaded.steps]


def test_references_carry_their_place_for_those_who_know_the_outputs() -> None:
    (use,) = uses_of(plan(RESTORE).step("restore"))
    assert (use.key, use.reference[:3], str(use.where)) == (
        "with.artifact",
        ("steps", "pick", "artifact"),
        "plan.yaml:24:26",
    )


def test_faults_of_shape_and_meaning_come_together_in_order() -> None:
    text = steps("- id: a\n  uses: x.y\n  titel: x\n  needs: [bb]\n- id: a\n  uses: x.y\n  timeout: soon")
    assert codes(lambda: plan(text)) == ["E102", "E131", "E130", "E103"]


def test_a_crowd_of_faults_is_cut_short_and_counted() -> None:
    text = steps("".join(f"- id: s{n}\n  uses: x.y\n  titel: x\n" for n in range(50)))
    found = problems(lambda: plan(text))
    assert [problem.code for problem in found] == ["E102"] * 20 + ["E199"]
    assert found[-1].detail.startswith("30 more")


def test_a_missing_file_is_an_invalid_input() -> None:
    assert codes(lambda: load_plan("gone.yaml", reader({}))) == ["E100"]


def test_sections_do_not_wait_for_each_other() -> None:
    text = (
        steps("- id: a\n  uses: x.y")
        + "on_failure_steps:\n  - id: b\n    uses: x.y\nfinally:\n  - id: c\n    uses: x.y\n  - id: d\n    uses: x.y\n"
    )
    assert {step.id: (step.section.value, step.needs) for step in plan(text).steps} == {
        "a": ("steps", ()),
        "b": ("on_failure_steps", ()),
        "c": ("finally", ()),
        "d": ("finally", ("c",)),
    }


def test_finally_may_release_a_hold_of_the_steps() -> None:
    loaded = plan(steps("- id: stop\n  uses: x.y") + "finally:\n  - id: go\n    uses: x.y\n    releases: stop\n")
    assert (loaded.step("go").releases, loaded.step("go").needs) == ("stop", ())


def test_notifications_and_contacts_arrive() -> None:
    head = (
        "systems: {ops: channel}\ncontacts: {dba: {name: Ada, phone: '+41'}, boss: Bob}\n"
        "escalation: [{to: [dba, ops], after: 15m, severity: high}]\nnotify: {failed: ops}\n"
        "review_by: '2026-12-31'\nschedule: 0 2 * * *\n"
    )
    loaded = plan(steps("- id: a\n  uses: x.y", head=head))
    assert loaded.contacts == {"dba": {"name": "Ada", "phone": "+41"}, "boss": {"name": "Bob"}}
    assert loaded.escalation == ({"to": ["dba", "ops"], "after": "15m", "severity": "high"},)
    assert (loaded.notify, loaded.review_by, loaded.schedule) == ({"failed": ["ops"]}, "2026-12-31", "0 2 * * *")


@pytest.mark.parametrize("size", [10_000])
def test_a_chain_of_ten_thousand_steps_loads(size: int) -> None:
    loaded = plan(steps("".join(f"- {{id: s{n}, uses: x.y}}\n" for n in range(size))))
    assert len(loaded.steps) == size
    assert loaded.steps[-1].needs == (f"s{size - 2}",)
