"""Answers: which systems can be reached, and what a plan would miss there."""

from __future__ import annotations

from dataclasses import replace

from runbook.doctor import answers
from runbook.doctor.facts import SecretFacts, Seen
from runbook.doctor.finding import Code, Mark
from runbook.errors import Problem
from tests.doctor.given import BACKUPS, DB, SERVER, healthy

REFUSED = Problem("E311", "the database could not be reached", "Connection refused", "psql …")


def test_a_system_answers() -> None:
    assert [(one.mark, one.subject, one.says) for one in answers.judge(healthy())] == [
        (Mark.GOOD, "db (postgres)", "answers in 12 ms"),
        (Mark.GOOD, "backups (store)", "/backups"),
    ]


def test_what_is_not_asked_has_no_time() -> None:
    (found,) = answers.answer(Seen("on_call", "channel", says="is not asked: a message would be sent"))
    assert found.says == "is not asked: a message would be sent"


def test_a_silent_system_fails_with_what_a_run_would_say() -> None:
    (found,) = answers.answer(replace(DB, problem=REFUSED, detail=None))
    assert (found.mark, found.code) == (Mark.FAILS, Code.UNREACHED)
    assert (found.says, found.why, found.fix) == (REFUSED.summary, REFUSED.detail, REFUSED.fix)


def test_what_lacks_a_secret_is_told_of_there() -> None:
    secrets = (SecretFacts("db", "$PW", REFUSED),)
    facts = replace(healthy(), seen=(replace(DB, problem=REFUSED, detail=None), BACKUPS), secrets=secrets)
    assert [one.subject for one in answers.judge(facts)] == ["backups (store)"]


def test_a_database_that_is_gone_and_a_plain_role_are_to_be_looked_at() -> None:
    seen = replace(DB, detail=replace(SERVER, database_there=False, superuser=False))
    good, gone, plain = answers.answer(seen)
    assert good.mark is Mark.GOOD
    assert (gone.mark, gone.says) == (Mark.LOOK, "has no database civicq")
    assert (plain.mark, plain.says) == (Mark.LOOK, "its user is no superuser")


def test_a_plan_without_an_environment_is_half_looked_at() -> None:
    (found,) = answers.judge(replace(healthy(), environment="", seen=()))
    assert (found.mark, found.code, found.fix) == (Mark.LOOK, Code.UNTOLD, "runbook doctor PLAN -e NAME")
