"""A role's password and its login: minted before its first use, set as a verifier, proven by logging in; and what is seen of it.

Owns the operations that every change of a password is made of, and what observers ask about roles that log in. Promises: the
text of a password is in the escrow file before the server hears of its verifier, and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, TypeAlias

from pydantic import Field

from runbook.action import Look
from runbook.operation import Condition, Connection, Generate, Scalar, SetPassword, Sql, Statement, Test, Wait, sql
from runbook.secret import FromEscrow

LOGIN_WITHIN_S = 10.0

EscrowName: TypeAlias = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
        description="Name of the 0600 file below the run's directory that holds the new password",
    ),
]
Length: TypeAlias = Annotated[int, Field(ge=20, le=128, description="Characters of the new password")]

_ROLES = """
SELECT r.rolname::text AS name, r.rolcanlogin::int AS can_login, r.rolsuper::int AS superuser,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(coalesce(d.datname, ''), c.setting) ORDER BY d.datname, c.n), '[]')
        FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase,
          unnest(s.setconfig) WITH ORDINALITY AS c(setting, n) WHERE s.setrole = r.oid)::text AS settings,
       pg_has_role(r.oid, {owner}, 'MEMBER')::int AS member,
       (SELECT count(*) FROM pg_stat_activity s WHERE s.usename = r.rolname)::int AS sessions
FROM pg_roles r WHERE r.rolname IN (SELECT jsonb_array_elements_text({names}::jsonb))
"""
_SESSIONS = (
    "SELECT count(*)::int AS sessions FROM pg_stat_activity "
    "WHERE usename = {role} AND pid <> pg_backend_pid() AND coalesce(application_name, '') NOT LIKE 'runbook%'"
)


@dataclass(frozen=True, slots=True)
class RoleSeen:
    """A role at one look. ``member``: of the owner that was asked for; ``acts_as``: the role that its sessions take on.

    ``settings``: the others, each with the database that it is for ('' = all), its name and its value.
    """

    name: str
    can_login: bool
    superuser: bool
    member: bool
    acts_as: str
    sessions: int
    settings: tuple[tuple[str, str, str], ...]


def read_roles(look: Look, at: Connection, names: tuple[str, ...], *, owner: str = "") -> Mapping[str, RoleSeen]:
    """Those of the roles that exist, by name; ``member`` is asked where ``owner`` exists."""
    statement = sql(
        _ROLES if owner else _ROLES.replace("pg_has_role(r.oid, {owner}, 'MEMBER')::int", "0"),
        names=json.dumps(sorted(names), ensure_ascii=False),
        **({"owner": owner} if owner else {}),
    )
    return {str(row["name"]): _seen(row) for row in look.query(at, statement)}


def _seen(row: Mapping[str, Scalar]) -> RoleSeen:
    settings = [_setting(pair) for pair in json.loads(str(row["settings"]))]
    return RoleSeen(
        name=str(row["name"]),
        can_login=bool(row["can_login"]),
        superuser=bool(row["superuser"]),
        member=bool(row["member"]),
        acts_as=next((value for database, name, value in settings if (database, name) == ("", "role")), ""),
        sessions=int(row["sessions"] or 0),
        settings=tuple(one for one in settings if one[1] != "role"),
    )


def _setting(pair: tuple[str, str]) -> tuple[str, str, str]:
    name, _, value = pair[1].partition("=")
    return (pair[0], name, value)


def sessions_of(role: str) -> Statement:
    """How many sessions a role has, beside those of this program: ``sessions``."""
    return sql(_SESSIONS, role=role)


def minted(escrow: str, length: int) -> Generate:
    """The password comes to be, in its file."""
    return Generate(name="mint", escrow=escrow, length=length)


def password_set(admin: Connection, role: str, escrow: str) -> SetPassword:
    """The server gets its verifier."""
    return SetPassword(name="set", connection=admin, role=role, password=FromEscrow(escrow))


def accepted(login: Connection, escrow: str) -> Wait:
    """The role logs in with it."""
    proven = replace(login, password=FromEscrow(escrow))
    works = Sql(name="login", connection=proven, statements=(sql("SELECT 1 AS accepted"),), reads=True)
    until = (Condition("accepted", Test.EQUALS, 1),)
    return Wait(name="accepted", read=works, until=until, deadline_s=LOGIN_WITHIN_S)
