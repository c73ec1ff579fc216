"""The machine lacks something: open files, memory, a file system that may be written; and a machine that was started anew."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.written import wait_for
from tests.evidence.kills import processes_about
from tests.runner.killed_program import PATIENCE_S, Program, alive, eventually
from tests.runner.test_kill import say_how_it_ended
from tests.trouble.night import DONE, FAILED, JOURNAL, WAITS
from tests.trouble.places import elsewhere, small_disk


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    made = Program(tmp_path)
    yield made
    made.under = ()
    made.close()


def ended(program: Program, process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code, and all that it said: never that it is our fault."""
    out, told = process.communicate(timeout=PATIENCE_S)
    said = out + told
    assert "Traceback" not in said, said
    assert "This is a bug in runbook" not in said, said
    return process.returncode, said


def run(program: Program, *words: str) -> tuple[int, str]:
    return ended(program, program.start(*words))


def finished(program: Program, path: str) -> None:
    """With the machine as it should be: what was begun is gone on with, what never began is begun; each step ran once."""
    runs = [one for one in (program.state / "runs").glob("*") if (one / "journal.jsonl").exists()]
    # a supervisor that has the lower limit stays for two seconds after the last who asked it
    eventually(lambda: not processes_about(program.state / "runs"))
    code, said = run(program, "resume") if runs else run(program, "apply", path)
    assert code == DONE, said
    assert program.marks() == ["a", "b"]


@pytest.mark.parametrize("files", [7, 13])
def test_a_process_may_open_few_files(program: Program, files: int) -> None:
    path = program.write(program.step("a"), program.step("b"))
    program.under = ("prlimit", f"--nofile={files}:{files}")
    code, said = run(program, "apply", path)
    program.under = ()
    assert code in (DONE, FAILED, JOURNAL), said
    if code == JOURNAL:
        assert program.marks() == []
        assert "too many open files" in said
        assert "ulimit -n" in said
    if code == FAILED:
        assert "Too many open files" in said
        assert "`ulimit -a`" in said
    if code != DONE:
        finished(program, path)


def test_the_supervisor_may_have_no_more_memory(program: Program) -> None:
    """In the middle of a step. It can start nothing more, or it dies, as if it was chosen to be killed for its memory."""
    path = program.write(program.step("a", program.waits), program.step("b"))
    engine = program.start("apply", path)
    wait_for(program.ledger, "a")
    eventually(program.recorded)
    (supervisor,), _ = program.pids()
    subprocess.run(["prlimit", "--pid", str(supervisor), "--as=1:1"], check=True)
    program.go()
    code, said = ended(program, engine)
    assert code in (FAILED, WAITS), said
    assert ("could not be started" if code == FAILED else "the supervisor of this run was lost") in said
    eventually(lambda: not alive(supervisor))
    for _ in range(2):
        if program.statuses()[program.marks()[-1]] == "unknown":
            say_how_it_ended(program)
        code, said = run(program, "resume")
    assert program.marks() == ["a", "b"], "each ran once"
    assert set(program.statuses().values()) == {"succeeded"}, said


@pytest.mark.parametrize("code", ["EROFS", "EDQUOT"])
def test_the_records_can_not_be_written_any_more(program: Program, code: str) -> None:
    """In the middle of a run: its step has ended well by then, and is not done again."""
    path = program.write(program.step("a"), program.step("b"))
    program.under = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=pwrite64")
    program.under += ("-e", f"inject=pwrite64:error={code}:when=4")
    exit_code, said = run(program, "apply", path)
    program.under = ()
    assert exit_code == JOURNAL, said
    assert "Nothing more is started" in said
    assert f"runbook resume {program.run_directory().name}" in said
    exit_code, said = run(program, "resume")
    assert exit_code == DONE, said
    assert program.marks() == ["a", "b"]


@pytest.mark.root
def test_the_records_were_remounted_read_only(program: Program) -> None:
    path = program.write(program.step("a"), program.step("b", f"test -e {program.directory}/go"))
    with small_disk(program.state, 16) as disk:
        code, said = run(program, "apply", path)
        assert code == FAILED, said
        (supervisor,), _ = program.pids()
        eventually(lambda: not alive(supervisor))
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        for words in (("resume",), ("apply", path)):
            code, said = run(program, *words)
            assert code == JOURNAL, said
            assert "read-only file system" in said.lower() or "the file system is read-only" in said
        code, said = run(program, "show")
        assert code == DONE, said
        assert "failed after" in said
        assert program.marks() == ["a", "b"]
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        program.go()
        code, said = run(program, "resume")
        assert code == DONE, said
        assert program.marks() == ["a", "b", "b"]


@pytest.mark.root
def test_the_machine_was_started_anew_in_the_middle(program: Program) -> None:
    """Another boot: whatever lived is gone, and its numbers mean nothing. The child that is left alive here stands for a
    stranger that has its pid and its start time by chance: it is neither waited for nor ended.
    """
    path = program.write(program.step("a"), program.step("b", program.waits), program.step("c"))
    engine = program.start("apply", path)
    wait_for(program.ledger, "b")
    eventually(program.recorded)
    supervisors, children = program.pids()
    engine.kill()
    engine.wait(PATIENCE_S)
    os.kill(supervisors[-1], signal.SIGKILL)
    boot = program.directory / "boot_id"
    boot.write_text("0b00710d-0000-4000-8000-000000000000\n")
    program.under = elsewhere({Path("/proc/sys/kernel/random/boot_id"): boot})
    code, said = run(program, "resume")
    assert code == WAITS, said
    assert alive(children[-1]), "it is not ours"
    program.kill_everything()
    assert "how it ended can't be known from here" in said
    assert f"runbook resolve {program.run_directory().name} b" in said
    assert program.statuses() == {"a": "succeeded", "b": "unknown", "c": "pending"}
    assert program.marks() == ["a", "b"], "nothing is done that may be done already"
    assert run(program, "resolve", "last", "b", "--as", "not-done", "--reason", "it was cut off")[0] == DONE
    program.go()
    code, said = run(program, "resume")
    assert code == DONE, said
    assert program.marks() == ["a", "b", "b", "c"]
