"""The rules of disaster recovery: each finds what it is for, and is silent about what is right or can't be told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

import pytest

from runbook.action import Action, Effect, Inputs, NoFacts, NoOutputs
from runbook.errors import Severity
from runbook.system import Postgres
from tests.check.given import HEAD, codes, rules_of

GOLDEN = Path(__file__).parent / "golden_rules"

PICK = "- {id: pick, uses: backup.select, on: backups, timeout: 1m}\n"
PROVE = (
    '- {id: prove, uses: postgres.verify_dump, on: db, with: {artifact: "{{ steps.pick.artifact }}"}, timeout: 1h}\n'
)
RESTORE = (
    '- {id: restore, uses: postgres.restore, on: db, with: {artifact: "{{ steps.prove.artifact }}"}, timeout: 1h}\n'
)
CHECK = "- {id: check, uses: http.check, on: site, timeout: 1m}\n"
STOP = "- {id: stop, uses: compose.stop, on: app, with: {services: [web]}, timeout: 1m}\n"
START = "- {id: start, uses: compose.start, on: app, releases: stop, timeout: 1m}\n"
WIPE = "- {id: wipe, uses: shell.run, with: {argv: [wipe], effect: destroys}, timeout: 1m}\n"
DUMP = "- {id: dump, uses: postgres.dump, on: db, with: {to: backups}, timeout: 2h}\n"
GOOD = PICK + PROVE + STOP + RESTORE + CHECK + START
INNER = """\
runbook: 1
name: inner
inputs: {artifact: {type: string}}
systems: {db: postgres}
steps:
""" + RESTORE.replace("steps.prove.artifact", "inputs.artifact")

BAD = {
    "DR001-unread-backup": PICK + RESTORE.replace("prove", "pick") + CHECK,
    "DR001-no-backup-at-all": WIPE,
    "DR002-nothing-looks": PICK + PROVE + RESTORE,
    "DR003-still-stopped": STOP,
    "DR004-may-hang": CHECK.replace(", timeout: 1m", ""),
    "DR009-blind": PICK + PROVE + WIPE.replace("destroys}", "destroys, interrupted: repeat}"),
}
HEADS = {
    "DR006-too-slow": (HEAD + "objectives: {rto: 1h}\n", GOOD),
    "DR007-too-rare": (HEAD + "objectives: {rpo: 25h}\nschedule: '0 2 * * *'\n", DUMP),
    "DR008-overdue": (HEAD + "review_by: '2026-02-13'\n", CHECK),
}


@pytest.mark.parametrize("name", [*BAD, *HEADS])
def test_a_rule_says_what_is_bad_and_what_to_do(name: str) -> None:
    head, steps = HEADS[name] if name in HEADS else (HEAD, BAD[name])
    found = rules_of(steps, head=head)
    said = "".join(f"{problem.render()}\n" for problem in found)
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(said, encoding="utf-8")
    assert codes(found) == [name.split("-")[0]]
    assert found[0].severity is Severity.WARNING
    assert said == golden.read_text(encoding="utf-8")


def test_there_is_no_golden_file_without_its_case() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == {*BAD, *HEADS}


def test_a_good_restore_keeps_all_rules() -> None:
    assert rules_of(GOOD, head=HEAD + "objectives: {rto: 4h, rpo: 36h}\nreview_by: '2026-02-14'\n") == []


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        # read beside the restore, not before it
        (PICK + PROVE + RESTORE.replace("prove", "pick").replace("timeout", "needs: [pick], timeout") + CHECK, ["DR001"]),
        # read before, by the same origin
        (PICK + PROVE + RESTORE.replace("steps.prove", "steps.pick") + CHECK, []),
        # another backup was read
        (
            PICK + PICK.replace("id: pick", "id: other") + PROVE + RESTORE.replace("steps.prove", "steps.other") + CHECK,
            ["DR001"],
        ),
        # the proof may be passed over
        (PICK + PROVE.replace("timeout", "on_failure: continue, timeout") + WIPE, ["DR001"]),
        (PICK + PROVE.replace("timeout", "when: inputs.count > 1, timeout") + WIPE, ["DR001"]),
        (PICK + PROVE + WIPE, []),
        # a value from outside the plan
        (PICK + PROVE + RESTORE.replace("steps.prove.artifact", "inputs.text") + CHECK, ["DR001"]),
    ],
)  # fmt: skip
def test_what_counts_as_a_proof(steps: str, expected: list[str]) -> None:
    assert codes(rules_of(steps)) == expected


def test_a_proof_reaches_into_an_included_plan() -> None:
    include = '- {id: inner, uses: ./inner.yaml, with: {artifact: "{{ steps.prove.artifact }}"}}\n'
    assert codes(rules_of(PICK + PROVE + include + CHECK, more={"inner.yaml": INNER})) == []
    unread = include.replace("steps.prove", "steps.pick")
    assert codes(rules_of(PICK + unread + CHECK, more={"inner.yaml": INNER})) == ["DR001"]


def test_a_proof_comes_out_of_an_included_plan() -> None:
    choose = "runbook: 1\nname: choose\nsystems: {db: postgres, backups: store}\nsteps:\n" + PICK + PROVE
    choose += 'outputs: {artifact: "{{ steps.prove.artifact }}"}\n'
    include = "- {id: choose, uses: ./choose.yaml}\n" + RESTORE.replace("steps.prove", "steps.choose") + CHECK
    assert codes(rules_of(include, more={"choose.yaml": choose})) == []


@pytest.mark.parametrize(
    "look",
    [
        "- {id: look, uses: postgres.assert, on: db, with: {checks: [{query: SELECT 1, equals: 1}]}, timeout: 1m}\n",
        "- {id: look, uses: shell.run, with: {argv: [smoke-test], effect: reads}, timeout: 1m}\n",
        "- {id: look, uses: manual, with: {instructions: Look, verify: {argv: [smoke-test]}}, timeout: 1m}\n",
    ],
)
def test_what_counts_as_a_verification(look: str) -> None:
    assert codes(rules_of(PICK + PROVE + RESTORE + look)) == []


@pytest.mark.parametrize(
    "no_look",
    [
        "- {id: look, uses: manual, with: {instructions: Look}}\n",
        "- {id: look, uses: approval, with: {subject: It is fine}}\n",
        PICK.replace("id: pick", "id: look"),
    ],
)
def test_what_does_not_count_as_a_verification(no_look: str) -> None:
    assert codes(rules_of(PICK + PROVE + RESTORE + no_look)) == ["DR002"]


def test_people_need_no_timeout() -> None:
    assert rules_of("- {id: do, uses: manual, with: {instructions: Do it}}\n") == []


def test_side_by_side_counts_once() -> None:
    head = HEAD + "objectives: {rto: 1h30m}\n"
    beside = CHECK.replace("1m", "1h") + CHECK.replace("check,", "other,").replace(
        "timeout: 1m", "needs: [], timeout: 1h"
    )
    assert codes(rules_of(beside, head=head)) == []
    assert codes(rules_of(beside.replace("needs: [], ", ""), head=head)) == ["DR006"]


def test_pauses_between_attempts_count() -> None:
    head = HEAD + "objectives: {rto: 10m}\n"
    assert codes(rules_of(CHECK.replace("timeout", "retry: {attempts: 10, delay: 59s}, timeout"), head=head)) == []
    assert codes(rules_of(CHECK.replace("timeout", "retry: {attempts: 10, delay: 61s}, timeout"), head=head)) == [
        "DR006"
    ]


def test_the_rpo_is_judged_where_it_can_be() -> None:
    weekly = "objectives: {rpo: 26h}\nschedule: '0 2 * * *'\n"
    assert codes(rules_of(DUMP, head=HEAD + weekly)) == []
    assert codes(rules_of(DUMP, head=HEAD + weekly.replace("* * *'", "* * mon'"))) == ["DR007"]
    assert codes(rules_of(DUMP, head=HEAD + weekly.replace("schedule: '0 2 * * *'\n", ""))) == []
    assert codes(rules_of(CHECK, head=HEAD + weekly.replace("26h", "1h"))) == []


class RepairInputs(Inputs):
    """Nothing."""


class Repair(Action[Postgres, RepairInputs, NoFacts, NoOutputs]):
    """Alters what an investigation would want to see."""

    name: ClassVar[str] = "test.repair"
    effect = Effect.CHANGES
    repair = True


def test_a_repair_waits_for_evidence() -> None:
    repair = "- {id: mend, uses: test.repair, on: db, timeout: 1m}\n"
    actions = {"test.repair": Repair()}
    assert codes(rules_of(repair, actions=actions)) == ["DR005"]
    assert codes(rules_of(DUMP + repair, actions=actions)) == []
    assert codes(rules_of(DUMP.replace("on: db", "on: side") + repair, actions=actions)) == ["DR005"]


def test_a_step_whose_action_does_not_exist_is_passed_over() -> None:
    assert rules_of("- {id: a, uses: fly}\n" + CHECK) == []
