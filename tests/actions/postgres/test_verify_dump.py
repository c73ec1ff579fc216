"""Proving a dump: facts → operations."""

from __future__ import annotations

from typing import Any

from runbook.action import Effect
from runbook.actions.backup.unpacked_size import ALWAYS_BYTES
from runbook.actions.postgres.verify_dump import VerifyDump, VerifyDumpInputs
from runbook.artifact import Format, Piece, Proof
from runbook.host import LOCAL, Docker
from runbook.operation import Hashing, Operations, Pipeline, Process, Stage, changes
from tests.actions.backups import HASH, artifact, database, manifest, scope, store

VERIFY = VerifyDump()
TREE: dict[str, Any] = {"format": Format.DIRECTORY, "pieces": (Piece(path="a.dump.sha256", bytes=80, sha256=HASH),)}


def planned(*, host: object = LOCAL, level: str = "read", **more: Any) -> Operations:
    system = database(host=host)
    inputs = VerifyDumpInputs.model_validate({"artifact": artifact(manifest(**more)), "level": level})
    facts = VERIFY.assume(system, inputs, scope(store()))
    return VERIFY.plan(system, inputs, facts, scope(store()))


def test_a_custom_archive_is_hashed_and_read_in_one_pass() -> None:
    (read,) = planned(host=Docker("pg"))
    assert read == Pipeline(
        name="read",
        source="/backups/a.dump",
        stages=(Stage(argv=("pg_restore", "--file=/dev/null"), host=Docker("pg")),),
        hashing=Hashing.SOURCE,
        expect_sha256=HASH,
        total_bytes=5,
        reads=True,
    )


def test_every_file_beside_it_is_hashed_too() -> None:
    pieces = tuple(Piece(path=f"a.dump{part}", bytes=5, sha256=HASH) for part in ("", ".counts.jsonl", ".globals.sql"))
    found = planned(pieces=pieces)
    assert [one.source for one in found if isinstance(one, Pipeline) and one.expect_sha256 == HASH] == [
        "/backups/a.dump",
        "/backups/a.dump.counts.jsonl",
        "/backups/a.dump.globals.sql",
    ]


def test_a_directory_is_compared_file_by_file_and_read_on_this_machine() -> None:
    sums, check, read = planned(host=Docker("pg"), **TREE)
    assert isinstance(sums, Pipeline) and sums.source == "/backups/a.dump.sha256"
    assert isinstance(check, Process) and check.cwd == "/backups/a.dump"
    assert check.argv == ("sha256sum", "--check", "--strict", "--quiet", "--", "/backups/a.dump.sha256")
    assert isinstance(read, Process) and read.host == LOCAL
    assert read.argv == ("pg_restore", "--file=/dev/null", "/backups/a.dump")


def test_hashing_alone_reads_no_archive() -> None:
    assert [one.name for one in planned(level="hashed")] == ["hash_1"]
    assert [one.name for one in planned(level="hashed", **TREE)] == ["hash_1", "hash_tree"]


def test_plain_sql_has_to_end_as_pg_dump_ends_it() -> None:
    (read,) = planned(format=Format.PLAIN_GZIP)
    assert isinstance(read, Pipeline)
    assert [stage.argv[0] for stage in read.stages] == ["gzip", "tail", "grep"]
    assert read.expect_sha256 == HASH
    assert [stage.most_bytes for stage in read.stages] == [0, ALWAYS_BYTES, 0], "no more comes out than may"
    (plain,) = planned(format=Format.PLAIN)
    assert isinstance(plain, Pipeline)
    assert [stage.argv[0] for stage in plain.stages] == ["tail", "grep"]


def test_nothing_is_changed() -> None:
    assert VERIFY.effect is Effect.READS
    assert not any(changes(one) for level in ("read", "hashed") for one in planned(level=level, **TREE))


def test_the_proven_artifact_is_known_early() -> None:
    inputs = VerifyDumpInputs(artifact=artifact())
    facts = VERIFY.assume(database(), inputs, scope(store()))
    known = VERIFY.expect(database(), inputs, facts)
    assert known is not None
    assert known.artifact.proof is Proof.READ
    assert known.artifact.name == "a.dump"
