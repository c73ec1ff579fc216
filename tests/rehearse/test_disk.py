"""The disk in memory: what a journal rests on, and the kill before a write."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbook.rehearse.disk import Killed, MemoryDisk

FILE = Path("/rehearsal/file")


def test_what_was_written_before_the_kill_is_there_for_the_next_process() -> None:
    disk = MemoryDisk()
    disk.kill_at = 2
    file = disk.create(FILE)
    assert disk.append(file, b"one") == 3
    with pytest.raises(Killed):
        disk.append(file, b"two")
    for late in (lambda: disk.append(file, b"x"), lambda: disk.fdatasync(file), lambda: disk.create(Path("/other"))):
        with pytest.raises(Killed):
            late()
    disk.after_kill()
    assert disk.read(FILE) == b"one"
    disk.append(disk.open(FILE), b"!")
    assert disk.read(FILE) == b"one!"


def test_files_are_written_in_place_cut_renamed_and_removed() -> None:
    disk = MemoryDisk()
    file = disk.create_fixed(FILE, b"0000")
    disk.pwrite(file, b"12", 1)
    disk.pwrite(file, b"9", 6)
    assert disk.read(FILE) == b"0120\0\x009"
    disk.truncate(file, 3)
    disk.rename(FILE, Path("/new"))
    assert disk.read(Path("/new")) == b"012"
    with pytest.raises(FileExistsError):
        disk.create(Path("/new"))
    disk.remove(Path("/new"))
    for gone in (FILE, Path("/new")):
        with pytest.raises(FileNotFoundError):
            disk.read(gone)
