"""Turning on continuous archiving to a directory or a bucket, and proving it with a segment."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from runbook.action import Action, CheckFailed, Done, Effect, Look, Outputs, Scope
from runbook.actions.postgres import wal
from runbook.actions.postgres.archive_bucket import BucketWriter, read_program
from runbook.actions.postgres.archive_place import ArchivePlace, read_archive_place
from runbook.actions.postgres.archiver import (
    Archiver,
    Writer,
    changed,
    in_effect,
    proof,
    read_archiver,
    reloaded,
    restored,
)
from runbook.actions.postgres.archiving import Setting, wanted_settings
from runbook.actions.postgres.archiving_step import ArchivingFacts, ConfigureArchivingInputs, refuse
from runbook.actions.postgres.client import MAINTENANCE_DATABASE
from runbook.actions.postgres.elsewhere import refuse_elsewhere
from runbook.actions.postgres.instance import Manner, answering, read_instance
from runbook.actions.postgres.moment import memory
from runbook.actions.postgres.stop import started, stopping
from runbook.actions.postgres.wal_source import PROGRAM, Archive, BucketArchive, DirectoryArchive, archive_of, bucket_of
from runbook.errors import Problem
from runbook.host import LOCAL
from runbook.operation import Connection, Operations, Write
from runbook.system import Postgres
from runbook.units import parse_duration, show_duration

ANSWERS_WITHIN_S = 600.0
ADVICE = "Take a base backup now (postgres.basebackup): WAL leads on only from one that was taken after this."


class Configured(Outputs):
    """Archiving that works."""

    directory: str = Field(description="Where the WAL is archived: a directory on the server's host, or a bucket's url")
    segment: str = Field(description="The last segment that was archived")
    archived_at: str = Field(description="When, as the server says (UTC)")
    may_be_lost: str = Field(description="The longest time that commits may stay unarchived while archiving works")
    notes: tuple[str, ...] = Field(default=(), description="What is to be known of the archive's place")
    advice: str = Field(description="What to do next")


class ConfigureArchiving(Action[Postgres, ConfigureArchivingInputs, ArchivingFacts, Configured]):
    """Archive the WAL of a cluster continuously, and prove it: a segment is closed, and has to arrive in the archive whole.

    The directory (`archive: file://…` of the system, as seen from the server's host) may not lie in the data directory or in the
    container itself. A bucket (`archive: s3://…`) is for a server on this machine: it runs `runbook wal push` with a file of keys
    that lies beside the data directory, mode 0600, and is the server's own; no setting and no log holds a key. Endpoint, region
    and keys are those of the environment's `store` with that url, or of one above it. The archive_command never overwrites a
    file, and gives it its name only when its bytes are on the disk.

    Settings are made with ALTER SYSTEM; those that the server was started with (`-c` on its command line) can't be changed so, and
    are refused. archive_mode and wal_level count from a restart on: then the server, or its container, is stopped and started,
    and all sessions end. A server that a service manager watches needs its commands in `stop` and `start`. An archiving by a tool
    (pgBackRest, Barman, WAL-G), or one to another place that has worked, is replaced only with `replace: true`. A second run
    changes no setting and proves again. `undo` gives the former settings back; the archive stays.
    """

    effect = Effect.CHANGES
    needs_programs = ("pg_ctl",)
    example = """\
- id: archive
  title: Archive the WAL continuously, and prove it
  uses: postgres.configure_archiving
  on: db
  with: {archive_timeout: 5m}
  timeout: 30m
  confirm: The server is restarted if archiving was off.
"""

    def observe(self, look: Look, system: Postgres, inputs: ConfigureArchivingInputs, scope: Scope) -> ArchivingFacts:
        """The server's settings, its archiver, and the place; a server that this step has stopped is looked at by its process."""
        refuse_elsewhere(look, system)
        archive = archive_of(system, scope)
        known = (look.text(LOCAL, memory(scope)) or "").partition("\n")[2].strip()
        instance = read_instance(look, system, scope) if known else None
        if instance is not None and not instance.answers:
            down = self.assume(system, inputs, scope)  # what counts of it was pinned when the server still answered
            return replace(down, system_identifier=known, answers=False, runs=instance.runs)
        archiver, settings = read_archiver(look, system, archive, scope)
        place = _place(look, system, archive, archiver.data_directory)
        owner = _owner(look, system, archiver.data_directory)
        facts = ArchivingFacts(
            system_identifier=archiver.identifier,
            directory=archive.place,
            data_directory=archiver.data_directory,
            owner=owner,
            manner=Manner(archiver.data_directory),
            before=settings,
            asked_at=archiver.asked_at,
            segment_bytes=archiver.segment_bytes,
            program=read_program(look, inputs.program) if isinstance(archive, BucketArchive) else "",
            answers=True,
            runs=True,
            exists=place.exists,
            settings=settings,
            archiver=archiver,
            notes=place.notes,
        )
        wanted = wanted_settings(facts.command, inputs.timeout_s)
        restarts = any(one.restart for one in facts.unfit(wanted, now=True))
        refuse(look, system, inputs, facts, place, restarts=restarts)
        if not restarts:
            return facts
        instance = instance or read_instance(look, system, scope)
        return replace(facts, manner=instance.manner)

    def assume(self, system: Postgres, inputs: ConfigureArchivingInputs, scope: Scope) -> ArchivingFacts:
        """A server that has never archived."""
        defaults = {"wal_level": "minimal", "max_wal_senders": "0", "archive_mode": "off", "archive_timeout": "0"}
        data = system.data_directory or "/PGDATA"
        archive = archive_of(system, scope)
        settings = tuple(
            Setting(one.name, defaults.get(one.name, ""), "default", None, None)
            for one in wanted_settings("", inputs.timeout_s)
        )
        return ArchivingFacts(
            system_identifier="",
            directory=archive.place,
            data_directory=data,
            owner="postgres",
            manner=Manner(data, "postgres", system.binaries),
            before=settings,
            asked_at="",
            segment_bytes=wal.SEGMENT_BYTES,
            program=inputs.program or PROGRAM if isinstance(archive, BucketArchive) else "",
            answers=True,
            runs=True,
            exists=False,
            settings=settings,
            archiver=Archiver(data_directory=data),
            notes=(),
        )

    def plan(
        self, system: Postgres, inputs: ConfigureArchivingInputs, facts: ArchivingFacts, scope: Scope
    ) -> Operations:
        """The directory, the settings that differ, what makes them count, and the proof."""
        at, writer = _connection(system, scope), _writer(system, facts, scope)
        wanted = wanted_settings(facts.command, inputs.timeout_s)
        proven = proof(at, writer, facts.segment_bytes, within_s=parse_duration(inputs.within))
        if not facts.answers:  # one that runs may be on its way down: it is stopped in any case
            stop = stopping(system, facts.manner, by=inputs.stop) if facts.runs else ()
            return (*stop, *_start(system, inputs, facts, scope), *proven)
        unfit, late = facts.unfit(wanted, now=True), facts.unfit(wanted, now=False)
        if not unfit and not late and facts.proven:
            return ()
        kept = f"{facts.data_directory}\n{facts.system_identifier}\n"
        restarts = any(one.restart for one in unfit)
        if restarts:
            counts: Operations = (
                *stopping(system, facts.manner, by=inputs.stop),
                *_start(system, inputs, facts, scope),
            )
        else:
            counts = in_effect(at, facts.command) if unfit or late else ()
        return (
            *((Write(name="remember", path=memory(scope), content=kept),) if restarts else ()),
            *(() if facts.exists else writer.prepared()),
            writer.probe(facts.system_identifier),
            *(changed(at, one) for one in late),
            *counts,
            *proven,
        )

    def verify(
        self, look: Look, system: Postgres, inputs: ConfigureArchivingInputs, done: Done[ArchivingFacts]
    ) -> Configured:
        """What the closing round saw: every setting counts, and a segment lies in the archive whole."""
        facts = done.facts
        unfit = facts.unfit(wanted_settings(facts.command, inputs.timeout_s), now=True)
        if unfit or not facts.proven:
            seen = facts.archiver
            why = f"these settings don't count yet: {', '.join(one.name for one in unfit)}" if unfit else "no proof"
            detail = f"{system.key or 'The server'}: {why}; last archived {seen.last or 'nothing'}, {seen.archived_at}."
            fix = "SELECT * FROM pg_stat_archiver;    # and the server's log"
            raise CheckFailed(Problem("E655", "archiving is not shown to work", detail, fix))
        timeout = next((one.value for one in facts.settings if one.name == "archive_timeout"), "")
        return Configured(
            directory=facts.directory,
            segment=facts.archiver.last,
            archived_at=facts.archiver.archived_at,
            may_be_lost=show_duration(float(timeout or inputs.timeout_s)),
            notes=facts.notes,
            advice=ADVICE,
        )

    def undo(
        self, system: Postgres, inputs: ConfigureArchivingInputs, facts: ArchivingFacts, scope: Scope
    ) -> Operations:
        """The settings that ALTER SYSTEM had before; and again what makes them count. The archive's files stay."""
        at = _connection(system, scope)
        back = restored(at, facts.before, facts.settings)
        if not back:
            return ()
        now, before = ({one.name: one.auto for one in some} for some in (facts.settings, facts.before))
        restart = {one.name for one in wanted_settings(facts.command, inputs.timeout_s) if one.restart}
        if any(now.get(name) != before.get(name) for name in restart):
            return (*back, *stopping(system, facts.manner, by=inputs.stop), *_start(system, inputs, facts, scope))
        return (*back, reloaded(at))


def _connection(system: Postgres, scope: Scope) -> Connection:
    return system.connection(application=scope.application, database=MAINTENANCE_DATABASE)


def _writer(system: Postgres, facts: ArchivingFacts, scope: Scope) -> Writer | BucketWriter:
    if facts.program:
        return BucketWriter(bucket_of(system, scope), facts.program, facts.access, facts.owner)
    return Writer(facts.directory, facts.owner, system.host)


def _place(look: Look, system: Postgres, archive: Archive, data: str) -> ArchivePlace:
    """A directory may be lost with the server; a bucket is somewhere else, and a prefix is there once an object is."""
    if isinstance(archive, DirectoryArchive):
        return read_archive_place(look, system, archive.directory, data)
    return ArchivePlace(archive.place, exists=False)


def _start(system: Postgres, inputs: ConfigureArchivingInputs, facts: ArchivingFacts, scope: Scope) -> Operations:
    return (*started(system, facts.manner, scope, by=inputs.start), answering(system, scope, ANSWERS_WITHIN_S))


def _owner(look: Look, system: Postgres, data: str) -> str:
    found = look.file(system.host, data)
    return found.owner if found is not None else ""
