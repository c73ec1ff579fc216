"""Single processes through a real supervisor: exits, signals, streams, users, concurrency, coming and going."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runbook.errors import JournalFault
from runbook.transports.supervisor import client
from runbook.transports.supervisor.children import CouldNotStart
from runbook.transports.supervisor.client import Supervisor, SupervisorLost, SupervisorRefused
from runbook.transports.supervisor.members import Wiring
from runbook.transports.supervisor.pump import Pump
from runbook.transports.supervisor.records import State, end_orphans, read_children
from runbook.transports.supervisor.requests import File, Lifetime, Nothing, Spawn, Stage, Text, User, Why
from runbook.transports.supervisor.server import LEAVES_AFTER_S
from tests.fixtures.patience import PATIENCE_S, Gate, eventually

from .conftest import ENV, alive, one, pid_in, sh


def test_exit_code_and_both_streams(supervisor: Supervisor) -> None:
    ended = supervisor.spawn(one("a/1/1/x", "echo out; echo err >&2; exit 3"))
    assert (ended.why, ended.code, ended.stdout.text, ended.exits[0].stderr.text) == (Why.EXITED, 3, "out\n", "err\n")
    assert ended.detail == "sh: exit code 3"


def test_a_code_that_counts_as_success_is_no_failure(supervisor: Supervisor) -> None:
    ended = supervisor.spawn(Spawn(id="a", stages=(Stage(("sh", "-c", "exit 1"), ENV, ok_codes=(0, 1)),)))
    assert (ended.code, ended.detail) == (1, "")


def test_death_by_a_signal(supervisor: Supervisor) -> None:
    ended = supervisor.spawn(one("a", "kill -SEGV $$"))
    assert (ended.exits[0].code, ended.exits[0].signal) == (None, signal.SIGSEGV)
    assert "signal 11" in ended.detail


@pytest.mark.parametrize("lifetime", Lifetime)
@pytest.mark.parametrize("program", ["no-such-program", "/no/such/program", "/etc/passwd"])
def test_what_can_not_be_executed_was_not_started(supervisor: Supervisor, program: str, lifetime: Lifetime) -> None:
    ended = supervisor.spawn(Spawn(id="a", stages=(Stage((program,), ENV),), lifetime=lifetime))
    assert ended.why is Why.NOT_STARTED
    assert program in ended.detail


@pytest.mark.parametrize("lifetime", Lifetime)
@pytest.mark.parametrize(
    "wrong",
    [
        {"input": Text("half a character: \ud800")},
        {"input": File("/tmp/a\0b")},
        {"sink": File("/tmp/a\0b")},
        {"stages": (Stage(("prog\ud800ram",), ENV),)},
    ],
    ids=["input", "source", "sink", "program"],
)
def test_what_no_program_can_be_given_was_not_started_and_nothing_else_is_lost(
    supervisor: Supervisor, wrong: dict[str, object], lifetime: Lifetime
) -> None:
    ended = supervisor.spawn(Spawn(**({"id": "a", "stages": (sh("cat"),), "lifetime": lifetime} | wrong)))  # type: ignore[arg-type]
    assert ended.why is Why.NOT_STARTED
    assert supervisor.spawn(one("b", "echo on")).stdout.text == "on\n"


def test_a_run_directory_may_have_any_name(tmp_path: Path, started: list[int]) -> None:
    folder = tmp_path / os.fsdecode(b"donn\xe9es\nrun")
    folder.mkdir(mode=0o700)
    supervisor = Supervisor.start(folder)
    started.append(supervisor.pid)
    # what left the session of its parent is known by its mark alone, which names the folder
    ended = supervisor.spawn(
        one(
            "a",
            f"setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 600' & while ! [ -s {tmp_path}/pid ]; do sleep 0.05; done",
        )
    )
    assert (ended.why, ended.leftovers) == (Why.EXITED, 1)
    assert read_children(folder)["a"].state is State.ENDED
    supervisor.close()


def test_a_missing_folder_is_a_failure_to_start(supervisor: Supervisor, tmp_path: Path) -> None:
    ended = supervisor.spawn(Spawn(id="a", stages=(Stage(("true",), ENV, cwd=str(tmp_path / "none")),)))
    assert ended.why is Why.NOT_STARTED
    assert supervisor.spawn(one("b", "pwd")).stdout.text.strip() == str((tmp_path / "run").resolve())


@pytest.mark.parametrize(
    ("given", "read"), [(Nothing(), ""), (Text("a\nb"), "a\nb"), (Text("x" * 300_000), "x" * 300_000)]
)
def test_input(supervisor: Supervisor, given: Nothing | Text, read: str) -> None:
    ended = supervisor.spawn(Spawn(id="a", stages=(sh("cat"),), input=given, capture=1 << 20))
    assert ended.stdout.text == read


def test_input_from_a_file_and_a_missing_one(supervisor: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("content")
    assert (
        supervisor.spawn(Spawn(id="a", stages=(sh("cat"),), input=File(str(tmp_path / "in")))).stdout.text == "content"
    )
    ended = supervisor.spawn(Spawn(id="b", stages=(sh("cat"),), input=File(str(tmp_path / "none"))))
    assert ended.why is Why.NOT_STARTED
    assert str(tmp_path / "none") in ended.detail


def test_the_environment_is_what_was_given_and_the_marks(supervisor: Supervisor, run_dir: Path) -> None:
    ended = supervisor.spawn(Spawn(id="s/1/1/n", stages=(Stage(("env",), {**ENV, "A": "b=c"}),)))
    lines = set(ended.stdout.text.splitlines())
    marks = {"RUNBOOK_OPERATION=s/1/1/n", f"RUNBOOK_RUN_DIR={run_dir.resolve()}"}
    assert lines == {f"PATH={ENV['PATH']}", "A=b=c"} | marks


def test_the_child_has_default_signals_its_own_session_and_no_inherited_file(supervisor: Supervisor) -> None:
    script = "grep -E '^Sig(Ign|Blk)' /proc/self/status; ls /proc/$$/fd; cut -d' ' -f6 /proc/$$/stat; echo $$; umask"
    ended = supervisor.spawn(one("a", script))
    blocked, ignored, *files, session, pid, umask = ended.stdout.text.split("\n")[:-1]
    ordinary = 0x7FFF_FFFF  # above are the real-time signals, two of which glibc keeps to itself
    assert (int(blocked.split()[1], 16) & ordinary, int(ignored.split()[1], 16) & ordinary) == (0, 0)
    assert files == ["0", "1", "2"]
    assert session == pid
    assert umask == "0077"


def test_a_secret_file_is_private_and_never_on_a_disk(supervisor: Supervisor, run_dir: Path) -> None:
    stage = Stage(("sh", "-c", "cat $PGPASSFILE; stat -Lc %a $PGPASSFILE"), ENV, files={"PGPASSFILE": "canary-4711"})
    ended = supervisor.spawn(Spawn(id="a", stages=(stage,), log=str(run_dir / "a.log"), forms=("canary-4711",)))
    assert ended.stdout.text == "•••600\n"
    assert all(b"canary" not in file.read_bytes() for file in run_dir.iterdir() if file.is_file())


def test_a_preamble_comes_before_the_input(supervisor: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("data")
    stage = Stage(("cat",), ENV, preamble="head:")
    assert supervisor.spawn(Spawn(id="a", stages=(stage,))).stdout.text == "head:"
    assert supervisor.spawn(Spawn(id="b", stages=(stage,), input=Text("text"))).stdout.text == "head:text"
    assert supervisor.spawn(Spawn(id="c", stages=(stage,), input=File(str(tmp_path / "in")))).stdout.text == "head:data"
    assert supervisor.spawn(Spawn(id="d", stages=(sh("printf made"), stage))).stdout.text == "head:made"


@pytest.mark.root
def test_another_user(supervisor: Supervisor) -> None:
    stage = Stage(
        ("sh", "-c", "id -u; id -g; id -G; cat $S"), ENV, files={"S": "kept"}, user=User(65534, 65534, (65534,))
    )
    assert supervisor.spawn(Spawn(id="a", stages=(stage,))).stdout.text == "65534\n65534\n65534\nkept"
    refused = Stage(("/root/none",), ENV, user=User(65534, 65534))
    assert supervisor.spawn(Spawn(id="b", stages=(refused,))).why is Why.NOT_STARTED


def test_the_start_record_is_there_before_the_child_executes(supervisor: Supervisor) -> None:
    for number in range(20):
        ended = supervisor.spawn(one(f"op/{number}", f"grep '\"op/{number}\"' supervisor.jsonl"))
        records = [json.loads(line) for line in ended.stdout.text.splitlines()]
        assert records[0]["event"] == "start"


def test_many_callers_at_once_get_their_own_ends(supervisor: Supervisor) -> None:
    def work(number: int) -> tuple[int, int | None, str]:
        ended = supervisor.spawn(one(f"op/{number}", f"echo {number}; exit {number % 7}"))
        return number, ended.code, ended.stdout.text

    with ThreadPoolExecutor(8) as pool:
        for number, code, text in pool.map(work, range(200)):
            assert (code, text) == (number % 7, f"{number}\n")
    assert supervisor.status() == ()


def test_a_caller_is_answered_while_another_waits_long(supervisor: Supervisor) -> None:
    with ThreadPoolExecutor(2) as pool:
        long = pool.submit(supervisor.spawn, one("long", "exec sleep 600"))
        eventually(lambda: supervisor.status() == ("long",))
        assert supervisor.spawn(one("short", "echo hi")).stdout.text == "hi\n"
        supervisor.kill("long", grace_s=5)
        assert long.result(PATIENCE_S).why is Why.KILLED


def test_the_same_id_twice_at_once_is_refused(supervisor: Supervisor, run_dir: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(supervisor.spawn, one("a", "exec sleep 600"))
        eventually(lambda: supervisor.status() == ("a",))
        with pytest.raises(SupervisorRefused):
            supervisor.spawn(one("a", "true"))
        supervisor.kill("a", grace_s=1)
        assert first.result(PATIENCE_S).why is Why.KILLED


def test_a_second_start_finds_the_first_and_replaces_its_connection(supervisor: Supervisor, run_dir: Path) -> None:
    second = Supervisor.start(run_dir)
    assert second.pid == supervisor.pid
    with pytest.raises(SupervisorLost):
        supervisor.spawn(one("a", "true"))
    assert second.spawn(one("b", "true")).code == 0
    second.close()


def test_a_caller_that_speaks_nonsense_is_hung_up_on(supervisor: Supervisor, run_dir: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(run_dir / "supervisor.sock"))
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert stranger.recv(100) == b""
    again = Supervisor.attach(run_dir)
    assert again is not None
    assert again.pid == supervisor.pid
    again.close()


def test_it_leaves_when_nobody_needs_it(run_dir: Path, started: list[int]) -> None:
    supervisor = Supervisor.start(run_dir)
    started.append(supervisor.pid)
    supervisor.spawn(one("a", "true"))
    closing = time.monotonic()
    supervisor.close()
    eventually(lambda: not alive(supervisor.pid))
    assert time.monotonic() - closing >= LEAVES_AFTER_S, "another engine may come"
    assert Supervisor.attach(run_dir) is None
    assert (run_dir / "supervisor.log").read_text() == ""
    again = Supervisor.start(run_dir)
    started.append(again.pid)
    assert again.pid != supervisor.pid
    assert again.spawn(one("b", "true")).code == 0
    again.close()


def test_one_that_does_not_come_up_is_lost_and_no_fault_of_the_program(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "START_S", 0.0)
    with pytest.raises(SupervisorLost, match="does not listen after 0 s"):
        Supervisor.start(run_dir)


def test_a_path_too_long_for_a_socket(tmp_path: Path, started: list[int]) -> None:
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    folder.mkdir(parents=True)
    supervisor = Supervisor.start(folder)
    started.append(supervisor.pid)
    assert supervisor.spawn(one("a", "true")).code == 0
    supervisor.close()


def test_it_is_detached_private_and_small(supervisor: Supervisor, run_dir: Path) -> None:
    status = Path(f"/proc/{supervisor.pid}/status").read_text()
    stat = Path(f"/proc/{supervisor.pid}/stat").read_text().rsplit(")", 1)[1].split()
    assert int(stat[1]) != os.getpid()
    assert int(stat[3]) != os.getsid(0)
    assert int(status.split("VmRSS:")[1].split()[0]) < 25_000
    limits = Path(f"/proc/{supervisor.pid}/limits").read_text()
    assert next(line for line in limits.splitlines() if "core" in line).split()[4] == "0"
    assert {oct(file.stat().st_mode & 0o777) for file in run_dir.iterdir()} <= {"0o600", "0o700"}


def test_a_killed_supervisor_is_told_as_lost_to_every_caller(supervisor: Supervisor, run_dir: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(supervisor.spawn, one(f"a{n}", "exec sleep 600")) for n in range(3)]
        eventually(lambda: len(supervisor.status()) == 3)
        os.kill(supervisor.pid, signal.SIGKILL)
        for call in waiting:
            assert isinstance(call.exception(PATIENCE_S), SupervisorLost)
    with pytest.raises(SupervisorLost):
        supervisor.status()
    assert all(end_orphans(run_dir, f"a{n}", grace_s=PATIENCE_S) for n in range(3))


def test_a_daemon_stays_and_keeps_no_lock(
    supervisor: Supervisor, run_dir: Path, tmp_path: Path, started: list[int]
) -> None:
    script = f"(setsid sleep 300 >/dev/null 2>&1 & echo $! >{tmp_path}/pid); exit 0"
    ended = supervisor.spawn(one("d", script, lifetime=Lifetime.DAEMON))
    pid = pid_in(tmp_path / "pid")
    started.append(pid)
    assert (ended.code, ended.leftovers) == (0, 0)
    assert alive(pid)
    held = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile: it may be starting still
            held.add(str(link.readlink()))
    assert not any("supervisor" in name or "lock" in name for name in held)
    again = supervisor.spawn(one("next", "true"))
    assert (again.code, again.leftovers) == (0, 0)
    assert alive(pid)
    supervisor.close()
    eventually(lambda: not alive(supervisor.pid))
    assert alive(pid)


def test_when_nothing_can_be_recorded_nothing_starts(tmp_path: Path, started: list[int]) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "supervisor.jsonl").symlink_to("/dev/full")
    supervisor = Supervisor.start(folder)
    started.append(supervisor.pid)
    with pytest.raises(JournalFault, match="No space left on device"):
        supervisor.spawn(one("a", f"touch {tmp_path}/ran"))
    assert not (tmp_path / "ran").exists()
    supervisor.close()


def test_a_stopped_engine_does_not_hold_its_child_up(
    engine: Callable[[str], subprocess.Popen[str]], run_dir: Path, tmp_path: Path, gate: Gate
) -> None:
    process = engine(f"""
        script = "echo $$ >{tmp_path}/pid; {gate.wait}; for i in 1 2 3 4 5; do head -c 1000000 /dev/zero; sleep 0.1; done"
        stage = Stage(("sh", "-c", script), ENV)
        ended = supervisor.spawn(Spawn(id="a", stages=(stage,), sink=Discarded(), hash=Hash.SINK), lambda count: None)
        print(ended.bytes)
    """)
    pid_in(tmp_path / "pid")
    process.send_signal(signal.SIGSTOP)
    gate.open()
    eventually(lambda: read_children(run_dir)["a"].state is State.ENDED)
    process.send_signal(signal.SIGCONT)
    assert process.communicate(timeout=PATIENCE_S)[0] == "5000000\n"


def test_where_no_process_can_be_started_there_is_no_supervisor(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(subprocess, "Popen", none_left)
    with pytest.raises(SupervisorLost, match=os.strerror(errno.EAGAIN)):
        Supervisor.start(run_dir)


def test_a_fork_that_is_refused_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", none_left)
    spawns = (
        Spawn(id="pump", stages=(), input=Text("x"), sink=File(str(tmp_path / "sink.partial"))),
        Spawn(id="user", stages=(Stage(("true",), ENV, user=User(65534, 65534)),)),
    )
    for spawn in spawns:
        wiring = Wiring(spawn.wire(), str(tmp_path))
        before = open_files()
        with pytest.raises(CouldNotStart, match=os.strerror(errno.EAGAIN)):
            wiring.start()
        if wiring.stdout is not None:
            wiring.stdout.close()  # the job does, at its end
        assert open_files() == before
        assert wiring.members == []


def test_a_pump_for_which_no_pipe_is_left_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    pipes = os.pipe
    made: list[tuple[int, int]] = []

    def only_one() -> tuple[int, int]:
        if made:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        made.append(pipes())
        return made[0]

    before = open_files()
    monkeypatch.setattr(os, "pipe", only_one)
    with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
        Pump(0, 1, hashing=True).fork()
    assert len(made) == 1
    assert open_files() == before


def open_files() -> set[str]:
    return {f"{one.name} {one.readlink()}" for one in Path("/proc/self/fd").iterdir() if one.is_symlink()}
