"""Identity, start and end of processes that nobody waits for."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runbook.sandbox.account import OPERATOR
from runbook.sandbox.process import (
    Command,
    ProcessId,
    Step,
    alive,
    end,
    identify,
    recorded,
    since,
    start,
    wait_until,
    workers_in,
)
from tests.fixtures.patience import PATIENCE_S, Gate

TERM = (Step(signal.SIGTERM, PATIENCE_S),)


def begin(directory: Path, *argv: str) -> ProcessId:
    command = Command(argv, {"PATH": os.defpath, "WORD": "given"}, directory, OPERATOR)
    process = start(command, record=directory / "record", log=directory / "log")
    assert process is not None
    return process


def test_the_process_records_itself_before_it_begins(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    process = begin(tmp_path, "sleep", "600")
    assert wait_until(lambda: recorded(tmp_path / "record") == process, within_s=PATIENCE_S)
    assert alive(process)
    assert workers_in(tmp_path) == (process.pid,)
    assert os.getsid(process.pid) == process.pid
    second = timedelta(seconds=1)  # the machine's start is known to the second
    assert before - second <= since(process) <= datetime.now(UTC) + second
    assert end(process, TERM) is signal.SIGTERM
    assert not alive(process)
    assert end(process, TERM) is None


def test_output_goes_to_the_log_and_nothing_is_inherited(tmp_path: Path) -> None:
    os.environ["RUNBOOK_TEST_LEAK"] = "inherited"
    try:
        process = begin(tmp_path, "sh", "-c", "env; echo problem >&2; exec sleep 600")
    finally:
        del os.environ["RUNBOOK_TEST_LEAK"]
    log = tmp_path / "log"
    assert wait_until(lambda: "problem" in log.read_text(), within_s=PATIENCE_S)
    end(process, TERM)
    assert "WORD=given" in log.read_text()
    assert "inherited" not in log.read_text()
    assert {path.stat().st_mode & 0o777 for path in (log, tmp_path / "record")} == {0o600}


def test_another_start_time_is_another_process(tmp_path: Path) -> None:
    process = begin(tmp_path, "sleep", "600")
    impostor = ProcessId(process.pid, process.started_ticks + 1, process.boot)
    assert not alive(impostor)
    assert end(impostor, TERM) is None
    assert alive(process)
    assert not alive(ProcessId(process.pid, process.started_ticks, "another boot"))
    end(process, TERM)


def test_who_ignores_the_first_signal_gets_the_next(tmp_path: Path) -> None:
    process = begin(tmp_path, "sh", "-c", "trap '' TERM; echo deaf >&2; while :; do sleep 0.1; done")
    assert wait_until(lambda: "deaf" in (tmp_path / "log").read_text(), within_s=PATIENCE_S)
    with pytest.raises(TimeoutError, match="survived SIGTERM"):
        end(process, (Step(signal.SIGTERM, 0.2),))
    assert end(process, (Step(signal.SIGTERM, 0.2), Step(signal.SIGKILL, PATIENCE_S))) is signal.SIGKILL


def test_a_child_that_ended_is_not_alive_although_nobody_waited(tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    process = begin(tmp_path, "sh", "-c", gate.wait)
    gate.open()
    assert wait_until(lambda: identify(process.pid) is None, within_s=PATIENCE_S)


@pytest.mark.parametrize("text", ["", "one line\n", "a\nb\nc\n"])
def test_a_record_that_was_cut_is_no_record(tmp_path: Path, text: str) -> None:
    (tmp_path / "record").write_text(text)
    assert recorded(tmp_path / "record") is None
    assert recorded(tmp_path / "none") is None
