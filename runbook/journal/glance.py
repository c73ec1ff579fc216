"""A glance at a run: its first record and what stands at its end, without reading or judging what is between.

Owns the quick look for lists of runs. Promises: it reads a few blocks of a file, whatever the journal's length; takes no lock and
writes nothing; what can't be read is left out, never guessed. Whoever goes on from a journal uses :mod:`runbook.journal.local`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runbook.journal.layout import RunDir
from runbook.journal.locks import LockOwner, holder
from runbook.journal.record import Damaged, Record, decode

BLOCK_BYTES: Final = 64 * 1024
_OF_THE_RUN: Final = b'"event":"run.'


@dataclass(frozen=True, slots=True)
class Glance:
    """``first`` creates the run; ``state`` is its last ``run.…`` record, ``last`` its last of all. None: can't be read.

    ``engine`` is the process that works on the run now, or None.
    """

    run: RunDir
    first: Record | None
    state: Record | None
    last: Record | None
    engine: LockOwner | None


def glance(run: RunDir) -> Glance:
    """Look at a run."""
    try:
        with run.journal.open("rb") as file:
            first = _decoded(file.readline(BLOCK_BYTES * 64))
    except OSError:
        return Glance(run, None, None, None, holder(run.engine_lock))
    last, state = _from_the_end(run.journal)
    return Glance(run, first, state or first, last or first, holder(run.engine_lock))


def _from_the_end(journal: Path) -> tuple[Record | None, Record | None]:
    """The last whole record, and the last that is about the run as a whole."""
    last: Record | None = None
    with journal.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        rest = b""  # the beginning of a line whose beginning is in an earlier block
        while end > 0:
            begin = max(0, end - BLOCK_BYTES)
            file.seek(begin)
            lines = (file.read(end - begin) + rest).split(b"\n")
            rest = lines[0]
            whole = lines[1:] if begin else lines
            for line in reversed(whole):
                if last is not None and _OF_THE_RUN not in line:
                    continue
                record = _decoded(line + b"\n")
                last = last or record
                if record is not None and record.event.startswith("run."):
                    return last, record
            end = begin
    return last, None


def _decoded(line: bytes) -> Record | None:
    try:
        return decode(line)
    except Damaged:
        return None
