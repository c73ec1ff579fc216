"""A run on the screen: it goes on whoever watches, and a question can be left."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from runbook.operation import Json
from tests.cli.terminal import Terminal
from tests.cli.written import plan, shell, until_there
from tests.fixtures.patience import PATIENCE_S, eventually

CTRL_C, ENTER = b"\x03", b"\r"


def events(run: Path) -> list[str]:
    """The names of a run's events; of one that goes on, the last line may not be whole."""
    lines = (run / "journal.jsonl").read_text().splitlines(keepends=True)
    return [json.loads(line)["event"] for line in lines if line.endswith("\n")]


class Typist:
    """A command with a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self.seen = b""
        self.pid, self.line = pty.fork()
        if self.pid == 0:
            os.environ["NO_COLOR"] = "1"
            os.execv(sys.executable, [sys.executable, "-m", "runbook.cli", *arguments])

    def until(self, text: bytes, *, times: int = 1, within_s: float = PATIENCE_S) -> None:
        """Read until the text was shown so often."""
        end = time.monotonic() + within_s
        while self.seen.count(text) < times and self._read():
            assert time.monotonic() < end, self.seen.decode()
        assert self.seen.count(text) >= times, self.seen.decode()

    def type(self, keys: bytes) -> None:
        """Press keys, when the prompt has had the time to begin to read."""
        time.sleep(0.3)
        os.write(self.line, keys)

    def ended(self) -> int:
        """Read to the end; gives the exit code."""
        while self._read():
            pass
        _, status = os.waitpid(self.pid, 0)
        os.close(self.line)
        return os.waitstatus_to_exitcode(status)

    def _read(self) -> bool:
        try:
            data = os.read(self.line, 4096)
        except OSError:  # the other side is closed
            return False
        self.seen += data
        return bool(data)


def asking(step: str, script: str = "true") -> Mapping[str, Json]:
    """A step that asks before it begins."""
    return {**shell(step, script), "confirm": f"May {step} begin?"}


def test_with_json_stdout_holds_the_records_and_no_other_line(runbook: Terminal, tmp_path: Path) -> None:
    process = runbook.start("apply", plan(tmp_path, shell("one", "echo out; echo err >&2")), "--json")
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert out == (runbook.run() / "journal.jsonl").read_text()


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_run_goes_on_when_its_reader_is_gone(runbook: Terminal, tmp_path: Path, options: tuple[str, ...]) -> None:
    gone, done = tmp_path / "gone", tmp_path / "done"
    steps = shell("one", until_there(gone)), shell("two", f"touch {done}")
    process = runbook.start("apply", plan(tmp_path, *steps), *options)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    gone.touch()
    assert process.wait(timeout=PATIENCE_S) == 0
    assert done.exists()
    assert events(runbook.run())[-1] == "run.finished"


def test_a_run_goes_on_when_the_disk_behind_its_output_is_full(tmp_path: Path) -> None:
    done = tmp_path / "done"
    argv = [sys.executable, "-m", "runbook.cli", "apply", plan(tmp_path, shell("one", f"touch {done}"))]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [*argv, "--state", str(tmp_path / "state")], stdout=full, check=False, timeout=PATIENCE_S
        )
    assert ended.returncode == 0
    assert done.exists()


def test_ctrl_c_leaves_a_question_and_ends_the_run_as_interrupted(runbook: Terminal, tmp_path: Path) -> None:
    typist = Typist("apply", plan(tmp_path, asking("one")), "--state", str(runbook.state))
    typist.until(b"Go on?")
    typist.type(CTRL_C)
    assert typist.ended() == 130
    assert b"Stopping" in typist.seen
    assert events(runbook.run())[-1] == "run.interrupted"


def test_a_question_that_was_left_open_is_not_asked_twice(runbook: Terminal, tmp_path: Path) -> None:
    typist = Typist("apply", plan(tmp_path, asking("one")), "--state", str(runbook.state))
    typist.until(b"Go on?")
    typist.type(b"n" + ENTER)
    assert typist.ended() == 6
    assert typist.seen.count(b"Go on?") == 1


def test_a_name_that_was_mistyped_is_said_to_be_wrong(runbook: Terminal, tmp_path: Path) -> None:
    drop = shell("drop", "echo dropped", replaces="docs", effect="destroys")
    typist = Typist("apply", plan(tmp_path, drop, live=True), "--state", str(runbook.state))
    typist.until(b"Type 'docs' to go on")
    typist.type(b"doc\r")
    assert typist.ended() == 6
    assert "'doc' is not 'docs': the step is not begun." in typist.seen.decode()


def test_an_answer_of_the_wrong_type_is_asked_for_again(runbook: Terminal, tmp_path: Path) -> None:
    fields: Json = {"rows": {"type": "integer"}, "size": {"choices": ["small", "large"]}}
    step: dict[str, Json] = {"id": "count", "title": "Count", "uses": "manual", "timeout": "5m"}
    step["with"] = {"instructions": "Count them", "fields": fields}
    typist = Typist("apply", plan(tmp_path, step), "--state", str(runbook.state))
    typist.until(b"rows (")
    typist.type(b"many" + ENTER)
    typist.until(b"rows (", times=2)
    typist.type(b"12" + ENTER)
    typist.until(b"size (")
    typist.type(b"small" + ENTER)
    typist.until(b"Done?")
    typist.type(b"y" + ENTER)
    assert typist.ended() == 0
    assert '"answers":{"rows":12,"size":"small"}' in (runbook.run() / "journal.jsonl").read_text()


def test_a_branch_goes_on_while_another_asks(runbook: Terminal, tmp_path: Path) -> None:
    asked, done = tmp_path / "asked", tmp_path / "done"
    other: list[Mapping[str, Json]] = [
        {**shell("b", until_there(asked)), "needs": []},
        {**shell("c", f"touch {done}"), "needs": ["b"]},
    ]
    typist = Typist("apply", plan(tmp_path, {**asking("a"), "needs": []}, *other), "--state", str(runbook.state))
    typist.until(b"Go on?")
    asked.touch()
    eventually(lambda: "operation.finished" in events(runbook.run()))
    typist.type(b"y" + ENTER)
    assert typist.ended() == 0
    assert done.exists()
