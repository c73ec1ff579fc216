"""The far-side worker, run here by every POSIX shell that is at hand."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbook.transports.supervisor import worker
from runbook.transports.supervisor.worker import Finished, NeverStarted, Running, Unknown
from tests.fixtures.patience import PATIENCE_S, Gate, eventually

from .conftest import alive, pid_in, written

SHELLS = {
    "dash": ("dash",),
    "bash": ("bash", "--posix"),
    "busybox": (os.environ.get("RUNBOOK_TEST_BUSYBOX", "busybox"), "sh"),
}
PRESENT = [name for name, argv in SHELLS.items() if shutil.which(argv[0])]


class Far:
    """The far side: a shell, a records folder, and the worker's modes."""

    def __init__(self, shell: tuple[str, ...], records: str) -> None:
        self.shell = shell
        self.records = records

    def argv(self, argv: tuple[str, ...]) -> list[str]:
        return [*self.shell, *argv[1:]]

    def start(self, operation: str, script: str, *, head: str | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            self.argv(worker.run_argv(self.records, operation, ("sh", "-c", script))),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # a worker that refuses at once may be gone already
            process.stdin.write(worker.header({}) if head is None else head)
            process.stdin.flush()
        return process

    def run(self, operation: str, script: str, *, head: str | None = None, text: str = "") -> tuple[int, str, str]:
        process = self.start(operation, script, head=head)
        out, err = process.communicate(text, timeout=PATIENCE_S)
        return process.returncode, out, err

    def ask(self, argv: tuple[str, ...]) -> str:
        done = subprocess.run(self.argv(argv), capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert done.stderr == ""
        assert done.returncode == 0
        return done.stdout

    def status(self, operation: str) -> worker.FarState:
        return worker.parse_status(self.ask(worker.status_argv(self.records, operation)))

    def fence(self, operation: str) -> worker.FarState:
        return worker.parse_status(self.ask(worker.fence_argv(self.records, operation)))

    def home(self, operation: str) -> Path:
        return Path(self.records) / operation.replace("/", "%")


@pytest.fixture(params=PRESENT)
def far(request: pytest.FixtureRequest) -> Iterator[Far]:
    records = Path(worker.folder(f"test-{uuid.uuid4().hex[:12]}", os.getuid()))
    yield Far(SHELLS[request.param], str(records))
    shutil.rmtree(records, ignore_errors=True)


def test_some_shell_is_tested() -> None:
    assert PRESENT


def test_it_passes_input_output_and_the_exit_code(far: Far) -> None:
    assert far.run("s/1/1/n", "cat; echo err >&2; exit 3", text="in\nput") == (3, "in\nput", "err\n")
    assert far.status("s/1/1/n") == Finished(3)


def test_binary_input_comes_through_whole(far: Far) -> None:
    data = os.urandom(300_000) + b"\n\0"
    argv = far.argv(worker.run_argv(far.records, "a", ("cat",)))
    done = subprocess.run(argv, input=worker.header({"A": "b"}).encode() + data, capture_output=True, check=True)
    assert done.stdout == data


def test_the_header_carries_any_value_and_files_and_the_folder(far: Far, tmp_path: Path) -> None:
    value = "two words\n'quoted' \"$HOME\" \\0101 `x` é\n\n"
    (tmp_path / "a b").mkdir()
    head = worker.header({"A": value, "E": ""}, files={"PGPASSFILE": value}, cwd=str(tmp_path / "a b"), umask=0o027)
    script = (
        'printf %s "$A"; cat "$PGPASSFILE"; stat -c %a "$PGPASSFILE"; pwd; umask; echo "${E-unset}"; echo $PGPASSFILE'
    )
    code, out, err = far.run("a", script, head=head)
    assert (code, err) == (0, "")
    assert out.startswith(value + value + f"600\n{tmp_path}/a b\n0027\n\n")
    assert not Path(out.splitlines()[-1]).exists()


def test_no_secret_is_in_an_argv(far: Far, gate: Gate) -> None:
    secret = uuid.uuid4().hex  # no word that anybody else on this machine may say
    process = far.start("a", gate.wait, head=worker.header({"S": secret}, files={"F": secret}))
    eventually(lambda: isinstance(far.status("a"), Running))
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert secret.encode() not in entry.read_bytes()
        except OSError:
            continue
    gate.open()
    process.communicate(timeout=PATIENCE_S)


def test_the_start_record_is_there_before_it_executes_and_names_it(far: Far) -> None:
    code, out, _ = far.run("a", f"echo $$; cat {far.home('a')}/start; cut -d' ' -f6,22 /proc/$$/stat")
    pid, start, identity = out.splitlines()
    session, ticks = identity.split()
    assert code == 0
    assert start == f"{pid} {ticks} {Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"
    assert session == pid
    assert Path(far.records).stat().st_mode & 0o777 == 0o700


def test_the_record_and_every_name_on_the_way_to_it_are_synced_before_it_executes(far: Far, tmp_path: Path) -> None:
    said = tmp_path / "synced"
    (tmp_path / "sync").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>{said}; exec {shutil.which("sync")} "$@"\n')
    (tmp_path / "sync").chmod(0o755)
    head = worker.header({"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    code, out, _ = far.run("a", f"cat {said}", head=head)
    folders = [far.home("a"), *far.home("a").parents[:3]]
    assert (code, out.split()) == (0, [f"{far.home('a')}/start", *map(str, folders)])


def test_the_child_goes_on_when_its_client_dies(far: Far, tmp_path: Path, gate: Gate) -> None:
    process = far.start("a", f"echo $$ >{tmp_path}/pid; {gate.wait}; echo done >{tmp_path}/effect; exit 5")
    pid = pid_in(tmp_path / "pid")
    process.send_signal(signal.SIGHUP)
    for pipe in (process.stdin, process.stdout, process.stderr):
        assert pipe is not None
        pipe.close()
    assert far.status("a") == Running(pid)
    gate.open()
    eventually(lambda: far.status("a") == Finished(5))
    assert (tmp_path / "effect").exists()
    process.wait(PATIENCE_S)


def test_a_killed_worker_leaves_a_child_whose_end_is_unknown(far: Far, tmp_path: Path, gate: Gate) -> None:
    process = far.start("a", f"echo $$ >{tmp_path}/pid; {gate.wait}")
    pid = pid_in(tmp_path / "pid")
    process.kill()
    process.wait(PATIENCE_S)
    assert far.status("a") == Running(pid)
    gate.open()
    process.communicate(timeout=PATIENCE_S)
    eventually(lambda: far.status("a") == Unknown())


def test_term_is_passed_on(far: Far, tmp_path: Path) -> None:
    process = far.start("a", f"trap 'exit 9' TERM; echo $$ >{tmp_path}/pid; while :; do sleep 0.05; done")
    pid_in(tmp_path / "pid")
    process.terminate()
    process.communicate(timeout=PATIENCE_S)
    assert far.status("a") == Finished(9)


@pytest.mark.parametrize(
    "script",
    [
        "echo $$ >{f}; exec sleep 300",
        "trap '' TERM; echo $$ >{f}; while :; do sleep 1; done",
        "(setsid sh -c 'echo $$ >{f}; exec sleep 300' &); exec sleep 300",
        "(setsid sh -c 'sleep 300 & echo $! >{f}; wait' &); exit 0",
    ],
)
def test_kill_leaves_nothing(far: Far, tmp_path: Path, started: list[int], script: str) -> None:
    process = far.start("s/1/1/n", script.replace("{f}", str(tmp_path / "pid")))
    pid = pid_in(tmp_path / "pid")
    started.append(pid)
    other = far.start("other", "exec sleep 300")
    eventually(lambda: isinstance(far.status("other"), Running))
    far.ask(worker.kill_argv(far.records, "s/1/1/n", 1))
    assert not alive(pid)
    assert isinstance(far.status("other"), Running)
    far.ask(worker.kill_argv(far.records, "other", 1))
    for one in (process, other):
        one.communicate(timeout=PATIENCE_S)
    assert not isinstance(far.status("s/1/1/n"), Running)


def test_the_same_operation_of_another_run_is_left_in_peace(far: Far, tmp_path: Path, started: list[int]) -> None:
    """Two runs of one plan may read the same server: their operations have the same names."""
    scripts = {one: f"echo $$ >{tmp_path}/{one}; exec sleep 300" for one in ("mine", "theirs")}
    another = Far(far.shell, f"{far.records}-of-another-run")
    clients = [far.start("s/1/1/n", scripts["mine"]), another.start("s/1/1/n", scripts["theirs"])]
    mine, theirs = (pid_in(tmp_path / one) for one in scripts)
    started += [mine, theirs]
    far.ask(worker.kill_argv(far.records, "s/1/1/n", 1))
    assert not alive(mine)
    assert another.status("s/1/1/n") == Running(theirs)
    another.ask(worker.kill_argv(another.records, "s/1/1/n", 1))
    for one in clients:
        one.communicate(timeout=PATIENCE_S)


def test_the_grace_is_whole_whenever_in_a_second_it_begins(far: Far, tmp_path: Path, started: list[int]) -> None:
    process = far.start("a", f"trap '' TERM; echo $$ >{tmp_path}/pid; while :; do sleep 0.05; done")
    started.append(pid_in(tmp_path / "pid"))
    time.sleep((0.8 - time.clock_gettime(time.CLOCK_BOOTTIME)) % 1)  # the far side's clock says whole seconds
    before = time.monotonic()
    far.ask(worker.kill_argv(far.records, "a", 1))
    assert time.monotonic() - before >= 1
    process.communicate(timeout=PATIENCE_S)
    assert far.status("a") == Finished(128 + signal.SIGKILL)


def test_the_grace_begins_when_they_are_told_however_long_it_takes_to_find_them(
    far: Far, tmp_path: Path, started: list[int]
) -> None:
    process = far.start("a", f"trap 'exit 9' TERM; echo $$ >{tmp_path}/pid; while :; do sleep 0.05; done")
    started.append(pid_in(tmp_path / "pid"))
    slow = worker.script().replace("\nfamily() {", "\nfamily() {\n    sleep 2.1")
    assert slow != worker.script()
    argv = worker.kill_argv(far.records, "a", 1)
    far.ask((*argv[:2], slow, *argv[3:]))
    process.communicate(timeout=PATIENCE_S)
    assert far.status("a") == Finished(9)


def test_killing_what_never_started_is_nothing(far: Far) -> None:
    assert far.ask(worker.kill_argv(far.records, "a", 1)) == ""


def test_an_id_is_never_begun_twice(far: Far, tmp_path: Path) -> None:
    assert far.run("a", f"echo x >>{tmp_path}/effect")[0] == 0
    code, _, err = far.run("a", f"echo x >>{tmp_path}/effect")
    assert (code, "was begun already" in err) == (worker.CANNOT_RUN, True)
    assert (tmp_path / "effect").read_text() == "x\n"


def test_never_started_and_fenced_stays_so(far: Far, tmp_path: Path) -> None:
    assert far.status("a") == NeverStarted()
    assert far.fence("a") == NeverStarted()
    assert far.run("a", f"touch {tmp_path}/effect")[0] == worker.CANNOT_RUN
    assert (far.status("a"), far.fence("a")) == (NeverStarted(), NeverStarted())
    assert not (tmp_path / "effect").exists()


def test_a_worker_fenced_between_its_folder_and_its_child_executes_nothing(far: Far, tmp_path: Path) -> None:
    process = far.start("a", f"touch {tmp_path}/effect", head="runbook-header-1 1\n")
    eventually(lambda: far.home("a").exists())
    assert far.fence("a") == NeverStarted()
    assert process.stdin is not None
    process.stdin.write("env A b\n")
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == worker.CANNOT_RUN
    assert not (tmp_path / "effect").exists()
    assert far.status("a") == Finished(worker.CANNOT_RUN) or far.status("a") == NeverStarted()


@pytest.mark.parametrize("head", ["", "runbook-header-1 2\nenv A b\n", "other 1\n", "runbook-header-1 1\nodd a b\n"])
def test_a_header_that_is_not_whole_runs_nothing(far: Far, tmp_path: Path, head: str) -> None:
    assert far.run("a", f"touch {tmp_path}/effect", head=head)[0] == worker.CANNOT_RUN
    assert not (tmp_path / "effect").exists()


@pytest.mark.parametrize("operation", ["", "../x", "a b", "a;b", "$(id)"])
def test_an_id_that_is_none_is_refused(far: Far, operation: str) -> None:
    code, _, err = far.run(operation, "true")
    assert (code, "not an id" in err) == (worker.CANNOT_RUN, True)


def test_a_folder_that_is_not_its_own_is_refused(far: Far, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    Path(far.records).parent.mkdir(mode=0o700, exist_ok=True)
    Path(far.records).symlink_to(tmp_path / "real")
    code, _, err = far.run("a", "true")
    Path(far.records).unlink()
    assert (code, "not a folder of this user" in err) == (worker.CANNOT_RUN, True)


def test_sweep_removes_what_ended_and_keeps_what_runs(far: Far) -> None:
    far.run("done", "true")
    far.fence("fenced")
    process = far.start("runs", "exec sleep 300")
    eventually(lambda: isinstance(far.status("runs"), Running))
    far.ask(worker.sweep_argv(far.records))
    assert [entry.name for entry in Path(far.records).iterdir()] == ["runs"]
    far.ask(worker.kill_argv(far.records, "runs", 1))
    process.communicate(timeout=PATIENCE_S)
    eventually(lambda: isinstance(far.status("runs"), Finished))
    far.ask(worker.sweep_argv(far.records))
    assert not Path(far.records).exists()


def test_sweep_removes_what_nobody_saw_end(far: Far) -> None:
    process = far.start("a", "exec sleep 300")
    eventually(lambda: isinstance(far.status("a"), Running))
    state = far.status("a")
    assert isinstance(state, Running)
    process.kill()
    process.wait(PATIENCE_S)  # else it may still see how its child ends
    os.kill(state.pid, signal.SIGKILL)
    eventually(lambda: far.status("a") == Unknown())
    far.ask(worker.sweep_argv(far.records))
    assert not Path(far.records).exists()


def test_a_worker_whose_folder_was_swept_away_executes_nothing_and_leaves_nothing(far: Far, tmp_path: Path) -> None:
    magic, count, *rest = worker.header({}, files={"F": "canary"}).split(maxsplit=2)
    process = far.start("a", f"touch {tmp_path}/effect", head=f"{magic} {count}\n")
    eventually(lambda: written(far.home("a") / "secrets"))  # a shell opens a file before it writes into it
    secrets = Path((far.home("a") / "secrets").read_text().strip())
    far.ask(worker.sweep_argv(far.records))
    assert not Path(far.records).exists()
    process.communicate(rest[0], timeout=PATIENCE_S)
    assert process.returncode == worker.CANNOT_RUN
    assert not (tmp_path / "effect").exists()
    assert not secrets.exists()
    assert not Path(far.records).exists()


def test_no_secret_goes_into_a_folder_that_another_prepared(far: Far, tmp_path: Path) -> None:
    magic, count, *rest = worker.header({}, files={"F": "canary"}).split(maxsplit=2)
    process = far.start("a", f"touch {tmp_path}/effect", head=f"{magic} {count}\n")
    eventually(lambda: written(far.home("a") / "secrets"))  # from here on anybody can see its name
    prepared = Path((far.home("a") / "secrets").read_text().strip())
    prepared.mkdir()
    with (prepared / "F").open("w+") as held:
        process.communicate(rest[0], timeout=PATIENCE_S)
        assert held.read() == ""
    assert process.returncode == worker.CANNOT_RUN
    assert not (tmp_path / "effect").exists()


def test_a_header_that_breaks_off_leaves_no_secret_file(far: Far) -> None:
    whole = worker.header({}, files={"F": "canary", "G": "another"})
    lines = whole.splitlines(keepends=True)
    assert far.run("a", "true", head="".join(lines[:-1]))[0] == worker.CANNOT_RUN
    assert not Path((far.home("a") / "secrets").read_text().strip()).exists()


def test_secret_files_of_a_killed_worker_go_with_the_kill(far: Far) -> None:
    process = far.start("a", 'echo "$F"; exec sleep 300', head=worker.header({}, files={"F": "canary"}))
    assert process.stdout is not None
    path = Path(process.stdout.readline().strip())
    assert path.read_text() == "canary"
    process.kill()
    process.wait(PATIENCE_S)
    far.ask(worker.kill_argv(far.records, "a", 1))
    process.communicate(timeout=PATIENCE_S)
    assert not path.exists()


def test_what_a_status_says_is_understood_or_refused() -> None:
    assert worker.parse_status("running 12\n") == Running(12)
    with pytest.raises(ValueError, match="not an answer"):
        worker.parse_status("sh: not found")
    with pytest.raises(ValueError, match="NUL"):
        worker.header({"A": "\0"})


def test_a_fast_child_is_never_missed(far: Far) -> None:
    for number in range(10):
        assert far.run(f"n{number}", "exit 1")[0] == 1
