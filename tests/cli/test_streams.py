"""The program's standard streams as whoever starts it may leave them: closed, of another character set, their reader gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runbook.operation import Json
from tests.cli.terminal import Terminal
from tests.cli.written import plan, shell
from tests.fixtures.patience import PATIENCE_S

RUNBOOK = f"{sys.executable} -m runbook.cli"
BROKEN = "runbook: 1\nname: broken\nsteps: [{id: a, uses: shell.rn}]\n"


def typed(line: str, place: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A line of a shell, in which ``RB`` stands for the program."""
    given = {**os.environ, "RUNBOOK_STATE": str(place / "state"), "NO_COLOR": "1", **environment}
    argv = ["bash", "-c", line.replace("RB", RUNBOOK)]
    return subprocess.run(argv, check=False, cwd=place, env=given, capture_output=True, timeout=PATIENCE_S)


@pytest.mark.parametrize("value", ["1", "0", "", "yes please", "2"])
def test_no_color_means_the_same_whatever_it_says(
    runbook: Terminal, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("NO_COLOR", value)
    told = runbook("runs")
    assert (told.code, told.err) == (0, "")


def test_a_run_with_closed_streams_runs(tmp_path: Path) -> None:
    path = plan(tmp_path, shell("one", "touch done"))
    ended = typed(f"RB apply {path} <&- >&- 2>&-; echo $?", tmp_path)
    assert ended.stdout == b"0\n"
    (journal,) = tmp_path.glob("state/runs/*/journal.jsonl")
    lines = journal.read_text().splitlines()
    assert json.loads(lines[-1])["status"] == "succeeded"
    assert [json.loads(line)["seq"] for line in lines] == list(
        range(1, len(lines) + 1)
    )  # no prose has got between them


def test_a_closed_stdout_is_no_bug(tmp_path: Path) -> None:
    path = plan(tmp_path, shell("one", "true"))
    for words in (f"plan {path}", "runs"):
        ended = typed(f"RB {words} >&-", tmp_path)
        assert (ended.returncode, ended.stderr) == (0, b""), words


def test_a_character_set_without_our_marks_ends_no_run(tmp_path: Path) -> None:
    path = plan(tmp_path, {**shell("one", "true"), "title": "Läuft ✓ λ"})
    ended = typed(f"RB apply {path}", tmp_path, PYTHONIOENCODING="latin-1")
    said = ended.stdout.decode("latin-1")
    assert ended.returncode == 0, ended.stderr
    assert said.splitlines()[2:4] == ["> 1/1 Läuft + \\u03bb", "  · one: run"]
    assert said.splitlines()[4].startswith("+ 1/1 Läuft + \\u03bb  ")
    assert said.splitlines()[-1].startswith("# succeeded after ")


def test_json_says_the_same_in_any_character_set(tmp_path: Path) -> None:
    path = plan(tmp_path, {**shell("one", "true"), "title": "✓"}, shell("two", "printf 'Läuft ✓ \\360\\237\\230\\200'"))
    ended = typed(f"RB apply {path} --json", tmp_path, PYTHONIOENCODING="latin-1")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.isascii()
    (journal,) = tmp_path.glob("state/runs/*/journal.jsonl")
    told = [json.loads(line) for line in ended.stdout.splitlines()]
    assert told == [json.loads(line) for line in journal.read_text().splitlines()]
    assert "Läuft ✓ 😀" in str(told)


def test_a_reader_who_leaves_early_is_no_failure(tmp_path: Path) -> None:
    path = plan(tmp_path, shell("one", "true"))
    assert typed(f"RB apply {path}", tmp_path).returncode == 0
    for words in ("show last", "logs last", f"plan {path}", "actions"):
        ended = typed(f"set -o pipefail; RB {words} | true", tmp_path)
        assert (ended.returncode, ended.stderr) == (0, b""), words


def test_the_exit_code_stands_though_nobody_reads_why(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text(BROKEN)
    for form in ("", " --json", " --format github"):
        ended = typed(f"set -o pipefail; RB validate broken.yaml{form} | true", tmp_path)
        assert (ended.returncode, ended.stderr) == (3, b"")


@pytest.mark.parametrize("words", ["runs", "apply {plan}"])
def test_a_working_directory_that_is_gone(tmp_path: Path, words: str) -> None:
    path = plan(tmp_path, shell("one", "true"))
    (tmp_path / "gone").mkdir()
    line = f"cd gone && rmdir ../gone && unset RUNBOOK_STATE && RB {words.format(plan=path)}"
    ended = typed(line, tmp_path, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    assert ended.returncode == 2
    assert ended.stderr.decode().startswith("error[E214]: the working directory is gone\n")


def test_inputs_come_out_of_a_pipe(tmp_path: Path) -> None:
    say: dict[str, Json] = {
        "id": "say",
        "uses": "shell.run",
        "timeout": "1m",
        "with": {"argv": ["echo", "--", "{{ inputs.word }}"]},
    }
    path = Path(plan(tmp_path, say))
    path.write_text(path.read_text().replace("steps:", "inputs: {word: {type: string}}\nsteps:"))
    for line in (
        f"RB plan {path} --inputs <(echo word: piped)",
        f"echo word: piped | RB plan {path} --inputs /dev/stdin",
    ):
        ended = typed(line, tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert b"! run: echo -- piped\n" in ended.stdout
