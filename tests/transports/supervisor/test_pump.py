"""Pipelines: bytes, hashes, every exit code, durable sinks, honest ends."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from runbook.operation import UNBOUNDED
from runbook.transports.supervisor.client import Supervisor
from runbook.transports.supervisor.pump import GO, Pump
from runbook.transports.supervisor.requests import Captured, Discarded, Ended, File, Hash, Nothing, Spawn, Stage, Why
from tests.fixtures.patience import PATIENCE_S, eventually

from .conftest import sh

DATA = os.urandom(3_000_017)
SHA = hashlib.sha256(DATA).hexdigest()
NOTHING = Nothing()


@pytest.fixture
def source(tmp_path: Path) -> File:
    (tmp_path / "source").write_bytes(DATA)
    return File(str(tmp_path / "source"))


@pytest.fixture
def sink(tmp_path: Path) -> File:
    return File(str(tmp_path / "out.partial"))


@pytest.mark.parametrize("point", [Hash.SOURCE, Hash.SINK])
@pytest.mark.parametrize("stages", [(), (sh("cat"),), (sh("cat"), sh("cat"), sh("cat"))])
def test_file_to_file(supervisor: Supervisor, source: File, sink: File, stages: tuple[()], point: Hash) -> None:
    ended = supervisor.spawn(Spawn(id="a", stages=stages, input=source, sink=sink, hash=point))
    assert (ended.why, ended.detail, ended.bytes, ended.sha256) == (Why.EXITED, "", len(DATA), SHA)
    assert Path(sink.path).read_bytes() == DATA
    assert Path(sink.path).stat().st_mode & 0o777 == 0o600
    assert [one.code for one in ended.exits] == [0] * len(stages)


def test_hash_at_source_and_at_sink_are_of_different_bytes(supervisor: Supervisor, source: File, sink: File) -> None:
    half = sh("head -c 1000; cat >/dev/null")
    at_source = supervisor.spawn(Spawn(id="a", stages=(half,), input=source, sink=sink, hash=Hash.SOURCE))
    at_sink = supervisor.spawn(Spawn(id="b", stages=(half,), input=source, sink=sink, hash=Hash.SINK))
    assert (at_source.bytes, at_source.sha256) == (len(DATA), SHA)
    assert (at_sink.bytes, at_sink.sha256) == (1000, hashlib.sha256(DATA[:1000]).hexdigest())


def test_a_dump_from_a_process(supervisor: Supervisor, source: File, sink: File) -> None:
    stage = sh(f"cat {source.path}; echo note >&2")
    for point in (Hash.SOURCE, Hash.SINK):
        ended = supervisor.spawn(Spawn(id=f"a{point}", stages=(stage,), sink=sink, hash=point))
        assert (ended.bytes, ended.sha256, ended.exits[0].stderr.text) == (len(DATA), SHA, "note\n")
        assert Path(sink.path).read_bytes() == DATA


@pytest.mark.parametrize("stages", [(sh("sha256sum"),), (sh("cat"), sh("sha256sum"))])
def test_a_restore_into_a_process(supervisor: Supervisor, source: File, stages: tuple[()]) -> None:
    for point in (Hash.SOURCE, Hash.SINK):
        ended = supervisor.spawn(Spawn(id=f"a{point}", stages=stages, input=source, sink=Captured(), hash=point))
        assert (ended.bytes, ended.sha256, ended.stdout.text.split()[0]) == (len(DATA), SHA, SHA)


def test_process_to_process_is_hashed_between(supervisor: Supervisor, source: File) -> None:
    stages = (sh(f"cat {source.path}"), sh("sha256sum"))
    for point in (Hash.SOURCE, Hash.SINK):
        ended = supervisor.spawn(Spawn(id=f"a{point}", stages=stages, hash=point))
        assert (ended.sha256, ended.stdout.text.split()[0]) == (SHA, SHA)


def test_a_full_read_that_goes_nowhere(supervisor: Supervisor, source: File) -> None:
    ended = supervisor.spawn(Spawn(id="a", stages=(), input=source, sink=Discarded(), hash=Hash.SINK))
    assert (ended.bytes, ended.sha256, ended.exits) == (len(DATA), SHA, ())


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_failing_stage_ends_the_others_and_gives_no_hash(
    supervisor: Supervisor, source: File, sink: File, place: int
) -> None:
    stages = [sh("cat; exec sleep 600"), sh("cat; exec sleep 600"), sh("cat; exec sleep 600")]
    stages[place] = sh("head -c 10; exit 3")
    ended = supervisor.spawn(Spawn(id="a", stages=tuple(stages), input=source, sink=sink, hash=Hash.SINK))
    assert (ended.why, ended.sha256) == (Why.BROKEN, None)
    assert ended.exits[place].code == 3
    assert "exit code 3" in ended.detail
    assert ended.duration_s < 300, "nobody waited for those that sleep"


def test_a_stage_that_is_not_found_starts_nothing_that_stays(supervisor: Supervisor, source: File, sink: File) -> None:
    ended = supervisor.spawn(
        Spawn(id="a", stages=(sh("sleep 600"), sh("true")), input=source, sink=File("/no/folder/x"))
    )
    assert ended.why is Why.NOT_STARTED
    assert "/no/folder/x" in ended.detail
    assert ended.duration_s < 300, "nobody waited for the one that sleeps"


def test_a_consumer_never_takes_a_failed_producers_end_for_the_end(supervisor: Supervisor, tmp_path: Path) -> None:
    stages = (sh("echo half; exit 1"), sh(f"cat >/dev/null && echo committed >{tmp_path}/committed"))
    for number in range(30):
        ended = supervisor.spawn(Spawn(id=f"a{number}", stages=stages, hash=Hash.SINK, grace_s=1))
        assert (ended.why, ended.exits[0].code) == (Why.BROKEN, 1)
        assert not (tmp_path / "committed").exists()


def test_a_pipeline_is_ended_from_its_reader_backwards(supervisor: Supervisor, tmp_path: Path) -> None:
    reader = sh(f"cat >/dev/null && echo committed >{tmp_path}/committed")
    for number in range(10):
        stages = (sh("echo half; exec sleep 600"), sh("cat"), reader)
        ended = supervisor.spawn(
            Spawn(id=f"a{number}", stages=stages, hash=Hash.SINK, timeout_s=0.05, grace_s=PATIENCE_S)
        )
        assert ended.why is Why.TIMED_OUT
        assert signal.SIGKILL not in [one.signal for one in ended.exits], "one after another, all within the grace"
        assert not (tmp_path / "committed").exists()


def test_a_reader_that_closes_early_fails_the_pipeline_with_its_own_code(supervisor: Supervisor, source: File) -> None:
    for number in range(20):  # where the machine stalls so long that the reader is told to end, it gets another chance
        stage = sh("head -c 5; exec <&-; sleep 0.1; exit 6")
        ended = supervisor.spawn(Spawn(id=f"a{number}", stages=(stage,), input=source, hash=Hash.SOURCE))
        if ended.exits[0].code is not None:
            break
    assert (ended.why, ended.exits[0].code) == (Why.BROKEN, 6)
    assert "the reader closed its input before the end of the data" in ended.detail


def test_an_earlier_partial_is_replaced_not_appended_to(supervisor: Supervisor, source: File, sink: File) -> None:
    Path(sink.path).write_bytes(b"old" * 10_000_000)
    supervisor.spawn(Spawn(id="a", stages=(), input=source, sink=sink, hash=Hash.SINK))
    assert Path(sink.path).read_bytes() == DATA


def test_a_sink_that_is_no_file_is_left_alone(supervisor: Supervisor, source: File, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.partial"
    os.mkfifo(fifo)
    ended = supervisor.spawn(Spawn(id="a", stages=(), input=source, sink=File(str(fifo)), hash=Hash.SINK))
    assert (ended.why, fifo.is_fifo()) == (Why.NOT_STARTED, True)
    assert str(fifo) in ended.detail


def test_a_named_pipe_as_source_is_not_waited_for(supervisor: Supervisor, tmp_path: Path) -> None:
    """The supervisor would serve nobody until somebody writes into it: no deadline, no kill, no other operation."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    ended = supervisor.spawn(Spawn(id="a", stages=(sh("cat"),), input=File(str(fifo))))
    assert (ended.why, ended.detail) == (Why.NOT_STARTED, f"{fifo}: a named pipe can't be the source")


@pytest.mark.parametrize("code", [errno.EROFS, errno.EIO])
def test_a_file_that_could_not_be_synced_is_not_done(
    source: File, sink: File, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """EROFS is what ext4 answers once it has given up writing."""

    def gave_up(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", gave_up)
    with Path(source.path).open("rb") as given, Path(sink.path).open("wb") as kept:
        pid, report, word = Pump(given.fileno(), kept.fileno(), hashing=True, place=sink.path).fork()
    os.write(word, 2 * GO)
    os.close(word)
    with os.fdopen(report) as told:
        last = told.read().splitlines()[-1]
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    assert json.loads(last) == {"error": f"{sink.path}: {os.strerror(code)}"}


@pytest.mark.root
def test_a_full_disk_at_the_sink(supervisor: Supervisor, source: File, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=True)
    try:
        ended = supervisor.spawn(
            Spawn(id="a", stages=(sh("cat"),), input=source, sink=File(str(small / "x.partial")), hash=Hash.SINK)
        )
        log = supervisor.spawn(
            Spawn(id="b", stages=(sh("yes | head -c 3000000; exit 0"),), log=str(small / "log"), capture=100)
        )
    finally:
        subprocess.run(["umount", "-l", small], check=True)
    assert (ended.why, ended.sha256) == (Why.BROKEN, None)
    assert f"pump: {small}/x.partial: {os.strerror(errno.ENOSPC)}" in ended.detail
    assert (log.why, log.code, log.stdout.bytes) == (Why.EXITED, 0, 3_000_000)
    assert log.log_truncated == os.strerror(errno.ENOSPC)


def test_progress_is_told_while_bytes_flow(supervisor: Supervisor, sink: File, tmp_path: Path) -> None:
    told: list[int] = []

    def hear(count: int) -> None:
        told.append(count)
        (tmp_path / "heard").touch()

    stage = sh(f"while [ ! -e {tmp_path}/heard ]; do head -c 1000 /dev/zero; sleep 0.05; done; head -c 500 /dev/zero")
    ended = supervisor.spawn(Spawn(id="a", stages=(stage,), sink=sink, hash=Hash.SINK), hear)
    assert told == sorted(told)
    assert ended.bytes is not None
    assert 0 < told[0] < ended.bytes
    assert ended.bytes == Path(sink.path).stat().st_size


def test_a_killed_pipeline_leaves_no_member(supervisor: Supervisor, sink: File) -> None:
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(
            supervisor.spawn, Spawn(id="a", stages=(sh("cat /dev/zero"), sh("cat")), sink=Discarded(), hash=Hash.SINK)
        )
        eventually(lambda: supervisor.status() == ("a",))
        supervisor.kill("a", grace_s=2)
        ended = call.result(PATIENCE_S)
    assert ended.why is Why.KILLED
    assert ended.sha256 is None


def bounded(script: str, most: int) -> Stage:
    """A shell script as a stage that is given so many bytes at most."""
    return replace(sh(script), most_bytes=most)


@pytest.mark.parametrize("hashed", [Hash.SOURCE, Hash.SINK], ids=["spliced", "hashed"])
def test_as_many_bytes_as_may_come_are_taken(supervisor: Supervisor, source: File, sink: File, hashed: Hash) -> None:
    stages = (
        (sh("cat"), bounded("cat", len(DATA)))
        if hashed is Hash.SOURCE
        else (sh("cat"), bounded("sha256sum", len(DATA)))
    )
    out = sink if hashed is Hash.SOURCE else Captured()
    ended = supervisor.spawn(Spawn(id="a", stages=stages, input=source, sink=out, hash=hashed))
    assert (ended.why, ended.taken, ended.sha256) == (Why.EXITED, len(DATA), SHA)
    assert hashed is Hash.SINK or Path(sink.path).read_bytes() == DATA


@pytest.mark.parametrize("hashed", [Hash.SOURCE, Hash.SINK], ids=["spliced", "hashed"])
@pytest.mark.parametrize("more", [1, 1_000_000])
def test_one_byte_more_ends_it_and_the_reader_sees_no_end(
    supervisor: Supervisor, source: File, tmp_path: Path, hashed: Hash, more: int
) -> None:
    most = len(DATA) - more
    reader = bounded(f"cat >{tmp_path}/taken && echo committed >{tmp_path}/committed", most)
    ended = supervisor.spawn(Spawn(id="a", stages=(sh("cat"), reader), input=source, hash=hashed))
    assert (ended.why, ended.taken, ended.sha256) == (Why.EXCEEDED, most, None)
    assert ended.detail == f"pump: more than {most} bytes came"
    assert (tmp_path / "taken").stat().st_size <= most
    assert not (tmp_path / "committed").exists()


def passed(supervisor: Supervisor, writer: str, reader: Stage, source: File | Nothing = NOTHING) -> Ended:
    """What a writer's bytes came to whose reader is counted; they are hashed before the writer."""
    return supervisor.spawn(Spawn(id="a", stages=(sh(writer), reader), input=source, hash=Hash.SOURCE))


def test_what_never_stops_coming_is_stopped(supervisor: Supervisor, tmp_path: Path) -> None:
    ended = passed(supervisor, "yes", bounded(f"cat >{tmp_path}/taken", 1 << 20))
    assert (ended.why, ended.taken) == (Why.EXCEEDED, 1 << 20)
    assert (tmp_path / "taken").stat().st_size <= 1 << 20


def test_what_is_only_counted_has_no_bound(supervisor: Supervisor, source: File) -> None:
    ended = passed(supervisor, "cat", bounded("wc -c", UNBOUNDED), source)
    assert (ended.why, ended.taken, ended.stdout.text.strip()) == (Why.EXITED, len(DATA), str(len(DATA)))


def test_a_reader_that_has_all_may_go_before_the_end_is_told(
    supervisor: Supervisor, source: File, tmp_path: Path
) -> None:
    """As tar does after the last block of an archive."""
    gone = tmp_path / "gone"
    reader = bounded(f"head -c {len(DATA)} | wc -c; exec <&-; : >{gone}", UNBOUNDED)
    ended = passed(supervisor, f"cat; until [ -e {gone} ]; do sleep 0.01; done", reader, source)
    assert (ended.why, ended.detail, ended.taken) == (Why.EXITED, "", len(DATA))


def test_a_reader_that_goes_before_it_has_all_is_a_failure(
    supervisor: Supervisor, source: File, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    reader = bounded(f"head -c 1000 >{tmp_path}/taken; exec <&-; : >{gone}", UNBOUNDED)
    ended = passed(supervisor, f"head -c 1000; until [ -e {gone} ]; do sleep 0.01; done; cat", reader, source)
    assert ended.why is Why.BROKEN
    assert "the reader closed its input before the end of the data" in ended.detail
