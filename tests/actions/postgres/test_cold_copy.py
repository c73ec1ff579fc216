"""The cold copy's list: on this machine a directory, out of a container a tar; what remains after a kill; its manifest."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from runbook.action import Effect, Scope
from runbook.actions.backup.layout import DATA, MANIFEST, SUMS, Present, is_tree
from runbook.actions.postgres.cold_copy import ColdCopy, ColdCopyInputs
from runbook.artifact import Format, Manifest, Piece
from runbook.host import Compose, Docker
from runbook.operation import Pipeline, Process, Write, changes
from runbook.system import Postgres, Store

STORE = Store(type="store", key="evidence", url="file:///srv/evidence")
SCOPE = Scope("r1", "keep", datetime(2026, 2, 14, 12, tzinfo=UTC), "/run/r1", "here", False, {})
HERE = Postgres(type="postgres", key="db", user="civicq", database="civicq", data_directory="/var/lib/pg")
THERE = HERE.model_copy(update={"host": Docker("civicq-postgres-prod")})
INPUTS = ColdCopyInputs(to=STORE)
LISTS = {
    "here": (HERE, ["began", "copy", "sums", "compare", "sync", "identifier", "version", "ended", "draft"]),
    "there": (
        THERE,
        ["began", "stopped_before", "copy", "stopped_after", "read_again", "identifier", "version", "ended", "draft"],
    ),
}


@pytest.mark.parametrize(("db", "expected"), LISTS.values(), ids=LISTS)
def test_the_manifest_comes_last(db: Postgres, expected: list[str]) -> None:
    facts = ColdCopy().assume(db, INPUTS, SCOPE)
    operations = ColdCopy().plan(db, INPUTS, facts, SCOPE)
    found = [one.name for one in operations]
    assert found[: len(expected)] == expected
    assert found[-1] == "publish_manifest"
    draft = next(one for one in operations if isinstance(one, Write))
    assert draft.path.endswith(".partial")
    assert all(not changes(one) for one in operations if one.name in ("compare", "read_again", "identifier", "version"))


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (Present(done=True), []),
        (Present(partials=(DATA, SUMS, MANIFEST)), ["publish_data", "publish_sums", "publish_manifest"]),
        (Present(partials=(MANIFEST,), finished=(DATA, SUMS)), ["publish_manifest"]),
        (Present(partials=(DATA,)), ["sweep_data", "began", "copy"]),
        (Present(partials=(DATA, SUMS)), ["sweep_data", "sweep_sums", "began", "copy"]),
    ],
)
def test_what_remains(state: Present, expected: list[str]) -> None:
    facts = replace(ColdCopy().assume(HERE, INPUTS, SCOPE), state=state)
    found = [one.name for one in ColdCopy().plan(HERE, INPUTS, facts, SCOPE)]
    assert found[: len(expected)] == expected
    if not state.partials or state.drafted:
        assert found == expected


def test_the_original_is_only_read() -> None:
    operations = ColdCopy().plan(HERE, INPUTS, ColdCopy().assume(HERE, INPUTS, SCOPE), SCOPE)
    copy = next(one for one in operations if one.name == "copy")
    assert isinstance(copy, Process)
    partial = "/srv/evidence/cold-20260214T120000Z.rb_r1_keep.partial"
    assert copy.argv[-2:] == ("/var/lib/pg", partial)
    assert "--dereference" in copy.argv, "tablespaces and WAL that are linked are copied too"
    compare = next(one for one in operations if one.name == "compare")
    assert isinstance(compare, Process)
    assert compare.cwd == "/var/lib/pg", "the hashes of the copy, compared with the original"


def test_out_of_a_container() -> None:
    operations = ColdCopy().plan(THERE, INPUTS, ColdCopy().assume(THERE, INPUTS, SCOPE), SCOPE)
    copy = next(one for one in operations if one.name == "copy")
    assert isinstance(copy, Pipeline)
    assert copy.stages[0].argv == ("docker", "cp", "civicq-postgres-prod:/var/lib/pg", "-")
    assert copy.sink == "/srv/evidence/cold-20260214T120000Z.tar.rb_r1_keep.partial"
    service = HERE.model_copy(update={"host": Compose("civicq", "postgres")})
    assert ColdCopy().assume(service, INPUTS, SCOPE).container == "civicq-postgres-1"


def test_what_it_is() -> None:
    assert ColdCopy.name == "postgres.cold_copy"
    assert ColdCopy.effect is Effect.CREATES


@pytest.mark.parametrize(
    ("format_", "piece", "tree"),
    [
        (Format.COLD_COPY, "cold.sha256", True),
        (Format.COLD_COPY, "cold", False),
        (Format.DIRECTORY, "cold.sha256", True),
        (Format.BASE_BACKUP, "cold", False),
        (Format.CUSTOM, "cold", False),
    ],
)
def test_which_backups_are_directories(format_: Format, piece: str, *, tree: bool) -> None:
    now = datetime(2026, 2, 14, tzinfo=UTC)
    pieces = (Piece(path=piece, bytes=1, sha256="0" * 64),)
    manifest = Manifest(name="cold", format=format_, database="", started_at=now, finished_at=now, pieces=pieces)
    assert is_tree(manifest) is tree
