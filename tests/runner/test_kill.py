"""The real program, killed: engine, supervisor and children, at every point of the journal, by every signal.

After each: what a resume says is true, and what ran, ran once.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbook.errors import ExitCode
from runbook.operation import Json
from tests.cli.written import wait_for
from tests.fixtures.patience import PATIENCE_S, eventually
from tests.runner.killed_program import Program, alive, processes_with

POINTS = ("journal.before_write", "journal.after_write", "journal.after_sync", "journal.after_head")


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    made = Program(tmp_path)
    yield made
    made.close()


def waiting(program: Program) -> str:
    """A script that waits until the test says go, and leaves a mark then."""
    return f"{program.waits}; echo over >> {program.ledger}"


def three(program: Program) -> str:
    """A plan of three steps, of which the second waits between its two marks."""
    return program.write(program.step("a"), program.step("b", waiting(program)), program.step("c"))


def begun(program: Program, *arguments: str, mark: str = "b", crash: str = "") -> None:
    """Start the program, and wait for a mark, and until it is known who left it."""
    program.start(*arguments, crash=crash)
    wait_for(program.ledger, mark, within_s=PATIENCE_S)
    eventually(program.recorded)


def heard(engine: subprocess.Popen[str], words: str) -> None:
    """Wait until the program has said so: it has heard the signal. Not a byte more is read of what it says."""
    assert engine.stderr is not None
    said = b""
    while words.encode() not in said:
        ready, _, _ = select.select([engine.stderr], [], [], PATIENCE_S)
        assert ready, f"it did not say {words!r}, but {said!r}"
        piece = os.read(engine.stderr.fileno(), 1)
        assert piece, f"it ended without {words!r}: {said!r}"
        said += piece


def say_how_it_ended(program: Program) -> None:
    """A person looks into the ledger, and says of each unknown step what stands there."""
    for step, status in program.statuses().items():
        if status == "unknown":
            outcome = "done" if step in program.marks() else "not-done"
            code = program.run("resolve", "last", step, "--as", outcome, "--reason", "the ledger tells")
            assert code == ExitCode.DONE


def test_an_engine_that_is_killed_leaves_its_child_and_the_resume_attaches(program: Program) -> None:
    begun(program, "apply", three(program))
    program.running[0].kill()
    assert resumed_while_it_waits(program) == ExitCode.DONE
    assert program.marks() == ["a", "b", "over", "c"]
    journal = (program.run_directory() / "journal.jsonl").read_text()
    adopted = [json.loads(line) for line in journal.splitlines() if '"adopted":true' in line]
    assert [(record["step"], record["outcome"]) for record in adopted] == [("b", "succeeded")]


def test_killed_three_times_in_a_row_while_going_on(program: Program) -> None:
    begun(program, "apply", three(program))
    program.running[0].kill()
    for _ in range(3):
        resumed = program.start("resume")
        eventually(lambda: _epochs(program) == len(program.running))
        resumed.kill()
        resumed.wait(PATIENCE_S)
    assert resumed_while_it_waits(program) == ExitCode.DONE
    assert program.marks() == ["a", "b", "over", "c"]


def resumed_while_it_waits(program: Program) -> int:
    """The exit code of a resume that found the child alive, which then goes on."""
    resumed = program.start("resume")
    eventually(lambda: _epochs(program) == len(program.running))
    program.go()
    resumed.communicate(timeout=PATIENCE_S)
    return resumed.returncode


def _epochs(program: Program) -> int:
    lines = (program.run_directory() / "journal.jsonl").read_text().splitlines()
    return len({json.loads(line)["epoch"] for line in lines if line.endswith("}")})


@pytest.mark.parametrize("outcome", ["done", "not-done"])
def test_when_everything_is_killed_a_person_is_asked(program: Program, outcome: str) -> None:
    begun(program, "apply", three(program))
    program.kill_everything()
    assert program.run("resume") == ExitCode.WAITING
    assert program.statuses() == {"a": "succeeded", "b": "unknown", "c": "pending"}
    assert program.run("resume") == ExitCode.WAITING, "looking again tells nothing new"
    assert program.marks() == ["a", "b"]
    assert program.run("resolve", "last", "b", "--as", outcome, "--reason", "I looked") == ExitCode.DONE
    program.go()
    assert program.run("resume") == ExitCode.DONE
    assert program.marks() == (["a", "b", "c"] if outcome == "done" else ["a", "b", "b", "over", "c"])


def test_when_everything_is_killed_a_probe_decides(program: Program) -> None:
    probe: Json = ["grep", "-q", "over", str(program.ledger)]
    steps = program.step("a", waiting(program), probe=probe), program.step("b")
    begun(program, "apply", program.write(*steps), mark="a")
    program.kill_everything()
    program.go()
    assert program.run("resume") == ExitCode.DONE
    assert program.marks() == ["a", "a", "over", "b"], "it was not over, so it was done again"


def test_a_killed_supervisor_leaves_its_child_and_nothing_runs_twice(program: Program) -> None:
    begun(program, "apply", three(program))
    (supervisor,), children = program.pids()
    os.kill(supervisor, signal.SIGKILL)
    engine = program.running[0]
    engine.communicate(timeout=PATIENCE_S)
    assert engine.returncode == ExitCode.WAITING
    program.go()
    eventually(lambda: not any(map(alive, children)))
    assert program.marks() == ["a", "b", "over"]
    assert program.run("resume") == ExitCode.WAITING, "its end was seen by nobody"
    assert program.run("resolve", "last", "b", "--as", "done", "--reason", "over") == ExitCode.DONE
    assert program.run("resume") == ExitCode.DONE
    assert program.marks() == ["a", "b", "over", "c"]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("passage", [2, 3, 5])
def test_killed_at_a_point_of_the_journal(program: Program, point: str, passage: int) -> None:
    path = program.write(program.step("a"), program.step("b"))
    assert program.run("apply", path, crash=f"{point}:{passage}") == -signal.SIGKILL
    code = program.run("resume")
    if code == ExitCode.WAITING:
        say_how_it_ended(program)
        code = program.run("resume")
    assert code == ExitCode.DONE
    assert program.marks() == ["a", "b"]


@pytest.mark.parametrize("point", ["supervisor.start", "supervisor.started", "supervisor.executed", "supervisor.ended"])
def test_a_supervisor_killed_at_a_point_of_its_records(program: Program, point: str) -> None:
    path = program.write(program.step("a"), program.step("b"))
    code = program.run("apply", path, crash=f"{point}:1")
    for _ in range(3):
        if code == ExitCode.DONE:
            break
        assert code == ExitCode.WAITING
        say_how_it_ended(program)
        code = program.run("resume")
    assert code == ExitCode.DONE
    assert sorted(program.marks()) == ["a", "b"]


def test_before_the_first_record_there_is_no_run(program: Program) -> None:
    path = program.write(program.step("a"))
    assert program.run("apply", path, crash="journal.before_write:1") == -signal.SIGKILL
    assert program.run("resume") == ExitCode.JOURNAL
    assert program.marks() == []
    time.sleep(1.0)  # a run's name has its second in it
    assert program.run("apply", path) == ExitCode.DONE
    assert program.run("resume") == ExitCode.USAGE, "it is finished"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_the_step_finish_and_starts_nothing(program: Program, number: signal.Signals) -> None:
    begun(program, "apply", three(program))
    engine = program.running[0]
    engine.send_signal(number)
    heard(engine, "Stopping")
    program.go()
    engine.communicate(timeout=PATIENCE_S)
    assert engine.returncode == ExitCode.INTERRUPTED
    assert program.marks() == ["a", "b", "over"]
    assert program.statuses() == {"a": "succeeded", "b": "succeeded", "c": "pending"}
    assert program.run("resume") == ExitCode.DONE
    assert program.marks() == ["a", "b", "over", "c"]


def test_a_terminals_interrupt_does_not_reach_the_child(program: Program) -> None:
    """Children have sessions of their own: a signal to the engine's whole group leaves them."""
    begun(program, "apply", three(program))
    _, children = program.pids()
    assert os.getsid(children[-1]) != os.getsid(program.running[0].pid)
    program.running[0].send_signal(signal.SIGINT)
    heard(program.running[0], "Stopping")
    program.go()
    program.running[0].communicate(timeout=PATIENCE_S)
    assert "over" in program.marks()


@pytest.mark.slow
def test_the_second_signal_ends_a_child_that_ignores_being_asked(program: Program) -> None:
    deaf = f"trap '' TERM; echo deaf >> {program.ledger}; while :; do sleep 0.2; done"
    begun(program, "apply", program.write(program.step("a", deaf), program.step("b")), mark="deaf")
    _, (child,) = program.pids()
    engine = program.running[0]
    engine.send_signal(signal.SIGINT)
    heard(engine, "Stopping")
    assert alive(child)
    asked = time.monotonic()
    engine.send_signal(signal.SIGINT)
    _, told = engine.communicate(timeout=PATIENCE_S)
    assert engine.returncode == ExitCode.INTERRUPTED
    assert time.monotonic() - asked > 9.9, "ten seconds lie between asking and killing"
    assert not alive(child)
    assert "Traceback" not in told
    assert program.statuses() == {"a": "unknown", "b": "pending"}
    assert program.run("resume") == ExitCode.WAITING


@pytest.mark.slow
def test_a_storm_of_signals_shows_no_traceback_and_loses_nothing(program: Program) -> None:
    begun(program, "apply", three(program))
    engine = program.running[0]
    for turn in range(300):
        engine.send_signal((signal.SIGINT, signal.SIGTERM, signal.SIGHUP)[turn % 3])
        time.sleep(0.001)
    program.go()
    out, told = engine.communicate(timeout=PATIENCE_S)
    assert engine.returncode == ExitCode.INTERRUPTED
    assert "Traceback" not in out + told
    code = program.run("resume")
    if code == ExitCode.WAITING:
        say_how_it_ended(program)
        code = program.run("resume")
    assert code == ExitCode.DONE
    assert [mark for mark in program.marks() if mark != "over"] == ["a", "b", "c"]


def test_a_run_that_runs_is_not_gone_on_with_by_a_second(program: Program) -> None:
    begun(program, "apply", three(program))
    rivals = [program.start("resume") for _ in range(4)]
    for rival in rivals:
        _, told = rival.communicate(timeout=PATIENCE_S)
        assert rival.returncode == ExitCode.BUSY
        assert re.search(r"is held by the run .* \(pid \d+\) since", told)
    program.go()
    program.running[0].communicate(timeout=PATIENCE_S)
    assert program.running[0].returncode == ExitCode.DONE
    assert program.marks() == ["a", "b", "over", "c"]


def test_of_many_resumes_one_goes_on(program: Program) -> None:
    begun(program, "apply", three(program))
    program.running[0].kill()
    program.running[0].wait(PATIENCE_S)
    rivals = [program.start("resume") for _ in range(6)]
    eventually(lambda: [rival.poll() for rival in rivals].count(None) == 1, within_s=PATIENCE_S)
    program.go()
    for rival in rivals:
        rival.communicate(timeout=PATIENCE_S)
    codes = [rival.returncode for rival in rivals]
    assert sorted(codes) == sorted([ExitCode.DONE, *[ExitCode.BUSY] * 5])
    assert program.marks() == ["a", "b", "over", "c"]


def test_two_plans_on_one_target_exclude_each_other(program: Program) -> None:
    """By what the target is, not by what it is called: the second comes by another path and another name."""
    store = program.directory / "backups"
    store.mkdir()
    (program.directory / "way").symlink_to(program.directory)
    plans = []
    for name, place in (("one", store), ("two", program.directory / "way" / "backups")):
        path = program.directory / f"{name}.yaml"
        path.write_text(
            f"runbook: 1\nname: {name}\ntitle: Adopt\nsystems: {{{name}s: store}}\n"
            f"environment:\n  environment: here\n  systems: {{{name}s: {{type: store, url: 'file://{place}'}}}}\n"
            "steps:\n"
            f"  - {json.dumps(program.step(f'by{name}', program.waits))}\n"
            f"  - {{id: adopt, title: Adopt, uses: backup.adopt, on: {name}s, timeout: 60s,"
            " with: {name: nothing, database: db}}\n"
        )
        plans.append(str(path))
    begun(program, "apply", plans[0], mark="byone")
    second = program.start("apply", plans[1])
    _, told = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == ExitCode.BUSY, told
    assert "is held by the run" in told
    assert program.marks() == ["byone"]
    assert len(list((program.state / "runs").iterdir())) == 1, "a run that never began leaves nothing behind"
    program.go()
    program.running[0].communicate(timeout=PATIENCE_S)
    assert program.run("apply", plans[1]) == ExitCode.FAILED, "there is nothing to adopt; but nobody holds it any more"


def test_a_timeout_leaves_no_descendant(program: Program) -> None:
    odd = f"{time.time_ns() % 100_000_000}.5"
    script = f"setsid sh -c 'setsid sleep {odd} & sleep {odd}' & (sleep {odd} &) ; sleep {odd}"
    for timeout in ("2s", "8s", "30s"):  # the time has to be over after all three have begun
        path = program.write(program.step("a", script, timeout=timeout), program.step("b"))
        process = program.start("apply", path)
        most = 0
        while process.poll() is None:
            most = max(most, len(processes_with(odd)))
            time.sleep(0.02)
        process.communicate(timeout=PATIENCE_S)
        if most >= 3:
            break
    assert most >= 3
    assert process.returncode == ExitCode.WAITING, "a change that timed out is unknown"
    eventually(lambda: not processes_with(odd))
    assert set(program.marks()) == {"a"}


def test_a_read_that_timed_out_failed(program: Program) -> None:
    path = program.write(program.step("a", "sleep 600", timeout="1s", effect="reads"))
    assert program.run("apply", path) == ExitCode.FAILED


def test_nobody_reads_the_output_and_the_run_goes_on(program: Program) -> None:
    process = program.start("apply", three(program), "--json")
    assert process.stdout is not None
    assert process.stderr is not None
    assert '"event":"run.created"' in process.stdout.readline().replace('": "', '":"')
    process.stdout.close()
    process.stderr.close()
    program.go()
    assert process.wait(PATIENCE_S) == ExitCode.DONE
    assert program.marks() == ["a", "b", "over", "c"]


def test_after_a_run_no_supervisor_is_left(program: Program) -> None:
    assert program.run("apply", program.write(program.step("a"))) == ExitCode.DONE
    supervisors, children = program.pids()
    eventually(lambda: not any(map(alive, (*supervisors, *children))))
