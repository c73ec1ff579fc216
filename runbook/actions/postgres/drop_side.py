"""Ending a side copy that postgres.restore_to_time left running: its server, then its directories."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace

from pydantic import Field

from runbook.action import Action, CheckFailed, Done, Effect, Inputs, Look, Outputs, Scope, current
from runbook.actions.postgres import cluster, recovery, swap, tablespace_copies, tablespaces
from runbook.actions.postgres.cluster import Paths, Place, Server
from runbook.actions.postgres.moment import memory
from runbook.actions.postgres.server_tools import Tools
from runbook.actions.postgres.wal_source import archive_of, spool_of
from runbook.errors import Problem, Refused
from runbook.host import LOCAL
from runbook.operation import Operations
from runbook.system import Postgres


class DropSideInputs(Inputs):
    """Whose copy is dropped."""

    step: str = Field(
        pattern=r"^[a-z][a-z0-9_]*$",
        description="The step of this plan that made it (postgres.restore_to_time, mode: side)",
    )


@dataclass(frozen=True, slots=True)
class DropSideFacts:
    """What there is of the copy. ``where`` None: the step has made nothing yet. ``programs``: the folder of its server's.

    ``spaces``: directories of its tablespaces, none of which the cluster in its place uses.
    """

    where: Paths | None = current()
    side: Place | None = current()
    programs: str = current()
    partial: bool = current()
    run: bool = current()
    feeding: bool = current()
    spaces: tuple[str, ...] = current()


class DroppedSide(Outputs):
    """What is gone."""

    data_directory: str = Field(description="Where the copy was; empty where none was made")


class DropSide(Action[Postgres, DropSideInputs, DropSideFacts, DroppedSide]):
    """Stop the side server that `postgres.restore_to_time` left running (`mode: side`), and remove its directories.

    Put it into `finally`: there it comes after success and after a failure, also where the copy is unpacked in part, or stands
    in the middle of its recovery. What it removes has a name that this run's step alone gives: no other directory is touched.
    After a swap it refuses, since what is kept then is the former cluster.
    """

    effect = Effect.CHANGES
    needs_programs = ("pg_ctl",)
    example = """\
- id: drop_copy
  title: Stop the side copy and remove it
  uses: postgres.drop_side
  on: db
  with: {step: recover}
  timeout: 10m
"""

    def observe(self, look: Look, system: Postgres, inputs: DropSideInputs, scope: Scope) -> DropSideFacts:
        """Which directories there are, and whether a server runs in the copy."""
        maker = _maker(inputs, scope)
        written = look.text(LOCAL, memory(maker)) or ""
        known, copies = written.partition("\n")[0], tablespaces.remembered(written)
        if not known:
            return DropSideFacts(None, None, "", partial=False, run=False, feeding=False, spaces=())
        where, host = cluster.paths(known, swap.own_name(maker)), system.host
        if look.file(host, where.old) is not None:
            detail = (
                f"Step {inputs.step} has put its copy into the live cluster's place; {where.old} is the former one."
            )
            former = " ".join((where.old, *(one.live for one in copies if one.live)))
            fix = f"Remove that by hand, when it is no longer needed: rm -rf {former}"
            raise Refused(Problem("E678", "there is no side copy", detail, fix))
        side = cluster.read_place(look, host, where.side)
        program = cluster.read_options(look, host, where.side)[0] if side else ""
        return DropSideFacts(
            where=where,
            side=side,
            programs=system.binaries or posixpath.dirname(program),
            partial=look.file(host, where.partial) is not None,
            run=look.file(host, where.run) is not None,
            feeding=look.file(host, spool_of(where.run)) is not None,
            spaces=tablespaces.there(look, host, copies, where.data),
        )

    def assume(self, system: Postgres, inputs: DropSideInputs, scope: Scope) -> DropSideFacts:
        """A side server that runs."""
        where = cluster.paths(system.data_directory or "/PGDATA", swap.own_name(_maker(inputs, scope)))
        side = Place(inode=1, device=1, owner="postgres", server=Server.RUNNING, signal=False)
        return DropSideFacts(where, side, system.binaries, partial=False, run=True, feeding=False, spaces=())

    def plan(self, system: Postgres, inputs: DropSideInputs, facts: DropSideFacts, scope: Scope) -> Operations:
        """The server first; a directory in which one runs is never removed."""
        where, side = facts.where, facts.side
        if where is None:
            return ()
        own = swap.own_name(_maker(inputs, scope))
        tools = Tools(facts.programs, system.host, side.owner if side else "")
        runs = side is not None and side.server is Server.RUNNING
        gone = {
            "remove_side": where.side if side else "",
            "remove_partial": where.partial if facts.partial else "",
        }
        last = (recovery.removed("remove_run", where.run, own, tools),) if facts.run else ()
        return (
            *((recovery.stopped("stop_side", where.side, tools),) if runs else ()),
            *(_fed_no_more(system, where, _maker(inputs, scope)) if facts.feeding else ()),
            *(recovery.removed(name, path, own, tools) for name, path in gone.items() if path),
            *tablespace_copies.dropped(facts.spaces, own, system.host),
            *last,
        )

    def verify(self, look: Look, system: Postgres, inputs: DropSideInputs, done: Done[DropSideFacts]) -> DroppedSide:
        """Nothing of it is left."""
        facts = done.facts
        if facts.side is not None or facts.partial or facts.run or facts.spaces:
            detail = f"There is still something of {facts.where.side if facts.where else 'the copy'}."
            raise CheckFailed(Problem("E678", "the side copy is not gone", detail, "Look at it: ls -la"))
        return DroppedSide(data_directory=facts.where.side if facts.where else "")


def _fed_no_more(system: Postgres, where: Paths, maker: Scope) -> Operations:
    """What fetched WAL for it ends; its keys go."""
    archive = archive_of(system, maker)
    return (*archive.forgotten(), *archive.fed_no_more("end_feeding", where.run))


def _maker(inputs: DropSideInputs, scope: Scope) -> Scope:
    """The scope of the step that made the copy: of the same plan, also where that is included in another."""
    folder, dot, _ = scope.step.rpartition(".")
    return replace(scope, step=f"{folder}{dot}{inputs.step}")
