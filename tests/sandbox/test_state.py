"""state.json: private, whole, and refused when it isn't understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbook.sandbox.error import SandboxError
from runbook.sandbox.process import ProcessId
from runbook.sandbox.state import State, load, save


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert load(path) == State()
    known = State({"web": 8080}, {"web": ProcessId(7, 12345, "boot")}, {"web": "1.0"})
    save(path, known)
    assert load(path) == known
    assert path.stat().st_mode & 0o777 == 0o600
    save(path, known.without_process("web"))
    assert load(path).processes == {}
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sandbox": 2}', '{"sandbox": 1, "ports": []}'])
def test_a_state_that_is_not_understood_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)
    with pytest.raises(SandboxError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "delete that directory" in caught.value.problems[0].fix
