"""The proof in the middle of a rotation: the new login works, and the service uses it."""

from __future__ import annotations

from pydantic import Field

from runbook.action import Action, Done, Effect, Inputs, Interrupted, Look, NoFacts, Outputs, Scope
from runbook.actions.postgres.client import MAINTENANCE_DATABASE
from runbook.actions.postgres.login import EscrowName, accepted, sessions_of
from runbook.operation import Condition, Operations, Sql, Test, Wait
from runbook.system import DurationField, Postgres
from runbook.units import parse_duration


class ProveLoginInputs(Inputs):
    """Who has to be there, and how many."""

    role: str = Field(min_length=1, description="The role that the service is to use, as postgres.create_login gave it")
    escrow: EscrowName
    sessions: int = Field(
        default=1, ge=0, le=10_000, description="So many sessions of the role have to be seen at least"
    )
    within: DurationField = Field(
        default="2m", description="How long they may take to appear; shorter than the step's timeout"
    )
    former: str = Field(default="", description="The role that was used so far: its sessions are counted, not judged")


class ProvedLogin(Outputs):
    """What was seen."""

    role: str = Field(description="The role")
    sessions: int = Field(description="Sessions of the role, without those of this program")
    former_sessions: int = Field(description="Sessions that the former role still has")


class ProveLogin(Action[Postgres, ProveLoginInputs, NoFacts, ProvedLogin]):
    """Prove that a new login works and is in use: log in with the escrowed password, and see the service's sessions.

    A password that works in a test and was never deployed is found here, before the former login is disabled. The sessions of
    this program don't count. A service that opens sessions only when it is used has to be used: put an `http.check` before.
    """

    effect = Effect.READS
    interrupted = Interrupted.REPEATABLE
    example = """\
- id: prove
  title: The application uses the new login
  uses: postgres.prove_login
  on: db
  with: {role: "{{ steps.create.role }}", escrow: civicq.password, former: "{{ steps.create.former }}"}
  timeout: 5m
"""

    def observe(self, look: Look, system: Postgres, inputs: ProveLoginInputs, scope: Scope) -> NoFacts:
        """Nothing: it waits, and is an operation."""
        return NoFacts()

    def assume(self, system: Postgres, inputs: ProveLoginInputs, scope: Scope) -> NoFacts:
        """Nothing."""
        return NoFacts()

    def plan(self, system: Postgres, inputs: ProveLoginInputs, facts: NoFacts, scope: Scope) -> Operations:
        """Log in; wait for the sessions; count those of the former."""
        admin = system.connection(application=scope.application, database=MAINTENANCE_DATABASE)
        counted = Sql(name="sessions", connection=admin, statements=(sessions_of(inputs.role),), reads=True)
        seen = Wait(
            name="seen",
            read=counted,
            until=(Condition("sessions", Test.AT_LEAST, inputs.sessions),),
            interval_s=1.0,
            deadline_s=parse_duration(inputs.within),
        )
        login = accepted(system.connection(application=scope.application, user=inputs.role), inputs.escrow)
        if not inputs.former:
            return (login, seen)
        left = Sql(name="former", connection=admin, statements=(sessions_of(inputs.former),), reads=True)
        return (login, seen, left)

    def verify(self, look: Look, system: Postgres, inputs: ProveLoginInputs, done: Done[NoFacts]) -> ProvedLogin:
        """The counts, as they were seen."""
        return ProvedLogin(
            role=inputs.role,
            sessions=int(done.results["seen"]["sessions"] or 0),
            former_sessions=int(done.results.get("former", {}).get("sessions") or 0),
        )
