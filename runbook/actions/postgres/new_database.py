"""A database that is made beside the live one and filled from a dump: how far it is, and what is left to do.

Owns the one order that ``postgres.restore`` and ``postgres.restore_beside`` have in common: roles, the empty database, the load,
the mark that it ended well, the proofs, the mark that all is finished. Promises: what is finished is not done again; a load that
is known to have ended well is not begun anew; anything less is dropped first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runbook.action import Attempt, Scope
from runbook.actions.postgres import load, swap
from runbook.actions.postgres.counts import Count
from runbook.actions.postgres.database import Properties, carry
from runbook.actions.postgres.globals_file import Roles
from runbook.actions.postgres.swap import Marks, Standing
from runbook.artifact import Artifact
from runbook.operation import Connection, Operations, Statement
from runbook.system import Postgres

NOT_EXPECTED = "E314"
"""The code of a statement whose result is not what the operation expects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDatabase:
    """``name``, filled from ``artifact``. ``at``: a connection to another database; ``created``: the statements that make it empty.

    ``begun`` is its comment until the load has ended; ``loaded``: the records show that it has, and its mark is missing.
    ``without``: options of pg_restore that leave something out; ``bare_roles``: nobody can log in with those that are made.
    """

    system: Postgres
    at: Connection
    name: str
    artifact: Artifact
    jobs: int
    roles: Roles
    counts: tuple[Count, ...]
    properties: Properties
    version: int
    marks: Marks
    created: tuple[Statement, ...]
    scope: Scope
    begun: str = ""
    loaded: bool = False
    without: tuple[str, ...] = ()
    bare_roles: bool = False

    def remaining(self, standing: Standing) -> Operations:
        """What is left until it is finished."""
        match standing:
            case Standing.NOTHING:
                return (*self._made(), *self._proven())
            case Standing.UNFINISHED if self.loaded:
                return (swap.load_marked(self.at, self.name, self.marks.loaded), *self._proven())
            case Standing.UNFINISHED:
                dropped = swap.drop(self.at, self.name, version=self.version)
                return (dropped, *self._made(), *self._proven())
            case Standing.LOADED:
                return self._proven()
            case Standing.FINISHED | Standing.SWAPPED:
                return ()

    def roles_made(self) -> Operations:
        """The roles that are missing, out of the dump's globals file."""
        at, bare = self.at.database, self.bare_roles
        return load.roles_made(self.system, self.artifact, self.roles, database=at, scope=self.scope, bare=bare)

    def taken_back(self, attempt: Attempt[Any]) -> Operations:
        """One whose rows are not those of the record is no longer said to be loaded."""
        if "rows" in attempt.begun - attempt.succeeded and attempt.code == NOT_EXPECTED:
            return (swap.load_unmarked(self.at, self.name, self.begun),)
        return ()

    def _made(self) -> Operations:
        """Everything up to the mark that the load ended well."""
        source, own = load.source_of(self.artifact, self.scope), self.name
        return (
            *self.roles_made(),
            swap.created(self.at, self.name, self.created),
            *load.loaded(self.system, own, source, jobs=self.jobs, own=own, scope=self.scope, without=self.without),
            swap.load_marked(self.at, self.name, self.marks.loaded),
        )

    def _proven(self) -> Operations:
        """From there to the mark that it is finished."""
        inside = self.system.connection(application=self.scope.application, database=self.name)
        carried = carry(self.name, self.properties)
        return (*load.proven(inside, self.counts), swap.marked(self.at, self.name, self.marks.restored, carried))
