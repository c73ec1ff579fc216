"""Dropping the copy that postgres.restore_beside made: the end of its hold."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from runbook.action import Action, CheckFailed, Done, Effect, Inputs, Look, Outputs, Scope, current
from runbook.actions.postgres import load, swap
from runbook.actions.postgres.client import read_server
from runbook.actions.postgres.database import Seen, read_rows
from runbook.errors import Problem, Refused
from runbook.host import Local
from runbook.operation import Operations
from runbook.system import Postgres


class DropBesideInputs(Inputs):
    """Nothing: what is dropped is what the step that `releases:` names has made."""


@dataclass(frozen=True, slots=True)
class DropBesideFacts:
    """The copy as it is now; ``database`` is '' where the step that is released made none. ``staged``: a copy of the dump."""

    database: str = current()
    version: int = current()
    copy: Seen | None = current()
    staged: bool = current()


class DroppedBeside(Outputs):
    """What is gone."""

    database: str = Field(description="The copy's name; empty where none was made")


class DropBeside(Action[Postgres, DropBesideInputs, DropBesideFacts, DroppedBeside]):
    """Drop the copy that `postgres.restore_beside` made, and end its sessions. Put it into `finally`, with `releases:`.

    There it comes at every end: after success, after a failure, and, where the run was cut off, with the resume. A copy that is
    half made or half dropped goes too, and what was copied to the server's machine with it. Nothing else is ever dropped: the
    name is the one that the released step gave, and a database whose comment is not the run's own is refused. So who wants to
    keep the copy gives it another comment.
    """

    effect = Effect.CHANGES
    example = """\
- id: drop_copy
  title: Drop the copy
  uses: postgres.drop_beside
  on: db
  releases: recover
  timeout: 5m
"""

    def observe(self, look: Look, system: Postgres, inputs: DropBesideInputs, scope: Scope) -> DropBesideFacts:
        """Whether the copy is there, and still the run's own."""
        name, mark = _held(scope)
        if not name:
            return DropBesideFacts(database="", version=0, copy=None, staged=False)
        version = read_server(look, system, scope.application).version
        at = swap.maintenance(system, system.database, scope.application)
        row = read_rows(look, at, (name, name, name)).get(name)
        if row is not None and row.seen.comment and not row.seen.comment.startswith(mark):
            raise Refused(
                Problem(
                    "E606",
                    "the copy is no longer this run's own",
                    f"{name} has the comment {row.seen.comment!r}; what this run made has one that begins with {mark!r}.",
                    f"psql -c 'DROP DATABASE \"{name}\" WITH (FORCE)' postgres    # if nobody wants to keep it",
                )
            )
        return DropBesideFacts(
            database=name,
            version=version,
            copy=row.seen if row is not None else None,
            staged=not isinstance(system.host, Local) and look.file(system.host, load.staging(name)) is not None,
        )

    def assume(self, system: Postgres, inputs: DropBesideInputs, scope: Scope) -> DropBesideFacts:
        """The copy is there."""
        name, mark = _held(scope)
        copy = Seen(oid=1, comment=mark, open=True, invalid=False) if name else None
        return DropBesideFacts(database=name, version=0, copy=copy, staged=False)

    def plan(self, system: Postgres, inputs: DropBesideInputs, facts: DropBesideFacts, scope: Scope) -> Operations:
        """One DROP, where there is something to drop."""
        clean = load.unstaged(system, facts.database) if facts.staged else ()
        if facts.copy is None:
            return clean
        at = swap.maintenance(system, system.database, scope.application)
        return (*clean, swap.drop(at, facts.database, version=facts.version, called="drop"))

    def expect(self, system: Postgres, inputs: DropBesideInputs, facts: DropBesideFacts) -> DroppedBeside:
        """The name is known beforehand."""
        return DroppedBeside(database=facts.database)

    def verify(
        self, look: Look, system: Postgres, inputs: DropBesideInputs, done: Done[DropBesideFacts]
    ) -> DroppedBeside:
        """It is gone."""
        if done.facts.copy is not None:
            raise CheckFailed(
                Problem(
                    "E607",
                    "the copy is still there",
                    f"{done.facts.database} was dropped, and is there again.",
                    "psql -l    # and find out who makes it",
                )
            )
        return DroppedBeside(database=done.facts.database)


def _held(scope: Scope) -> tuple[str, str]:
    """The copy's name and the beginning of its comment, as the hold's baselines have them; '' where it made none."""
    if scope.held is not None and not scope.held:
        return "", ""
    name, mark = (scope.held or {}).get("database"), (scope.held or {}).get("mark")
    if isinstance(name, str) and isinstance(mark, str) and name.startswith(scope.tag):
        return name, mark
    raise Refused(
        Problem(
            "E605",
            "it is not said which copy is to be dropped",
            f"The step {scope.step} releases no step that made one.",
            "Give `releases: ID` of a step that uses postgres.restore_beside.",
        )
    )
