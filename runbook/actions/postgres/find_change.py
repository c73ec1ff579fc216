"""Finding the transaction that did the damage: what was deleted, updated or dropped in a window of time, from the WAL."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from runbook.action import (
    Action,
    CheckFailed,
    Done,
    Effect,
    FileFacts,
    Inputs,
    Interrupted,
    Look,
    Outputs,
    Scope,
    current,
    guard,
)
from runbook.actions.postgres import changes, cluster
from runbook.actions.postgres.client import MAINTENANCE_DATABASE
from runbook.actions.postgres.elsewhere import refuse_elsewhere
from runbook.actions.postgres.wal import Segment, Stretch, parse_name, segment_name, stretches
from runbook.actions.postgres.wal_source import directory_of
from runbook.errors import Problem, Refused
from runbook.operation import Operations, Process, sql
from runbook.system import Postgres
from runbook.units import show_instant

_READ = """\
set -f
dump() { [ -z "$3" ] || TZ=UTC LC_ALL=C "$1" --path="$2" --timeline="$5" "$3" "$4"; }
{
  dump "$1" "$2" "$3" "$4" "$5" || echo '!failed'
  dump "$1" "$6" "$7" "$8" "$5" || :  # its last segment is being written: it ends where the server is
} 2>/dev/null | LC_ALL=C awk -v own="$9" -v only="${10}" -v since="${11}" -v until="${12}" "${13}" | sort -rn | head -n "${14}"
"""
_LIVE = sql(
    "SELECT current_setting('data_directory') AS directory, "
    "CASE WHEN pg_is_in_recovery() THEN '' ELSE pg_walfile_name(pg_current_wal_insert_lsn()) END AS segment"
)
_RELATION = sql(
    "SELECT coalesce((SELECT (CASE WHEN reltablespace = 0 THEN d.dattablespace ELSE reltablespace END) || '/' || d.oid || '/' "
    "|| pg_relation_filenode(c.oid) FROM pg_class c, pg_database d WHERE c.oid = to_regclass({table}) "
    "AND d.datname = current_database()), '') AS relation",
    table="",
)
_NAME = "SELECT coalesce(pg_filenode_relation({space}::oid, {file}::oid)::regclass::text, '') AS name"


class FindChangeInputs(Inputs):
    """Where to look."""

    since: AwareDatetime = Field(description="From when on, with a zone")
    until: AwareDatetime = Field(description="Until when")
    table: str = Field(
        default="", description="Only rows of this table, as it is now (public.users); files are told in any case"
    )
    segments: int = Field(
        default=256, ge=1, le=4096, description="At most so many segments of WAL are read (16 MiB each)"
    )

    @model_validator(mode="after")
    def _in_order(self) -> FindChangeInputs:
        if self.until <= self.since:
            raise ValueError("until has to be later than since")
        return self


@dataclass(frozen=True, slots=True)
class FindChangeFacts:
    """The segments to read, as names: of the archive, and of the server's own WAL where that goes on; '' = none."""

    program: str = current()
    owner: str = current()
    timeline: int = current()
    archived: tuple[str, str] = current()
    directory: str = current()
    unarchived: tuple[str, str] = current()
    relation: str = guard()


class Found(BaseModel):
    """A transaction."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    xid: int = Field(description="Its id, as `xid` of postgres.restore_to_time takes it")
    lsn: str = Field(description="Where its commit record begins, as `lsn` there takes it (with inclusive: false)")
    at: str = Field(description="When it was committed (UTC)")
    did: str = Field(description="In words")
    deleted: int = Field(description="Rows that it deleted")
    updated: int = Field(description="Rows that it updated")
    dropped: int = Field(description="Files that it dropped (tables, indexes; also by TRUNCATE)")
    table: str = Field(description="The table with the most changes; empty where it is gone or in another database")


class FoundChanges(Outputs):
    """What was found; the heaviest one by itself."""

    xid: int = Field(description="The id of the transaction that changed the most")
    lsn: str = Field(description="Where its commit record begins")
    at: str = Field(description="When it was committed (UTC)")
    did: str = Field(description="What it did, in words")
    transactions: tuple[Found, ...] = Field(description=f"All, by time; at most the {changes.MOST} heaviest")


class FindChange(Action[Postgres, FindChangeInputs, FindChangeFacts, FoundChanges]):
    """Find the transactions that deleted, updated or dropped in a window of time, by reading the archived WAL (`pg_waldump`).

    What is found is where a recovery ends: `postgres.restore_to_time` with `xid` and `inclusive: false` stops just before it.
    Where the server is up, its own newest WAL is read too, so that a change need not be archived yet. A table that was emptied
    or dropped has other files now: leave out `table` to find that. The WAL knows rows and files, not statements.
    """

    effect = Effect.READS
    interrupted = Interrupted.REPEATABLE
    needs_programs = ("pg_waldump",)
    example = """\
- id: culprit
  title: Find the transaction that deleted the users
  uses: postgres.find_change
  on: db
  with: {since: "2026-02-14T11:30:00Z", until: "2026-02-14T12:30:00Z", table: public.users}
  timeout: 30m
"""

    def observe(self, look: Look, system: Postgres, inputs: FindChangeInputs, scope: Scope) -> FindChangeFacts:
        """The archive's names; the server's files and its present segment, where it answers."""
        refuse_elsewhere(look, system)
        at = system.connection(application=scope.application, database=MAINTENANCE_DATABASE)
        row = look.query(at, _LIVE)[0]
        data = str(row["directory"])
        place = cluster.read_place(look, system.host, data)
        if place is None:
            raise Refused(
                Problem("E679", "the server's files can't be seen", f"{data} is not there.", "Correct `host`.")
            )
        program = cluster.read_options(look, system.host, data)[0]
        folder = (system.binaries or posixpath.dirname(program)).rstrip("/")
        control = cluster.read_control(
            look, system.host, f"{folder}/pg_controldata" if folder else "pg_controldata", data
        )
        size = control.segment_bytes
        archived, own = (
            _segments(look.listing(system.host, path), size) for path in (directory_of(system), f"{data}/pg_wal")
        )
        now = parse_name(str(row["segment"]), size)
        timeline = now.timeline if isinstance(now, Segment) else control.timeline
        first = _window(archived, inputs, timeline)
        last = now.number if isinstance(now, Segment) else -1
        tail = _tail(own, first, timeline, last)
        count = (first.count if first else 0) + (tail.count if tail else 0)
        if not count or count > inputs.segments:
            detail = (
                f"Between the two moments lie {count} segments of timeline {timeline}; read are 1 to {inputs.segments}."
            )
            raise Refused(
                Problem("E679", "there is nothing to read, or too much", detail, "Change since, until or segments.")
            )
        return FindChangeFacts(
            program=f"{folder}/pg_waldump" if folder else "pg_waldump",
            owner=place.owner,
            timeline=timeline,
            archived=_names(first, size),
            directory=f"{data}/pg_wal",
            unarchived=_names(tail, size),
            relation=_relation(look, system, inputs, scope),
        )

    def assume(self, system: Postgres, inputs: FindChangeInputs, scope: Scope) -> FindChangeFacts:
        """Some segments."""
        return FindChangeFacts("pg_waldump", "postgres", 1, ("FIRST", "LAST"), "/PGDATA/pg_wal", ("", ""), "")

    def plan(self, system: Postgres, inputs: FindChangeInputs, facts: FindChangeFacts, scope: Scope) -> Operations:
        """One read of the WAL, summed up where it lies."""
        since, until = (show_instant(one).replace("T", " ").rstrip("Z") for one in (inputs.since, inputs.until))
        words = (
            *(facts.program, directory_of(system), *facts.archived, str(facts.timeline)),
            *(facts.directory, *facts.unarchived),
            *(str(changes.FIRST_OWN), facts.relation, since, until, changes.SUMMARY, str(changes.MOST + 1)),
        )
        argv = ("sh", "-c", _READ, "sh", *words)
        return (Process(name="read_wal", argv=argv, host=system.host, user=facts.owner, cwd="/", reads=True),)

    def verify(
        self, look: Look, system: Postgres, inputs: FindChangeInputs, done: Done[FindChangeFacts]
    ) -> FoundChanges:
        """What the WAL told, with the tables' names as they are now."""
        try:
            found = changes.parse(str(done.results["read_wal"]["stdout"]))
        except ValueError as why:
            detail = f"{directory_of(system)}: {why}."
            raise CheckFailed(Problem("E679", "the WAL can't be relied on", detail, "Look for gaps in it.")) from None
        if not found:
            detail = f"Nothing was deleted, updated or dropped {'in ' + inputs.table if inputs.table else 'by anybody'} then."
            raise CheckFailed(
                Problem("E679", "no such change was found", detail, "Widen the window; leave out `table`.")
            )
        names = _named(look, system, {one.relation for one in found})
        told = tuple(
            Found(
                xid=one.xid,
                lsn=one.lsn,
                at=show_instant(one.at),
                did=one.did,
                deleted=one.deleted,
                updated=one.updated,
                dropped=one.dropped,
                table=names.get(one.relation, ""),
            )
            for one in found
        )
        worst = max(zip(found, told, strict=True), key=lambda pair: pair[0].weight)[1]
        return FoundChanges(xid=worst.xid, lsn=worst.lsn, at=worst.at, did=worst.did, transactions=told)


def _segments(files: tuple[FileFacts, ...], size: int) -> dict[Segment, FileFacts]:
    named = ((parse_name(posixpath.basename(one.path), size), one) for one in files)
    return {segment: one for segment, one in named if isinstance(segment, Segment)}


def _window(files: dict[Segment, FileFacts], inputs: FindChangeInputs, timeline: int) -> Stretch | None:
    """From the first segment that was archived after ``since`` to the first after ``until``: no commit is later than that."""
    own = sorted((segment.number, one.modified) for segment, one in files.items() if segment.timeline == timeline)
    wanted = [number for number, at in own if at >= inputs.since]
    if not wanted:
        return None
    last = next((number for number, at in own if at >= inputs.until), wanted[-1])
    inside = [Segment(timeline, number) for number in wanted if number <= last]
    found = stretches(inside)
    if len(found) != 1:
        detail = f"It has {' and '.join(one.show() for one in found)}, and nothing between."
        raise Refused(Problem("E679", "the archive has a gap in that window", detail, "Look at each part by itself."))
    return found[0]


def _tail(own: dict[Segment, FileFacts], archived: Stretch | None, timeline: int, last: int) -> Stretch | None:
    """What the server has not archived yet. Its last archived segment is read again: a record may go over the boundary."""
    begin = archived.last if archived else -1
    if last <= begin:
        return None
    numbers = [one.number for one in own if one.timeline == timeline and begin <= one.number <= last]
    return next((one for one in stretches(Segment(timeline, n) for n in numbers) if one.last == last), None)


def _names(found: Stretch | None, size: int) -> tuple[str, str]:
    if found is None:
        return ("", "")
    first, last = (segment_name(Segment(found.timeline, number), size) for number in (found.first, found.last))
    return (first, last)


def _relation(look: Look, system: Postgres, inputs: FindChangeInputs, scope: Scope) -> str:
    if not inputs.table:
        return ""
    at = system.connection(application=scope.application)
    found = str(look.query(at, sql(_RELATION.text, table=inputs.table))[0]["relation"])
    if not found:
        detail = f"{system.database} has no table {inputs.table}."
        fix = "Leave out `table`: where it was dropped, its files are gone too."
        raise Refused(Problem("E679", "there is no such table", detail, fix))
    return found


def _named(look: Look, system: Postgres, relations: set[str]) -> dict[str, str]:
    """The names of relations in the system's own database."""
    at = system.connection(application="runbook")
    found = {}
    for relation in sorted(relations - {""}):
        space, _, file = relation.split("/")
        found[relation] = str(look.query(at, sql(_NAME, space=space, file=file))[0]["name"])
    return found
