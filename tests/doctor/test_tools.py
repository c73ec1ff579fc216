"""Tools: what a plan's steps call and a host lacks, and clients that are older than their server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runbook.doctor import tools
from runbook.doctor.facts import Facts, Need, Program
from runbook.doctor.finding import Code, Finding, Mark
from runbook.errors import Problem
from runbook.host import LOCAL, Docker
from tests.doctor.given import CONTAINER, DB, DUMPS, RESTORES, SERVER, healthy, says

GONE = Program("")


def judged(need: Need, program: Program | None, facts: Facts | None = None) -> list[Finding]:
    facts = facts or healthy()
    return list(tools.judge(replace(facts, needs=(need,), programs={need.key: program} if program else {})))


@pytest.mark.parametrize(
    ("need", "program", "mark", "says_", "fix"),
    [
        (RESTORES, says("pg_restore", "17.11"), Mark.GOOD, "pg_restore", ""),
        (
            RESTORES,
            GONE,
            Mark.FAILS,
            "is missing on docker:pg",
            "use an image with postgresql-client-17, or run pg_restore here: host: local and `address`",
        ),
        (
            Need(LOCAL, "pg_dump", ("db",), ("dump",)),
            GONE,
            Mark.FAILS,
            "is missing on this machine",
            "apt-get install postgresql-client-17",
        ),
        (DUMPS, GONE, Mark.LOOK, "is missing on this machine", "apt-get install postgresql-client"),
        (
            Need(LOCAL, "/opt/pg/bin/pg_dump", ("db",), ("dump",)),
            GONE,
            Mark.FAILS,
            "is missing on this machine (/opt/pg/bin/pg_dump)",
            "apt-get install postgresql-client-17",
        ),
        (
            Need(LOCAL, "pg_dump", ("db",), ("dump",)),
            Program("/usr/lib/postgresql/17/bin/pg_dump", "pg_dump (PostgreSQL) 17.11", aside=True),
            Mark.FAILS,
            "is not on the PATH of this machine, and lies in /usr/lib/postgresql/17/bin",
            "binaries: /usr/lib/postgresql/17/bin    # of db, in the environment",
        ),
        (
            Need(LOCAL, "pg_ctl", ("db",), ("stop",)),
            Program("/usr/lib/postgresql/17/bin/pg_ctl", aside=True),
            Mark.GOOD,
            "pg_ctl",
            "",
        ),
        (
            Need(LOCAL, "pg_ctl", ("db",), ("stop",)),
            GONE,
            Mark.LOOK,
            "is missing on this machine",
            "apt-get install postgresql-17",
        ),
        (Need(LOCAL, "zstd", (), ("copy",)), GONE, Mark.LOOK, "is missing on this machine", "apt-get install zstd"),
        (
            Need(Docker("web"), "manage", (), ("clear",)),
            GONE,
            Mark.FAILS,
            "is missing on docker:web",
            "install manage on docker:web, or correct the step's argv",
        ),
    ],
)
def test_a_program(need: Need, program: Program, mark: Mark, says_: str, fix: str) -> None:
    (found,) = judged(need, program)
    assert (found.mark, found.says, found.fix) == (mark, says_, fix)
    assert found.code is (None if mark is Mark.GOOD else Code.MISSING)


def test_why_names_the_steps() -> None:
    (one,) = judged(RESTORES, GONE)
    assert one.why == "The step calls it: restore."
    (many,) = judged(replace(RESTORES, steps=("a", "b", "c", "d", "e")), GONE)
    assert many.why == "These steps call it: a, b, c, d and others."


@pytest.mark.parametrize(
    ("name", "version", "mark"),
    [
        ("pg_dump", "16.12", Mark.FAILS),
        ("pg_restore", "16.12", Mark.FAILS),
        ("pg_basebackup", "15.19", Mark.FAILS),
        ("pg_dump", "17.1", Mark.GOOD),
        ("pg_dump", "18.6", Mark.GOOD),
        ("psql", "14.1", Mark.GOOD),
    ],
)
def test_a_client_may_not_be_older_than_its_server(name: str, version: str, mark: Mark) -> None:
    (found,) = judged(Need(LOCAL, name, ("db",), ("dump",)), says(name, version))
    assert found.mark is mark
    if mark is Mark.FAILS:
        assert found.code is Code.OLDER
        assert found.says == f"is version {version.partition('.')[0]} on this machine; db is version 17"
        assert found.fix == "apt-get install postgresql-client-17"


def test_of_several_servers_the_newer_is_named() -> None:
    standby = replace(DB, system="standby", detail=replace(SERVER, version=180_006))
    facts = replace(healthy(), seen=(DB, standby))
    (found,) = judged(Need(LOCAL, "pg_dump", ("db", "standby"), ("dump",)), says("pg_dump", "17.11"), facts)
    assert (found.says, found.fix) == (
        "is version 17 on this machine; standby is version 18",
        "apt-get install postgresql-client-18",
    )


def test_without_a_plan_an_older_client_is_only_to_be_looked_at() -> None:
    (found,) = judged(Need(CONTAINER, "pg_dump", ("db",)), says("pg_dump", "15.19"))
    assert found.mark is Mark.LOOK


def test_a_silent_host_is_said_to_be_one() -> None:
    problem = Problem("E334", "the Docker Engine could not be asked", "Connection refused", "docker version")
    facts = replace(healthy(), silent={str(CONTAINER): problem}, programs={})
    (found,) = tools.judge(facts)
    assert (found.mark, found.code, found.fix) == (Mark.FAILS, Code.UNTOLD, "docker version")
    assert found.why == "Whether it has pg_restore is not known. Connection refused"
    known = replace(facts, seen=(replace(DB, problem=problem, detail=None),))
    assert list(tools.judge(known)) == [], "its system says the same"
