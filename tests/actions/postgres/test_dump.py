"""Dumping: facts → operations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from runbook.action import Role, roles
from runbook.actions.backup.layout import COUNTS, DATA, GLOBALS, MANIFEST, SUMS, Present
from runbook.actions.postgres.dump import Dump, DumpInputs
from runbook.actions.postgres.verify_dump import VerifyDump, VerifyDumpInputs
from runbook.artifact import Artifact
from runbook.errors import Refused
from runbook.host import LOCAL, Docker
from runbook.operation import Document, Operations, Pipeline, Process, Ref, Remove, Rename, Session, Write, changes
from runbook.paste import paste
from runbook.placeholder import AHEAD
from tests.actions.backups import database, scope, store

NAME = "/backups/civicq-20260214T120000Z.dump"
TAG = "rb_20260214_120000_test_4f3a_step"
DUMP = Dump()


def planned(state: Present = Present(), *, superuser: bool = True, **written: object) -> Operations:  # noqa: B008 - frozen
    system = database(**{key: written.pop(key) for key in ("host", "database") if key in written})
    inputs = DumpInputs.model_validate({"to": store(), **written})
    facts = DUMP.assume(system, inputs, scope())
    facts = replace(facts, server_version=150018, client="pg_dump (PostgreSQL) 15.18", state=state, superuser=superuser)
    return DUMP.plan(system, inputs, facts, scope())


def names(operations: Operations) -> list[str]:
    return [operation.name for operation in operations]


def test_everything_is_partial_until_the_manifest_is_drafted() -> None:
    operations = planned()
    assert names(operations) == [
        "snapshot",
        "ended",
        "globals",
        "sums",
        "draft",
        "publish_data",
        "publish_sums",
        "publish_counts",
        "publish_globals",
        "publish_manifest",
    ]
    last = operations[-1]
    assert isinstance(last, Rename)
    assert (last.source, last.target) == (f"{NAME}.manifest.json.{TAG}.partial", f"{NAME}.manifest.json")


def test_rows_are_counted_and_dumped_in_one_snapshot() -> None:
    session = planned()[0]
    assert isinstance(session, Session)
    assert names(session.body) == ["counts", "dump"]
    dump = session.body[1]
    assert isinstance(dump, Process)
    at = dump.argv.index("--snapshot")
    assert dump.argv[at + 1] == Ref("snapshot", "snapshot")
    assert f"--file={NAME}.{TAG}.partial" in dump.argv
    assert "--format=directory" in dump.argv and "--jobs=2" in dump.argv and "--compress=1" in dump.argv


def test_in_a_container_the_bytes_are_piped_out() -> None:
    operations = planned(host=Docker("pg"))
    session = operations[0]
    assert isinstance(session, Session)
    dump = session.body[1]
    assert isinstance(dump, Pipeline)
    assert dump.sink == f"{NAME}.{TAG}.partial"
    assert dump.stages[0].host == Docker("pg")
    assert "--format=custom" in dump.stages[0].argv
    assert "sums" not in names(operations)


def test_the_manifest_holds_what_was_hashed() -> None:
    draft = next(one for one in planned(host=Docker("pg")) if isinstance(one, Write))
    assert isinstance(draft.content, Document)
    said = dict(draft.content.items)
    name = Path(NAME).name
    assert said["pieces"] == tuple(
        Document((("path", path), ("bytes", Ref(by, "bytes")), ("sha256", Ref(by, "sha256"))))
        for path, by in ((name, "dump"), (f"{name}.counts.jsonl", "counts"), (f"{name}.globals.sql", "globals"))
    )
    assert said["started_at"] == Ref("snapshot", "started_at")
    assert said["run"] == "20260214-120000-test-4f3a/step"


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (Present(done=True, finished=(DATA, SUMS, COUNTS, GLOBALS)), []),
        (
            Present(partials=(DATA, SUMS, COUNTS, GLOBALS, MANIFEST)),
            ["publish_data", "publish_sums", "publish_counts", "publish_globals", "publish_manifest"],
        ),
        (
            Present(partials=(COUNTS, GLOBALS, MANIFEST), finished=(DATA, SUMS)),
            ["publish_counts", "publish_globals", "publish_manifest"],
        ),
        (Present(partials=(MANIFEST,), finished=(DATA, SUMS, COUNTS, GLOBALS)), ["publish_manifest"]),
    ],
)
def test_a_draft_leaves_only_names_to_be_given(state: Present, expected: list[str]) -> None:
    assert names(planned(state)) == expected


def test_what_an_interrupted_attempt_left_is_removed_and_made_again() -> None:
    operations = planned(Present(partials=(DATA, COUNTS)))
    assert names(operations)[:3] == ["sweep_data", "sweep_counts", "snapshot"]
    sweeps = [one for one in operations if isinstance(one, Remove)]
    assert all(one.owned and one.marker in one.path for one in sweeps)
    assert [one for one in operations if one not in sweeps] == list(planned())


def test_a_role_without_power_gets_no_password_hashes() -> None:
    def options(*, superuser: bool) -> tuple[object, ...]:
        one = next(one for one in planned(superuser=superuser) if one.name == "globals")
        assert isinstance(one, Pipeline)
        return one.stages[0].argv

    assert "--no-role-passwords" in options(superuser=False)
    assert "--no-role-passwords" not in options(superuser=True)


def test_counts_and_globals_can_be_left_out() -> None:
    operations = planned(counts=False, globals=False)
    assert names(operations) == [
        "snapshot",
        "ended",
        "sums",
        "draft",
        "publish_data",
        "publish_sums",
        "publish_manifest",
    ]


def test_everything_that_is_made_changes_something() -> None:
    assert [one.name for one in planned() if not changes(one)] == ["ended"]


@pytest.mark.parametrize(
    ("database_name", "file"),
    [("-x", "-x"), ("Zürich", "Z_rich"), ("a/../b", "a_.._b"), ("..", "database"), ("x" * 63, "x" * 50)],
)
def test_a_databases_name_becomes_a_plain_file_name(database_name: str, file: str) -> None:
    facts = DUMP.assume(database(database=database_name), DumpInputs(to=store()), scope())
    assert facts.where.name == f"{file.lstrip('-')}-20260214T120000Z.dump"


@pytest.mark.parametrize("name", ["../x", "a/b", "-x", "x.partial", "x.manifest.json", "", ".hidden", "n" * 101])
def test_names_that_are_no_plain_file_names_are_refused(name: str) -> None:
    with pytest.raises(Refused, match="name of a backup"):
        DUMP.assume(database(), DumpInputs(to=store(), name=name), scope())


def test_facts_have_a_form_for_the_journal() -> None:
    facts = DUMP.assume(database(), DumpInputs(to=store()), scope())
    assert set(roles(facts, Role.GUARD)) == {"server_version", "identifier"}
    assert roles(facts, Role.CURRENT)


def foreseen(**written: object) -> tuple[Artifact, Operations]:
    """The dump as a dry-run passes it on, and what would be done to prove it."""
    system, inputs = database(host=written.pop("host", LOCAL)), DumpInputs.model_validate({"to": store(), **written})
    made = DUMP.foresee(system, inputs, DUMP.assume(system, inputs, scope(step="dump")), scope(step="dump"))
    passed_on = {"artifact": made.model_dump(mode="json")["artifact"]}
    proof = VerifyDumpInputs.model_validate(passed_on, context=AHEAD)
    assert proof.artifact == made.artifact
    facts = VerifyDump().assume(system, proof, scope(store()))
    return made.artifact, VerifyDump().plan(system, proof, facts, scope(store()))


def test_the_dump_is_foreseen_with_its_files_and_without_their_hashes() -> None:
    dump, operations = foreseen()
    assert dump.manifest is not None
    name = "civicq-20260214T120000Z.dump"
    pieces = [f"{name}{part}" for part in (SUMS, COUNTS, GLOBALS)]
    assert [piece.path for piece in dump.manifest.pieces] == pieces
    assert [piece.sha256 for piece in dump.manifest.pieces] == [f"<sha256 of {path}, from dump>" for path in pieces]
    assert (dump.name, str(dump.bytes)) == (name, f"<bytes of {name}, from dump>")
    assert (str(dump.finished_at), dump.manifest.client_version) == (
        "<finished_at, from dump>",
        "<client_version, from dump>",
    )
    assert names(operations) == ["hash_1", "hash_2", "hash_3", "hash_tree", "read"]
    assert paste(operations[1]) == (
        f"sha256sum /backups/{name}{COUNTS}  # sha256 must be <sha256 of {name}{COUNTS}, from dump>"
    )


def test_in_a_container_one_file_is_foreseen_and_read_in_one_pass() -> None:
    _, operations = foreseen(host=Docker("pg"), counts=False, globals=False)
    (read,) = operations
    assert isinstance(read, Pipeline)
    assert read.expect_sha256 == "<sha256 of civicq-20260214T120000Z.dump, from dump>"


def test_what_is_only_foreseen_is_refused_as_an_input_of_a_run() -> None:
    dump, _ = foreseen()
    with pytest.raises(ValidationError):
        VerifyDumpInputs.model_validate({"artifact": dump.model_dump(mode="json")})
