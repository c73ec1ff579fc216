"""The last step of a rotation without a gap: the former login can't log in any more, and its sessions are ended."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from runbook.action import Action, CheckFailed, Done, Effect, Inputs, Look, Outputs, Scope, current
from runbook.actions.postgres.client import MAINTENANCE_DATABASE
from runbook.actions.postgres.login import read_roles
from runbook.actions.postgres.swap import DRAINED_WITHIN_S, SETTLE_S
from runbook.errors import Problem, Refused
from runbook.operation import Condition, Name, Operations, Sql, Statement, Test, Transaction, Wait, sql
from runbook.system import Postgres

_COUNT = "SELECT count(*)::int AS sessions FROM pg_stat_activity WHERE usename = {role} AND pid <> pg_backend_pid()"
_END = (
    "SELECT count(pg_terminate_backend(pid))::int AS ended FROM pg_stat_activity "
    "WHERE usename = {role} AND pid <> pg_backend_pid()"
)


class DisableLoginInputs(Inputs):
    """Who goes, and who stays."""

    role: str = Field(description="The role that may not log in any more; empty: there is none, and nothing is done")
    successor: str = Field(min_length=1, description="The role that is used in its place: it has to be able to log in")


@dataclass(frozen=True, slots=True)
class DisableLoginFacts:
    """Whether the role may log in (False also where there is no such role), and its sessions."""

    can_login: bool = current()
    sessions: int = current()


class DisabledLogin(Outputs):
    """Who is out."""

    role: str = Field(description="The role; empty where there was none")


class DisableLogin(Action[Postgres, DisableLoginInputs, DisableLoginFacts, DisabledLogin]):
    """Take a role's login away, and end its sessions. The role and its password stay, for the next rotation to give a new one.

    Refused: the role that this program itself logs in with, and a successor that can't log in: then nobody could. What the role
    owns stays its own; where both of a pair act as their owner, it owns nothing. `undo` lets it log in again, with the
    password that it had.
    """

    effect = Effect.CHANGES
    example = """\
- id: disable
  title: The former login is closed
  uses: postgres.disable_login
  on: db
  with: {role: "{{ steps.create.former }}", successor: "{{ steps.create.role }}"}
  timeout: 1m
  confirm: Sessions of the former login are ended.
"""

    def observe(self, look: Look, system: Postgres, inputs: DisableLoginInputs, scope: Scope) -> DisableLoginFacts:
        """Looks at both roles; refuses what would lock everybody out."""
        if not inputs.role:
            return DisableLoginFacts(can_login=False, sessions=0)
        if inputs.role == system.user:
            raise _refused(
                f"{inputs.role} is the role that this program logs in with.",
                f"Let {system.key or 'the system'} of the environment have a role of its own, which is in no pair.",
            )
        admin = system.connection(application=scope.application, database=MAINTENANCE_DATABASE)
        seen = read_roles(look, admin, (inputs.role, inputs.successor))
        successor = seen.get(inputs.successor)
        if inputs.role == inputs.successor or successor is None or not successor.can_login:
            raise _refused(
                f"{inputs.successor}, which is to be used in the place of {inputs.role}, can't log in.",
                "Make it ready first: postgres.create_login, then deploy it, then postgres.prove_login.",
            )
        role = seen.get(inputs.role)
        return DisableLoginFacts(can_login=bool(role and role.can_login), sessions=role.sessions if role else 0)

    def assume(self, system: Postgres, inputs: DisableLoginInputs, scope: Scope) -> DisableLoginFacts:
        """It is in use."""
        return DisableLoginFacts(can_login=bool(inputs.role), sessions=0)

    def plan(self, system: Postgres, inputs: DisableLoginInputs, facts: DisableLoginFacts, scope: Scope) -> Operations:
        """No new session, then no old one; a session that was being opened meanwhile is ended too."""
        if not facts.can_login and not facts.sessions:
            return ()
        admin = system.connection(application=scope.application, database=MAINTENANCE_DATABASE)
        ended = sql(_END, role=inputs.role)
        statements: tuple[Statement, ...] = (
            sql("ALTER ROLE {role} NOLOGIN", role=Name(inputs.role)),
            ended,
            sql(f"SELECT pg_sleep({SETTLE_S})"),
            ended,
        )
        count = Sql(name="sessions", connection=admin, statements=(sql(_COUNT, role=inputs.role),), reads=True)
        return (
            Sql(name="disable", connection=admin, statements=statements, transaction=Transaction.AUTOCOMMIT),
            Wait(
                name="drained",
                read=count,
                until=(Condition("sessions", Test.EQUALS, 0),),
                interval_s=0.05,
                deadline_s=DRAINED_WITHIN_S,
            ),
        )

    def expect(self, system: Postgres, inputs: DisableLoginInputs, facts: DisableLoginFacts) -> DisabledLogin:
        """The role is known beforehand."""
        return DisabledLogin(role=inputs.role)

    def verify(
        self, look: Look, system: Postgres, inputs: DisableLoginInputs, done: Done[DisableLoginFacts]
    ) -> DisabledLogin:
        """It can't log in, and nobody is in with it."""
        if done.facts.can_login or done.facts.sessions:
            raise CheckFailed(
                _problem(
                    "the former login is still there",
                    f"{inputs.role} may log in: {done.facts.can_login}; its sessions: {done.facts.sessions}.",
                    "Find out who lets it in again.",
                )
            )
        return DisabledLogin(role=inputs.role)

    def undo(self, system: Postgres, inputs: DisableLoginInputs, facts: DisableLoginFacts, scope: Scope) -> Operations:
        """It may log in again, with the password that it had."""
        if not inputs.role or facts.can_login:
            return ()
        admin = system.connection(application=scope.application, database=MAINTENANCE_DATABASE)
        enabled = sql("ALTER ROLE {role} LOGIN", role=Name(inputs.role))
        return (Sql(name="enable", connection=admin, statements=(enabled,)),)


def _refused(what: str, fix: str) -> Refused:
    return Refused(_problem("this login can't be disabled", what, fix))


def _problem(summary: str, what: str, fix: str) -> Problem:
    return Problem("E609", summary, what, fix)
