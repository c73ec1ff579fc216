"""Values: what operations are made of.

Owns the scalars and JSON of results, the late value :class:`Ref`, environment variables, SQL statements, connections, documents
and conditions: frozen data, hashable, with no effect of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

from runbook.host import Host
from runbook.secret import SecretRef

Scalar: TypeAlias = str | int | float | bool | None
Json: TypeAlias = "Scalar | list[Json] | dict[str, Json]"
Fields: TypeAlias = Mapping[str, Scalar]
"""What an operation gave back. Text is bounded by the transport (64 KiB a field)."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A late value: ``field`` of the result of an earlier operation of the same step.

    It may fill an argument and never choose an operation.
    """

    operation: str
    field: str

    def __str__(self) -> str:
        return f"<{self.operation}.{self.field}>"


Arg: TypeAlias = str | Ref


@dataclass(frozen=True, slots=True)
class SecretFile:
    """An environment variable whose value is the path of a fresh 0600 file with these parts, joined (``PGPASSFILE``)."""

    parts: tuple[str | SecretRef, ...]


EnvValue: TypeAlias = str | SecretRef | SecretFile
Env: TypeAlias = tuple[tuple[str, EnvValue], ...]


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach a PostgreSQL database: over ``address``:``port`` as seen from ``host``.

    ``address`` may be a host name, an IP address, a socket directory (begins with ``/``), or empty: the container's own
    address for a container, else the default socket. ``application`` is what ``pg_stat_activity`` shows.
    """

    host: Host
    address: str
    port: int
    user: str
    database: str
    password: SecretRef | None
    application: str = "runbook"


@dataclass(frozen=True, slots=True)
class Name:
    """An SQL identifier, to be quoted."""

    text: str


_COMMENT = "-- "


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement: ``text`` with ``{key}`` for each of ``parts``; names are quoted as identifiers, values as literals.

    ``{{`` and ``}}`` stand for braces, as in :meth:`str.format`. A comment in its first line says in words what it is for.
    """

    text: str
    parts: tuple[tuple[str, Name | Scalar | Ref], ...] = ()

    @property
    def title(self) -> str:
        """What it is for, in words; empty where it doesn't say."""
        first = self.text.partition("\n")[0]
        return first.removeprefix(_COMMENT).replace("{{", "{").replace("}}", "}") if first.startswith(_COMMENT) else ""

    def titled(self, words: str) -> Statement:
        """The same, saying in words what it is for, wherever it is shown."""
        line = " ".join(words.split()).replace("{", "{{").replace("}", "}}")
        return replace(self, text=f"{_COMMENT}{line}\n{self.text}") if line else self


def sql(text: str, **parts: Name | Scalar | Ref) -> Statement:
    """A statement with its parts, ready to be quoted: ``sql("DROP DATABASE {db}", db=Name(x))``."""
    return Statement(text, tuple(sorted(parts.items(), key=lambda item: item[0])))


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON object with late values, as data; order is kept."""

    items: tuple[tuple[str, DocumentValue], ...]


@dataclass(frozen=True, slots=True)
class JsonText:
    """A late value whose text is JSON, to be put into a document as JSON, not as text."""

    ref: Ref


DocumentValue: TypeAlias = "Scalar | Ref | JsonText | SecretRef | Document | tuple[DocumentValue, ...]"


class Test(StrEnum):
    """How a :class:`Condition` compares a field with its value."""

    EQUALS = "equals"
    DIFFERS = "differs"
    AT_LEAST = "at_least"
    AT_MOST = "at_most"
    CONTAINS = "contains"
    ONE_OF = "one_of"

    __test__ = False  # not a test class, whatever pytest makes of the name


@dataclass(frozen=True, slots=True)
class Condition:
    """A closed predicate over one field of a result. ``ONE_OF`` takes a value of lines."""

    field: str
    test: Test
    value: Scalar | Ref
