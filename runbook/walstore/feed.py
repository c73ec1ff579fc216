"""Fetching WAL ahead of the server that replays it: a spool of verified segments, from which ``restore_command`` renames.

Owns the spool's protocol, both sides of it. A directory on the file system of the data holds, by name:

- ``NAME``: the file, whole and verified; the server's command renames it to where it wants it.
- ``NAME.want``: the server waits for it. ``NAME.none``: the archive has no such file. ``NAME.error``: why it can't be had; whoever
  has read it takes it away, so that a server that is started again asks anew.
- ``pid``: the feeder's process. Where it is gone, the command ends the server (exit code 255) instead of saying that the
  WAL ended: a recovery that takes a lost feeder for the end of the archive would stop short of its target.

Promises: at most ``ahead`` segments lie in the spool, and no file that is larger than one; what is left by an earlier feeder is not
trusted; the feeder ends when its spool is renamed (then nothing is added to it any more, and it can be removed), or after
``idle_s`` without a question.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from runbook.actions.postgres import wal
from runbook.actions.postgres.wal_spool import ERROR, NONE, PARTIAL, WANT
from runbook.walstore.store import Damaged, Segments, Unavailable

AHEAD = 16
THREADS = 6
POLL_S = 0.005
IDLE_S = 12 * 3600.0
TRIES = 5
PAGE_ADDRESS = slice(8, 16)
"""Where a WAL page has its own position (``XLogPageHeaderData.xlp_pageaddr``), in the server's byte order."""


@dataclass
class Feeder:
    """Fills ``spool`` from ``archive`` until the spool is renamed. ``pause_s``: before the second try; it doubles."""

    archive: Segments
    spool: Path
    segment_bytes: int = wal.SEGMENT_BYTES
    ahead: int = AHEAD
    idle_s: float = IDLE_S
    pause_s: float = 0.2
    clock: Callable[[], float] = time.monotonic
    _going: dict[str, Future[str]] = field(default_factory=dict)
    _ready: set[str] = field(default_factory=set)
    _absent: set[str] = field(default_factory=set)
    _asked: set[str] = field(default_factory=set)
    """Of what is being fetched, what had been asked for when that began."""
    _front: wal.Segment | None = None

    def run(self) -> None:
        """Feed; returns when there is nobody to feed any more."""
        asked_at = self.clock()
        pool = ThreadPoolExecutor(THREADS)
        try:
            while self.clock() - asked_at < self.idle_s:
                wanted = self._look()
                if wanted:
                    asked_at = self.clock()
                answered = self._settle(wanted)
                for name in self._due([name for name in wanted if name not in answered]):
                    self._going[name] = pool.submit(self._fetch, name)
                time.sleep(POLL_S)
        except FileNotFoundError:
            return  # the spool is gone: whoever began this has ended it
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # a fetch from a silent bucket takes minutes to give up

    def _look(self) -> list[str]:
        """Which files the server waits for; notes what it has taken. FileNotFoundError where the spool is gone."""
        there = {entry.name for entry in os.scandir(self.spool)}
        for taken in sorted(self._ready - there):  # the last one is where the server is
            self._ready.discard(taken)
            self._front = self._segment(taken) or self._front
        return sorted(name.removesuffix(WANT) for name in there if name.endswith(WANT))

    def _settle(self, wanted: list[str]) -> frozenset[str]:
        """Give what has arrived its name; gives those of ``wanted`` that are answered by that.

        A question is removed before its answer is there, so that it can be asked again.
        """
        answered = set()
        for name in [name for name, future in self._going.items() if future.done()]:
            why = self._going.pop(name).result()
            asked, ahead = name in wanted, name not in self._asked
            self._asked.discard(name)
            if why and asked and ahead:
                continue  # no answer to a question that came later: it is fetched again
            if asked:
                answered.add(name)
                (self.spool / f"{name}{WANT}").unlink(missing_ok=True)
            if why and not asked:
                self._absent.add(name)
            elif why == NONE:
                (self.spool / f"{name}{NONE}").touch()
            elif why:
                told = self.spool / f"{name}{PARTIAL}"
                told.write_text(f"{why}\n", encoding="utf-8")
                told.chmod(0o644)
                told.rename(self.spool / f"{name}{ERROR}")
            else:
                (self.spool / f"{name}{PARTIAL}").rename(self.spool / name)
                self._ready.add(name)
                if asked:
                    self._front = self._segment(name) or self._front
        return frozenset(answered)

    def _due(self, wanted: list[str]) -> Iterator[str]:
        """What to fetch now: what is asked for, then the segments behind the last one that was taken or asked for.

        What could not be had when it was fetched ahead is fetched again when it is asked for: the archive may have grown.
        """
        for name in wanted:
            if name in self._ready:  # it came while it was being asked for
                (self.spool / f"{name}{WANT}").unlink(missing_ok=True)
            elif name not in self._going:
                self._absent.discard(name)
                self._asked.add(name)
                yield name
        if self._front is None:
            return
        held = len(self._ready) + len(self._going)
        for step in range(1, self.ahead + 1):
            name = wal.segment_name(wal.Segment(self._front.timeline, self._front.number + step), self.segment_bytes)
            if name in self._absent or held >= self.ahead:
                return
            if name not in self._ready and name not in self._going:
                held += 1
                yield name

    def _segment(self, name: str) -> wal.Segment | None:
        found = wal.parse_name(name, self.segment_bytes)
        return found if isinstance(found, wal.Segment) else None

    def _fetch(self, name: str) -> str:
        """'' when it is there and verified, :data:`NONE`, or why it can't be had."""
        partial, why = self.spool / f"{name}{PARTIAL}", ""
        for attempt in range(TRIES):
            try:
                if not self.archive.fetch(name, partial, most_bytes=self.segment_bytes):
                    partial.unlink(missing_ok=True)
                    return NONE
                return self._flaw(name, partial) or self._owned(partial)
            except Damaged as error:
                return str(error)
            except Unavailable as error:
                why = str(error)
                time.sleep(self.pause_s * 2**attempt)
            except OSError as error:
                return f"{partial}: {error.strerror}"
        return why

    def _flaw(self, name: str, path: Path) -> str:
        """Why the file is not the segment of that name, or ''."""
        segment = wal.parse_name(name, self.segment_bytes)
        if not isinstance(segment, wal.Segment):
            return ""
        size = path.stat().st_size
        if size != self.segment_bytes:
            return f"{name} has {size} bytes, a segment {self.segment_bytes}"
        with path.open("rb") as file:
            address = file.read(24)[PAGE_ADDRESS]
        position = segment.number * self.segment_bytes
        if position not in (int.from_bytes(address, "little"), int.from_bytes(address, "big")):
            return (
                f"{name} is the segment of another position: its first page says {int.from_bytes(address, 'little'):X}"
            )
        return ""

    def _owned(self, path: Path) -> str:
        """The server's account has to read it: the spool's owner gets it, where we may give it away."""
        facts = self.spool.stat()
        if os.geteuid() == 0 and facts.st_uid != 0:
            os.chown(path, facts.st_uid, facts.st_gid)
        path.chmod(0o600)
        return ""
