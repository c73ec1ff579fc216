"""Stopping the services of a Compose project, and remembering which of them ran."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from runbook.action import Action, CheckFailed, Done, Effect, Inputs, Look, Outputs, Scope, current, pinned
from runbook.actions.compose.project import Member, Services, assumed, call, look_at, services_of
from runbook.errors import Problem
from runbook.operation import Operations
from runbook.system import ComposeProject


class StopInputs(Inputs):
    """Which services, and how patiently."""

    services: Services = Field(description="Services as the compose file names them; an empty list stops nothing")
    timeout_s: int = Field(
        default=30, ge=1, le=3600, description="Seconds from the stop signal until a container is killed"
    )


@dataclass(frozen=True, slots=True)
class StopFacts:
    """``running``: the containers that ran when they were first seen, which a release starts again; ``up``: those up now."""

    running: tuple[Member, ...] = pinned()
    up: tuple[Member, ...] = current()


class Stopped(Outputs):
    """What this step stopped."""

    stopped: tuple[str, ...] = Field(description="The services that ran before and are stopped now")


class Stop(Action[ComposeProject, StopInputs, StopFacts, Stopped]):
    """Stop services, and remember which of their containers ran.

    Every container of the services is stopped: its stop signal, then a kill after `timeout_s`. Which ones ran is journalled
    before anything is stopped, so that `compose.start` with `releases:` starts those, and not "everything". A stop by hand
    lasts over the container's restart policy. Services that are stopped already are left as they are; a name that has no
    container is refused.
    """

    effect = Effect.CHANGES
    holds = True
    example = """\
- id: stop_writers
  title: Stop the services that write to the database
  uses: compose.stop
  on: app
  with: {services: [backend, celery-worker, celery-beat], timeout_s: 60}
  timeout: 5m
"""

    def observe(self, look: Look, system: ComposeProject, inputs: StopInputs, scope: Scope) -> StopFacts:
        """Reads the states of the services' containers."""
        up = tuple(seen.member for seen in look_at(look, system, inputs.services) if seen.is_up)
        return StopFacts(running=up, up=up)

    def assume(self, system: ComposeProject, inputs: StopInputs, scope: Scope) -> StopFacts:
        """All containers of the services run."""
        up = assumed(inputs.services)
        return StopFacts(running=up, up=up)

    def plan(self, system: ComposeProject, inputs: StopInputs, facts: StopFacts, scope: Scope) -> Operations:
        """One stop for each container that is up."""
        return tuple(call(system, "stop", member, timeout_s=inputs.timeout_s) for member in facts.up)

    def expect(self, system: ComposeProject, inputs: StopInputs, facts: StopFacts) -> Stopped | None:
        """The services that ran, once they were looked at."""
        known = all(member.container for member in facts.running)
        return Stopped(stopped=services_of(facts.running)) if known else None

    def recovery(self, system: ComposeProject, inputs: StopInputs, facts: StopFacts, scope: Scope) -> Operations:
        """A hold that was lost is taken again: whatever of the services came up meanwhile is stopped."""
        return self.plan(system, inputs, facts, scope)

    def verify(self, look: Look, system: ComposeProject, inputs: StopInputs, done: Done[StopFacts]) -> Stopped:
        """All containers of the services are down."""
        up = [seen for seen in look_at(look, system, inputs.services) if seen.is_up]
        if up:
            raise CheckFailed(
                Problem(
                    "E664",
                    "a service is not stopped",
                    "\n".join(f"{seen.member} is {seen.state}." for seen in up),
                    f"docker stop {' '.join(seen.member.container for seen in up)}    # and find out what starts it again",
                )
            )
        return Stopped(stopped=services_of(done.facts.running))

    def undo(self, system: ComposeProject, inputs: StopInputs, facts: StopFacts, scope: Scope) -> Operations:
        """Start the containers that ran."""
        return tuple(call(system, "start", member) for member in facts.running)
