"""What a run noted is told of while it goes on, also where nothing that follows needs it to be durable."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runbook.engine.events import StepSkipped, StepStarted
from runbook.errors import JournalFault
from runbook.runner.abreast import abreast
from tests.fixtures.patience import PATIENCE_S, Gate, eventually
from tests.journal.memory_disk import Fault, MemoryDisk
from tests.runner.killed_program import Program
from tests.runner.test_ledger_on_disk import EIO, Bench


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    made = Program(tmp_path)
    yield made
    made.close()


def test_what_was_noted_is_written_though_nothing_is_committed_after_it() -> None:
    bench = Bench("a")
    with abreast(bench.ledger):
        bench.ledger.note(StepStarted("a", 1))
        eventually(lambda: bench.written() == ["run.created", "step.started"])
    assert [event.event for event in bench.told] == ["run.created", "step.started"]


def test_a_journal_that_fails_meanwhile_ends_the_run_at_its_next_commit() -> None:
    bench = Bench("a", "b", disk=MemoryDisk())
    bench.ledger.commit()
    calls = len(bench.disk.calls)
    bench.disk.faults.append(Fault("fdatasync", 1, EIO))
    with abreast(bench.ledger):
        bench.ledger.note(StepStarted("a", 1))
        eventually(lambda: len(bench.disk.calls) > calls)
        with pytest.raises(JournalFault):
            bench.ledger.commit(StepSkipped("b", "not needed", "kim"))


def test_a_step_that_only_reads_is_said_to_run_while_it_does(program: Program) -> None:
    gate = Gate(program.directory / "gate")
    process = program.start("apply", program.write(program.step("look", gate.wait, effect="reads")), "--json")
    eventually(lambda: program.marks() == ["look"])
    assert process.stdout is not None
    told = [process.stdout.readline() for _ in range(4)]
    assert '"event":"operation.started"' in told[-1]
    assert program.statuses() == {"look": "running"}
    gate.open()
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0


def test_a_step_that_only_reads_and_was_cut_off_is_done_anew(program: Program) -> None:
    gate = Gate(program.directory / "gate")
    reading = program.step("look", gate.wait, effect="reads")
    process = program.start("apply", program.write(reading, program.step("next")))
    eventually(lambda: program.marks() == ["look"])
    eventually(lambda: "operation.started" in (program.run_directory() / "journal.jsonl").read_text())
    program.kill_everything()
    assert program.statuses() == {"look": "running", "next": "pending"}
    resumed = program.start("resume", "last")
    eventually(lambda: program.marks() == ["look", "look"])
    gate.open()
    told, _ = resumed.communicate(timeout=PATIENCE_S)
    assert resumed.returncode == 0, told
    assert process.returncode != 0
    assert program.marks() == ["look", "look", "next"]
