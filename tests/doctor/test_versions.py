"""Versions: the doctor names an old Python, Jinja2 or PostgreSQL program, what mends it, and why it matters."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from runbook.doctor import versions
from runbook.doctor.facts import Filter, Library, Python
from runbook.doctor.finding import Code, Mark
from runbook.doctor.holes import POSTGRES_ENDS, POSTGRES_HOLES, TARFILE_MENDED, first_whole
from tests.doctor.given import CONTAINER, DB, NOW, RESTORES, SERVER, healthy, says

TODAY = NOW.date()


@pytest.mark.parametrize(
    ("version", "kind", "mark", "code", "fix"),
    [
        ((3, 13, 5), Filter.MENDED, Mark.GOOD, None, ""),
        ((3, 11, 2), Filter.MENDED, Mark.GOOD, None, ""),  # a distribution's, with the change taken over
        ((3, 11, 12), Filter.HOLED, Mark.LOOK, Code.HOLE, "3.11.13"),
        ((3, 12, 10), Filter.HOLED, Mark.LOOK, Code.HOLE, "3.12.11"),
        ((3, 13, 3), Filter.HOLED, Mark.LOOK, Code.HOLE, "3.13.4"),
        ((3, 11, 2), Filter.ABSENT, Mark.LOOK, Code.HOLE, "3.11.13"),
        ((3, 10, 18), Filter.MENDED, Mark.FAILS, Code.AGE, "python3.11"),
        ((3, 9, 2), Filter.HOLED, Mark.FAILS, Code.AGE, "python3.11"),
    ],
)
def test_an_old_python_is_named(
    version: tuple[int, int, int], kind: Filter, mark: Mark, code: Code | None, fix: str
) -> None:
    found = versions.python(Python(version, kind), TODAY)
    assert (found.mark, found.code) == (mark, code)
    assert fix in found.fix
    assert found.subject == "Python " + ".".join(map(str, version))
    assert bool(found.why) is (mark is not Mark.GOOD)


def test_a_python_ends() -> None:
    mended = Python((3, 11, 13), Filter.MENDED)
    assert versions.python(mended, date(2027, 10, 31)).mark is Mark.GOOD
    ended = versions.python(mended, date(2027, 11, 1))
    assert (ended.mark, ended.code, ended.says) == (Mark.LOOK, Code.AGE, "is out of support since 2027-10-31")


def test_the_hole_is_named_with_its_number() -> None:
    assert "CVE-2025-4517" in versions.python(Python((3, 11, 12), Filter.HOLED), TODAY).says
    assert TARFILE_MENDED == {(3, 11): 13, (3, 12): 11, (3, 13): 4, (3, 14): 0}


@pytest.mark.parametrize(
    ("version", "mark"),
    [
        ("3.1.6", Mark.GOOD),
        ("3.1.10", Mark.GOOD),
        ("3.2.0", Mark.GOOD),
        ("4.0", Mark.GOOD),
        ("3.1.5", Mark.FAILS),
        ("3.0.3", Mark.FAILS),
        ("2.11", Mark.FAILS),
        ("", Mark.FAILS),
    ],
)
def test_an_old_jinja_is_named(version: str, mark: Mark) -> None:
    found = versions.jinja(Library("jinja2", version))
    assert found.mark is mark
    if mark is Mark.FAILS:
        assert (found.code, found.fix) == (Code.HOLE, "pip install 'jinja2>=3.1.6'")
        assert "CVE-2025-27516" in found.why


CLIENTS = [
    # just mended, and the one before: each hole's edge in a branch
    ("psql", (17, 3), [], "CVE-2025-1094"),
    ("psql", (16, 6), ["CVE-2025-1094"], ""),
    ("psql", (15, 11), [], "CVE-2025-1094"),
    ("psql", (14, 15), ["CVE-2025-1094"], ""),
    ("pg_dump", (17, 5), ["CVE-2025-8714, CVE-2025-8715"], ""),
    ("pg_dumpall", (16, 9), ["CVE-2025-8714, CVE-2025-8715"], ""),
    ("pg_restore", (15, 13), ["CVE-2025-8714, CVE-2025-8715"], ""),
    ("pg_restore", (15, 14), [], "CVE-2025-8714, CVE-2025-8715"),
    ("pg_restore", (14, 18), ["CVE-2025-8714, CVE-2025-8715"], ""),
    ("pg_dump", (18, 3), ["CVE-2026-6477"], ""),
    ("pg_basebackup", (17, 9), ["CVE-2026-6475"], ""),
    ("pg_basebackup", (17, 10), [], "CVE-2026-6475"),
    ("pg_dump", (18, 5), ["CVE-2026-18408"], ""),
    ("pg_dump", (18, 6), [], "CVE-2026-18408"),
    ("pg_dump", (15, 18), ["CVE-2026-18408"], "CVE-2026-6477"),
]


@pytest.mark.parametrize(("name", "version", "named", "not_named"), CLIENTS)
def test_an_old_client_is_named(name: str, version: tuple[int, int], named: list[str], not_named: str) -> None:
    (found,) = versions.clients([name], version, "this machine", TODAY)
    assert all(cve in found.says for cve in named)
    assert not not_named or not_named not in found.says
    if named:
        major = version[0]
        assert (found.mark, found.code) == (Mark.LOOK, Code.HOLE)
        assert f"postgresql-client-{major}    # {major}.{first_whole(name, major)} or newer" in found.fix
        assert found.why.endswith(".")


def test_programs_alike_are_told_of_together() -> None:
    found = list(versions.clients(["pg_dump", "psql", "pg_restore"], (17, 10), "this machine", TODAY))
    assert [(one.mark, one.subject) for one in found] == [
        (Mark.LOOK, "pg_dump, pg_restore 17.10 on this machine"),
        (Mark.GOOD, "psql 17.10 on this machine"),
    ]


def test_a_client_in_a_container_comes_with_an_image() -> None:
    (found,) = versions.clients(["pg_dump"], (15, 3), "docker:pg", TODAY)
    assert found.fix == "recreate docker:pg from an image with postgresql-client-15 15.19 or newer"


def test_a_branch_that_was_given_up_has_every_hole() -> None:
    (found,) = versions.clients(["pg_dump"], (12, 22), "this machine", TODAY)
    assert found.says.count("CVE-") >= 4
    assert all(line.startswith("CVE-") and line.endswith(".") for line in found.why.splitlines())
    assert "postgresql-client-18" in found.fix


def test_a_branch_ends() -> None:
    (found,) = versions.clients(["zstdless"], (14, 99), "this machine", TODAY)
    assert (found.mark, found.code, found.says) == (Mark.LOOK, Code.AGE, "is out of support since 2026-11-12")
    (young,) = versions.clients(["pg_dump"], (19, 0), "this machine", TODAY)
    assert young.mark is Mark.GOOD


@pytest.mark.parametrize(
    ("version", "mark", "word"),
    [
        (170_011, Mark.GOOD, "no hole"),
        (170_009, Mark.LOOK, "CVE-2026-6473"),
        (150_015, Mark.LOOK, "CVE-2026-2005"),
        (140_024, Mark.LOOK, "out of support"),
        (130_023, Mark.LOOK, "CVE-2026-6473"),
    ],
)
def test_a_servers_minor_version_counts(version: int, mark: Mark, word: str) -> None:
    seen = replace(DB, detail=replace(SERVER, version=version))
    found = [
        one for one in versions.judge(replace(healthy(), seen=(seen,))) if one.subject.startswith("db: PostgreSQL")
    ]
    assert [one.mark for one in found] == [mark]
    assert word in found[0].says


def test_a_machine_in_good_health() -> None:
    assert {found.mark for found in versions.judge(healthy())} == {Mark.GOOD}


def test_libraries_that_are_missing() -> None:
    libraries = (Library("ruamel.yaml.clib", ""), Library("boto3", ""), Library("psycopg", "3.2.4"))
    found = {one.subject: one for one in versions.judge(replace(healthy(), libraries=libraries))}
    assert found["ruamel.yaml.clib"].mark is Mark.LOOK
    assert "slow" in found["ruamel.yaml.clib"].why
    assert found["boto3"].mark is Mark.FAILS
    assert found["libraries"].says == "psycopg 3.2.4"


def test_a_program_that_says_no_version_is_not_judged() -> None:
    facts = replace(healthy(), programs={RESTORES.key: says("pg_restore", "devel")})
    assert not [found for found in versions.judge(facts) if "pg_restore" in found.subject]
    assert str(CONTAINER) == "docker:pg"


@pytest.mark.parametrize(
    ("words", "version"),
    [
        ("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", (15, 18)),
        ("psql (PostgreSQL) 18beta1", (18, 0)),
        ("postgres (PostgreSQL) 16.4", (16, 4)),
        ("pg_dump: command not found", None),
        ("", None),
    ],
)
def test_a_version_is_read_from_a_programs_words(words: str, version: tuple[int, int] | None) -> None:
    assert versions.postgres_version(words) == version


def test_the_table_is_whole() -> None:
    """Every hole says why it matters in a sentence, and is mended in every branch that was supported when it was found."""
    for hole in POSTGRES_HOLES:
        assert hole.why.endswith(".")
        assert hole.programs
        branches = sorted(hole.mended)
        assert branches == list(range(branches[0], branches[-1] + 1))
        assert set(branches) <= set(POSTGRES_ENDS)
