"""A run told line by line, with what its programs printed."""

from __future__ import annotations

import re
from pathlib import Path

from tests.cli.terminal import Terminal
from tests.cli.written import plan, shell, until_there
from tests.fixtures.patience import PATIENCE_S


def test_what_was_printed_stands_beneath_the_operation(runbook: Terminal, tmp_path: Path) -> None:
    runbook("apply", plan(tmp_path, shell("a", "echo one; echo two >&2"), shell("b", "printf three")))
    told = runbook("logs")
    assert told.code == 0
    without_times = [re.sub(r"^\d\d:\d\d:\d\d  ", "", line) for line in told.out.splitlines()]
    at = without_times.index("  · a: run")
    assert sorted(without_times[at + 1 : at + 3]) == ["          │ one", "          │ two"]
    assert without_times[at + 3].startswith("✓ 1/2 Run a")
    assert "          │ three" in without_times, "a last line without its end"
    assert without_times[-1].startswith("■ succeeded after ")


def test_a_long_log_is_cut_to_its_end_and_told_whole_for_its_step(runbook: Terminal, tmp_path: Path) -> None:
    runbook("apply", plan(tmp_path, shell("a", "seq 50"), shell("b", "echo other")))
    told = runbook("logs", "last")
    assert "│ … 30 more lines: " in told.out
    assert "│ 31\n" in told.out
    assert "│ 30\n" not in told.out
    whole = runbook("logs", "last", "a")
    assert all(f"│ {number}\n" in whole.out for number in range(1, 51))
    assert "other" not in whole.out


def test_a_step_that_is_not_there_is_suggested(runbook: Terminal, tmp_path: Path) -> None:
    runbook("apply", plan(tmp_path, shell("restore", "exit 0")))
    told = runbook("logs", "last", "restor")
    assert told.code == 2
    assert "did you mean 'restore'?" in told.err


def test_control_characters_do_not_reach_the_terminal(runbook: Terminal, tmp_path: Path) -> None:
    runbook("apply", plan(tmp_path, shell("a", r"printf '\033]0;owned\007\n'")))
    told = runbook("logs")
    assert "\x1b" not in told.out
    assert "│ \\x1b]0;owned\\x07" in told.out


def test_following_ends_with_the_run_and_misses_nothing(runbook: Terminal, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    script = f"echo tick 1; echo tick 2; {until_there(seen)}; echo tick 3; echo tick 4"
    engine = runbook.start("apply", plan(tmp_path, shell("a", script), shell("b", "echo last words")))
    while not list(runbook.state.glob("runs/*/journal.jsonl")) or not next(
        runbook.state.glob("runs/*/journal.jsonl")
    ).read_bytes().count(b"\n"):
        assert engine.poll() is None
    follower = runbook.start("logs", "last", "-f")
    assert follower.stdout is not None
    out = ""
    while "tick 2\n" not in out:
        line = follower.stdout.readline()
        assert line, out
        out += line
    seen.touch()
    out += follower.communicate(timeout=PATIENCE_S)[0]
    engine.communicate()
    assert follower.returncode == 0
    ticks = [line for line in out.splitlines() if "│" in line]
    assert [line.partition("│ ")[2] for line in ticks] == ["tick 1", "tick 2", "tick 3", "tick 4", "last words"]
    assert "■ succeeded after " in out.splitlines()[-1]
