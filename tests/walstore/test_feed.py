"""The spool: what a server that renames out of it sees, whatever happens to the archive and to the feeder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from runbook.actions.postgres.wal_spool import restore_command
from runbook.errors import Refused
from runbook.walstore.access import Access
from runbook.walstore.daemon import detach, end
from runbook.walstore.feed import TRIES, Feeder
from runbook.walstore.store import LARGEST, Segments, Unavailable
from tests.evidence.program import RUNBOOK
from tests.fixtures.patience import PATIENCE_S, eventually
from tests.fixtures.process import lives
from tests.fixtures.s3 import S3Server
from tests.walstore.segments import SIZE, content, name, segment


def filled(tmp_path: Path, numbers: range) -> Access:
    """An archive in a directory."""
    (tmp_path / "archive").mkdir()
    for number in numbers:
        segment(tmp_path / "archive", number)
    return Access(f"file://{tmp_path}/archive")


@contextmanager
def feeding(archive: Segments, spool: Path, ahead: int = 4) -> Iterator[Feeder]:
    """A feeder in this process."""
    feeder = Feeder(archive, spool, SIZE, ahead, pause_s=0.02)
    (spool / "pid").write_text(f"{os.getpid()}\n")
    thread = threading.Thread(target=feeder.run)
    thread.start()
    try:
        yield feeder
    finally:
        shutil.rmtree(spool.rename(spool.with_name("taken away")))  # renamed first: nothing can be added to it any more
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "it ends when its spool is removed"


def ask(spool: Path, file: str, into: Path) -> subprocess.CompletedProcess[bytes]:
    """What the server does: its restore_command with %f and %p filled in."""
    command = restore_command(str(spool)).replace("%f", file).replace("%p", str(into)).replace("%%", "%")
    return subprocess.run(["sh", "-c", command], capture_output=True, timeout=PATIENCE_S, check=False)


def segments_in(spool: Path) -> set[str]:
    """The names of the segments that are ready."""
    return {path.name for path in spool.iterdir() if len(path.name) == 24}


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """An empty spool, with a name that a shell has to be kept from reading."""
    made = tmp_path / "a spool's 100% $HOME"
    made.mkdir(mode=0o700)
    return made


def test_a_server_gets_every_segment_in_order(spool: Path, tmp_path: Path) -> None:
    archive = filled(tmp_path, range(3, 30)).open()
    with feeding(archive, spool) as feeder:
        for number in range(3, 30):
            assert ask(spool, name(number), tmp_path / "got").returncode == 0
            assert (tmp_path / "got").read_bytes() == content(number)
            assert len([e for e in spool.iterdir() if len(e.name) == 24]) <= feeder.ahead
        assert ask(spool, name(30), tmp_path / "got").returncode == 1, "the archive's end"
        assert ask(spool, "00000002.history", tmp_path / "got").returncode == 1
        assert list(spool.glob("*.want")) == []


def test_it_is_ahead_of_the_server(spool: Path, tmp_path: Path) -> None:
    archive = filled(tmp_path, range(3, 30)).open()
    with feeding(archive, spool, ahead=5):
        assert ask(spool, name(3), tmp_path / "got").returncode == 0
        eventually(lambda: all((spool / name(number)).exists() for number in range(4, 9)))
        time.sleep(0.1)
        assert not (spool / name(9)).exists()


def test_what_was_taken_while_nobody_looked_is_not_fetched_again(spool: Path, tmp_path: Path) -> None:
    archive = filled(tmp_path, range(3, 40)).open()
    with feeding(archive, spool, ahead=4):
        assert ask(spool, name(3), tmp_path / "got").returncode == 0
        for first in range(4, 32, 4):
            wanted = {name(number) for number in range(first, first + 4)}
            eventually(lambda wanted=wanted: segments_in(spool) == wanted)  # type: ignore[misc]
            for taken in sorted(wanted):
                (spool / taken).rename(tmp_path / "got")


def test_a_segment_that_came_later_is_found_when_it_is_asked_for(spool: Path, tmp_path: Path) -> None:
    archive = filled(tmp_path, range(3, 5)).open()
    with feeding(archive, spool):
        for number in (3, 4):
            assert ask(spool, name(number), tmp_path / "got").returncode == 0
        assert ask(spool, name(5), tmp_path / "got").returncode == 1
        segment(tmp_path / "archive", 5)
        assert ask(spool, name(5), tmp_path / "got").returncode == 0


class Slow:
    """An archive that takes its time to say of one file, the first time, that it is not there."""

    def __init__(self, inner: Segments, name: str) -> None:
        self._inner, self._name = inner, name
        self.held, self.go_on = threading.Event(), threading.Event()

    def fetch(self, name: str, into: Path, *, most_bytes: int = LARGEST) -> bool:
        there = self._inner.fetch(name, into, most_bytes=most_bytes)
        if name == self._name and not self.held.is_set():
            self.held.set()
            self.go_on.wait(PATIENCE_S)
        return there

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


def test_what_was_not_there_before_it_was_asked_for_is_looked_for_again(spool: Path, tmp_path: Path) -> None:
    archive = Slow(filled(tmp_path, range(3, 5)).open(), name(5))
    with feeding(archive, spool), ThreadPoolExecutor(1) as pool:  # type: ignore[arg-type]
        assert ask(spool, name(3), tmp_path / "got").returncode == 0
        assert archive.held.wait(PATIENCE_S), "fetched ahead"
        segment(tmp_path / "archive", 5)
        asked = pool.submit(ask, spool, name(5), tmp_path / "got")
        eventually((spool / f"{name(5)}.want").exists)
        time.sleep(0.05)  # the feeder looks every few milliseconds
        archive.go_on.set()
        assert asked.result(PATIENCE_S).returncode == 0
        assert (tmp_path / "got").read_bytes() == content(5)


def test_a_segment_can_be_asked_for_twice(spool: Path, tmp_path: Path) -> None:
    archive = filled(tmp_path, range(3, 12)).open()
    with feeding(archive, spool):
        for number in (3, 4, 5, 3, 4, 5, 6):
            assert ask(spool, name(number), tmp_path / "got").returncode == 0
            assert (tmp_path / "got").read_bytes() == content(number)


@pytest.mark.parametrize("spoil", ["short", "another"])
def test_a_damaged_segment_ends_the_recovery_instead_of_shortening_it(spoil: str, spool: Path, tmp_path: Path) -> None:
    archive = filled(tmp_path, range(3, 6)).open()
    broken = tmp_path / "archive" / name(4)
    broken.write_bytes(broken.read_bytes()[:-1] if spoil == "short" else content(9))
    with feeding(archive, spool):
        assert ask(spool, name(3), tmp_path / "got").returncode == 0
        refused = ask(spool, name(4), tmp_path / "got")
        assert refused.returncode == 255
        assert name(4).encode() in refused.stderr


class Flaky:
    """An archive that doesn't answer the first times that a file is asked for."""

    def __init__(self, inner: Segments, times: int) -> None:
        self._inner, self._times = inner, times
        self._asked = Counter[str]()

    def fetch(self, name: str, into: Path, *, most_bytes: int = LARGEST) -> bool:
        self._asked[name] += 1
        if self._asked[name] <= self._times:
            raise Unavailable("connection refused")
        return self._inner.fetch(name, into, most_bytes=most_bytes)

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


@pytest.mark.parametrize(("times", "code"), [(2, 0), (99, 255)])
def test_an_archive_that_does_not_answer_is_no_end_of_it(times: int, code: int, spool: Path, tmp_path: Path) -> None:
    archive = Flaky(filled(tmp_path, range(3, 6)).open(), times)
    with feeding(archive, spool):  # type: ignore[arg-type]
        assert ask(spool, name(3), tmp_path / "got").returncode == code


def test_a_server_that_is_started_again_asks_anew_what_could_not_be_had(spool: Path, tmp_path: Path) -> None:
    archive = Flaky(filled(tmp_path, range(3, 6)).open(), TRIES)
    with feeding(archive, spool):  # type: ignore[arg-type]
        assert ask(spool, name(3), tmp_path / "got").returncode == 255
        assert ask(spool, name(3), tmp_path / "got").returncode == 0
        assert (tmp_path / "got").read_bytes() == content(3)
        assert not list(spool.glob("*.error"))


def test_without_a_feeder_the_recovery_ends(spool: Path, tmp_path: Path) -> None:
    assert ask(spool, name(3), tmp_path / "got").returncode == 255
    (spool / "pid").write_text("999999999\n")
    refused = ask(spool, name(3), tmp_path / "got")
    assert (refused.returncode, refused.stderr) == (255, b"nobody fetches WAL any more\n")


def test_the_process_outlives_its_starter_and_ends_with_its_spool(
    s3_server: S3Server, spool: Path, tmp_path: Path
) -> None:
    access = Access(
        f"s3://{s3_server.bucket}/{tmp_path.name}",
        s3_server.endpoint,
        "us-east-1",
        s3_server.access_key,
        s3_server.secret_key,
    )
    archive = access.open()
    for number in range(3, 9):
        source = segment(tmp_path, number)
        archive.put(source.name, source)
    file = tmp_path / "access.json"
    file.write_text(
        f'{{"url": "{access.url}", "endpoint": "{access.endpoint}", "region": "us-east-1", '
        f'"access_key": "{access.access_key}", "secret_key": "{access.secret_key}"}}'
    )
    file.chmod(0o600)
    words = [str(RUNBOOK), "wal", "feed", "--access", str(file), "--segment-bytes", str(SIZE), str(spool)]
    began = subprocess.run(words, capture_output=True, timeout=PATIENCE_S, check=False)
    assert began.returncode == 0, began.stderr
    pid = int(began.stdout)
    for number in range(3, 9):
        assert ask(spool, name(number), tmp_path / "got").returncode == 0
        assert (tmp_path / "got").read_bytes() == content(number)
    again = subprocess.run(words, capture_output=True, timeout=PATIENCE_S, check=False)
    assert int(again.stdout) == pid, "one feeder a spool"

    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not lives(pid))
    assert ask(spool, name(3), tmp_path / "got").returncode == 255
    (spool / name(4)).write_bytes(b"torn")
    anew = subprocess.run(words, capture_output=True, timeout=PATIENCE_S, check=False)
    other = int(anew.stdout)
    assert other != pid
    assert ask(spool, name(4), tmp_path / "got").returncode == 0
    assert (tmp_path / "got").read_bytes() == content(4), "what an earlier feeder left is not trusted"

    for _ in range(2):
        ended = subprocess.run(
            [str(RUNBOOK), "wal", "end", str(spool)], capture_output=True, timeout=PATIENCE_S, check=False
        )
        assert ended.returncode == 0, ended.stderr
        assert not lives(other)
        assert not list(tmp_path.glob(f"{spool.name}*")), "nothing is left of it"


def test_an_ending_that_was_cut_off_goes_on(spool: Path, tmp_path: Path) -> None:
    pid = detach(filled(tmp_path, range(3, 5)), spool, segment_bytes=SIZE, ahead=4)
    spool.rename(spool.with_name(f"{spool.name}.over"))
    end(spool)
    assert not list(tmp_path.glob(f"{spool.name}*"))
    eventually(lambda: not lives(pid))


def test_a_spool_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="E637"):
        detach(filled(tmp_path, range(1)), tmp_path / "none", segment_bytes=SIZE, ahead=4)
