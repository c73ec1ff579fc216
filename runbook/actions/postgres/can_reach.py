"""Whether a recovery can reach its target: everything that would be refused, asked before anything is stopped."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from runbook.action import Action, Done, Effect, Interrupted, Look, Outputs, Scope, current, guard
from runbook.actions.postgres.recovery_step import RestoreToTimeInputs
from runbook.actions.postgres.restore_to_time import RestoreToTime
from runbook.actions.postgres.target import told
from runbook.operation import Operations
from runbook.system import Postgres
from runbook.units import show_instant


class CanReachInputs(RestoreToTimeInputs):
    """As postgres.restore_to_time takes them."""


@dataclass(frozen=True, slots=True)
class CanReachFacts:
    """What the archive told; '' where it has nothing after the base backup."""

    artifact_sha256: str = guard()
    first_segment: str = current()
    archived_to: str = current()


class Reachable(Outputs):
    """What can be reached."""

    target: str = Field(description="What was asked for")
    earliest: str = Field(description="When the base backup ended (UTC): from then on every moment can be reached")
    first_segment: str = Field(description="The first segment of WAL that is needed")
    archived_to: str = Field(
        description="Where the last archived segment on the way begins (LSN); empty where none is there"
    )


class CanReach(Action[Postgres, CanReachInputs, CanReachFacts, Reachable]):
    """Ask all that `postgres.restore_to_time` refuses before it begins: put it before the services are stopped.

    A moment before the base backup's end or after the last WAL, gaps in the archive, parts that an earlier recovery has discarded,
    lost histories, another cluster's backup, space, mounts. Each refusal says what can be reached. It only reads.
    """

    effect = Effect.READS
    interrupted = Interrupted.REPEATABLE
    example = """\
- id: reach
  title: The moment can be reached
  uses: postgres.can_reach
  on: db
  with: {artifact: "{{ steps.pick.artifact }}", target: "2026-02-14T11:58:00Z"}
  timeout: 2m
"""

    def observe(self, look: Look, system: Postgres, inputs: CanReachInputs, scope: Scope) -> CanReachFacts:
        """What the recovery itself would look at; refuses what it would refuse."""
        found = RestoreToTime().observe(look, system, inputs, scope)
        return CanReachFacts(found.artifact_sha256, found.first_segment, found.reaches)

    def assume(self, system: Postgres, inputs: CanReachInputs, scope: Scope) -> CanReachFacts:
        """Nothing is known; the step plans nothing in any case."""
        return CanReachFacts(inputs.artifact.sha256, "", "")

    def plan(self, system: Postgres, inputs: CanReachInputs, facts: CanReachFacts, scope: Scope) -> Operations:
        """Asking is looking: there is nothing to do."""
        return ()

    def verify(self, look: Look, system: Postgres, inputs: CanReachInputs, done: Done[CanReachFacts]) -> Reachable:
        """What was observed."""
        return Reachable(
            target=told(inputs.ends),
            earliest=show_instant(inputs.artifact.finished_at),
            first_segment=done.facts.first_segment,
            archived_to=done.facts.archived_to,
        )
