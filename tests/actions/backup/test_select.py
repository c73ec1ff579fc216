"""Choosing a backup: what lies in a store → the choice, or why there is none."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from runbook.action import CheckFailed, Done, Look, Role, roles
from runbook.actions.backup.select import Select, Selected, SelectInputs
from runbook.artifact import Format, Piece, Proof
from runbook.errors import Refused
from runbook.placeholder import AHEAD, stand_for
from tests.actions.backups import NOON, lay, manifest, scope, store

SELECT = Select()
UNKNOWN = {"bytes": "<bytes of c.dump, from dump>", "sha256": "<sha256 of c.dump, from dump>"}


def choose(look: Look, directory: Path, **written: object) -> Selected:
    inputs = SelectInputs.model_validate(written)
    facts = SELECT.observe(look, store(directory), inputs, scope())
    for role in Role:
        roles(facts, role)
    assert SELECT.plan(store(directory), inputs, facts, scope()) == ()
    known = SELECT.expect(store(directory), inputs, facts)
    assert known == SELECT.verify(look, store(directory), inputs, Done(facts, {}))
    assert known is not None
    return known


def fault(error: pytest.ExceptionInfo[CheckFailed] | pytest.ExceptionInfo[Refused]) -> str:
    return error.value.problems[0].render()


def test_a_moment_that_is_still_to_come_is_refused_before_anything_is_read(look: Look, tmp_path: Path) -> None:
    lay(tmp_path, "a.dump", age=timedelta(hours=5))
    inputs = SelectInputs(before=NOON + timedelta(hours=3))
    for ask in (lambda: choose(look, tmp_path / "not_there", before=inputs.before), _assumed(tmp_path, inputs)):
        with pytest.raises(Refused) as refused:
            ask()
        said = fault(refused)
        assert "E672" in said
        assert "2026-02-14T15:00:00Z" in said and "this machine's clock, is 2026-02-14T12:00:00Z" in said
        assert "with its zone" in said


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(seconds=5), timedelta(minutes=1)])
def test_clocks_that_differ_a_little_are_no_fault(ahead: timedelta, look: Look, tmp_path: Path) -> None:
    lay(tmp_path, "a.dump", age=timedelta(hours=5))
    assert choose(look, tmp_path, before=NOON + ahead).artifact.name == "a.dump"


def _assumed(tmp_path: Path, inputs: SelectInputs) -> Callable[[], object]:
    return lambda: SELECT.assume(store(tmp_path), inputs, scope())


def test_the_manifest_decides_which_is_newest(look: Look, tmp_path: Path) -> None:
    lay(tmp_path, "old.dump", age=timedelta(hours=9))
    lay(tmp_path, "new.dump", age=timedelta(hours=1))
    os.utime(tmp_path / "new.dump", (1, 1))  # copied from elsewhere
    chosen = choose(look, tmp_path)
    assert chosen.artifact.name == "new.dump"
    assert chosen.age_s == 3600.0
    assert chosen.artifact.store == "backups"
    assert chosen.artifact.url == f"file://{tmp_path}/new.dump"
    assert chosen.artifact.bytes == 5
    assert chosen.artifact.proof is Proof.LISTED
    assert len(chosen.artifact.sha256) == 64


def test_a_pattern_and_a_moment_narrow_the_choice(look: Look, tmp_path: Path) -> None:
    lay(tmp_path, "a.dump", age=timedelta(hours=5))
    lay(tmp_path, "b.dump", age=timedelta(hours=2))
    lay(tmp_path, "c.base", age=timedelta(hours=1))
    assert choose(look, tmp_path, pattern="*.dump").artifact.name == "b.dump"
    before = (NOON - timedelta(hours=2)).isoformat()
    assert choose(look, tmp_path, pattern="*.dump", before=before).artifact.name == "a.dump"
    assert choose(look, tmp_path, before=None).artifact.name == "c.base"


def test_a_moment_needs_a_zone() -> None:
    with pytest.raises(ValidationError):
        SelectInputs.model_validate({"before": "2026-02-14T12:00:00"})


def test_what_is_being_made_is_never_seen(look: Look, tmp_path: Path) -> None:
    lay(tmp_path, "a.dump", age=timedelta(hours=5))
    (tmp_path / "b.dump.rb_run_step.partial").write_bytes(b"half")
    (tmp_path / "b.dump.manifest.json.rb_run_step.partial").write_text(manifest("b.dump").model_dump_json())
    chosen = choose(look, tmp_path)
    assert (chosen.artifact.name, chosen.passed_over) == ("a.dump", ())


def test_what_can_not_be_relied_on_is_passed_over_and_named(look: Look, tmp_path: Path) -> None:
    lay(tmp_path, "good.dump", age=timedelta(hours=9))
    lay(tmp_path, "gone.dump", age=timedelta(hours=1))
    (tmp_path / "gone.dump").unlink()
    lay(tmp_path, "short.dump", age=timedelta(hours=2))
    (tmp_path / "short.dump").write_bytes(b"byt")
    lay(tmp_path, "other.dump", age=timedelta(hours=3))
    (tmp_path / "renamed.dump").write_bytes(b"bytes")
    (tmp_path / "other.dump.manifest.json").rename(tmp_path / "renamed.dump.manifest.json")
    (tmp_path / "torn.dump").write_bytes(b"bytes")
    (tmp_path / "torn.dump.manifest.json").write_text('{"manifest": 1, "name"')
    outside = (Piece(path="../good.dump", bytes=5, sha256="0" * 64),)
    lay(tmp_path, "out.dump", age=timedelta(hours=1), pieces=outside)
    chosen = choose(look, tmp_path)
    assert chosen.artifact.name == "good.dump"
    assert {line.partition(":")[0]: line for line in chosen.passed_over} == {
        "gone.dump": "gone.dump: gone.dump is missing",
        "short.dump": "short.dump: short.dump has 3 bytes, not 5",
        "other.dump": "other.dump: it has no manifest",
        "renamed.dump": "renamed.dump: its manifest is that of 'other.dump'",
        "torn.dump": "torn.dump: its manifest can't be read (the file)",
        "out.dump": "out.dump: its manifest names '../good.dump', outside the store",
    }


def test_a_manifest_in_a_store_holds_no_placeholders(look: Look, tmp_path: Path) -> None:
    lay(tmp_path, "good.dump", age=timedelta(hours=9))
    foreseen = {
        "a": manifest("a.dump", finished_at=stand_for("finished_at, from dump")),
        "b": manifest("b.dump", wal_stop=stand_for("wal_stop, from dump")),
        "c": manifest("c.dump", pieces=(Piece.model_validate(UNKNOWN | {"path": "c.dump"}, context=AHEAD),)),
    }
    for name, told in foreseen.items():
        (tmp_path / f"{name}.dump").write_bytes(b"bytes")
        (tmp_path / f"{name}.dump.manifest.json").write_text(told.model_dump_json())
    chosen = choose(look, tmp_path)
    assert chosen.artifact.name == "good.dump"
    assert set(chosen.passed_over) == {
        "a.dump: its manifest can't be read (finished_at)",
        "b.dump: its manifest can't be read (wal_stop)",
        "c.dump: its manifest can't be read (pieces.0.bytes, pieces.0.sha256)",
    }


def test_without_any_manifest_the_remedy_is_named(look: Look, tmp_path: Path) -> None:
    (tmp_path / "cron.sql.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(Refused) as error:
        choose(look, tmp_path, pattern="*.sql.gz")
    assert "cron.sql.gz" in fault(error)
    assert "backup.adopt" in fault(error)


def test_a_store_that_is_not_there_is_not_an_empty_one(look: Look, tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        choose(look, tmp_path / "mounted", name="newest")
    told = fault(refused)
    assert "E632" in told
    assert f"{tmp_path}/mounted of backups is not there" in told
    with pytest.raises(Refused, match="the store's directory is not there"):
        choose(look, tmp_path / "mounted", name="a.dump")


def test_where_nothing_fits_it_lists_what_is_there(look: Look, tmp_path: Path) -> None:
    lay(tmp_path, "a.dump")
    with pytest.raises(CheckFailed) as error:
        choose(look, tmp_path, before="2020-01-01T00:00:00Z")
    assert "a.dump" in fault(error)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckFailed) as error:
        choose(look, tmp_path / "empty")
    assert "nothing" in fault(error)


def test_by_name(look: Look, tmp_path: Path) -> None:
    lay(tmp_path, "a.dump", age=timedelta(hours=5))
    lay(tmp_path, "b.dump", age=timedelta(hours=1))
    assert choose(look, tmp_path, name="a.dump").artifact.name == "a.dump"
    with pytest.raises(CheckFailed, match="no such backup") as error:
        choose(look, tmp_path, name="a.dmp")
    assert "did you mean 'a.dump'?" in fault(error)
    (tmp_path / "bare.dump").write_bytes(b"PGDMP")
    with pytest.raises(Refused) as refused:
        choose(look, tmp_path, name="bare.dump")
    assert "backup.adopt" in fault(refused)
    with pytest.raises(Refused, match="too young"):
        choose(look, tmp_path, name="b.dump", before=(NOON - timedelta(hours=2)).isoformat())


def test_a_backup_may_be_too_young(look: Look, tmp_path: Path) -> None:
    lay(tmp_path, "a.dump", age=timedelta(hours=5))
    assert choose(look, tmp_path, refuse_younger="4h").artifact.name == "a.dump"
    with pytest.raises(Refused, match="too young"):
        choose(look, tmp_path, refuse_younger="2d")
    with pytest.raises(ValidationError):
        SelectInputs(refuse_younger="soon")


def test_a_directory_counts_whole(look: Look, tmp_path: Path) -> None:
    (tmp_path / "d.dump").mkdir()
    (tmp_path / "d.dump" / "toc.dat").write_bytes(b"x" * 10)
    (tmp_path / "d.dump.sha256").write_text("sums")
    of = manifest("d.dump", format=Format.DIRECTORY, pieces=(Piece(path="d.dump.sha256", bytes=4, sha256="0" * 64),))
    (tmp_path / "d.dump.manifest.json").write_text(of.model_dump_json())
    assert choose(look, tmp_path).artifact.bytes == 10


def test_only_directories_can_be_looked_into(look: Look) -> None:
    elsewhere = store().model_copy(update={"url": "s3://bucket/db"})
    with pytest.raises(Refused, match="store in a directory"):
        SELECT.observe(look, elsewhere, SelectInputs(), scope())


def test_a_random_one_is_drawn_by_a_seed_and_is_not_the_newest(look: Look, tmp_path: Path) -> None:
    for number in range(1, 9):
        lay(tmp_path, f"{number}.dump", age=timedelta(hours=number))
    (tmp_path / "bare.dump").write_text("x")
    drawn = [choose(look, tmp_path, name="random", seed=str(seed)) for seed in range(60)]
    assert {one.artifact.name for one in drawn} == {f"{number}.dump" for number in range(2, 9)}
    assert {(one.seed, one.among) for one in drawn} == {(str(seed), 7) for seed in range(60)}
    assert drawn[5] == choose(look, tmp_path, name="random", seed="5"), "the same one can be tested again"
    assert drawn[5].passed_over == ("bare.dump: it has no manifest",)
    chosen = choose(look, tmp_path, name="random")
    assert (chosen.seed, chosen.among) == ("2026-02-14", 7), "without a seed, by the day of the run"
    newest = choose(look, tmp_path)
    assert (newest.seed, newest.among) == ("", 0)


def test_one_more_backup_rarely_changes_what_is_drawn(look: Look, tmp_path: Path) -> None:
    for number in range(1, 9):
        lay(tmp_path, f"{number}.dump", age=timedelta(hours=number))
    before = [choose(look, tmp_path, name="random", seed=str(seed)).artifact.name for seed in range(40)]
    lay(tmp_path, "new.dump", age=timedelta(minutes=5))
    after = [choose(look, tmp_path, name="random", seed=str(seed)).artifact.name for seed in range(40)]
    assert sum(a != b for a, b in zip(before, after, strict=True)) < 20
    assert {b for a, b in zip(before, after, strict=True) if a != b} == {"1.dump"}


def test_the_only_one_is_drawn_though_it_is_the_newest(look: Look, tmp_path: Path) -> None:
    lay(tmp_path, "only.dump")
    assert choose(look, tmp_path, name="random").artifact.name == "only.dump"
    with pytest.raises(CheckFailed, match="no backup fits"):
        choose(look, tmp_path, name="random", pattern="*.base")


def test_a_drawn_one_that_is_not_whole_is_not_passed_over(look: Look, tmp_path: Path) -> None:
    lay(tmp_path, "new.dump", age=timedelta(hours=1))
    lay(tmp_path, "old.dump", age=timedelta(hours=2))
    (tmp_path / "old.dump").write_text("cut")
    with pytest.raises(CheckFailed, match="can't be relied on"):
        choose(look, tmp_path, name="random")
    (tmp_path / "old.dump.manifest.json").write_text("{")
    with pytest.raises(CheckFailed, match="can't be relied on"):
        choose(look, tmp_path, name="random")
