"""Adopting a backup: facts → operations."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runbook.actions.backup.adopt import Adopt, AdoptInputs
from runbook.actions.backup.layout import MANIFEST, SUMS, Present
from runbook.artifact import Format
from runbook.operation import Document, Operations, Process, Ref, Write, changes
from tests.actions.backups import scope, store

ADOPT = Adopt()


def planned(form: Format, state: Present = Present(), **more: object) -> Operations:  # noqa: B008 - frozen
    inputs = AdoptInputs.model_validate({"name": "old.dump", "database": "civicq", **more})
    facts = replace(ADOPT.assume(store(), inputs, scope()), format=form, state=state)
    return ADOPT.plan(store(), inputs, facts, scope())


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (Format.CUSTOM, ["hash", "read", "draft", "publish_manifest"]),
        (Format.PLAIN, ["hash", "read", "draft", "publish_manifest"]),
        (Format.PLAIN_GZIP, ["hash", "read", "draft", "publish_manifest"]),
        (Format.DIRECTORY, ["hash", "read", "draft", "publish_sums", "publish_manifest"]),
    ],
)
def test_it_is_hashed_and_read_before_anything_is_said_of_it(form: Format, expected: list[str]) -> None:
    assert [one.name for one in planned(form)] == expected


def test_the_backup_itself_is_only_read() -> None:
    for form in (Format.CUSTOM, Format.PLAIN, Format.PLAIN_GZIP):
        assert [one.name for one in planned(form) if changes(one)] == ["draft", "publish_manifest"]


def test_pg_restore_reads_archives() -> None:
    for form in (Format.CUSTOM, Format.DIRECTORY):
        read = planned(form, binaries="/opt/pg/bin")[1]
        assert isinstance(read, Process)
        assert read.argv == ("/opt/pg/bin/pg_restore", "--file=/dev/null", "/backups/old.dump")


def test_the_manifest_says_what_was_not_proven() -> None:
    draft = next(one for one in planned(Format.PLAIN) if isinstance(one, Write))
    assert isinstance(draft.content, Document)
    said = dict(draft.content.items)
    assert said["unproven"] and "counts" not in said
    piece = Document((("path", "old.dump"), ("bytes", Ref("hash", "bytes")), ("sha256", Ref("hash", "sha256"))))
    assert said["pieces"] == (piece,)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (Present(done=True), []),
        (Present(partials=(SUMS, MANIFEST)), ["publish_sums", "publish_manifest"]),
        (Present(partials=(MANIFEST,), finished=(SUMS,)), ["publish_manifest"]),
        (Present(partials=(SUMS,)), ["sweep_sums", "hash", "read", "draft", "publish_sums", "publish_manifest"]),
    ],
)
def test_what_remains_of_an_adoption(state: Present, expected: list[str]) -> None:
    assert [one.name for one in planned(Format.DIRECTORY, state)] == expected
