"""Promoting a standby, once its primary can't take writes any more."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field, field_validator, model_validator

from runbook.action import Action, CheckFailed, Done, Effect, Inputs, Look, Outputs, Scope, current, guard, pinned
from runbook.actions.postgres import collations, fencing
from runbook.actions.postgres.cluster import Server
from runbook.actions.postgres.fencing import Directory, Seen
from runbook.actions.postgres.instance import is_contained
from runbook.actions.postgres.replication import (
    Node,
    known_lsn,
    maintenance,
    need_node,
    no_standby,
    not_as_it_should,
    parent_of,
    read_history,
    refuse_no_standby,
    shown_lsn,
    waiting,
)
from runbook.actions.postgres.server_tools import Tools
from runbook.actions.postgres.standby_status import ASSUMED
from runbook.errors import Problem, Refused
from runbook.operation import Condition, Operation, Operations, Sql, Test, Transaction, Wait, sql
from runbook.own_address import is_own
from runbook.placeholder import Foreseeable, Placeholder
from runbook.system import DurationField, Postgres
from runbook.units import parse_duration

CAUGHT_UP_WITHIN_S = 120.0

_SUMMARY = "the standby lacks what the primary has"


class PromoteInputs(Inputs):
    """Whom it succeeds, and what has to be there first."""

    primary: Postgres = Field(description="The old primary, which has to be fenced")
    directory: str = Field(
        default="", description="Its data directory, as postgres.fence gives it; default: the system's"
    )
    attested: str = Field(
        default="", description="Where its machine can't be reached: who has made sure that it is off, and how"
    )
    end: Foreseeable[str] = Field(
        default="", description="Where the old primary's WAL ends (LSN, as postgres.fence gives it); empty: not known"
    )
    lossless: bool = Field(default=False, description="Promote only what has replayed everything up to that end")
    within: DurationField = Field(default="30m", description="How long it may take to replay what it has received")

    @field_validator("end")
    @classmethod
    def _position(cls, value: str) -> str:
        if value and not isinstance(value, Placeholder) and known_lsn(value) is None:
            raise ValueError("expected a position in the WAL, such as 0/3000148")
        return value

    @model_validator(mode="after")
    def _known(self) -> PromoteInputs:
        if self.lossless and not self.end:
            raise ValueError("lossless needs `end`: without it nobody can tell what the standby lacks")
        return self


@dataclass(frozen=True, slots=True)
class PromoteFacts:
    """The cluster; where the standby stood at first; both servers as they are."""

    system_identifier: str = guard()
    timeline: int = pinned()
    last_commit: str = pinned()
    standby: Node = current()
    primary: Seen = current()


class Promoted(Outputs):
    """The new primary."""

    timeline: int = Field(description="Its timeline")
    fork: str = Field(
        description="Where its history leaves the old one's (LSN): the old primary's WAL from there on is lost"
    )
    lost_nothing: bool | None = Field(description="True: it has all of the old primary's WAL; null: that can't be told")
    last_commit: str = Field(description="When the last commit of the old primary that it has was made (UTC)")
    recovery_point: str | None = Field(
        description="The same, where something may be lost: the recovery point, and too early where nothing was being written"
    )
    advice: str = Field(description="What to do next")


class Promote(Action[Postgres, PromoteInputs, PromoteFacts, Promoted]):
    """Promote a standby to a primary: it ends its recovery, begins a timeline of its own and takes writes.

    Refused while the old primary answers as one, while its data directory is not fenced (`postgres.fence`), and, where neither
    can be seen, unless `attested` says who has made sure that it is off. The server replays everything that it has received
    before it is promoted. With `lossless`, for a switchover, it is promoted only if it has replayed the last record of a
    primary that was shut down in an orderly way. There is no way back but a switchover.
    """

    effect = Effect.CHANGES
    needs_programs = ("pg_ctl",)
    example = """\
- id: promote
  title: Promote the standby
  uses: postgres.promote
  on: standby
  with: {primary: primary, directory: "{{ steps.fence.data_directory }}", attested: "{{ inputs.attested }}"}
  timeout: 45m
"""

    def observe(self, look: Look, system: Postgres, inputs: PromoteInputs, scope: Scope) -> PromoteFacts:
        """The standby's state; whether the old primary answers, and its files."""
        standby = need_node(look, system, scope.application)
        primary = fencing.see(look, inputs.primary, scope, inputs.directory)
        if standby.in_recovery or not scope.resumed:
            refuse_no_standby(system, standby, None)
            _refuse_same(look, system, inputs.primary, standby, primary)
            fencing.refuse_unfenced(inputs.primary, primary, inputs.attested)
        if standby.in_recovery and standby.paused:
            who = system.key or "the standby"
            fix = "SELECT pg_wal_replay_resume();    -- on the standby, if what comes next may be replayed"
            raise Refused(no_standby(f"The replay of {who} is paused: somebody may want it to stand where it is.", fix))
        return PromoteFacts(standby.identifier, standby.timeline, standby.last_commit, standby, primary)

    def assume(self, system: Postgres, inputs: PromoteInputs, scope: Scope) -> PromoteFacts:
        """A standby, and an old primary that is fenced."""
        path = inputs.directory or inputs.primary.data_directory or "/PGDATA"
        down = Directory(path, "postgres", inputs.primary.binaries, (), Server.STOPPED, marked=True)
        return PromoteFacts("", 1, "", ASSUMED, Seen(None, down))

    def plan(self, system: Postgres, inputs: PromoteInputs, facts: PromoteFacts, scope: Scope) -> Operations:
        """In recovery: all of it. Promoted, with a control file that doesn't know yet: the checkpoint. Else nothing."""
        at, node = maintenance(system, scope.application), facts.standby
        # without it the control file has the old timeline, and pg_rewind would see no difference
        checkpoint = Sql(
            name="checkpoint",
            connection=at,
            statements=(sql("CHECKPOINT"),),
            transaction=Transaction.AUTOCOMMIT,
        )
        if not node.in_recovery:
            return () if node.checkpoint_timeline >= node.timeline else (checkpoint,)
        within_s = int(parse_duration(inputs.within))
        promote = Sql(
            name="promote",
            connection=at,
            statements=(sql("SELECT pg_promote(true, {within})::int AS promoted", within=within_s),),
            transaction=Transaction.AUTOCOMMIT,
            expect=(Condition("promoted", Test.EQUALS, 1),),
        )
        asked = sql("SELECT pg_is_in_recovery()::int AS in_recovery")
        writes = Wait(
            name="takes_writes",
            read=Sql(name="role", connection=at, statements=(asked,), reads=True),
            until=(Condition("in_recovery", Test.EQUALS, 0),),
            deadline_s=60.0,
        )
        return (*self._proof(system, inputs, facts, scope), promote, writes, checkpoint)

    def _proof(
        self, system: Postgres, inputs: PromoteInputs, facts: PromoteFacts, scope: Scope
    ) -> tuple[Operation, ...]:
        """What has to hold at the last moment before the point of no return."""
        found = facts.primary.directory
        proof: list[Operation] = []
        if found is not None and not found.runs:
            tools = Tools(found.programs, inputs.primary.host, found.owner)
            proof.append(fencing.proven(found.path, tools))
        if inputs.lossless:
            # the last replayed record ends behind the beginning of the last one: so that one was replayed
            past = "SELECT (pg_last_wal_replay_lsn() > {lsn}::pg_lsn)::int AS replayed, pg_last_wal_replay_lsn()::text AS at"
            read = Sql(
                name="position",
                connection=maintenance(system, scope.application),
                statements=(sql(past, lsn=inputs.end),),
                reads=True,
            )
            until = (Condition("replayed", Test.EQUALS, 1),)
            proof.append(Wait(name="lossless", read=read, until=until, deadline_s=CAUGHT_UP_WITHIN_S))
        return tuple(proof)

    def verify(self, look: Look, system: Postgres, inputs: PromoteInputs, done: Done[PromoteFacts]) -> Promoted:
        """It takes writes, on a timeline of its own, and its history leaves the old one behind what had to be there."""
        facts, node = done.facts, done.facts.standby
        if node.in_recovery or node.timeline <= facts.timeline:
            why = f"{system.key or 'the standby'} is on timeline {node.timeline}, in recovery: {node.in_recovery}."
            raise CheckFailed(not_as_it_should(why, "Look at its log."))
        fork = parent_of(read_history(look, system, node.timeline, "runbook"))
        end = known_lsn(inputs.end)
        whole = end is not None and fork is not None and fork > end
        if inputs.lossless and not whole:
            why = f"It was promoted at {shown_lsn(fork) or 'an unknown position'}, before {inputs.end}."
            raise CheckFailed(
                Problem("E695", _SUMMARY, why, "Keep the old primary as it is: it has commits of its own.")
            )
        last = node.last_commit or facts.last_commit
        return Promoted(
            timeline=node.timeline,
            fork=shown_lsn(fork),
            lost_nothing=True if whole else None,
            last_commit=last,
            recovery_point=None if whole else last or None,
            advice=_advice(look, system),
        )


def _advice(look: Look, system: Postgres) -> str:
    """What to do next; and what would make every commit wait, since the standby had its primary's configuration."""
    said = waiting(look, system) + collations.changed(look, system)
    return f"{said}Take a new base backup now (postgres.basebackup): this is a new timeline."


def _refuse_same(look: Look, system: Postgres, old: Postgres, standby: Node, primary: Seen) -> None:
    """Refuse (exit 4) a standby that is named as the old primary too: by an address, say, that moved to it when that one died."""
    here = is_contained(system.host) or is_own(look, system.host, system.address)
    path = primary.directory.path if primary.directory else ""
    if here and old.host == system.host and path == standby.directory:
        why = f"{old.key or 'the old primary'} and {system.key or 'the standby'} are one server, the one in {path}."
        raise Refused(no_standby(why, "Name each by its own machine's address, and not by one that moves."))
