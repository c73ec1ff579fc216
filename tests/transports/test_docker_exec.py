"""Processes in a real container: bytes, exit codes, back pressure, and what survives whose death."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runbook.transports.docker_exec import (
    CANNOT,
    DEFAULT_HOST,
    HEADER,
    CouldNotExec,
    DockerEngine,
    Exec,
    Frames,
    _apart,
    exec_argv,
)
from runbook.transports.supervisor import worker
from runbook.transports.supervisor.client import Supervisor
from runbook.transports.supervisor.requests import File, Hash, Spawn, Stage, Why
from runbook.transports.supervisor.worker import Finished, NeverStarted, Running, Unknown
from tests.fixtures.patience import PATIENCE_S, eventually

if TYPE_CHECKING:
    from docker.models.containers import Container

ENV = {name: os.environ[name] for name in ("PATH", "DOCKER_HOST") if name in os.environ}
RECORDS = worker.folder("r1", 0)


@pytest.fixture
def box(run_container: Callable[..., Container]) -> Container:
    return run_container()


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    (tmp_path / "run").mkdir(mode=0o700)
    found = Supervisor.start(tmp_path / "run")
    yield found
    found.close()


def command(box: Container, *argv: str, user: str = "", workdir: str = "") -> tuple[str, ...]:
    assert box.id is not None
    return exec_argv(Exec(box.id, argv, user, workdir))


def run(argv: tuple[str, ...], given: bytes = b"") -> tuple[int, bytes, bytes]:
    done = subprocess.run(argv, input=given, capture_output=True, env=ENV, timeout=2 * PATIENCE_S, check=False)
    return done.returncode, done.stdout, done.stderr


def far_status(box: Container, operation: str) -> worker.FarState:
    code, out, err = run(command(box, *worker.status_argv(RECORDS, operation)))
    assert (code, err) == (0, b"")
    return worker.parse_status(out.decode())


def test_frames_are_understood_however_they_are_cut(tmp_path: Path) -> None:
    parts = [(1, b"out"), (2, b"err" * 10), (1, b""), (3, b"unknown"), (1, b"x" * 7_000)]
    stream = b"".join(struct.pack(">BxxxL", number, len(data)) + data for number, data in parts)
    for size in (1, 3, 7, 8, 9, len(stream)):
        with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
            frames = Frames({1: out.fileno(), 2: err.fileno()})
            for at in range(0, len(stream), size):
                frames.feed(stream[at : at + size])
        assert frames.whole
        assert (tmp_path / "out").read_bytes() == b"out" + b"x" * 7_000
        assert (tmp_path / "err").read_bytes() == b"err" * 10
    frames.feed(stream[:5])
    assert not frames.whole


def test_without_an_engine_it_says_so() -> None:
    for host in ("unix:///nowhere.sock", "tcp://127.0.0.1:9", "gopher://x"):
        done = subprocess.run(
            exec_argv(Exec("c", ("true",))),
            capture_output=True,
            text=True,
            env={**ENV, "DOCKER_HOST": host},
            check=False,
        )
        assert done.returncode == CANNOT
        assert host in done.stderr
        assert "Traceback" not in done.stderr


class LostEngine:
    """Says that an exec was made, and is gone as soon as it is to begin: with its words unread, or after some of its own."""

    def __init__(self, path: Path, last_words: bytes) -> None:
        self.host = f"unix://{path}"
        self._last_words = last_words
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(os.fspath(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        for _ in range(2):
            line, _ = self._listener.accept()
            with line:
                if b"/start" not in (head := line.recv(40)):
                    while b'"Cmd"' not in head:  # our whole request, but for its last bytes
                        head += line.recv(1)
                    line.settimeout(0.2)
                    with contextlib.suppress(TimeoutError):
                        line.recv(4096)
                    line.sendall(b'HTTP/1.1 201 Created\r\nContent-Length: 10\r\n\r\n{"Id":"x"}')
                else:
                    line.sendall(self._last_words)


@pytest.mark.parametrize("last_words", [b"", b"HTTP/1.1 101 UPGRADED\r\n", b"what?\r\n\r\n"])
def test_an_engine_that_is_lost_as_it_is_to_begin_leaves_the_end_unknown(tmp_path: Path, last_words: bytes) -> None:
    """Any exit code but one would be taken for the process's own, which may have begun."""
    wanted = Exec("c", ("true",))
    env = {**ENV, "DOCKER_HOST": LostEngine(tmp_path / "one.sock", last_words).host}
    done = subprocess.run(exec_argv(wanted), stdin=subprocess.DEVNULL, capture_output=True, env=env, check=False)
    assert (done.returncode, done.stdout) == (CANNOT, b"")
    assert b"Traceback" not in done.stderr
    with pytest.raises(CouldNotExec):
        DockerEngine(LostEngine(tmp_path / "two.sock", last_words).host).collect(wanted, longest=100)


@pytest.mark.docker
def test_a_short_command_that_says_nothing_is_not_waited_for_without_a_limit(box: Container) -> None:
    engine = DockerEngine(os.environ.get("DOCKER_HOST") or DEFAULT_HOST)
    with pytest.raises(CouldNotExec, match="timed out"):
        engine.collect(Exec(str(box.id), ("sleep", "600")), longest=100, within_s=0.5)


@pytest.mark.docker
def test_streams_exit_code_user_and_folder(box: Container) -> None:
    assert run(command(box, "sh", "-c", "echo out; echo err >&2; exit 7")) == (7, b"out\n", b"err\n")
    code, out, _ = run(command(box, "sh", "-c", "id -u; pwd", user="65534", workdir="/usr"))
    assert (code, out) == (0, b"65534\n/usr\n")


@pytest.mark.docker
def test_binary_bytes_both_ways_with_the_end_of_input(box: Container) -> None:
    data = os.urandom(5_000_003)
    assert run(command(box, "cat"), data) == (0, data, b"")
    assert run(command(box, "sh", "-c", "wc -c; sleep 0.3; echo after"), data)[1].split() == [b"5000003", b"after"]
    assert run(command(box, "true"), data)[0] == 0


@pytest.mark.docker
def test_output_that_comes_at_once_is_not_lost(box: Container) -> None:
    for number in range(20):
        assert run(command(box, "echo", str(number))) == (0, f"{number}\n".encode(), b"")


@pytest.mark.docker
def test_what_can_not_be_run_there_says_why(box: Container) -> None:
    code, _, err = run(exec_argv(Exec("no-such-container", ("true",))))
    assert (code, b"no-such-container" in err, b"Traceback" in err) == (CANNOT, True, False)
    assert run(command(box, "no-such-program"))[0] in (126, 127)
    box.kill()
    code, _, err = run(command(box, "true"))
    assert (code, b"is not running" in err) == (CANNOT, True)


@pytest.mark.docker
def test_a_container_that_dies_is_a_failure_not_a_success(box: Container) -> None:
    process = subprocess.Popen(command(box, "sh", "-c", "echo on; exec sleep 600"), env=ENV, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"on\n"
    box.kill()
    assert process.wait(PATIENCE_S) != 0
    process.stdout.close()


@pytest.mark.docker
def test_a_process_that_closes_its_streams_is_still_waited_for(box: Container) -> None:
    assert run(command(box, "sh", "-c", "exec >&- 2>&- <&-; sleep 1; exit 9")) == (9, b"", b"")


@pytest.mark.docker
def test_a_slow_reader_slows_the_container_down(box: Container) -> None:
    process = subprocess.Popen(command(box, "head", "-c", "300000000", "/dev/zero"), env=ENV, stdout=subprocess.PIPE)
    assert process.stdout is not None
    time.sleep(1.5)
    status = Path(f"/proc/{process.pid}/status").read_text()
    assert int(status.split("VmRSS:")[1].split()[0]) < 60_000
    count = 0
    while chunk := process.stdout.read1(1 << 20):  # type: ignore[attr-defined]
        count += len(chunk)
    assert (count, process.wait(PATIENCE_S)) == (300_000_000, 0)
    process.stdout.close()


@pytest.mark.docker
def test_a_closed_output_ends_it_as_a_pipe_would(box: Container) -> None:
    process = subprocess.Popen(command(box, "cat", "/dev/zero"), env=ENV, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(PATIENCE_S) == 141


def far_stage(box: Container, operation: str, *argv: str, env: dict[str, str] | None = None) -> Stage:
    return Stage(command(box, *worker.run_argv(RECORDS, operation, argv)), ENV, preamble=worker.header(env or {}))


@pytest.mark.docker
def test_a_worker_in_a_container_under_a_supervisor(box: Container, supervisor: Supervisor) -> None:
    stage = far_stage(box, "s/1/1/n", "sh", "-c", 'echo "$SECRET"; exit 4', env={"SECRET": "canary-4711"})
    ended = supervisor.spawn(Spawn(id="s/1/1/n", stages=(stage,), forms=("canary-4711",)))
    assert (ended.why, ended.code, ended.stdout.text) == (Why.EXITED, 4, "•••\n")
    assert far_status(box, "s/1/1/n") == Finished(4)
    assert far_status(box, "other") == NeverStarted()


@pytest.mark.docker
def test_a_pipeline_into_and_out_of_a_container_is_hashed(
    box: Container, supervisor: Supervisor, tmp_path: Path
) -> None:
    data = os.urandom(8_000_001)
    digest = hashlib.sha256(data).hexdigest()
    (tmp_path / "source").write_bytes(data)
    into = far_stage(box, "in", "sh", "-c", "cat >/tmp/x; sha256sum /tmp/x")
    ended = supervisor.spawn(Spawn(id="in", stages=(into,), input=File(str(tmp_path / "source")), hash=Hash.SOURCE))
    assert (ended.sha256, ended.stdout.text.split()[0]) == (digest, digest)
    back = far_stage(box, "out", "cat", "/tmp/x")
    sink = File(str(tmp_path / "back.partial"))
    ended = supervisor.spawn(Spawn(id="out", stages=(back,), sink=sink, hash=Hash.SINK))
    assert (ended.sha256, ended.bytes) == (digest, len(data))
    assert Path(sink.path).read_bytes() == data


@pytest.mark.docker
def test_a_killed_client_ends_nothing_in_the_container(box: Container) -> None:
    argv = command(
        box, *worker.run_argv(RECORDS, "a", ("sh", "-c", "until [ -e /tmp/go ]; do sleep 0.1; done; exit 6"))
    )
    process = subprocess.Popen(argv, env=ENV, stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(worker.header({}).encode())
    process.stdin.flush()
    eventually(lambda: isinstance(far_status(box, "a"), Running))
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE_S)
    process.stdin.close()
    assert isinstance(far_status(box, "a"), Running)
    assert run(command(box, "touch", "/tmp/go"))[0] == 0
    eventually(lambda: far_status(box, "a") == Finished(6))


@pytest.mark.docker
def test_a_process_in_a_container_is_killed_through_its_worker(box: Container) -> None:
    argv = command(box, *worker.run_argv(RECORDS, "a", ("sh", "-c", "(setsid sleep 300 &); exec sleep 300")))
    process = subprocess.Popen(argv, env=ENV, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stdin is not None
    process.stdin.write(worker.header({}).encode())
    process.stdin.flush()
    eventually(lambda: isinstance(far_status(box, "a"), Running))
    assert run(command(box, *worker.kill_argv(RECORDS, "a", 20))) == (0, b"", b"")
    assert process.wait(PATIENCE_S) == 128 + signal.SIGTERM
    process.stdin.close()
    top = box.top(ps_args="-eo pid,args")["Processes"]
    assert not [line for line in top if "sleep 300" in line[1]]


@pytest.mark.docker
def test_a_restarted_container_leaves_what_ran_unknown(box: Container) -> None:
    argv = command(box, *worker.run_argv(RECORDS, "a", ("sleep", "300")))
    process = subprocess.Popen(argv, env=ENV, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    process.stdin.write(worker.header({}).encode())
    process.stdin.flush()
    eventually(lambda: isinstance(far_status(box, "a"), Running))
    box.kill()
    box.start()
    assert far_status(box, "a") == Unknown()
    assert process.wait(PATIENCE_S) != 0
    process.stdin.close()


def test_it_starts_quickly_and_imports_nothing_of_ours() -> None:
    code = "import sys, runpy; sys.argv = ['x', '--', 'c', 'true']; runpy.run_path(sys.argv.pop(0) and PATH, run_name='probe')"
    path = exec_argv(Exec("c", ("true",)))[3]
    probe = (
        code.replace("PATH", repr(path))
        + "; print([m for m in sys.modules if m.split('.')[0] in ('runbook', 'docker')])"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_streams_of_a_short_command_are_taken_apart() -> None:
    data = HEADER.pack(1, 3) + b"out" + HEADER.pack(2, 3) + b"err" + HEADER.pack(1, 1) + b"!"
    assert _apart(data) == (b"out!", b"err")
    for cut in range(1, len(data)):
        whole = cut in (HEADER.size + 3, 2 * (HEADER.size + 3))
        if whole:
            _apart(data[:cut])
            continue
        with pytest.raises(CouldNotExec, match="in the middle of the output"):
            _apart(data[:cut])
