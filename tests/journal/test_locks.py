"""Locks: one wins, the others are told who did; a lock ends with its process and never with another's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runbook.errors import Busy, ExitCode, JournalFault, Refused
from runbook.journal import locks
from runbook.journal.locks import Lock, LockOwner, Mode, holder, lock_directory, safe_directory, target_lock_path

SINCE = datetime(2026, 2, 14, 12, tzinfo=UTC)
ME = LockOwner.me(run="run-a", holds="the cluster main", now=SINCE)
NAMED = '{"run": "r", "holds": "h", "user": "u", "host": "elsewhere", "pid": 1234, "since": "2026-02-14T12:00:00Z"}'
OTHER = replace(ME, run="run-b")

CONTEND = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from runbook.errors import Busy
from runbook.journal.locks import Lock, LockOwner
owner = LockOwner.me(run=sys.argv[2], holds="the run", now=datetime.now(UTC))
print("ready", flush=True)
sys.stdin.readline()
try:
    lock = Lock.take(Path(sys.argv[1]), owner=owner)
except Busy as busy:
    print("busy", str(busy).replace("\\n", " "), flush=True)
    sys.exit(busy.exit_code)
print("won", owner.run, flush=True)
sys.stdin.readline()
"""


def contender(path: Path, run: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CONTEND, str(path), run]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def say(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "engine.lock"


def test_of_twenty_processes_one_wins_and_the_others_name_it(path: Path) -> None:
    processes = [contender(path, f"run-{number}") for number in range(20)]
    try:
        assert all(hear(process) == "ready\n" for process in processes)
        for process in processes:
            say(process)
        heard = [hear(process) for process in processes]
        won = [line.split()[1] for line in heard if line.startswith("won")]
        assert len(won) == 1
        busy = [line for line in heard if line.startswith("busy")]
        assert len(busy) == 19
        assert all(f"held by the run {won[0]} of " in line and f"runbook show {won[0]}" in line for line in busy)
    finally:
        for process in processes:
            process.communicate("\n")
    assert sorted(process.returncode for process in processes) == [0] + [ExitCode.BUSY] * 19


def test_the_second_is_told_who_since_when_and_what_to_do(path: Path) -> None:
    with Lock.take(path, owner=ME), pytest.raises(Busy) as caught:
        Lock.take(path, owner=OTHER)
    said = str(caught.value)
    assert caught.value.exit_code is ExitCode.BUSY
    assert f"the cluster main is held by the run run-a of {ME.user}@{ME.host} (pid {os.getpid()})" in said
    assert "since 2026-02-14T12:00:00.000000Z" in said
    assert "runbook show run-a" in said
    assert "runbook resume run-a" in said


def test_a_released_lock_can_be_taken_again_and_keeps_its_file(path: Path) -> None:
    lock = Lock.take(path, owner=ME)
    inode = path.stat().st_ino
    assert holder(path) == ME
    lock.release()
    lock.release()
    assert holder(path) is None
    with Lock.take(path, owner=OTHER):
        assert holder(path) == OTHER
        assert path.stat().st_ino == inode


def test_a_winner_that_is_held_up_before_it_signs_is_named_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign, looked = locks._sign, list[Path]()

    def late(file: int, owner: LockOwner | None) -> None:
        with pytest.raises(Busy, match="held by the run run-a"):
            Lock.take(path, owner=OTHER)
        sign(file, owner)

    def named(at: Path) -> LockOwner | None:
        looked.append(at)
        return ME if len(looked) > 20 else None  # so long it stands between its lock and its name

    monkeypatch.setattr(locks, "_sign", late)
    monkeypatch.setattr(locks, "_signed", named)
    Lock.take(path, owner=ME).release()


def test_readers_share_and_keep_writers_out(path: Path) -> None:
    one, two = (Lock.take(path, mode=Mode.SHARED, owner=owner) for owner in (ME, OTHER))
    with one, two, pytest.raises(Busy, match="those that only read it never do"):
        Lock.take(path, owner=ME)
    with Lock.take(path, owner=ME), pytest.raises(Busy, match="run-a"):
        Lock.take(path, mode=Mode.SHARED, owner=OTHER)


def test_a_killed_holder_leaves_no_lock_and_no_name(path: Path) -> None:
    process = contender(path, "run-k")
    try:
        assert hear(process) == "ready\n"
        say(process)
        assert hear(process) == "won run-k\n"
        named = holder(path)
        assert named is not None
        assert (named.run, named.pid) == ("run-k", process.pid)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert "run-k" in path.read_text()
    assert holder(path) is None
    with Lock.take(path, mode=Mode.SHARED, owner=ME):
        assert path.read_text() == ""


def test_a_daemon_that_was_started_meanwhile_does_not_keep_the_lock(path: Path) -> None:
    lock = Lock.take(path, owner=ME)
    daemon = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        lock.release()
        Lock.take(path, owner=OTHER).release()
    finally:
        daemon.kill()
        daemon.wait()


def test_closing_another_descriptor_of_the_file_keeps_the_lock(path: Path) -> None:
    with Lock.take(path, owner=ME):
        path.read_text()  # with POSIX record locks this would lose it
        with pytest.raises(Busy):
            Lock.take(path, owner=OTHER)


def test_a_lock_file_that_was_taken_away_does_not_make_two_winners_of_one_name(path: Path) -> None:
    with Lock.take(path, owner=ME):
        path.unlink()
        with Lock.take(path, owner=OTHER), pytest.raises(Busy):
            Lock.take(path, owner=ME)


def test_a_name_that_goes_between_opening_and_locking_is_not_the_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked, gone = locks._locked, list[int]()

    def late(file: int, mode: Mode) -> bool:
        if not gone:
            path.unlink()
            gone.append(file)
        return locked(file, mode)

    monkeypatch.setattr(locks, "_locked", late)
    with Lock.take(path, owner=ME) as mine:
        assert os.fstat(mine.fileno()).st_ino == path.stat().st_ino, "whoever comes next opens the same file"


def test_a_link_in_place_of_a_lock_is_refused(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "victim")
    with pytest.raises(JournalFault, match="E712"):
        Lock.take(path, owner=ME)
    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "rubbish",
        "[]",
        "{}",
        '{"pid": 1}',
        NAMED.replace("1234", '"1234"'),
        NAMED.replace("2026", "never"),
        '{"since": "never"}',
        '{"since": 3}',
    ],
)
def test_what_is_not_an_owner_names_nobody(path: Path, content: str) -> None:
    path.write_text(NAMED)
    assert holder(path) is not None
    path.write_text(content)
    assert holder(path) is None


def test_an_owner_of_another_host_is_taken_to_live() -> None:
    assert replace(ME, host="elsewhere", pid=1 << 22).alive()
    assert not replace(ME, pid=1 << 22).alive()


def test_a_target_has_one_lock_whoever_asks_and_from_wherever(tmp_path: Path) -> None:
    one = target_lock_path("postgres 7213 /var/lib/postgresql", directory=tmp_path)
    assert one == target_lock_path("postgres 7213 /var/lib/postgresql", directory=tmp_path)
    assert one != target_lock_path("postgres 7214 /var/lib/postgresql", directory=tmp_path)
    assert one.parent == tmp_path
    assert "/" not in one.name


def test_the_machine_has_one_lock_directory_for_this_user(monkeypatch: pytest.MonkeyPatch) -> None:
    here = lock_directory()
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/elsewhere")
    assert lock_directory() == here
    found = here.lstat()
    assert (found.st_uid, found.st_mode & 0o077) == (os.geteuid(), 0)


def test_an_unsafe_lock_directory_is_refused(tmp_path: Path) -> None:
    made = safe_directory(tmp_path / "made")
    assert made.stat().st_mode & 0o777 == 0o700
    (tmp_path / "link").symlink_to(made)
    (tmp_path / "file").touch()
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "sticky").mkdir()
    (tmp_path / "sticky").chmod(0o1777)
    for name, why in (("link", "symbolic link"), ("file", "isn't a directory"), ("open", "others may write")):
        with pytest.raises(Refused, match=why):
            safe_directory(tmp_path / name)
    assert safe_directory(tmp_path / "sticky") == tmp_path / "sticky"


@pytest.mark.root
def test_the_lock_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 65534, 65534)
    with pytest.raises(Refused, match="belongs to the user with the id 65534"):
        safe_directory(tmp_path / "theirs")
