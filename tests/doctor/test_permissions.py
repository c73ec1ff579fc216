"""Permissions: who may read or change what a run rests on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runbook.doctor import permissions
from runbook.doctor.facts import Engine, PlanFile, SecretFacts
from runbook.doctor.finding import Code, Finding, Mark
from runbook.errors import Problem
from tests.doctor.given import BACKUPS, ENGINE, STATE, STORE, healthy

ME = 1000


@pytest.mark.parametrize(
    ("change", "mark", "says", "fix"),
    [
        ({}, Mark.GOOD, "mode 0700, your own", ""),
        ({"there": False}, Mark.GOOD, "will be made at the first run (mode 0700)", ""),
        ({"mode": 0o755}, Mark.LOOK, "has mode 0755, not 0700", "chmod 0700 /srv/.runbook"),
        ({"mode": 0o710}, Mark.LOOK, "has mode 0710, not 0700", "chmod 0700 /srv/.runbook"),
        ({"owner": 0}, Mark.LOOK, "belongs to user 0, not to you (1000)", "chown -R 1000 /srv/.runbook"),
        ({"writable": False}, Mark.FAILS, "can't be written to", "chown 1000 /srv/.runbook"),
        ({"writable": False, "there": False}, Mark.FAILS, "can't be made", "--state DIR"),
    ],
)
def test_the_state_directory(change: dict[str, bool | int], mark: Mark, says: str, fix: str) -> None:
    found = permissions.state(replace(STATE, **change), ME)  # type: ignore[arg-type]
    assert (found.mark, found.says) == (mark, says)
    assert fix in found.fix


def test_what_a_run_would_refuse_is_said_in_its_words() -> None:
    problem = Problem(
        "E473", "the state directory is on a network file system", "It is on nfs4.", "--state DIR, on a local disk"
    )
    found = permissions.state(replace(STATE, problem=problem), ME)
    assert (found.mark, found.says, found.why, found.fix) == (Mark.FAILS, problem.summary, problem.detail, problem.fix)


@pytest.mark.parametrize(
    ("mode", "sticky", "bad"),
    [(0o644, False, False), (0o664, False, False), (0o666, False, True), (0o777, False, True), (0o777, True, False)],
)
def test_a_plan_that_everybody_may_change(mode: int, sticky: bool, bad: bool) -> None:
    found = list(permissions.plan(PlanFile("/srv/plans/a b.yaml", mode, sticky)))
    assert [one.mark for one in found] == [Mark.FAILS] * bad
    assert [one.fix for one in found] == ["chmod o-w '/srv/plans/a b.yaml'"] * bad


def stores(*, changed: bool = True, **change: bool | int | None) -> list[Finding]:
    seen = replace(BACKUPS, detail=replace(STORE, **change), changed=changed)  # type: ignore[arg-type]
    return [found for found in permissions.judge(replace(healthy(), seen=(seen,))) if found.subject == "backups"]


def test_a_store() -> None:
    assert [found.says for found in stores()] == ["/backups can be written to"]
    assert [(found.mark, found.says) for found in stores(there=False)] == [(Mark.FAILS, "/backups is not there")]
    assert [found.mark for found in stores(there=False, changed=False)] == [Mark.LOOK]
    assert [(found.mark, found.says) for found in stores(writable=False)] == [
        (Mark.FAILS, "/backups can't be written to")
    ]
    assert [found.mark for found in stores(writable=False, changed=False)] == [Mark.LOOK]
    (open_,) = stores(mode=0o777)
    assert (open_.mark, open_.fix) == (Mark.LOOK, "chmod o-w /backups")
    assert stores(writable=None) == [], "a bucket's rights are its service's"


def test_a_secret_is_told_of_once_with_its_systems() -> None:
    unset = Problem("E370", "a secret can't be read", "The environment variable PW is not set.", "export PW=…")
    secrets = (
        SecretFacts("db", "$PW", unset),
        SecretFacts("side", "$PW", unset),
        SecretFacts("cache", "the content of /etc/cache"),
    )
    found = list(permissions.judge(replace(healthy(), secrets=secrets)))
    told = [
        (one.mark, one.subject, one.says, one.fix) for one in found if "can" in one.says and "/backups" not in one.says
    ]
    assert told == [
        (Mark.FAILS, "db, side", "$PW can't be read", "export PW=…"),
        (Mark.GOOD, "cache", "the content of /etc/cache can be read", ""),
    ]


DEAF = Engine("unix:///run/docker.sock", there=False, answered=False, problem="No such file or directory")


@pytest.mark.parametrize(
    ("engine", "needed", "asked", "marks"),
    [
        (ENGINE, True, True, [Mark.GOOD]),
        (ENGINE, False, False, [Mark.GOOD]),
        (DEAF, True, True, [Mark.FAILS]),
        (DEAF, False, True, []),  # this plan goes without
        (DEAF, False, False, [Mark.LOOK]),
    ],
)
def test_the_docker_engine(engine: Engine, needed: bool, asked: bool, marks: list[Mark]) -> None:
    found = list(permissions.engine(engine, needed=needed, asked=asked))
    assert [one.mark for one in found] == marks
    assert all(one.code is Code.PERMISSION and DEAF.problem in one.says for one in found if one.mark is not Mark.GOOD)
