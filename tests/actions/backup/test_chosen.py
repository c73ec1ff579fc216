"""A backup is read again where it was chosen before: as it was, or refused with its remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbook.action import CheckFailed
from runbook.actions.backup.chosen import read_chosen
from runbook.actions.backup.layout import MANIFEST, sha256_of
from runbook.errors import Refused
from tests.actions.backups import artifact, lay
from tests.actions.harness import Stage


def test_the_manifest_that_was_chosen(stage: Stage, tmp_path: Path) -> None:
    made = lay(tmp_path, "a.dump")
    text = (tmp_path / f"a.dump{MANIFEST}").read_text()
    assert read_chosen(stage.look, str(tmp_path), artifact(made, sha256=sha256_of(text))) == (made, text)
    assert read_chosen(stage.look, str(tmp_path), artifact(made, sha256="")) == (made, text)


def test_one_that_was_replaced_since(stage: Stage, tmp_path: Path) -> None:
    made = lay(tmp_path, "a.dump")
    with pytest.raises(Refused, match=r"(?s)E644.*a\.dump is not the one that was chosen"):
        read_chosen(stage.look, str(tmp_path), artifact(made))


def test_one_that_is_gone_or_makes_no_sense(stage: Stage, tmp_path: Path) -> None:
    made = lay(tmp_path, "a.dump")
    (tmp_path / f"a.dump{MANIFEST}").write_text("{")
    with pytest.raises(CheckFailed, match=r"(?s)E626.*its manifest can't be read.*Choose another backup"):
        read_chosen(stage.look, str(tmp_path), artifact(made))
    (tmp_path / f"a.dump{MANIFEST}").unlink()
    with pytest.raises(Refused, match=r"(?s)E623.*backup\.adopt.*name: a\.dump"):
        read_chosen(stage.look, str(tmp_path), artifact(made))
