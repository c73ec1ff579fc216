"""Starting the services of a Compose project: those that a hold stopped, or those that are named."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from runbook.action import Action, CheckFailed, Done, Effect, Inputs, Look, Outputs, Scope, current, pinned
from runbook.actions.compose.project import (
    Member,
    Seen,
    Services,
    assumed,
    call,
    held_members,
    look_at,
    look_for,
    services_of,
    wait,
)
from runbook.errors import Problem, Refused
from runbook.operation import Condition, Operations, Test
from runbook.system import ComposeProject, DurationField

_NOT_ILL = (Condition("health", Test.DIFFERS, "starting"), Condition("health", Test.DIFFERS, "unhealthy"))


class StartInputs(Inputs):
    """Which services, unless the step releases a hold."""

    services: Services | None = Field(
        default=None, description="Services to start; leave out where the step has `releases:`"
    )
    within: DurationField = Field(
        default="2m", description="How long a container may take until it runs and is healthy"
    )


@dataclass(frozen=True, slots=True)
class StartFacts:
    """``was_down``: what did not run when it was first seen; ``wanted``: what has to run; ``down``, ``unready``: what doesn't."""

    was_down: tuple[Member, ...] = pinned()
    wanted: tuple[Member, ...] = current()
    down: tuple[Member, ...] = current()
    unready: tuple[Member, ...] = current()


class Started(Outputs):
    """What this step started."""

    started: tuple[str, ...] = Field(description="The services of the containers that were down and run now")


class Start(Action[ComposeProject, StartInputs, StartFacts, Started]):
    """Start services: with `releases:` exactly the containers that the hold found running, else all of the named services.

    A container that was down before the hold stays down. The step then waits until each one runs and its health check passes;
    one without a health check has to stay up for a second. `within` bounds the wait, and has to be shorter than the step's
    `timeout`.
    """

    effect = Effect.CHANGES
    example = """\
- id: start_writers
  title: Start the services again
  uses: compose.start
  on: app
  releases: stop_writers
  timeout: 5m
"""

    def observe(self, look: Look, system: ComposeProject, inputs: StartInputs, scope: Scope) -> StartFacts:
        """Reads the states of the containers that have to run."""
        if scope.held is not None:
            _refuse_both(inputs)
            return _facts(look_for(look, system, held_members(scope.held)))
        if inputs.services is None:
            raise Refused(
                Problem(
                    "E665",
                    "it is not said what to start",
                    f"The step {scope.step} has neither `releases:` nor `services`.",
                    "Give `releases: ID` of the step that stopped them, or `with: {services: [...]}`.",
                )
            )
        return _facts(look_at(look, system, inputs.services))

    def assume(self, system: ComposeProject, inputs: StartInputs, scope: Scope) -> StartFacts:
        """Everything that has to run is down."""
        if scope.held is not None:
            _refuse_both(inputs)
            wanted = held_members(scope.held)
        else:
            wanted = assumed(inputs.services or ())
        return StartFacts(was_down=wanted, wanted=wanted, down=wanted, unready=wanted)

    def plan(self, system: ComposeProject, inputs: StartInputs, facts: StartFacts, scope: Scope) -> Operations:
        """One start for each container that is down, then one wait for each that is not ready."""
        starts = tuple(call(system, "start", member) for member in facts.down)
        return (*starts, *(wait(system, member, _NOT_ILL, inputs.within) for member in facts.unready))

    def expect(self, system: ComposeProject, inputs: StartInputs, facts: StartFacts) -> Started | None:
        """The services that are down, once they were looked at."""
        known = all(member.container for member in facts.was_down)
        return Started(started=services_of(facts.was_down)) if known else None

    def recovery(self, system: ComposeProject, inputs: StartInputs, facts: StartFacts, scope: Scope) -> Operations:
        """Containers that stopped again since the step was first shown are started all the same."""
        return self.plan(system, inputs, facts, scope)

    def verify(self, look: Look, system: ComposeProject, inputs: StartInputs, done: Done[StartFacts]) -> Started:
        """Every wanted container runs, and none says that it is ill."""
        bad = [seen for seen in look_for(look, system, done.facts.wanted) if not seen.is_ready]
        if bad:
            raise CheckFailed(not_running(bad))
        return Started(started=services_of(done.facts.was_down))

    def undo(self, system: ComposeProject, inputs: StartInputs, facts: StartFacts, scope: Scope) -> Operations:
        """Stop the containers that were down before."""
        return tuple(call(system, "stop", member) for member in facts.was_down)


def not_running(bad: list[Seen]) -> Problem:
    """Containers that do not run, or whose health check does not pass."""
    states = [f"{seen.member} is {seen.state}{', ' + seen.health if seen.health else ''}." for seen in bad]
    fix = f"docker logs --tail 50 {bad[0].member.container}"
    return Problem("E666", "a service does not run as it should", "\n".join(states), fix)


def _facts(seen: tuple[Seen, ...]) -> StartFacts:
    down = tuple(one.member for one in seen if not one.is_up)
    return StartFacts(
        was_down=down,
        wanted=tuple(one.member for one in seen),
        down=down,
        unready=tuple(one.member for one in seen if not one.is_ready),
    )


def _refuse_both(inputs: StartInputs) -> None:
    if inputs.services is not None:
        raise Refused(
            Problem(
                "E665",
                "it is said twice what to start",
                "A step with `releases:` starts what the hold stopped; it has `services` as well.",
                "Leave one of them out.",
            )
        )
