"""The keeper of orphans, by every shell and in every way that is at hand; a file says that PID 1 is a database server."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbook.transports.supervisor import processes, worker
from runbook.transports.supervisor.worker import Finished, NeverStarted, Running
from tests.fixtures.patience import PATIENCE_S, eventually

from .conftest import alive, pid_in
from .test_worker import PRESENT, SHELLS

WAYS = {"perl": "perl", "python3": "python3", "program": '"$1/subreaper"', "none": "no-such-program"}
HERE = [way for way, word in WAYS.items() if not word.isalnum() or shutil.which(word)]


class Beside:
    """A worker that takes PID 1 for a postmaster, and knows one way to a keeper."""

    def __init__(self, shell: tuple[str, ...], way: str, records: str, first: Path) -> None:
        self.shell, self.records = shell, records
        whole = worker.script()
        assert whole.count("</proc/1/comm") == 1
        self.script = whole.replace("</proc/1/comm", f"<{first}").replace(
            'for reaper in perl python3 "$1/subreaper"', f"for reaper in {WAYS[way]}"
        )
        assert WAYS[way] in self.script

    def argv(self, *words: str) -> list[str]:
        return [*self.shell, "-c", self.script, worker.NAME, *words]

    def start(self, script: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            self.argv("run", self.records, "s/1/1/n", "--", "sh", "-c", script),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(worker.header({}))
        process.stdin.flush()
        return process

    def ask(self, *words: str) -> str:
        done = subprocess.run(self.argv(*words), capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        return done.stdout

    def status(self) -> worker.FarState:
        return worker.parse_status(self.ask("status", self.records, "s/1/1/n"))


@pytest.fixture(params=[(shell, way) for shell in PRESENT for way in HERE if way != "none"], ids="-".join)
def beside(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Beside]:
    shell, way = request.param
    yield from made(shell, way, tmp_path)


@pytest.fixture(params=PRESENT)
def alone(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Beside]:
    yield from made(request.param, "none", tmp_path)


def made(shell: str, way: str, tmp_path: Path) -> Iterator[Beside]:
    (tmp_path / "comm").write_text("postgres\n")
    records = Path(worker.folder(f"test-{uuid.uuid4().hex[:12]}", os.getuid()))
    yield Beside(SHELLS[shell], way, str(records), tmp_path / "comm")
    shutil.rmtree(records, ignore_errors=True)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])


def command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return ""


def test_streams_and_exit_code_pass(beside: Beside) -> None:
    process = beside.start('trap "" HUP; cat; echo err >&2; exit 3')
    out, err = process.communicate("in\nput", timeout=PATIENCE_S)
    assert (process.returncode, out, err) == (3, "in\nput", "err\n")
    assert beside.status() == Finished(3)


def test_an_orphan_gets_the_keeper_for_its_parent_and_is_not_waited_for(
    beside: Beside, tmp_path: Path, started: list[int]
) -> None:
    process = beside.start(f"(sh -c 'echo $$ >{tmp_path}/pid; exec sleep 300' >/dev/null 2>&1 </dev/null &); exit 4")
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 4
    orphan = pid_in(tmp_path / "pid")
    started.append(orphan)
    keeper = parent(orphan)
    assert "runbook-keeper" in command(keeper)
    assert Path(f"/proc/{keeper}/fd/1").readlink() == Path("/dev/null")
    os.kill(orphan, signal.SIGKILL)
    eventually(lambda: not alive(keeper))
    assert processes.look(orphan) is None, "the keeper reaped it"


def test_a_kill_spares_the_keeper_until_everything_has_ended(
    beside: Beside, tmp_path: Path, started: list[int]
) -> None:
    process = beside.start(
        f"(setsid sh -c 'trap \"\" TERM; echo $$ >{tmp_path}/pid; while :; do sleep 1; done' &); sleep 300"
    )
    orphan = pid_in(tmp_path / "pid")
    started.append(orphan)
    eventually(lambda: "runbook-keeper" in command(parent(orphan)))  # what began it may not have ended yet
    keeper = parent(orphan)
    assert isinstance(beside.status(), Running)
    beside.ask("kill", beside.records, "s/1/1/n", "1")
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 128 + signal.SIGTERM
    eventually(lambda: not alive(keeper))
    assert processes.look(orphan) is None, "reaped: what was killed counts as ended sooner"


def test_a_killed_keeper_is_an_end_that_nobody_knows(beside: Beside, tmp_path: Path, started: list[int]) -> None:
    process = beside.start(f"echo $$ >{tmp_path}/pid; exec sleep 300")
    child = pid_in(tmp_path / "pid")
    started.append(child)
    os.kill(parent(child), signal.SIGKILL)
    assert process.wait(PATIENCE_S) == worker.CANNOT_RUN
    assert beside.status() == Running(child)
    os.kill(child, signal.SIGKILL)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert "was killed" in err


def test_without_any_way_it_runs_and_names_the_remedy(alone: Beside) -> None:
    process = alone.start("exit 6")
    _, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, "init: true" in err) == (6, True)


def test_where_pid_1_is_something_else_there_is_no_keeper(beside: Beside, tmp_path: Path) -> None:
    (tmp_path / "comm").write_text("tini\n")
    process = beside.start(f"cut -d' ' -f4 /proc/$$/stat >{tmp_path}/parent")
    process.communicate(timeout=PATIENCE_S)
    assert int((tmp_path / "parent").read_text()) == process.pid
    assert NeverStarted() != beside.status()
