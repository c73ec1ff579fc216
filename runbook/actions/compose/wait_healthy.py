"""Waiting until the health checks of a Compose project's services pass."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from runbook.action import Action, CheckFailed, Done, Effect, Inputs, Interrupted, Look, Outputs, Scope, current
from runbook.actions.compose.project import RUNNING, Member, Services, assumed, look_at, services_of, wait
from runbook.actions.compose.start import not_running
from runbook.errors import Problem
from runbook.operation import Condition, Operations, Test
from runbook.system import ComposeProject, DurationField

_HEALTHY = (Condition("health", Test.EQUALS, "healthy"),)


class WaitInputs(Inputs):
    """Which services, and how long."""

    services: Services = Field(min_length=1, description="Services whose containers have a health check")
    within: DurationField = Field(default="2m", description="How long each container may take")


@dataclass(frozen=True, slots=True)
class WaitFacts:
    """The containers of the services."""

    members: tuple[Member, ...] = current()


class Healthy(Outputs):
    """What is healthy."""

    healthy: tuple[str, ...] = Field(description="The services whose containers all run and are healthy")


class WaitHealthy(Action[ComposeProject, WaitInputs, WaitFacts, Healthy]):
    """Wait until every container of the services runs and its health check passes.

    A running container without a health check fails the step at once: there would be nothing to wait for. For such a service
    ask it itself, with `http.check` or `postgres.assert`.
    """

    effect = Effect.READS
    interrupted = Interrupted.REPEATABLE
    example = """\
- id: database_is_up
  title: Wait for the database
  uses: compose.wait_healthy
  on: app
  with: {services: [postgres], within: 90s}
  timeout: 2m
"""

    def observe(self, look: Look, system: ComposeProject, inputs: WaitInputs, scope: Scope) -> WaitFacts:
        """Reads which containers there are."""
        found = look_at(look, system, inputs.services)
        # only a container that runs tells whether it has a check: one that was never started shows no health either way
        blind = [seen.member for seen in found if seen.state == RUNNING and not seen.health]
        if blind:
            raise CheckFailed(
                Problem(
                    "E667",
                    "a service has no health check",
                    f"{blind[0]} runs without one: nothing says when it is ready.",
                    "Give it a health check in its image or compose file, or ask it with http.check or postgres.assert.",
                )
            )
        return WaitFacts(tuple(seen.member for seen in found))

    def assume(self, system: ComposeProject, inputs: WaitInputs, scope: Scope) -> WaitFacts:
        """The services have containers."""
        return WaitFacts(assumed(inputs.services))

    def plan(self, system: ComposeProject, inputs: WaitInputs, facts: WaitFacts, scope: Scope) -> Operations:
        """One wait for each container."""
        return tuple(wait(system, member, _HEALTHY, inputs.within) for member in facts.members)

    def expect(self, system: ComposeProject, inputs: WaitInputs, facts: WaitFacts) -> Healthy:
        """All services, or the step fails."""
        return Healthy(healthy=services_of(facts.members))

    def verify(self, look: Look, system: ComposeProject, inputs: WaitInputs, done: Done[WaitFacts]) -> Healthy:
        """They are still healthy."""
        bad = [
            seen for seen in look_at(look, system, inputs.services) if not (seen.is_ready and seen.health == "healthy")
        ]
        if bad:
            raise CheckFailed(not_running(bad))
        return Healthy(healthy=inputs.services)
