"""Room in a store: refused with the way out, before anything is made."""

from __future__ import annotations

from pathlib import Path

from runbook.actions.backup.room import no_room
from tests.actions.backups import store
from tests.actions.harness import Stage


def test_where_there_is_room_nothing_is_said(stage: Stage, tmp_path: Path) -> None:
    assert no_room(stage.look, store(tmp_path), 1) == []


def test_a_store_that_is_not_there(stage: Stage, tmp_path: Path) -> None:
    (found,) = no_room(stage.look, store(tmp_path / "gone"), 1)
    assert (found.code, found.fix) == ("E632", f"mkdir -m 0700 {tmp_path}/gone")
    assert "gone of backups does not exist on this machine: is it mounted?" in found.detail
    (tmp_path / "file").touch()
    assert [one.code for one in no_room(stage.look, store(tmp_path / "file"), 1)] == ["E632"]


def test_a_store_that_is_too_full(stage: Stage, tmp_path: Path) -> None:
    (found,) = no_room(stage.look, store(tmp_path), 10**15)
    assert found.code == "E635"
    assert found.detail.endswith("the backup may need 1000.0 TB.")
    assert found.fix == "Make space or use another store."
    (found,) = no_room(stage.look, store(tmp_path), 10**15, reckoned="3 × it", or_else="know better")
    assert found.detail.endswith("may need 1000.0 TB (3 × it).")
    assert found.fix == "Make space, use another store or know better."


def test_a_link_is_not_said_to_be_missing(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (found,) = no_room(stage.look, store(tmp_path / "link"), 1)
    assert found.code == "E632"
    assert "is a symbolic link" in found.detail
    assert found.fix.startswith(f"realpath {tmp_path}/link")
