"""How much may come out of a packed piece: what its manifest says, else a bound for all."""

from __future__ import annotations

import pytest

from runbook.actions.backup.unpacked_size import ALWAYS_BYTES, MOST_TIMES, most_uncounted, most_unpacked
from runbook.actions.postgres.packing import most_of
from runbook.artifact import Format, Manifest, Piece
from tests.actions.backups import NOON

NAME = "base.tar.zst"


def manifest(packed: int, unpacked: int | None) -> Manifest:
    piece = Piece(path=NAME, bytes=packed, sha256="0" * 64, unpacked_bytes=unpacked)
    return Manifest(
        name=NAME, format=Format.BASE_BACKUP, database="", started_at=NOON, finished_at=NOON, pieces=(piece,)
    )


@pytest.mark.parametrize(
    ("packed", "unpacked", "most"),
    [
        (1000, 12_345, 12_345),
        (1000, 1 << 50, 1 << 50),
        (1000, None, ALWAYS_BYTES),
        (ALWAYS_BYTES, None, MOST_TIMES * ALWAYS_BYTES),
    ],
)
def test_what_was_counted_counts(packed: int, unpacked: int | None, most: int) -> None:
    assert most_unpacked(manifest(packed, unpacked), NAME) == most


def test_what_the_manifest_does_not_name_is_bounded_too() -> None:
    assert most_unpacked(manifest(1000, 12_345), "other.tar.zst") == ALWAYS_BYTES
    assert most_unpacked(None, NAME) == ALWAYS_BYTES
    assert most_unpacked(None, NAME, 1 << 30) == MOST_TIMES << 30
    assert most_uncounted(0) == ALWAYS_BYTES


def test_a_file_that_is_not_packed_has_its_size_already() -> None:
    assert most_of(manifest(1000, None), "base.tar") == 0
    assert most_of(manifest(1000, 12_345), NAME) == 12_345


def test_an_older_manifest_is_read() -> None:
    text = manifest(1000, None).model_dump_json(exclude_none=True)
    assert "unpacked_bytes" not in text
    assert Manifest.model_validate_json(text).pieces[0].unpacked_bytes is None
