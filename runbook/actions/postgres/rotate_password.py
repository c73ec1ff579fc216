"""Giving a role a new password: minted before its first use, proven by logging in, the old one proven dead."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from runbook.action import Action, CheckFailed, Done, Effect, Inputs, Look, Outputs, Scope, Undecidable, current
from runbook.actions.postgres.login import EscrowName, Length, accepted, minted, password_set
from runbook.errors import Problem
from runbook.host import LOCAL
from runbook.operation import Connection, Operations
from runbook.secret import FromEscrow, SecretRef
from runbook.system import Postgres


class RotatePasswordInputs(Inputs):
    """Whose password, and where the new one is kept."""

    role: str = Field(min_length=1, description="The role that gets a new password")
    escrow: EscrowName
    length: Length = 32


@dataclass(frozen=True, slots=True)
class RotatePasswordFacts:
    """What logging in showed: None = there is no such password to try."""

    new_works: bool | None = current()
    old_works: bool | None = current()
    old: SecretRef | None = current()


class RotatedPassword(Outputs):
    """Where the new password is; never the password."""

    role: str = Field(description="The role")
    escrow: str = Field(description="Name of the escrow file")


class RotatePassword(Action[Postgres, RotatePasswordInputs, RotatePasswordFacts, RotatedPassword]):
    """Give a role a new password, and prove by logging in that the new one works and the old one doesn't.

    The password is minted into a file of mode 0600 in the run's directory before the server hears of it, and the server gets a
    SCRAM verifier only. The old password is the one that the environment has for this role on this cluster, if it has one.
    After an interruption both are tried: where neither works, or both do, a person decides. Sessions that are open stay open.
    Rotate after a restore (which brings old passwords back), the role of the environment itself last: its other steps
    log in with the old one until the place that the environment names holds the new one.
    """

    effect = Effect.CHANGES
    example = """\
- id: rotate
  title: A new password for the application
  uses: postgres.rotate_password
  on: db
  with: {role: civicq_app, escrow: civicq_app.password}
  timeout: 1m
"""

    def observe(self, look: Look, system: Postgres, inputs: RotatePasswordInputs, scope: Scope) -> RotatePasswordFacts:
        """Tries to log in, with the new password and then with the old one."""
        connection = _connection(system, inputs, scope)
        minted = look.file(LOCAL, f"{scope.directory}/escrow/{inputs.escrow}") is not None
        old = _old(system, inputs, scope)
        new_works = look.login(connection, FromEscrow(inputs.escrow)) if minted else None
        old_works = look.login(connection, old) if old is not None else None
        return RotatePasswordFacts(new_works, old_works, old)

    def assume(self, system: Postgres, inputs: RotatePasswordInputs, scope: Scope) -> RotatePasswordFacts:
        """Nothing minted yet."""
        return RotatePasswordFacts(None, None, _old(system, inputs, scope))

    def plan(
        self, system: Postgres, inputs: RotatePasswordInputs, facts: RotatePasswordFacts, scope: Scope
    ) -> Operations:
        """Mint, set, prove; nothing where the new one works and the old one does not."""
        match facts.new_works, facts.old_works:
            case True, False | None:
                return ()
            case True, True:
                raise _undecidable(
                    inputs, "Both the new and the old password are accepted: does pg_hba.conf say trust?"
                )
            case False, False:
                raise _undecidable(
                    inputs, "Neither the new nor the old password is accepted: somebody else changed it."
                )
        return (
            minted(inputs.escrow, inputs.length),
            password_set(system.connection(application=scope.application), inputs.role, inputs.escrow),
            accepted(_connection(system, inputs, scope), inputs.escrow),
        )

    def verify(
        self, look: Look, system: Postgres, inputs: RotatePasswordInputs, done: Done[RotatePasswordFacts]
    ) -> RotatedPassword:
        """The new password is accepted, the old one refused."""
        connection = system.connection(application="runbook", user=inputs.role)
        if not look.login(connection, FromEscrow(inputs.escrow)):
            raise _failed(inputs, "The new password is not accepted.")
        if done.facts.old is not None and look.login(connection, done.facts.old):
            raise _failed(inputs, "The old password is still accepted: does pg_hba.conf say trust for this connection?")
        return RotatedPassword(role=inputs.role, escrow=inputs.escrow)


def _connection(system: Postgres, inputs: RotatePasswordInputs, scope: Scope) -> Connection:
    return system.connection(application=scope.application, user=inputs.role)


def _old(system: Postgres, inputs: RotatePasswordInputs, scope: Scope) -> SecretRef | None:
    """The password that the environment has for the role: this system's, or that of another system on this cluster."""
    there = (system.host, system.address, system.port)
    candidates = (system, *(other for _, other in sorted(scope.systems.items())))
    for other in candidates:
        if (
            isinstance(other, Postgres)
            and other.user == inputs.role
            and (other.host, other.address, other.port) == there
        ):
            return other.password
    return None


def _undecidable(inputs: RotatePasswordInputs, what: str) -> Undecidable:
    return Undecidable(_problem("the state of a password can't be told", inputs, what))


def _failed(inputs: RotatePasswordInputs, what: str) -> CheckFailed:
    return CheckFailed(_problem("the password was not rotated as it should be", inputs, what))


def _problem(summary: str, inputs: RotatePasswordInputs, what: str) -> Problem:
    return Problem(
        "E649",
        summary,
        f"Role {inputs.role}: {what}",
        f"The new password is in the run's file escrow/{inputs.escrow}. Look at the role and at pg_hba.conf.",
    )
