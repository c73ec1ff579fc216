"""What a custom or directory dump says of the database that it was made of, beside the tables.

Owns the reading of ``pg_restore``'s listing and of the statements that ``pg_restore --create`` would run. They are needed where
the database is gone: a dump is the only thing left that knows its owner, encoding, locale and settings. Nothing is run here.
"""

from __future__ import annotations

import re
from dataclasses import replace

from runbook.actions.postgres.database import LISTS, UNLIMITED, Grant, Properties, Setting
from runbook.actions.postgres.globals_file import statements

NOTHING_BUT_THE_DATABASE = ("--file=-", "--create", "--table= ")
"""Options of pg_restore: entries of the database itself are kept whatever ``--table`` selects, and no table is called `` ``."""

_LITERAL = r"'((?:[^']|'')*)'"
_NAME = r'("(?:[^"]|"")+"|[^\s"]+)'
_CREATE = re.compile(rf"CREATE DATABASE {_NAME} WITH (.*)", re.DOTALL)
_OPTION = re.compile(rf"([A-Z_]+(?: [A-Z_]+)?) = (?:{_LITERAL}|{_NAME})")
_OWNER = re.compile(rf"ALTER DATABASE {_NAME} OWNER TO {_NAME}")
_LIMIT = re.compile(
    rf"ALTER DATABASE {_NAME} CONNECTION LIMIT = (\d+)|ALTER DATABASE {_NAME} WITH CONNECTION LIMIT = (\d+)"
)
_COMMENT = re.compile(rf"COMMENT ON DATABASE {_NAME} IS {_LITERAL}", re.DOTALL)
_SET = re.compile(rf"ALTER (?:DATABASE {_NAME}|ROLE {_NAME} IN DATABASE {_NAME}) SET {_NAME} TO (.*)", re.DOTALL)
_RIGHT = re.compile(rf"(GRANT|REVOKE) ([A-Z, ]+) ON DATABASE {_NAME} (?:TO|FROM) {_NAME}( WITH GRANT OPTION)?")
_ACTING = re.compile(rf"SET SESSION AUTHORIZATION {_NAME}")
_EVERYBODY, _OWNER_MAY = ("CONNECT", "TEMPORARY"), ("CONNECT", "TEMPORARY", "CREATE")
"""The privileges on a new database; a dump has what differs from them (manual, Privileges)."""
_EXTENSION = re.compile(r"^\d+; \d+ \d+ EXTENSION - (.+?)\s*$", re.MULTILINE)


def extensions(listing: str) -> tuple[str, ...]:
    """The extensions that ``pg_restore --list`` names."""
    return tuple(dict.fromkeys(name.split(" ")[0] for name in _EXTENSION.findall(listing)))


def properties(script: str) -> Properties:
    """The properties that the statements of :data:`NOTHING_BUT_THE_DATABASE` would give."""
    found = Properties()
    rights: list[tuple[str, re.Match[str]]] = []
    acting = ""
    settings: list[Setting] = []
    for statement in statements(script):
        if (made := _CREATE.fullmatch(statement)) is not None:
            found = _located(found, {key: text or _bare(name) for key, text, name in _OPTION.findall(made[2])})
        elif (owned := _OWNER.fullmatch(statement)) is not None:
            found = replace(found, owner=_bare(owned[2]))
        elif (limited := _LIMIT.fullmatch(statement)) is not None:
            found = replace(found, connection_limit=int(limited[2] or limited[4] or UNLIMITED))
        elif (said := _COMMENT.fullmatch(statement)) is not None:
            found = replace(found, comment=_text(said[2]))
        elif (given := _SET.fullmatch(statement)) is not None:
            settings.append(_setting(_bare(given[2] or ""), _bare(given[4]), given[5]))
        elif (right := _RIGHT.fullmatch(statement)) is not None:
            rights.append((acting, right))
        elif (other := _ACTING.fullmatch(statement)) is not None:
            acting = _bare(other[1])
        elif statement == "RESET SESSION AUTHORIZATION":
            acting = ""
    return replace(found, settings=tuple(settings), grants=_grants(found.owner, rights))


def _grants(owner: str, rights: list[tuple[str, re.Match[str]]]) -> tuple[Grant, ...] | None:
    """Those of a new database, changed as the dump says; None where it says nothing. Without an owner none can be given."""
    if not rights or not owner:
        return None
    found = {(owner, "", one): False for one in _EVERYBODY} | {(owner, owner, one): False for one in _OWNER_MAY}
    for acting, right in rights:
        listed = _OWNER_MAY if right[2] == "ALL" else tuple(word.strip() for word in right[2].split(","))
        grantee = "" if right[4] == "PUBLIC" else _bare(right[4])
        for one in listed:
            key = (acting or owner, grantee, one)
            if right[1] == "GRANT":
                found[key] = right[5] is not None
            else:
                found.pop(key, None)
    made = [Grant(grantor, grantee, one, grantable) for (grantor, grantee, one), grantable in found.items()]
    return tuple(sorted(made, key=lambda grant: (grant.grantor != owner, not grant.grantable)))


def _located(found: Properties, options: dict[str, str]) -> Properties:
    provider = {"icu": "i", "builtin": "b"}.get(options.get("LOCALE_PROVIDER", ""), "c")
    everywhere = options.get("LOCALE", "")
    named = {"i": options.get("ICU_LOCALE", ""), "b": options.get("BUILTIN_LOCALE", "")}
    return replace(
        found,
        encoding=options.get("ENCODING", ""),
        lc_collate=options.get("LC_COLLATE", everywhere),
        lc_ctype=options.get("LC_CTYPE", everywhere),
        provider=provider,
        locale=named.get(provider, ""),
        rules=options.get("ICU_RULES", ""),
    )


def _setting(role: str, name: str, values: str) -> Setting:
    texts = [_text(text) for text in re.findall(_LITERAL, values)]
    if name.lower() in LISTS:
        return Setting(role, name, ", ".join('"' + text.replace('"', '""') + '"' for text in texts))
    return Setting(role, name, texts[0] if texts else values.strip())


def _text(literal: str) -> str:
    return literal.replace("''", "'")


def _bare(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
