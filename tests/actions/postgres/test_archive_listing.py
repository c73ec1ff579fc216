"""The script that counts an archive where it lies, against the same names counted here; and how much it can take."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runbook.action import CheckFailed
from runbook.actions.postgres.archive_listing import MOST_NAMES, MOST_STRETCHES, Listing, listed, parse_listing
from runbook.actions.postgres.wal import Foreign, Segment, Stretch, Switch, parse_name, segment_name, stretches
from runbook.host import LOCAL
from runbook.operation import Process
from tests.fixtures.containers import BASE, exec_in

if TYPE_CHECKING:
    from docker.models.containers import Container

SIZE = 1024 * 1024
MOST_TEXT = 64 * 1024


def script(folder: Path, size: int = SIZE) -> tuple[str, ...]:
    operation = listed(str(folder), LOCAL, size)
    assert isinstance(operation, Process) and operation.reads
    return tuple(str(word) for word in operation.argv)


def read(folder: Path, size: int = SIZE) -> Listing:
    ran = subprocess.run(script(folder, size), capture_output=True, text=True, check=True, timeout=300)
    assert ran.stderr == ""
    assert len(ran.stdout) < MOST_TEXT
    return parse_listing(ran.stdout, size)


def fill(folder: Path, names: Iterable[str], size: int = 0) -> None:
    for name in names:
        with (folder / name).open("wb") as file:
            file.truncate(size)


numbers = st.one_of(st.integers(0, 40), st.integers(4080, 4100), st.integers(2**31 - 3, 2**31 + 3))
names = st.one_of(
    st.builds(Segment, st.sampled_from([1, 2, 255, 2**31]), numbers).map(lambda one: segment_name(one, SIZE)),
    st.sampled_from(
        [
            "00000002.history",
            "000000010000000000000002.00000028.backup",
            "000000010000000000000003.partial",
            "000000010000000000001000",  # a name of a larger segment size
            "00000001000000000000000a",
            "000000010000000000000001.gz",
            "README",
            "two words",
        ]
    ),
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.sets(names, max_size=30))
def test_the_script_finds_what_the_names_say(tmp_path: Path, found: set[str]) -> None:
    folder = tmp_path / str(time.monotonic_ns())
    folder.mkdir()
    fill(folder, found, SIZE)
    kinds = {name: parse_name(name, SIZE) for name in found}
    segments = [kind for kind in kinds.values() if isinstance(kind, Segment)]
    seen = read(folder)
    assert seen.coverage.stretches == stretches(segments)
    assert (seen.segments, seen.stretches) == (len(segments), len(stretches(segments)))
    assert seen.newest == (segment_name(max(segments), SIZE) if segments else "")
    assert seen.foreign_count == sum(isinstance(kind, Foreign) for kind in kinds.values())
    assert seen.damaged == ()
    assert set(seen.coverage.histories) == ({2} if "00000002.history" in found else set())


def test_histories_of_all_ancestors_are_in_the_latest(tmp_path: Path) -> None:
    (tmp_path / "00000002.history").write_text("1\t0/300158\tbefore 2026-02-14 12:00:00+00\n\n")
    (tmp_path / "00000003.history").write_text("1\t0/300158\tx y\n\n2\t0/500000\tz\n")
    (tmp_path / "00000004.history").write_text("1\t0/200000\tanother branch\n")
    found = read(tmp_path).coverage.histories
    assert found == {2: (), 3: (), 4: (Switch(1, 0x200000),)}, "2 and 3 don't lead to 4"
    (tmp_path / "00000004.history").unlink()
    found = read(tmp_path).coverage.histories
    assert found == {2: (Switch(1, 0x300158),), 3: (Switch(1, 0x300158), Switch(2, 0x500000))}


def test_sizes_times_and_what_is_hidden(tmp_path: Path) -> None:
    whole, half = (segment_name(Segment(1, number), SIZE) for number in (7, 8))
    fill(tmp_path, [whole], SIZE)
    fill(tmp_path, [half], 5)
    fill(tmp_path, [f".{half}.aB3xYz"], 9)  # a copy that is on its way
    (tmp_path / "folder").mkdir()
    found = read(tmp_path)
    assert found.damaged == ((half, 5),) and found.damaged_count == 1
    assert found.bytes == SIZE + 5 and found.foreign == ()
    assert abs(found.newest_at - time.time()) < 3600 and found.oldest_at <= found.newest_at


def test_what_was_cut_off_is_not_taken_for_a_listing(tmp_path: Path) -> None:
    fill(tmp_path, [segment_name(Segment(1, 7), SIZE)], SIZE)
    text = subprocess.run(script(tmp_path), capture_output=True, text=True, check=True, timeout=300).stdout
    lines = text.splitlines(keepends=True)
    for kept in range(len(lines)):
        with pytest.raises(CheckFailed, match="E793"):
            parse_listing("".join(lines[:kept]), SIZE)
    with pytest.raises(CheckFailed, match="E793"):
        parse_listing("", SIZE)


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert subprocess.run(script(tmp_path / "no"), capture_output=True, check=False, timeout=300).returncode != 0


def test_a_hundred_thousand_files_are_a_page(tmp_path: Path) -> None:
    """What is told stays below what an operation may give back, also where every other segment is missing."""
    every = (segment_name(Segment(1, number), SIZE) for number in range(0, 60_000, 2))
    solid = (segment_name(Segment(2, number), SIZE) for number in range(60_000, 130_000))
    fill(tmp_path, every)
    fill(tmp_path, solid)
    began = time.monotonic()
    found = read(tmp_path)
    assert time.monotonic() - began < 300
    assert (found.segments, found.stretches, found.damaged_count) == (100_000, 30_001, 100_000)
    assert len(found.coverage.stretches) == MOST_STRETCHES and len(found.damaged) == MOST_NAMES
    assert found.coverage.stretches[0] == Stretch(1, 0, 0)
    assert found.newest == segment_name(Segment(2, 129_999), SIZE)


@pytest.mark.docker
def test_busybox_is_enough(run_container: Callable[..., Container], tmp_path: Path) -> None:
    container = run_container(BASE)
    made = "mkdir /wal /bb; cd /wal; for n in 1 2 5; do head -c 1048576 /dev/zero > 00000001000000000000000$n; done; "
    made += 'printf "1\\t0/300158\\tx\\n" > 00000002.history; touch README ".hidden" "two words"; '
    made += "for p in sh awk cat find grep head ls sort stat wc; do ln -s /bin/busybox /bb/$p; done"
    assert container.exec_run(["bash", "-c", made])[0] == 0
    argv = ["/bb/sh", *script(Path("/wal"))[1:]]
    code, output = exec_in(container, argv, environment={"PATH": "/bb"})
    assert isinstance(output, bytes)
    assert code == 0, output
    found = parse_listing(output.decode(), SIZE)
    assert found.coverage.stretches == (Stretch(1, 1, 2), Stretch(1, 5, 5))
    assert found.coverage.histories == {2: (Switch(1, 0x300158),)}
    assert (found.foreign, found.foreign_count, found.damaged) == (("README",), 2, ())
