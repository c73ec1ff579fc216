"""Ends that are not asked for politely: a command that ignores TERM and hides its children, and a terminal that is gone."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.written import wait_for
from tests.runner.killed_program import PATIENCE_S, Program, eventually, processes_with
from tests.runner.test_kill import heard
from tests.trouble.night import DONE, INTERRUPTED, WAITS

STUBBORN = "trap '' TERM HUP INT; (setsid sh -c \"trap '' TERM HUP INT; (setsid sleep {odd} &) ; sleep {odd}\" &) ; "
"""Ignores TERM, and has children in sessions of their own, of whom the parents are gone, which ignore it as well."""


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    made = Program(tmp_path)
    yield made
    made.close()


def stubborn(program: Program, name: str, odd: str, **more: str) -> str:
    """A plan whose first step does not want to end; `odd` marks its processes."""
    script = STUBBORN.format(odd=odd) + f"while :; do sleep {odd}; done"
    return program.write(program.step(name, script, **more), program.step("next"))


def told(program: Program, process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in out + err
    return process.returncode, out + err


def at_work(folder: Path, odd: str, *timeouts: str) -> tuple[Program, subprocess.Popen[str]]:
    """A program with all its stubborn processes; where its time was over before they were there, with the next, longer time."""
    for timeout in timeouts:
        (folder / timeout).mkdir(parents=True)
        program = Program(folder / timeout)
        process = program.start("apply", stubborn(program, "a", odd, timeout=timeout))
        eventually(lambda process=process: len(processes_with(odd)) >= 3 or process.poll() is not None)  # type: ignore[misc]
        if process.poll() is None:
            return program, process
        program.close()
    raise AssertionError(f"{timeouts} were too short for it to begin")


@pytest.mark.slow
def test_a_command_that_ignores_term_and_double_forks(tmp_path: Path) -> None:
    """By its timeout, and by Ctrl-C twice: at once, since each has to wait the ten seconds between TERM and KILL."""
    odds = [f"{time.time_ns() % 100_000_000}.5" for _ in range(2)]
    made = []
    try:
        late, first = at_work(tmp_path / "timeout", odds[0], "2s", "10s", "40s")
        made.append(late)
        stopped, second = at_work(tmp_path / "twice", odds[1], "5m")
        made.append(stopped)
        second.send_signal(signal.SIGINT)
        heard(second, "Stopping")  # two signals at once may be one
        second.send_signal(signal.SIGINT)
        for program, process, odd, code in ((late, first, odds[0], WAITS), (stopped, second, odds[1], INTERRUPTED)):
            ended, said = told(program, process)
            assert ended == code, said
            assert f"runbook resolve {program.run_directory().name} a" in said
            eventually(lambda odd=odd: not processes_with(odd))  # type: ignore[misc]
            assert program.statuses() == {"a": "unknown", "next": "pending"}
            assert program.run("resume") == WAITS
            assert program.run("resolve", "last", "a", "--as", "done", "--reason", "it is enough") == DONE
            assert program.run("resume") == DONE
            assert program.marks() == ["a", "next"]
    finally:
        for program in made:
            program.close()


def controlled() -> None:
    """In the child: a session of its own, with its standard input for its terminal."""
    os.setsid()
    os.close(os.open(os.ttyname(0), os.O_RDWR))


def test_the_terminal_is_gone(program: Program) -> None:
    """An SSH connection that ends takes the terminal away: the step that runs is let to its end, and nothing more begins."""
    path = program.write(program.step("a", f"{program.waits}; echo over >> {program.ledger}"), program.step("b"))
    ours, theirs = pty.openpty()
    told_there = program.directory / "stderr"
    with told_there.open("wb") as stderr:
        engine = subprocess.Popen(
            [sys.executable, "-m", "runbook.cli", "apply", path, "--state", str(program.state)],
            stdin=theirs,
            stdout=theirs,
            stderr=stderr,  # where it tells that it has heard
            preexec_fn=controlled,
            cwd=program.directory,
        )
    os.close(theirs)
    wait_for(program.ledger, "a")
    eventually(program.recorded)
    os.close(ours)
    wait_for(told_there, "Stopping: what runs now is let to its end")
    program.go()
    assert engine.wait(PATIENCE_S) == INTERRUPTED
    assert "Traceback" not in told_there.read_text()
    assert program.marks() == ["a", "over"]
    assert program.statuses() == {"a": "succeeded", "b": "pending"}
    assert program.run("resume") == DONE
    assert program.marks() == ["a", "over", "b"]
