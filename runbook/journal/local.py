"""The journal of one run on a local disk.

Owns appending: the place of each record in the chain, the group commit and the poison. Promises that :meth:`append`
returns only when its records and the head that acknowledges them are on stable storage; that after a failed write or sync
nothing is tried again; and that :meth:`open` goes on only from a journal that a crash could have left. Whoever opens a
journal for writing holds the run's ``engine.lock``.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Self

from runbook.errors import JournalFault, Problem
from runbook.journal.crash import crash_point
from runbook.journal.disk import POSIX
from runbook.journal.faults import NO_SPACE, begin_fault, exists_already, never_begun, open_fault, write_fault
from runbook.journal.head import Head
from runbook.journal.ports import Clock, Disk
from runbook.journal.reading import Reading, inspect
from runbook.journal.record import Draft, Payload, Record, Writer, draft, seal
from runbook.journal.tape import HEAD, JOURNAL, Doing, Tape, make_reserve, set_aside


def read(directory: Path, *, disk: Disk = POSIX) -> Reading:
    """What the journal holds and what is wrong with it; writes nothing, and may be called while a run goes on.

    :class:`JournalFault` only if there is no journal or the operating system refuses.
    """
    try:
        # The head first: a record that is acknowledged between the two reads is no damage.
        head = _content(disk, directory / HEAD)
        journal = _content(disk, directory / JOURNAL)
    except OSError as error:
        raise open_fault(error, "reading the journal", directory) from error
    if journal is None or (not journal and head is None):
        raise never_begun(directory)
    return inspect(journal, head or b"")


def _content(disk: Disk, path: Path) -> bytes | None:
    try:
        return disk.read(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


class _Group:
    """The records of one caller, waiting to be written with those of others."""

    __slots__ = ("drafts", "records", "settled")

    def __init__(self, drafts: Sequence[Draft]) -> None:
        self.drafts = drafts
        self.records: tuple[Record, ...] = ()
        self.settled = False


class LocalJournal:
    """A journal open for appending. Safe for several threads; not to be called from a signal handler, which could wait
    for the very thread that it interrupted."""

    def __init__(
        self, directory: Path, *, writer: Writer, clock: Clock, tape: Tape, last: Head, records: tuple[Record, ...]
    ) -> None:
        """For :meth:`create` and :meth:`open`."""
        self.directory = directory
        self.writer = writer
        self.records = records
        """What was there when the journal was opened."""
        self._clock = clock
        self._tape = tape
        self._last = last
        self._waiting: list[_Group] = []
        self._queue = Lock()  # guards `_waiting`, held for an instant
        self._writing = Lock()  # held by whoever writes; guards all else
        self._poison: tuple[Problem, ...] = ()
        self._full = False
        self._closed = False

    @classmethod
    def create(cls, directory: Path, *, run: str, clock: Clock, boot: str, disk: Disk = POSIX) -> Self:
        """Begin the journal of a new run, in a new directory or one that holds no journal; durable on return."""
        try:
            with suppress(FileExistsError):
                disk.make_dir(directory)
            tape = Tape.create(disk, directory)
        except FileExistsError as error:
            raise exists_already(directory) from error
        except OSError as error:
            raise begin_fault(error, "beginning the journal", directory) from error
        writer = Writer(run=run, epoch=1, boot=boot)
        return cls(directory, writer=writer, clock=clock, tape=tape, last=inspect(b"", b"").last, records=())

    @classmethod
    def open(cls, directory: Path, *, run: str, clock: Clock, boot: str, disk: Disk = POSIX) -> Self:
        """Go on with a run's journal, in its next epoch.

        A torn tail that nothing valid follows and no head knows is set aside and cut. :class:`JournalFault` for anything
        that a crash can't have left, and for a journal of another run. The epoch counts only from its first record on.
        """
        reading = read(directory, disk=disk)
        reading.refuse_damage(run)
        try:
            tape = _recover(disk, directory, reading)
        except OSError as error:
            raise open_fault(error, "opening the journal", directory) from error
        epoch = reading.records[-1].epoch + 1 if reading.records else 1
        writer = Writer(run=run, epoch=epoch, boot=boot)
        return cls(directory, writer=writer, clock=clock, tape=tape, last=reading.last, records=reading.records)

    def append(self, payloads: Sequence[Payload]) -> tuple[Record, ...]:
        """Make these records durable, in this order, with nothing between them.

        Threads that append at the same time share a write and its syncs: whoever comes to write first takes along what
        waits. :class:`JournalFault` if it can't be shown that the records are durable; from then on always.
        """
        group = _Group([draft(payload) for payload in payloads])
        if not group.drafts:
            return ()
        with self._queue:
            self._waiting.append(group)
        with self._writing:
            if not group.settled:
                with self._queue:
                    groups, self._waiting = self._waiting, []
                self._commit(groups)
        if not group.records:
            raise JournalFault(*self._poison)
        return group.records

    def append_last(self, payload: Payload) -> Record:
        """Make the record of a stop durable, as the last of this epoch: also on a full disk, from the reserve.

        :class:`JournalFault` if the journal failed in another way, or if even this record finds no space.
        """
        group = _Group([draft(payload)])
        with self._writing:
            if self._poison and self._full:
                self._make_room()
            self._commit([group])
            if not group.records:
                raise JournalFault(*self._poison)
            self._poison = _ended(self.directory)
        return group.records[0]

    def close(self) -> None:
        """Give the files back. Nothing acknowledged depends on it; a failure is told all the same."""
        with self._writing:
            if self._closed:
                return
            self._closed = True
            failed_before, self._poison = self._poison, self._poison or _ended(self.directory)
            try:
                self._tape.close()
            except OSError as error:
                if not failed_before:
                    raise write_fault(error, self._tape.doing, self.directory) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _commit(self, groups: Sequence[_Group]) -> None:
        """Write what the groups hold with one write and settle them; leaves the poison where that fails."""
        for group in groups:
            group.settled = True
        if self._poison:
            return
        # Poisoned until shown otherwise: whatever leaves this function early leaves nothing that may be relied on.
        self._poison = _interrupted(self.directory)
        sealed = self._seal(groups)
        last = Head(sealed[-1][-1].seq, sealed[-1][-1].hash)
        try:
            self._tape.commit(b"".join(record.line for records in sealed for record in records), last)
        except OSError as error:
            self._full = error.errno in NO_SPACE and self._tape.doing in (Doing.WRITING, Doing.WRITING_HEAD)
            fault = write_fault if self._last.seq else begin_fault  # without its first record there is no run to resume
            self._poison = fault(error, self._tape.doing, self.directory).problems
            return
        self._last = last
        self._poison = ()
        for group, records in zip(groups, sealed, strict=True):
            group.records = records

    def _seal(self, groups: Sequence[_Group]) -> list[tuple[Record, ...]]:
        seq, prev = self._last.seq, self._last.hash
        sealed: list[tuple[Record, ...]] = []
        for group in groups:
            records: list[Record] = []
            for content in group.drafts:
                seq += 1
                now, mono = self._clock.now(), self._clock.monotonic()
                record = seal(content, self.writer, seq=seq, at=now, mono=mono, prev=prev)
                prev = record.hash
                records.append(record)
            sealed.append(tuple(records))
        return sealed

    def _make_room(self) -> None:
        """Cut what was refused, free the reserve, lift the poison. A refused write, unlike a failed sync, lost nothing."""
        self._full = False
        try:
            self._tape.cut()
            self._tape.free_reserve()
        except OSError as error:
            self._poison = write_fault(error, self._tape.doing, self.directory).problems
        else:
            self._poison = ()


def _recover(disk: Disk, directory: Path, reading: Reading) -> Tape:
    """Set a torn tail aside, make durable and acknowledged what stands, and open the files."""
    if reading.torn:
        set_aside(disk, directory, disk.read(directory / JOURNAL)[reading.size :])
        crash_point("journal.tail_set_aside")
    make_reserve(disk, directory)
    tape = Tape.open(disk, directory, size=reading.size, slot=reading.slots.next)
    try:
        if reading.torn:
            tape.cut()
            crash_point("journal.tail_cut")
        # The process that wrote the last records may have died before their sync, or of it; they are relied on from here.
        unsure = b"".join(record.line for record in reading.records[reading.acknowledged :])
        if unsure:
            tape.write_again(unsure)
        tape.sync()
        crash_point("journal.tail_synced")
        if reading.last.seq > reading.acknowledged:
            tape.acknowledge(reading.last)
    except OSError:
        tape.close()
        raise
    return tape


def _interrupted(directory: Path) -> tuple[Problem, ...]:
    detail = f"A write to the journal in {directory} was broken off; what reached the disk isn't known here."
    return (Problem("E705", "the journal could not be written", detail, f"runbook resume {directory.name}"),)


def _ended(directory: Path) -> tuple[Problem, ...]:
    detail = f"The journal in {directory} was closed, or has had the record of its stop."
    return (Problem("E711", "the journal takes no more records", detail, f"runbook resume {directory.name}"),)
