"""What a step has just made is looked at before it is passed on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runbook.action import CheckFailed
from runbook.actions.backup.layout import MANIFEST, layout, published_artifact, sha256_of
from tests.actions.backups import lay, scope, store
from tests.actions.harness import Stage


def test_a_backup_that_agrees_with_its_manifest_is_passed_on(stage: Stage, tmp_path: Path) -> None:
    made = lay(tmp_path, "a.dump", data=b"1234567")
    found = published_artifact(stage.look, store(tmp_path), layout(store(tmp_path), "a.dump", scope()))
    assert (found.manifest, found.bytes, found.store) == (made, 7, "backups")
    assert found.sha256 == sha256_of((tmp_path / "a.dump.manifest.json").read_text())


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda at: at.with_name(f"a.dump{MANIFEST}").unlink(), "a.dump: its manifest is missing"),
        (lambda at: at.with_name(f"a.dump{MANIFEST}").write_text("{}"), "its manifest can't be read (name, "),
        (lambda at: at.unlink(), "a.dump is missing"),
        (lambda at: at.write_bytes(b"1234"), "a.dump has 4 bytes, not 7"),
    ],
    ids=["no manifest", "no sense", "no file", "cut short"],
)
def test_what_something_else_changed_meanwhile_is_not(
    stage: Stage, tmp_path: Path, damage: Callable[[Path], object], why: str
) -> None:
    lay(tmp_path, "a.dump", data=b"1234567")
    damage(tmp_path / "a.dump")
    with pytest.raises(CheckFailed) as failed:
        published_artifact(stage.look, store(tmp_path), layout(store(tmp_path), "a.dump", scope()))
    (problem,) = failed.value.problems
    assert problem.code == "E626"
    assert why in problem.detail
    assert "what else writes into the store" in problem.fix
