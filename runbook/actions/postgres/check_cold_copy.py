"""Whether a cold copy can be made: asked before anything is stopped for it."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from runbook.action import Action, Done, Effect, Inputs, Interrupted, Look, Outputs, Scope, current
from runbook.actions.postgres.copyable import full, left_behind, unfit
from runbook.actions.postgres.instance import read_instance
from runbook.errors import Refused
from runbook.operation import Operations
from runbook.system import Postgres, Store


class CheckColdCopyInputs(Inputs):
    """Where the copy is to go."""

    to: Store = Field(description="The store that is to take the copy")


@dataclass(frozen=True, slots=True)
class CheckColdCopyFacts:
    """What the data directory takes, in bytes; 0: it could not be counted. ``directory``: where it is, '' = not known."""

    bytes: int = current()
    directory: str = current()


class Copyable(Outputs):
    """What would be copied."""

    bytes: int = Field(description="What the data directory takes; 0 = it could not be counted")
    data_directory: str = Field(description="Where it is, on the server's host")


class CheckColdCopy(Action[Postgres, CheckColdCopyInputs, CheckColdCopyFacts, Copyable]):
    """See that postgres.cold_copy will be able to copy the cluster, before services are stopped for it.

    A store that isn't there or is too full, tablespaces that a copy out of a container would lack, a missing Docker client: each is
    refused (exit 4) with its remedy, and shows in a dry-run. A server in a container that doesn't answer can't be counted.
    """

    effect = Effect.READS
    interrupted = Interrupted.REPEATABLE
    example = """\
- id: room
  title: Can the files be copied?
  uses: postgres.check_cold_copy
  on: db
  with: {to: evidence}
  timeout: 2m
"""

    def observe(self, look: Look, system: Postgres, inputs: CheckColdCopyInputs, scope: Scope) -> CheckColdCopyFacts:
        """The directory's size, the store's free space, and what would be missing."""
        found = read_instance(look, system, scope)
        directory = found.manner.directory
        problems = [*full(look, inputs.to, found.bytes), *left_behind(system, found.tablespaces)]
        if directory:
            problems += unfit(look, system, inputs.to, directory)
        if problems:
            raise Refused(*problems)
        return CheckColdCopyFacts(found.bytes, directory)

    def assume(self, system: Postgres, inputs: CheckColdCopyInputs, scope: Scope) -> CheckColdCopyFacts:
        """It can be."""
        return CheckColdCopyFacts(bytes=0, directory=system.data_directory)

    def plan(
        self, system: Postgres, inputs: CheckColdCopyInputs, facts: CheckColdCopyFacts, scope: Scope
    ) -> Operations:
        """Nothing: looking is all."""
        return ()

    def verify(
        self, look: Look, system: Postgres, inputs: CheckColdCopyInputs, done: Done[CheckColdCopyFacts]
    ) -> Copyable:
        """It was seen already."""
        return Copyable(bytes=done.facts.bytes, data_directory=done.facts.directory)
