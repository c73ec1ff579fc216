"""A database as an object of its cluster: what is known of it outside its tables, and how another is given the same.

Owns :class:`Properties` (owner, locale, limits, settings, privileges, labels, comment: all that a dump without ``--create``
leaves out), how they are read, and the statements that make and mark a database with them. Promises: a name or value that
comes from the server is quoted, never spliced; reading connects to the maintenance database only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from runbook.action import Look
from runbook.operation import Connection, Name, Scalar, Statement, sql

INVALID = -2
"""``datconnlimit`` of a database whose DROP was cut off: it can only be dropped again (PostgreSQL manual, pg_database)."""

UNLIMITED = -1

LISTS = frozenset(
    (
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    )
)
"""Settings whose value is a list of quoted identifiers; pg_dump treats the same ones apart (variable_is_guc_list_quote)."""

_LIST_ITEM = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^,"]*?))\s*(?:,|$)')

_DATABASES = """
SELECT d.oid::bigint AS oid, d.datname::text AS name, pg_get_userbyid(d.datdba)::text AS owner,
       pg_encoding_to_char(d.encoding)::text AS encoding, d.datcollate::text AS lc_collate, d.datctype::text AS lc_ctype,
       coalesce(j->>'datlocprovider', 'c') AS provider,
       coalesce(j->>'datlocale', j->>'daticulocale', '') AS locale, coalesce(j->>'daticurules', '') AS rules,
       t.spcname::text AS tablespace, d.datconnlimit AS connection_limit, d.datallowconn::int AS open,
       d.datistemplate::int AS template, (d.datacl IS NOT NULL)::int AS granted,
       coalesce(shobj_description(d.oid, 'pg_database'), '') AS comment
FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace, to_jsonb(d) AS j
WHERE d.datname IN ({first}, {second}, {third})
"""
_SETTINGS = """
SELECT coalesce(r.rolname, '')::text AS role, c.setting AS setting
FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) WITH ORDINALITY AS c(setting, n)
WHERE s.setdatabase = {oid} ORDER BY 1, c.n
"""
_GRANTS = """
SELECT pg_get_userbyid(a.grantor)::text AS grantor,
       CASE WHEN a.grantee = 0 THEN '' ELSE pg_get_userbyid(a.grantee)::text END AS grantee,
       a.privilege_type AS privilege, a.is_grantable::int AS grantable
FROM pg_database d, aclexplode(d.datacl) AS a
WHERE d.oid = {oid} ORDER BY a.grantor <> d.datdba, a.is_grantable DESC, 1, 2, 3
"""
_LABELS = """
SELECT provider::text AS provider, label AS label
FROM pg_shseclabel WHERE classoid = 'pg_database'::regclass AND objoid = {oid} ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """``ALTER DATABASE … SET name TO value``; with a ``role``, ``ALTER ROLE … IN DATABASE … SET``."""

    role: str
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Grant:
    """A privilege on a database. ``grantee`` '' is PUBLIC."""

    grantor: str
    grantee: str
    privilege: str
    grantable: bool


@dataclass(frozen=True, slots=True)
class Label:
    """A security label of a provider."""

    provider: str
    label: str


@dataclass(frozen=True, slots=True)
class Properties:
    """What a database is beside its contents. ``provider``: c (libc), i (ICU) or b (builtin). '' = the cluster's default.

    ``grants`` are None where the privileges are the defaults, in the order in which they can be granted.
    """

    owner: str = ""
    encoding: str = ""
    lc_collate: str = ""
    lc_ctype: str = ""
    provider: str = "c"
    locale: str = ""
    rules: str = ""
    tablespace: str = ""
    connection_limit: int = UNLIMITED
    open: bool = True
    template: bool = False
    comment: str = ""
    settings: tuple[Setting, ...] = ()
    grants: tuple[Grant, ...] | None = None
    labels: tuple[Label, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """A database at one look: ``oid`` stays the same when it is renamed; ``invalid``: a DROP of it was cut off."""

    oid: int
    comment: str
    open: bool
    invalid: bool


@dataclass(frozen=True, slots=True)
class Row:
    """A database with the part of its properties that its row in pg_database holds."""

    seen: Seen
    properties: Properties
    granted: bool


def read_rows(look: Look, connection: Connection, names: tuple[str, str, str]) -> dict[str, Row]:
    """Which of three databases there are."""
    first, second, third = names
    found = look.query(connection, sql(_DATABASES, first=first, second=second, third=third))
    return {str(row["name"]): _row(row) for row in found}


def read_properties(look: Look, connection: Connection, row: Row) -> Properties:
    """All properties of the database of ``row``."""
    oid = row.seen.oid
    settings = tuple(
        _setting(str(found["role"]), str(found["setting"])) for found in look.query(connection, sql(_SETTINGS, oid=oid))
    )
    grants = tuple(
        Grant(str(g["grantor"]), str(g["grantee"]), str(g["privilege"]), bool(g["grantable"]))
        for g in (look.query(connection, sql(_GRANTS, oid=oid)) if row.granted else ())
    )
    labels = tuple(Label(str(a["provider"]), str(a["label"])) for a in look.query(connection, sql(_LABELS, oid=oid)))
    return replace(row.properties, settings=settings, grants=grants if row.granted else None, labels=labels)


def _row(row: Mapping[str, Scalar]) -> Row:
    limit = int(row["connection_limit"] or 0)
    comment = str(row["comment"])
    is_open = bool(row["open"])
    properties = Properties(
        owner=str(row["owner"]),
        encoding=str(row["encoding"]),
        lc_collate=str(row["lc_collate"]),
        lc_ctype=str(row["lc_ctype"]),
        provider=str(row["provider"]),
        locale=str(row["locale"]),
        rules=str(row["rules"]),
        tablespace=str(row["tablespace"]),
        connection_limit=limit,
        open=is_open,
        template=bool(row["template"]),
        comment=comment,
    )
    seen = Seen(oid=int(row["oid"] or 0), comment=comment, open=is_open, invalid=limit == INVALID)
    return Row(seen, properties, bool(row["granted"]))


def _setting(role: str, text: str) -> Setting:
    name, _, value = text.partition("=")
    return Setting(role, name, value)


def create(name: str, want: Properties, *, version: int) -> Statement:
    """``CREATE DATABASE`` from template0 with the encoding, locale, tablespace and owner of ``want``."""
    words: list[str] = ["CREATE DATABASE {name} TEMPLATE template0"]
    parts: dict[str, Name | Scalar] = {"name": Name(name)}
    if want.owner:
        words.append("OWNER {owner}")
        parts["owner"] = Name(want.owner)
    if want.encoding:
        words.append("ENCODING {encoding}")
        parts["encoding"] = want.encoding
    for option, value in _locale(want, version):
        words.append(f"{option} {{{option.lower()}}}")
        parts[option.lower()] = value
    if want.tablespace:
        words.append("TABLESPACE {tablespace}")
        parts["tablespace"] = Name(want.tablespace)
    return sql(" ".join(words), **parts)


def _locale(want: Properties, version: int) -> list[tuple[str, str]]:
    """Options of CREATE DATABASE: providers exist from 15 on, ICU rules from 16, the builtin provider from 17."""
    found = []
    if want.lc_collate:
        found += [("LC_COLLATE", want.lc_collate), ("LC_CTYPE", want.lc_ctype)]
    if version < 150_000 or not want.lc_collate:
        return found
    found.append(("LOCALE_PROVIDER", {"i": "icu", "b": "builtin"}.get(want.provider, "libc")))
    if want.provider == "i":
        found.append(("ICU_LOCALE", want.locale))
        if want.rules:
            found.append(("ICU_RULES", want.rules))
    if want.provider == "b":
        found.append(("BUILTIN_LOCALE", want.locale))
    return found


def carry(name: str, want: Properties) -> tuple[Statement, ...]:
    """Statements that give a new database the settings, privileges and labels of ``want``; one transaction will do.

    Its limits, template flag and comment come with the swap (:func:`limits`, :func:`comment`): they would be in the way before.
    """
    database = Name(name)
    return (
        *(set_to(setting, name) for setting in want.settings),
        *_granted(database, want),
        *(
            sql(
                "SECURITY LABEL FOR {provider} ON DATABASE {db} IS {label}",
                provider=a.provider,
                db=database,
                label=a.label,
            )
            for a in want.labels
        ),
    )


def set_to(setting: Setting, database: str) -> Statement:
    """The statement that makes a setting; ``database`` '' is for a role's own, in every database."""
    values = items(setting.value) if setting.name.lower() in LISTS else (setting.value,)
    # An empty list is written as one empty string: SET takes no fewer than one value.
    parts: dict[str, Name | Scalar] = {f"v{n}": value for n, value in enumerate(values or ("",))}
    marks = ", ".join(f"{{{key}}}" for key in parts)
    named = ".".join(f"{{s{n}}}" for n, _ in enumerate(setting.name.split(".")))
    parts |= {f"s{n}": Name(word) for n, word in enumerate(setting.name.split("."))}
    where: dict[str, Name | Scalar] = {"db": Name(database)} if database else {}
    if not setting.role:
        return sql(f"ALTER DATABASE {{db}} SET {named} TO {marks}", **where, **parts)
    inside = " IN DATABASE {db}" if database else ""
    return sql(f"ALTER ROLE {{role}}{inside} SET {named} TO {marks}", role=Name(setting.role), **where, **parts)


def items(value: str) -> tuple[str, ...]:
    """The identifiers of a list setting: ``"$user", public`` gives ``$user`` and ``public``."""
    found, at = [], 0
    while at < len(value):
        match = _LIST_ITEM.match(value, at)
        if match is None or match.end() == at:
            return (value,)
        found.append(match[1].replace('""', '"') if match[1] is not None else match[2])
        at = match.end()
    return tuple(item for item in found if item)


def _granted(database: Name, want: Properties) -> list[Statement]:
    if want.grants is None:
        return []
    made = [sql("REVOKE ALL ON DATABASE {db} FROM PUBLIC, {owner}", db=database, owner=Name(want.owner))]
    acting = want.owner
    for grant in want.grants:
        if grant.grantor != acting:
            # The server records who granted: the owner on behalf of superusers, else the role that acts.
            role = (
                sql("RESET ROLE") if grant.grantor == want.owner else sql("SET LOCAL ROLE {r}", r=Name(grant.grantor))
            )
            made.append(role)
            acting = grant.grantor
        option = " WITH GRANT OPTION" if grant.grantable else ""
        whom = "{grantee}" if grant.grantee else "PUBLIC"
        parts: dict[str, Name | Scalar] = {"grantee": Name(grant.grantee)} if grant.grantee else {}
        made.append(sql(f"GRANT {_privilege(grant)} ON DATABASE {{db}} TO {whom}{option}", db=database, **parts))
    if acting != want.owner:
        made.append(sql("RESET ROLE"))
    return made


def _privilege(grant: Grant) -> str:
    if not re.fullmatch(r"[A-Z ]+", grant.privilege):
        raise ValueError(f"{grant.privilege!r} is not a privilege")
    return grant.privilege


def limits(name: str, *, connection_limit: int, is_open: bool, is_template: bool) -> Statement:
    """Who may connect to a database, and whether it is a template."""
    return sql(
        f"ALTER DATABASE {{db}} WITH ALLOW_CONNECTIONS {_truth(is_open)} CONNECTION LIMIT {connection_limit:d} "
        f"IS_TEMPLATE {_truth(is_template)}",
        db=Name(name),
    )


def comment(name: str, text: str) -> Statement:
    """The comment of a database; empty text removes it."""
    return sql("COMMENT ON DATABASE {db} IS {said}", db=Name(name), said=text or None)


def _truth(value: bool) -> str:  # noqa: FBT001 - it turns a truth value into SQL's word for it
    return "true" if value else "false"


def differences(want: Properties, found: Properties) -> tuple[str, ...]:
    """The names of the properties in which two databases differ; the order of privileges and settings doesn't count."""
    named = tuple(name for name in Properties.__dataclass_fields__ if name not in ("grants", "settings"))
    differing = [name for name in named if getattr(want, name) != getattr(found, name)]
    if _spelt(want.settings) != _spelt(found.settings):
        differing.append("settings")
    if _as_set(want.grants) != _as_set(found.grants):
        differing.append("grants")
    return tuple(differing)


def _spelt(settings: Sequence[Setting]) -> frozenset[tuple[str, str, tuple[str, ...]]]:
    """Settings by role and name; a list may be spelt with or without quotation marks."""
    return frozenset((s.role, s.name, items(s.value) if s.name.lower() in LISTS else (s.value,)) for s in settings)


def _as_set(grants: Sequence[Grant] | None) -> frozenset[Grant] | None:
    return None if grants is None else frozenset(grants)
