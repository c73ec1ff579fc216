"""Every mistake gives its message and its exit code, word for word; ``GOLDEN=write`` writes them anew for review."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.cli.mistakes import MISTAKES, Mistake
from tests.cli.terminal import Terminal

GOLDEN = Path(__file__).parent / "golden"
RUN = re.compile(r"\b\d{8}-\d{6}-[a-z0-9-]+-[0-9a-f]{4}\b")


@pytest.fixture(autouse=True, name="place")
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which it is typed."""
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    (tmp_path / "elsewhere.yaml").write_text("runbook: 1\nname: other\nsteps: [{id: a, uses: shell.run}]\n")
    return place


def set_out(mistake: Mistake, place: Path) -> None:
    """The files of a mistake."""
    for name, text in mistake.files.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(text.replace("{place}", str(place)))
        (place / name).chmod(0o600)
    for name, target in mistake.links.items():
        (place / name).symlink_to(target)


def make_anew(folder: Path) -> None:
    """Another folder of the same name: the former one stays elsewhere, so that its number isn't given again."""
    folder.rename(folder.with_name("former"))
    folder.mkdir()
    shutil.copy2(folder.with_name("former") / "x", folder)


def told(text: str, place: Path) -> str:
    """The text with names for what differs from run to run."""
    runs = dict.fromkeys(RUN.findall(text))
    for number, run in enumerate(runs, 1):
        text = text.replace(run, f"RUN-{number}")
    text = (
        text.replace(str(place.parent / "state"), "STATE")
        .replace(str(place), "PLACE")
        .replace(str(place.parent), "ABOVE")
    )
    text = re.sub(r"\b\d+\.\d+s\b", "0.0s", text)
    return re.sub(r"\[\d+, \d+\]", "[DEVICE, INODE]", text)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_says_what_is_wrong_and_what_to_do(
    name: str, runbook: Terminal, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mistake = MISTAKES[name]
    monkeypatch.setenv("SUDO_USER", "ada")
    set_out(mistake, place)
    for words in mistake.before:
        assert runbook(*words).code in (0, 6), words
    if mistake.gone:
        make_anew(place / mistake.gone)
    for path, mode in mistake.modes.items():
        (place / path).chmod(mode)
    monkeypatch.setenv("SUDO_USER", mistake.user)
    said = runbook(*mistake.typed)
    typed = " ".join(word if re.fullmatch(r"[\w./=-]+", word) else f"'{word}'" for word in mistake.typed)
    found = told(f"$ runbook {typed}\nexit code {said.code}\n{said.out}{said.err}", place)
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(found, encoding="utf-8")
    assert found == golden.read_text(encoding="utf-8")
    assert said.code in (0, 2, 3, 4)
    assert "Traceback" not in said.err
    assert not list(place.rglob("canary"))


def test_there_is_no_golden_file_without_its_mistake() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(MISTAKES)
