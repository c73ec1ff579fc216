"""The first step of a rotation without a gap: the other login of a pair is made ready while the present one goes on."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field, field_validator

from runbook.action import (
    Action,
    CheckFailed,
    Done,
    Effect,
    Inputs,
    Look,
    Outputs,
    Scope,
    Undecidable,
    current,
    pinned,
)
from runbook.actions.postgres.client import MAINTENANCE_DATABASE
from runbook.actions.postgres.database import Setting, set_to
from runbook.actions.postgres.login import (
    EscrowName,
    Length,
    RoleSeen,
    accepted,
    minted,
    password_set,
    read_roles,
)
from runbook.errors import Problem, Refused
from runbook.host import LOCAL
from runbook.operation import Connection, Name, Operation, Operations, Sql, sql
from runbook.secret import FromEscrow
from runbook.system import Postgres


class CreateLoginInputs(Inputs):
    """The pair, and where the new password is kept."""

    pair: tuple[str, str] = Field(description="The two roles that a service logs in with by turns")
    owner: str = Field(min_length=1, description="The role that owns the service's tables; it does not log in itself")
    escrow: EscrowName
    length: Length = 32

    @field_validator("pair")
    @classmethod
    def _two(cls, pair: tuple[str, str]) -> tuple[str, str]:
        if not all(pair) or pair[0] == pair[1]:
            raise ValueError("a pair is two different roles")
        return pair


@dataclass(frozen=True, slots=True)
class One:
    """One of the pair: whether it is there, may log in, and acts as the owner. ``works``: with this run's password, if any.

    ``settings``: what else its sessions begin with, as in :class:`runbook.actions.postgres.login.RoleSeen`.
    """

    name: str
    exists: bool
    can_login: bool
    ready: bool
    works: bool | None
    settings: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class CreateLoginFacts:
    """``role`` is the one that could not log in when the step was first looked at, ``former`` the other if it could."""

    role: str = pinned()
    former: str = pinned()
    pair: tuple[One, One] = current()
    file: str = current()

    @property
    def one(self) -> One:
        """The role that is made ready."""
        return next(one for one in self.pair if one.name == self.role)

    @property
    def settings(self) -> tuple[tuple[str, str, str], ...]:
        """Those of the login in use, which the service relies on: a search path, a time limit."""
        return next((one.settings for one in self.pair if one.name == self.former), ())

    @property
    def is_ready(self) -> bool:
        """Whether the role acts as the owner, and its sessions begin as those of the login in use do."""
        return self.one.ready and set(self.settings) <= set(self.one.settings)


class CreatedLogin(Outputs):
    """Who logs in from now on, and who did so far; never the password."""

    role: str = Field(description="The role that is ready")
    former: str = Field(
        description="The role that is still in use, to be disabled in the end; empty where there is none"
    )
    escrow: str = Field(description="Name of the escrow file")
    file: str = Field(description="Path of the escrow file, mode 0600, on this machine")


class CreateLogin(Action[Postgres, CreateLoginInputs, CreateLoginFacts, CreatedLogin]):
    """Make the other login of a pair ready: the role, its membership in the owner, a new password, and the proof that it works.

    Of the two roles the one that can't log in is taken, or made. It becomes a member of the owner role and acts as it from the
    first statement of every session (`ALTER ROLE … SET role`), so whatever either of the two makes belongs to the owner, and
    default privileges of the owner go on to hold. It gets the settings of the login in use (`search_path` and its like). The
    password is minted into a file of mode 0600 in the run's directory before the server hears of it, and the server gets a SCRAM
    verifier only; the role may log in only once it has one.

    The login in use is not touched: deploy the new one, prove it (`postgres.prove_login`), then disable the former
    (`postgres.disable_login`). Refused: both can log in (an earlier rotation did not end); an owner that is missing or a superuser.
    """

    effect = Effect.CHANGES
    example = """\
- id: create
  title: The other login of the application is made ready
  uses: postgres.create_login
  on: db
  with: {pair: [civicq_a, civicq_b], owner: civicq_owner, escrow: civicq.password}
  timeout: 1m
"""

    def observe(self, look: Look, system: Postgres, inputs: CreateLoginInputs, scope: Scope) -> CreateLoginFacts:
        """Looks at the roles, and tries to log in if there is a password of this run's own."""
        admin = system.connection(application=scope.application, database=MAINTENANCE_DATABASE)
        _refuse_owner(read_roles(look, admin, (inputs.owner,)).get(inputs.owner), inputs)
        seen = read_roles(look, admin, inputs.pair, owner=inputs.owner)
        has_password = look.file(LOCAL, _file(inputs, scope)) is not None
        first, second = (
            _one(look, system, inputs, scope, name=name, seen=seen.get(name), has_password=has_password)
            for name in inputs.pair
        )
        if first.can_login and second.can_login and not has_password:
            raise _refused(
                f"{first.name} and {second.name} can both log in: an earlier rotation has not been ended.",
                "See who is in use (SELECT usename, count(*) FROM pg_stat_activity GROUP BY 1), and end the other: "
                "ALTER ROLE … NOLOGIN.",
            )
        new, other = (second, first) if first.can_login else (first, second)
        former = other.name if other.can_login else ""
        return CreateLoginFacts(new.name, former, (first, second), _file(inputs, scope))

    def assume(self, system: Postgres, inputs: CreateLoginInputs, scope: Scope) -> CreateLoginFacts:
        """The first of the two is in use, the second does not exist."""
        used, new = inputs.pair
        return CreateLoginFacts(
            role=new,
            former=used,
            pair=(
                One(used, exists=True, can_login=True, ready=True, works=None),
                One(new, exists=False, can_login=False, ready=False, works=None),
            ),
            file=_file(inputs, scope),
        )

    def plan(self, system: Postgres, inputs: CreateLoginInputs, facts: CreateLoginFacts, scope: Scope) -> Operations:
        """Mint, make, set, let in, prove; nothing where the role logs in with this run's password and acts as the owner."""
        one = facts.one
        if one.can_login and not one.works:
            raise Undecidable(
                _problem(
                    "the state of a login can't be told",
                    f"{one.name} can log in, "
                    + ("but not with this run's password" if one.works is False else "and this run gave it no password")
                    + ": somebody else changed it.",
                    f"Look at the role: psql -c '\\du {one.name}'; the new password is in {facts.file}.",
                )
            )
        if one.can_login and facts.is_ready:
            return ()
        admin = system.connection(application=scope.application)
        grant: Operation = Sql(
            name="grant",
            connection=admin,
            statements=(
                sql("GRANT {owner} TO {role}", owner=Name(inputs.owner), role=Name(one.name)),
                sql("ALTER ROLE {role} SET role TO {owner}", role=Name(one.name), owner=inputs.owner),
                *(set_to(Setting(one.name, name, value), database) for database, name, value in facts.settings),
            ),
        )
        if one.can_login:
            return (grant,)
        made = () if one.exists else (_alter(admin, "create", "CREATE ROLE {role} NOLOGIN INHERIT", one.name),)
        return (
            minted(inputs.escrow, inputs.length),
            *made,
            grant,
            password_set(admin, one.name, inputs.escrow),
            _alter(admin, "enable", "ALTER ROLE {role} LOGIN", one.name),
            accepted(system.connection(application=scope.application, user=one.name), inputs.escrow),
        )

    def expect(self, system: Postgres, inputs: CreateLoginInputs, facts: CreateLoginFacts) -> CreatedLogin:
        """The roles are known beforehand."""
        return _outputs(inputs, facts)

    def verify(
        self, look: Look, system: Postgres, inputs: CreateLoginInputs, done: Done[CreateLoginFacts]
    ) -> CreatedLogin:
        """The role logs in with the new password."""
        connection = system.connection(application="runbook", user=done.facts.role)
        if not look.login(connection, FromEscrow(inputs.escrow)):
            raise CheckFailed(
                _problem(
                    "the new login does not work",
                    f"{done.facts.role} is refused with the password in {done.facts.file}.",
                    "Look at pg_hba.conf, and at who else changes this role.",
                )
            )
        return _outputs(inputs, done.facts)

    def undo(self, system: Postgres, inputs: CreateLoginInputs, facts: CreateLoginFacts, scope: Scope) -> Operations:
        """The new role may not log in."""
        if not facts.one.can_login:
            return ()
        return (
            _alter(
                system.connection(application=scope.application), "disable", "ALTER ROLE {role} NOLOGIN", facts.role
            ),
        )


def _one(
    look: Look,
    system: Postgres,
    inputs: CreateLoginInputs,
    scope: Scope,
    *,
    name: str,
    seen: RoleSeen | None,
    has_password: bool,
) -> One:
    if seen is None:
        return One(name, exists=False, can_login=False, ready=False, works=None)
    works: bool | None = None
    if has_password and seen.can_login:
        works = look.login(system.connection(application=scope.application, user=name), FromEscrow(inputs.escrow))
    ready = seen.member and seen.acts_as == inputs.owner
    return One(name, exists=True, can_login=seen.can_login, ready=ready, works=works, settings=seen.settings)


def _alter(admin: Connection, name: str, text: str, role: str) -> Operation:
    return Sql(name=name, connection=admin, statements=(sql(text, role=Name(role)),))


def _file(inputs: CreateLoginInputs, scope: Scope) -> str:
    return f"{scope.directory}/escrow/{inputs.escrow}"


def _outputs(inputs: CreateLoginInputs, facts: CreateLoginFacts) -> CreatedLogin:
    return CreatedLogin(role=facts.role, former=facts.former, escrow=inputs.escrow, file=facts.file)


def _refuse_owner(owner: RoleSeen | None, inputs: CreateLoginInputs) -> None:
    if owner is None:
        raise _refused(
            f"There is no role {inputs.owner} that could own what the service makes.",
            f'psql -c \'CREATE ROLE "{inputs.owner}" NOLOGIN\'; then give it the tables: REASSIGN OWNED BY … TO "{inputs.owner}".',
        )
    if owner.superuser:
        raise _refused(
            f"{inputs.owner} is a superuser, and its members would act as one.",
            "Name a role without rights of its own, and give it the service's tables: REASSIGN OWNED.",
        )


def _refused(what: str, fix: str) -> Refused:
    return Refused(_problem("this pair of logins can't be rotated", what, fix))


def _problem(summary: str, what: str, fix: str) -> Problem:
    return Problem("E608", summary, what, fix)
