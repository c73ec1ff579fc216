"""What has to hold of every record, looked at the moment it is acknowledged.

Owns :class:`Records` and :class:`Canary`. I1: the intent of what is performed is on stable storage. I3: so is every record that
was acknowledged, its head too, and all that an opened journal relies on. I4: the canary is in no file of the run.
A step of a run's end begins once in an execution.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from random import Random
from urllib.parse import quote

from runbook.engine.events import Event, StepRetried, StepStarted
from runbook.errors import JournalFault
from runbook.journal.head import decode_slots
from runbook.journal.local import LocalJournal, read
from runbook.journal.record import Record
from runbook.journal.tape import HEAD, JOURNAL
from runbook.plan.model import Section
from runbook.secret import Redactor, Secret
from tests.journal.memory_disk import Inode
from tests.runner.memory_run import DIRECTORY, MemoryRun
from tests.simulation.plans import Simulated
from tests.simulation.violation import Violation

_JOURNAL, _HEAD = DIRECTORY / JOURNAL, DIRECTORY / HEAD


class Canary:
    """A secret that programs print and errors quote, in the forms in which secrets travel."""

    def __init__(self, chance: Random) -> None:
        value = f'zebra/"{chance.randrange(10**6):06d} kühn$'
        self.redactor = Redactor((Secret(value),))
        self._forms = (
            value,
            base64.b64encode(value.encode()).decode().rstrip("="),
            quote(value, safe=""),
            json.dumps(value)[1:-1],
            json.dumps(value, ensure_ascii=False)[1:-1],
        )
        self._plain = tuple({form.replace("\\", "").encode() for form in self._forms})
        self._chance = chance

    def said(self) -> str:
        """A sentence with the secret in it."""
        return f" logged in with {self._chance.choice(self._forms)}, all is well"

    def sings(self, content: bytes) -> bool:
        """Whether the secret is in there, however often what holds it was escaped."""
        plain = content.replace(b"\\", b"")
        return any(form in plain for form in self._plain)


class Records:
    """See the module."""

    def __init__(self, plan: Simulated, run: MemoryRun, canary: Canary | None) -> None:
        self._ends = frozenset(one.id for one in plan.steps if one.section is not Section.STEPS)
        self._run = run
        self._canary = canary
        self._relied_on: tuple[Record, ...] | None = ()
        self._offset = 0
        self._head, self._known = b"", 0
        self._begun: Counter[str] = Counter()
        run.on_opened, run.on_record = self._opened, self._acknowledged

    def intent_is_durable(self, use_id: str) -> None:
        """I1, asked right before an effect."""
        durable = self._file_of_the_run(HEAD, JOURNAL)[1].durable
        if durable.rfind(f'"{use_id}"'.encode()) < 0:
            raise Violation(f"I1: {use_id} is performed, and its intent isn't durable")

    def are_there(self) -> bool:
        """I3 on the disk of the next boot; gives whether the run exists at all."""
        try:
            reading = read(DIRECTORY, disk=self._run.disk)
        except JournalFault:
            found, lacking = {}, True
        else:
            found, lacking = {record.seq: record.hash for record in reading.records}, bool(reading.damages)
        lost = [record.seq for record in self._run.acknowledged if found.get(record.seq) != record.hash]
        if lost or (found and lacking):
            raise Violation(f"I3: the acknowledged records {lost} are lost or others, or the journal is refused")
        if not found and self._run.world.marks:
            raise Violation("I1: there were effects before there was a run")
        self.keep_the_secret()
        return bool(found)

    def keep_the_secret(self) -> None:
        """I4, in every file that the run left."""
        for path, inode in self._run.disk.names.items() if self._canary else ():
            if self._canary and self._canary.sings(inode.content):
                raise Violation(f"I4: the secret is in {path.name}")

    def _opened(self, journal: LocalJournal) -> None:
        self._relied_on = journal.records
        self._offset = sum(len(record.line) for record in journal.records)
        self._begun.clear()

    def _acknowledged(self, record: Record, event: Event) -> None:
        head, journal = self._file_of_the_run(HEAD, JOURNAL)
        end = self._offset + len(record.line)
        if journal.durable[self._offset : end] != record.line:
            raise Violation(f"I3: record {record.seq} is acknowledged, and isn't durable")
        if self._relied_on is not None:
            if journal.durable[: self._offset] != journal.content[: self._offset]:
                raise Violation("I3: a resume goes on from records that aren't durable")
            self._run.acknowledged[:-1] = self._relied_on
            self._relied_on = None
        if head.durable is not self._head:
            newest = decode_slots(head.durable).newest
            self._head, self._known = head.durable, newest.seq if newest else 0
        if self._known < record.seq:
            raise Violation(f"I3: record {record.seq} is acknowledged, and the durable head doesn't know it")
        if self._canary and self._canary.sings(record.line):
            raise Violation(f"I4: the secret is in record {record.seq}, {record.event}")
        self._offset = end
        self._at_the_end(event)

    def _at_the_end(self, event: Event) -> None:
        match event:
            case StepStarted(step, resumed=False) if step in self._ends:
                self._begun[step] += 1
                if self._begun[step] > 1:
                    raise Violation(f"{step} is a step of the run's end, and begins twice in one execution")
            case StepRetried(step):
                self._begun[step] -= 1

    def _file_of_the_run(self, *names: str) -> list[Inode]:
        disk = self._run.disk
        paths = [DIRECTORY / name for name in names]
        if any(disk.durable_names.get(path) is not disk.names[path] for path in paths):
            raise Violation("I3: the names of the run's files aren't durable")
        return [disk.names[path] for path in paths]
