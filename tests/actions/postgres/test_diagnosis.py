"""What the look prints, read: findings once each, by kind, and what they amount to."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from runbook.action import Effect, Interrupted, Scope
from runbook.actions.postgres.client import Server
from runbook.actions.postgres.diagnose import Diagnose, DiagnoseFacts, DiagnoseInputs, summed_up
from runbook.actions.postgres.diagnosis import OPTIONS, Finding, bad_pages, filenode, parse
from runbook.artifact import Artifact, Format, Manifest, Piece
from runbook.host import Docker
from runbook.operation import Process
from runbook.system import Postgres, Store

NOW = datetime(2026, 2, 14, tzinfo=UTC)
STORE = Store(type="store", key="evidence", url="file:///srv/evidence")
SCOPE = Scope("r1", "diagnose", NOW, "/run/r1", "here", False, {"evidence": STORE})
DB = Postgres(type="postgres", key="db", user="civicq", database="civicq")
INDEX = Finding(kind="index", object="public.i", detail="item order")
TABLE = Finding(kind="table", object="public.t", detail="invalid page in block 1")
CATALOG = Finding(kind="catalog", object="pg_type", detail="refers to nothing")


def facts(amcheck: str = "installed", *, checksums: bool = True) -> DiagnoseFacts:
    return DiagnoseFacts(Server(150018, "73", superuser=True), amcheck, checksums, "")


def copy_of(piece: str) -> Artifact:
    pieces = (Piece(path=piece, bytes=1, sha256="0" * 64),)
    manifest = Manifest(
        name="cold", format=Format.COLD_COPY, database="", started_at=NOW, finished_at=NOW, pieces=pieces
    )
    return Artifact(
        store="evidence",
        url="file:///srv/evidence/cold",
        name="cold",
        format=Format.COLD_COPY,
        bytes=1,
        finished_at=NOW,
        manifest=manifest,
    )


def line(one: Finding) -> str:
    return json.dumps(one.model_dump())


def test_findings_are_read_once_each() -> None:
    printed = "\n".join(["", line(TABLE), line(TABLE), "no JSON", "{}", '{"kind": 1}', "[1]", line(INDEX)])
    assert parse(printed) == (TABLE, INDEX)


def test_an_index_that_only_repeats_its_tables_damage_is_left_out() -> None:
    repeated = Finding(kind="index", object="public.t_pkey", detail=TABLE.detail)
    assert parse("\n".join(map(line, (TABLE, repeated, INDEX)))) == (TABLE, INDEX)


@pytest.mark.parametrize(
    ("found", "recommend"),
    [
        ((), "none"),
        ((INDEX,), "reindex"),
        ((INDEX, TABLE), "restore"),
        ((CATALOG,), "restore"),
        ((Finding(kind="checksum", object="global/1", detail="d"),), "restore"),
    ],
)
def test_what_it_amounts_to(found: tuple[Finding, ...], recommend: str) -> None:
    out = summed_up(found, ())
    assert (out.recommend, out.healthy) == (recommend, not found)
    assert all(f"- {one.kind} {one.object}: {one.detail}" in out.report for one in found)


def test_the_report_says_what_was_not_looked_at() -> None:
    out = summed_up((), ("indexes: no amcheck",))
    assert out.report.splitlines() == ["No damage was found.", "Not looked at:", "- indexes: no amcheck"]


def test_a_long_report_is_cut() -> None:
    many = tuple(Finding(kind="index", object=f"public.i{n}", detail="d") for n in range(25))
    out = summed_up(many, ())
    assert len(out.broken_indexes) == len(out.findings) == 25
    assert out.report.splitlines()[-1] == "- and 5 more: see the outputs of this step"


def test_pages_with_a_wrong_checksum() -> None:
    printed = (
        'pg_checksums: error: checksum verification failed in file "/srv/evidence/cold/base/5/16401", block 2: calculated '
        "checksum 4BD1 but block contains 39F2\n"
        'pg_checksums: error: checksum verification failed in file "/srv/evidence/cold/base/5/16401", block 7: calculated\n'
        'pg_checksums: error: checksum verification failed in file "/srv/evidence/cold/global/1260", block 0: calculated\n'
        "Checksum operation completed\nBad checksums:  3\n"
    )
    assert bad_pages(printed) == {"base/5/16401": [2, 7], "global/1260": [0]}
    assert bad_pages("Checksum operation completed") == {}


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("base/5/16401", (5, 16401)),
        ("base/5/16401.12", (5, 16401)),
        ("base/5/16401_fsm", (5, 16401)),
        ("global/1260", None),
        ("pg_tblspc/1/PG_15/5/9", None),
    ],
)
def test_where_a_file_belongs(path: str, place: tuple[int, int] | None) -> None:
    assert filenode(path) == place


@pytest.mark.parametrize(
    ("inputs", "found", "expected"),
    [
        (DiagnoseInputs(), facts("available"), ["look"]),
        (DiagnoseInputs(install=True), facts("available"), ["install", "look"]),
        (DiagnoseInputs(install=True), facts("installed"), ["look"]),
        (DiagnoseInputs(install=True), facts("absent"), ["look"]),
        (DiagnoseInputs(copy_of=copy_of("cold.sha256")), facts(), ["look", "checksums"]),
        (DiagnoseInputs(copy_of=copy_of("cold.sha256")), facts(checksums=False), ["look"]),
        (DiagnoseInputs(copy_of=copy_of("cold")), facts(), ["look"]),
    ],
)
def test_the_list(inputs: DiagnoseInputs, found: DiagnoseFacts, expected: list[str]) -> None:
    operations = Diagnose().plan(DB, inputs, found, SCOPE)
    assert [one.name for one in operations] == expected
    assert all(one.reads is (one.name != "install") for one in operations)


def test_the_sessions_only_read() -> None:
    (look,) = Diagnose().plan(DB, DiagnoseInputs(), facts(), SCOPE)
    assert isinstance(look, Process)
    assert dict(look.env)["PGOPTIONS"] == OPTIONS
    assert "default_transaction_read_only=on" in OPTIONS
    there = DB.model_copy(update={"host": Docker("pg")})
    (look,) = Diagnose().plan(there, DiagnoseInputs(copy_of=copy_of("cold.sha256")), facts(), SCOPE)
    assert isinstance(look, Process)
    assert look.host == Docker("pg"), "a copy is on this machine, and the server's programs are not"


def test_what_it_is() -> None:
    assert Diagnose.name == "postgres.diagnose"
    assert Diagnose().effect_of(DiagnoseInputs()) is Effect.READS
    assert Diagnose().effect_of(DiagnoseInputs(install=True)) is Effect.CHANGES
    assert Diagnose.interrupted is Interrupted.REPEATABLE
