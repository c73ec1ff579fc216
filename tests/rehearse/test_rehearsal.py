"""Whole rehearsals: of plans that ship, of plans with every kind of step, and of an engine with a defence taken out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runbook.cli.shipped import shipped_plan
from runbook.engine import run as fold
from runbook.operation import Json
from runbook.rehearse.rehearsal import BOUNDARY, FAILS
from runbook.rehearse.world import Fate
from runbook.report.rehearsal import Rehearsed
from runbook.runner import step
from runbook.runner.ended import Broke
from tests.rehearse.given import of, rehearsed, shipped

CIVICQ, PAIR = "civicq-production", "contract-lucidity-pair"
SHIPPED: dict[str, tuple[str, dict[str, Json]]] = {
    "backup-db": (CIVICQ, {}),
    "base-backup": (CIVICQ, {}),
    "check-archive": (CIVICQ, {}),
    "database-corruption": (CIVICQ, {}),
    "enable-archiving": (CIVICQ, {}),
    "failover": (PAIR, {}),
    "find-change": (CIVICQ, {"since": "2026-02-14T11:00:00Z", "until": "2026-02-14T12:00:00Z"}),
    "prune-backups": (CIVICQ, {}),
    "prune-base-backups": (CIVICQ, {}),
    "rejoin-standby": (PAIR, {}),
    "restore-db": (CIVICQ, {"revision": "b7"}),
    "restore-db-pitr": (CIVICQ, {}),
    "restore-rows": (CIVICQ, {"accident": "2026-02-14T11:00:00Z", "tables": ["users"]}),
    "restore-test": (CIVICQ, {}),
    "rotate-role": (CIVICQ, {}),
    "switchover": (PAIR, {}),
    "verify-backup": (CIVICQ, {}),
}

ODD = """\
inputs:
  hosts: {type: list, of: string, default: [a, b]}
steps:
  - {id: agree, uses: approval, with: {subject: Really, approvers: [ada, ben], needed: 2}, timeout: 1m}
  - id: ask
    uses: manual
    needs: [agree]
    with: {instructions: Choose, fields: {way: {choices: [left, right, none]}, size: {type: integer}}}
    timeout: 1m
  - id: left
    uses: shell.run
    needs: [ask]
    when: "{{ steps.ask.answers.way == 'left' }}"
    with: {argv: [touch, left]}
    timeout: 1m
    retry: {attempts: 3, delay: 1s}
  - id: right
    uses: shell.run
    needs: [ask]
    when: "{{ steps.ask.answers.way == 'right' }}"
    with: {argv: [touch, right], probe: [test, -e, right]}
    timeout: 1m
    on_failure: continue
  - id: never
    uses: shell.run
    needs: [ask]
    when: "{{ steps.ask.answers.size > 100 }}"
    with: {argv: [touch, never]}
    timeout: 1m
  - id: each
    uses: shell.run
    needs: [ask]
    foreach: "{{ inputs.hosts }}"
    with: {argv: [touch, "{{ item }}"], interrupted: repeat}
    timeout: 1m
on_failure_steps:
  - {id: cry, uses: shell.run, with: {argv: [touch, cry]}, timeout: 1m}
finally:
  - {id: tidy, uses: shell.run, with: {argv: [touch, tidy], interrupted: repeat}, timeout: 1m}
"""

ONCE = """\
steps:
  - {id: one, uses: shell.run, with: {argv: [touch, one], probe: [test, -e, one]}, timeout: 1m}
  - {id: two, uses: shell.run, needs: [one], with: {argv: [touch, two], probe: [test, -e, two]}, timeout: 1m}
"""


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Rehearsed:
    return rehearsed(tmp_path_factory.mktemp("odd"), ODD)


def test_every_plan_that_ships_is_rehearsed_here() -> None:
    assert SHIPPED.keys() == {path.stem for path in shipped_plan("restore-db").parent.glob("*.yaml")}


@pytest.mark.parametrize("plan", SHIPPED)
def test_a_plan_that_ships_comes_to_the_same_end_after_every_disturbance(plan: str, tmp_path: Path) -> None:
    env, given = SHIPPED[plan]
    found = of(shipped(shipped_plan(plan), env, given, tmp_path), tmp_path)
    assert found.held, found.broke
    assert {one.what for one in found.tried} >= {"undisturbed", BOUNDARY, FAILS}
    assert all(one.there == one.tried == one.held for one in found.tried)
    assert not found.asks, "no action that ships leaves a person to find out how it ended"


def test_every_kind_of_disturbance_is_tried(odd: Rehearsed) -> None:
    counts = {one.what: (one.there, one.tried, one.held) for one in odd.tried}
    assert counts["undisturbed"] == (3, 3, 3), "once for each choice that the question offers"
    inside = {counts[fate.value] for fate in Fate}
    assert inside == {(8, 8, 8)}, "left, each, each, tidy; then with right in the place of left"
    assert counts[FAILS] == (7, 7, 7)
    assert counts[BOUNDARY][0] > 30
    assert odd.held


def test_who_would_be_asked_and_what_would_spare_them(odd: Rehearsed) -> None:
    (asks,) = odd.asks
    assert (asks.step, asks.uses) == ("left", "shell.run")
    assert asks.times == 3, "cut off before and after its effect, and its answer lost; what goes on is adopted"
    assert "probe" in asks.fix


def test_what_runs_and_what_stays_undone_after_a_failure(odd: Rehearsed) -> None:
    found = {one.step: one for one in odd.failures}
    assert found["left"].status == "failed"
    assert found["left"].ran == ("cry", "tidy")
    assert found["left"].cancelled == ("right", "never", "each[a]", "each[b]")
    assert found["right"].status == "completed_with_failures"
    assert found["right"].ran == ("tidy",)
    assert found["tidy"].exit_code == 1


def test_a_step_that_nothing_leads_to_is_named(odd: Rehearsed) -> None:
    (never,) = odd.never
    assert never.step == "never"
    assert "size > 100" in never.why


def test_what_a_resume_does_once_more_is_named(odd: Rehearsed) -> None:
    assert odd.again == ("each[a]", "each[b]", "tidy")


def test_failures_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    text = ONCE.replace("timeout: 1m}", "timeout: 1m, on_failure: continue}")
    found = rehearsed(
        tmp_path, text + "on_failure_steps:\n  - {id: cry, uses: shell.run, with: {argv: [touch, cry]}}\n"
    )
    assert [one.step for one in found.never] == ["cry"]
    assert "continue" in found.never[0].why


def test_a_hold_that_a_failure_leaves_is_named(tmp_path: Path) -> None:
    found = of(shipped(shipped_plan("restore-db"), CIVICQ, {}, tmp_path), tmp_path)
    after = {one.step: one for one in found.failures}
    assert after["restore"].held == ("stop_writers",)
    assert after["check"].held == ()
    assert after["check"].ran == ("start_writers",)


def test_kills_that_are_too_many_are_taken_evenly(tmp_path: Path) -> None:
    found = rehearsed(tmp_path, ODD, most=5)
    boundary = next(one for one in found.tried if one.what == BOUNDARY)
    assert boundary.tried == 10, "five with each of the two sets of values that lead anywhere"
    assert boundary.there > boundary.tried


def test_a_plan_that_fails_by_itself_is_said_to(tmp_path: Path) -> None:
    found = rehearsed(
        tmp_path,
        """\
steps:
  - {id: ask, uses: manual, with: {instructions: Say}, timeout: 1m}
  - {id: it, uses: shell.run, needs: [ask], when: "{{ steps.ask.answers.size > 1 }}", with: {argv: [id]}}
""",
    )
    assert not found.held
    assert found.broke[0].disturbance == "undisturbed"
    assert "size" in found.broke[0].what


def with_results_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A new attempt begins with the first operation, whatever succeeded."""
    patch.setattr("runbook.rehearse.world.StubWorld.looked_at", lambda self, step: frozenset())
    patch.setattr(fold, "_ended_well", lambda step: {})


def with_unknown_steps_retried(patch: pytest.MonkeyPatch) -> None:
    """What can't be known is taken for a definite failure."""
    patch.setattr(step, "Adrift", Broke)


@pytest.mark.parametrize("takes_out", [with_results_forgotten, with_unknown_steps_retried])
def test_a_rehearsal_shows_a_defence_that_is_missing(
    takes_out: Callable[[pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes_out(monkeypatch)
    assert not rehearsed(tmp_path, ODD).held
