"""The file of a cluster's roles that ``pg_dumpall --globals-only`` writes: which of them are missing, and how they are made.

Owns its reading. Promises: a password (or its verifier) never leaves the file; what is taken out of it are names and
memberships. The lines of missing roles go from the file straight into psql.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

# Everything but what may not stand in it, since a class of 65,000 characters takes long to compile.
_IDENTIFIER = r'(?:"(?:[^"]|"")+"|[^\x00-\x5e\x60\x7b-\x7f][^\x00-\x23\x25-\x2f\x3a-\x5e\x60\x7b-\x7f]*)'
_CREATE = re.compile(rf"CREATE ROLE ({_IDENTIFIER})")
_MEMBER = re.compile(
    rf"GRANT ({_IDENTIFIER}) TO ({_IDENTIFIER})(?: WITH (.*?))?(?: GRANTED BY {_IDENTIFIER})?", re.DOTALL
)
_SETTING = re.compile(rf"ALTER ROLE ({_IDENTIFIER}) SET .*", re.DOTALL)
_OPTIONS = ("ADMIN OPTION", "ADMIN TRUE", "INHERIT TRUE", "INHERIT FALSE", "SET TRUE", "SET FALSE")
_SPECIAL = re.compile(r"([][\\.*^$])")


@dataclass(frozen=True, slots=True)
class Membership:
    """``GRANT role TO member``; ``options`` as the file has them."""

    role: str
    member: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RoleSetting:
    """``ALTER ROLE … SET …`` in the file's own words."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Roles:
    """What a globals file says, without secrets."""

    names: tuple[str, ...] = ()
    memberships: tuple[Membership, ...] = ()
    settings: tuple[RoleSetting, ...] = ()

    @property
    def mentioned(self) -> frozenset[str]:
        """Every role that occurs."""
        return frozenset((*self.names, *(name for m in self.memberships for name in (m.role, m.member))))

    def missing(self, present: Collection[str]) -> Roles:
        """The roles that are not ``present``, and the memberships that concern one of them."""
        names = tuple(name for name in self.names if name not in present and not name.startswith("pg_"))
        concerned = tuple(m for m in self.memberships if m.role in names or m.member in names)
        known = {*present, *names}
        return Roles(
            names,
            tuple(m for m in concerned if m.role in known and m.member in known),
            tuple(setting for setting in self.settings if setting.role in names),
        )


def parse(text: str) -> Roles:
    """The roles and memberships of a globals file. Statements of any other kind are passed over."""
    names: list[str] = []
    memberships: list[Membership] = []
    settings: list[RoleSetting] = []
    for statement in statements(text):
        if (made := _CREATE.fullmatch(statement)) is not None:
            names.append(_bare(made[1]))
        elif (granted := _MEMBER.fullmatch(statement)) is not None:
            given = [word.strip() for word in (granted[3] or "").split(",")]
            options = tuple(word for word in given if word in _OPTIONS)
            memberships.append(Membership(_bare(granted[1]), _bare(granted[2]), options))
        elif (found := _SETTING.fullmatch(statement)) is not None:
            settings.append(RoleSetting(_bare(found[1]), statement))
    return Roles(tuple(names), tuple(memberships), tuple(settings))


def statements(text: str) -> Iterator[str]:
    """The statements of an SQL script without their semicolons; comments and psql's own commands are left out.

    Quotation marks and their escapes are heeded, so that text that looks like a statement inside a string is not one.
    """
    pattern = re.compile(
        r"""--[^\n]*|^\\[^\n]*|[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|;|.""", re.DOTALL | re.MULTILINE
    )
    current: list[str] = []
    for match in pattern.finditer(text):
        piece = match[0]
        if piece == ";":
            yield "".join(current).strip()
            current = []
        elif not piece.startswith(("--", "\\")) or piece == "\\":
            current.append(piece)


def _bare(identifier: str) -> str:
    return identifier[1:-1].replace('""', '"') if identifier.startswith('"') else identifier


def lines_of(roles: Roles, *, bare: bool = False) -> tuple[str, ...]:
    """An argv of ``grep`` that passes the lines of a globals file which make these roles, and no others.

    With ``bare`` they are CREATE ROLE alone: such a role can own things, and nobody can log in with it. Else they are CREATE
    ROLE, ALTER ROLE with its attributes (the line with the password's verifier, which thus is never read here), settings and
    memberships; a setting whose value has more than one line is left out.
    """
    patterns: list[str] = []
    for name in roles.names:
        for written in _spellings(name):
            patterns += [f"^CREATE ROLE {written};$", *(() if bare else (f"^ALTER ROLE {written} WITH ",))]
    if bare:
        roles = Roles()  # nothing but their names
    patterns += [f"^{_literal(setting.text)};$" for setting in roles.settings if "\n" not in setting.text]
    for m in roles.memberships:
        patterns += [f"^GRANT {a} TO {b}[ ;]" for a in _spellings(m.role) for b in _spellings(m.member)]
    return ("grep", "--text", *(word for pattern in patterns for word in ("-e", pattern)))


GRANTOR_DROPPED = ("sed", "-e", "/^GRANT /s/ GRANTED BY .*;$/;/")
"""Who granted a membership is not kept: that role may be gone, and from 16 on it would need rights of its own."""


def _spellings(name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((_literal(name), _literal('"' + name.replace('"', '""') + '"'))))


def _literal(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)
