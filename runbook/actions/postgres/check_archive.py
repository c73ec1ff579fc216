"""Whether a WAL archive would bring the cluster back: archiving works, nothing is missing, and how much would be lost now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import Field

from runbook.action import (
    Action,
    CheckFailed,
    Done,
    Effect,
    Inputs,
    Interrupted,
    Look,
    Outputs,
    Scope,
    current,
    guard,
)
from runbook.actions.postgres.archive_judged import Leading, foreign_cluster, judged, unfit
from runbook.actions.postgres.archive_listing import listed, listed_bucket, parse_listing
from runbook.actions.postgres.archive_place import ArchivePlace, read_archive_place, unsafe
from runbook.actions.postgres.archive_status import ArchiveStatus, Base, read_bases, read_status
from runbook.actions.postgres.wal import HEADER_BYTES, cluster_of
from runbook.actions.postgres.wal_source import BucketArchive, DirectoryArchive, archive_of
from runbook.operation import Operations
from runbook.system import DurationField, Postgres, Store
from runbook.units import parse_duration, show_instant


class CheckArchiveInputs(Inputs):
    """From which base backups the archive has to lead on, and how much may be lost."""

    bases: Store | None = Field(
        default=None, description="The store of base backups: each has to lead to now. Without it every gap is a fault"
    )
    leading: Leading = Field(
        default="every",
        description="Which base backups have to lead to now; newest: of others it is only told how far they do",
    )
    max_age: DurationField | None = Field(
        default=None, description="Fail if more than this would be lost if the server were lost now (15m)"
    )


@dataclass(frozen=True, slots=True)
class CheckArchiveFacts:
    """The archiver, the base backups, and what is said against the archive's place."""

    directory: str = guard()
    status: ArchiveStatus = current()
    bases: tuple[Base, ...] | None = current()
    place: ArchivePlace = current()


class ArchiveChecked(Outputs):
    """What the archive holds and how far it leads. Instants are in UTC; '' = not known."""

    newest: str = Field(description="The newest segment in the archive")
    age_s: float = Field(description="Seconds since it was archived; grows in a cluster where nothing is written")
    rpo_s: float = Field(description="Commits of so many seconds would be lost if the server were lost now, at most")
    earliest: str = Field(
        description="The earliest moment that can be reached: the end of the oldest base backup that leads on"
    )
    latest: str = Field(description="The latest moment that can be reached from the archive alone")
    segments: int = Field(description="How many segments there are")
    timelines: tuple[int, ...] = Field(description="The timelines of which there are segments")
    bytes: int = Field(description="What the archive takes")
    foreign: tuple[str, ...] = Field(default=(), description="Files that are no WAL, the first of them")
    notes: tuple[str, ...] = Field(default=(), description="What is to be known, without being a fault")


class CheckArchive(Action[Postgres, CheckArchiveInputs, CheckArchiveFacts, ArchiveChecked]):
    """Look whether the WAL archive would bring the cluster back, and how much would be lost now.

    It fails, with everything that it found, if the cluster does not archive or its archiving fails; if segments are missing or have
    the wrong size, or a timeline's history is missing; if what the server says it archived last is not there; if the archive would
    be lost with the server; and, with `bases`, if a base backup doesn't lead to now, or none does. With `bases`, gaps before the
    oldest base backup are no fault. `max_age` bounds what would be lost: in a cluster where nothing is written no segment is
    closed, its newest one grows old, and nothing is lost; so it is not the age that counts while nothing waits to be archived and
    archive_timeout is set. The directory is read where it is: 100,000 files take about a second. Of a bucket the names are listed,
    and the newest segment and the latest history are fetched. Nothing is changed.
    """

    effect = Effect.READS
    interrupted = Interrupted.REPEATABLE
    example = """\
- id: check
  title: The archive leads from every base backup to now
  uses: postgres.check_archive
  on: db
  with: {bases: bases, max_age: 15m}
  timeout: 5m
"""

    def observe(self, look: Look, system: Postgres, inputs: CheckArchiveInputs, scope: Scope) -> CheckArchiveFacts:
        """The server's archiver, the archive's place, the manifests of the base backups."""
        archive = archive_of(system, scope)
        status = read_status(look, system, scope)
        place = ArchivePlace(archive.place, exists=True)
        if isinstance(archive, DirectoryArchive):
            place = read_archive_place(look, system, archive.directory, status.data_directory)
        if not place.exists:
            raise CheckFailed(unfit(archive.unseen(look), "Mount it, or correct `archive`."))
        bases = None if inputs.bases is None else read_bases(look, inputs.bases)
        return CheckArchiveFacts(archive.place, status, bases, place)

    def assume(self, system: Postgres, inputs: CheckArchiveInputs, scope: Scope) -> CheckArchiveFacts:
        """An archive to be read."""
        place = archive_of(system, scope).place
        return CheckArchiveFacts(place, ArchiveStatus(), (), ArchivePlace(place, exists=True))

    def plan(self, system: Postgres, inputs: CheckArchiveInputs, facts: CheckArchiveFacts, scope: Scope) -> Operations:
        """One read of the directory, where it is, or of the bucket's names."""
        archive = archive_of(system, scope)
        if isinstance(archive, BucketArchive):
            return listed_bucket(archive, facts.status.segment_bytes)
        return (listed(facts.directory, system.host, facts.status.segment_bytes),)

    def verify(
        self, look: Look, system: Postgres, inputs: CheckArchiveInputs, done: Done[CheckArchiveFacts]
    ) -> ArchiveChecked:
        """What was read, judged."""
        facts = done.facts
        listing = parse_listing(str(done.results.get("listing", {}).get("stdout", "")), facts.status.segment_bytes)
        found = judged(
            facts.directory,
            facts.status,
            listing,
            facts.bases,
            max_age_s=None if inputs.max_age is None else parse_duration(inputs.max_age),
            leading=inputs.leading,
        )
        owner = listing.writer
        if listing.newest and not owner and facts.directory.startswith("/"):
            owner = cluster_of(look.head(system.host, f"{facts.directory}/{listing.newest}", HEADER_BYTES))
        problems = [*unsafe(facts.place), *foreign_cluster(facts.status, listing, owner), *found.problems]
        if problems:
            raise CheckFailed(*problems)
        return ArchiveChecked(
            newest=listing.newest,
            age_s=round(found.age_s, 3),
            rpo_s=round(found.rpo_s, 3),
            earliest=found.earliest,
            latest=show_instant(datetime.fromtimestamp(listing.newest_at, UTC)) if listing.newest else "",
            segments=listing.segments,
            timelines=listing.coverage.timelines,
            bytes=listing.bytes,
            foreign=listing.foreign,
            notes=(*facts.place.notes, *found.notes),
        )
