"""Operations: every effect that runbook can have on the world, as frozen data.

Owns the closed union :data:`Operation` and the digest of an operation. An action plans operations; a transport performs them;
``paste.py`` prints them. There is no other way to act. Promises: equal operations have equal digests; no operation holds a
secret's value, only where it is to be read.

Results are *fields*: a flat mapping from names to bounded text, numbers or truth values, journalled with the operation.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from typing import TypeAlias

from runbook.canonical import LATER, canonical
from runbook.host import LOCAL, Host
from runbook.secret import SecretRef
from runbook.value import (
    Arg,
    Condition,
    Connection,
    Document,
    DocumentValue,
    Env,
    EnvValue,
    Fields,
    Json,
    JsonText,
    Name,
    Ref,
    Scalar,
    SecretFile,
    Statement,
    Test,
    sql,
)

# fmt: off
__all__ = [
    "UNBOUNDED", "Arg", "Ask", "Call", "Condition", "Connection", "CopyRows", "Document", "DocumentValue", "Env", "EnvValue",
    "Fields", "Generate", "Hashing", "Json", "JsonText", "MakeDirectory", "Message", "Name", "Operation", "Operations",
    "Pipeline", "Process", "Question", "Ref", "Remove", "Rename", "Scalar", "SecretFile", "Service", "Session",
    "SetPassword", "Sql", "Stage", "Statement", "Test", "Transaction", "Wait", "Write", "canonical", "changes",
    "digest", "kind", "sql",
]
# fmt: on


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """Run a program. Result: ``exit_code``, ``stdout``, ``stderr`` (bounded tails), ``log`` (a path in the run's folder).

    ``user`` is a name or ``uid:gid`` on that host ("" = as it comes). A ``daemon`` may leave a descendant behind; anything
    else that a process leaves at a timeout is ended. ``owned`` marks clean-up of things that carry the run's name.
    """

    name: str
    argv: tuple[Arg, ...]
    host: Host = LOCAL
    env: Env = ()
    stdin: str = ""
    cwd: str = ""
    user: str = ""
    ok_codes: tuple[int, ...] = (0,)
    daemon: bool = False
    reads: bool = False
    owned: bool = False


UNBOUNDED = 2**63 - 1
"""A stage's ``most_bytes`` that nothing reaches: its bytes are only counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One process of a pipeline: reads its standard input from the one before, writes to the one after.

    ``most_bytes``: how many it may be given; with one more the pipeline ends and has failed, before this process sees an end of its
    input. 0: any number, and nobody counts.
    """

    argv: tuple[Arg, ...]
    host: Host = LOCAL
    env: Env = ()
    user: str = ""
    ok_codes: tuple[int, ...] = (0,)
    most_bytes: int = field(default=0, metadata=LATER)


class Hashing(StrEnum):
    """Which bytes of a pipeline are counted and hashed."""

    SOURCE = "source"
    SINK = "sink"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """Bytes from a file or the first stage, through the stages, to a file or the last stage. Paths are local.

    ``source`` is a file to read ("" = the first stage makes the bytes); ``sink`` a file to write ("" = the last stage
    takes them, or nobody does where ``stages`` is empty: a full read). A sink ends in ``.partial``. Result: ``sha256``,
    ``bytes``, ``exit_codes``, ``stderr``, ``log``; ``taken_bytes``, what the last stage with ``most_bytes`` was given.
    ``expect_sha256``: a difference is a failure. Interrupted = redone.
    """

    name: str
    source: str = ""
    stages: tuple[Stage, ...] = ()
    sink: str = ""
    hashing: Hashing = Hashing.SINK
    expect_sha256: str = ""
    total_bytes: int = 0
    reads: bool = False
    owned: bool = False


class Transaction(StrEnum):
    """Whether statements run in one transaction or each on its own."""

    ONE = "one"
    AUTOCOMMIT = "autocommit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sql:
    """Run SQL statements. Result: ``rows`` (JSON text: a list of objects), ``row_count``, each column of a single row.

    The result is that of the last statement that returns rows. ``session`` names an enclosing :class:`Session` whose
    connection is used. ``into`` is a local path: rows go there as JSON lines instead, and the result has ``row_count``
    and ``sha256``. One transaction notes its id before COMMIT, so that a lost answer can be settled. ``expect``:
    conditions on the result; else failure.
    """

    name: str
    connection: Connection
    statements: tuple[Statement, ...]
    transaction: Transaction = Transaction.ONE
    session: str = ""
    into: str = ""
    expect: tuple[Condition, ...] = ()
    reads: bool = False
    owned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One connection held open round a body of operations (an exported snapshot, an advisory lock).

    Result: the columns of ``begin``'s last row. If its end isn't shown in the world, the whole body counts as not done.
    """

    name: str
    connection: Connection
    begin: tuple[Statement, ...]
    body: tuple[Operation, ...]
    end: tuple[Statement, ...] = ()
    reads: bool = False
    owned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRows:
    """Rows of a query on ``source`` into a table of a session's transaction: COPY to COPY, as text. Result: ``rows``, ``sha256``.

    ``before`` are run on ``source`` first, on the same connection. ``session`` names the enclosing :class:`Session`, whose
    connection, ``connection``, takes the rows: it has to be in a transaction, so that a failure of either side leaves nothing.
    """

    name: str
    source: Connection
    query: Statement
    connection: Connection
    session: str
    table: Name
    columns: tuple[Name, ...]
    before: tuple[Statement, ...] = ()
    reads: bool = False
    owned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeDirectory:
    """Make a directory (and its parents) with this mode; one that exists is left as it is. ``owner``: ``uid:gid`` or name."""

    name: str
    path: str
    host: Host = LOCAL
    mode: int = 0o700
    owner: str = ""
    reads: bool = False
    owned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """Write a file whole: into ``path + '.partial'``, synced, renamed. Result: ``sha256``, ``bytes``."""

    name: str
    path: str
    content: str | Document
    host: Host = LOCAL
    mode: int = 0o600
    owner: str = ""
    reads: bool = False
    owned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rename:
    """Rename a file or directory on a host; refuses an existing target; syncs the folder."""

    name: str
    source: str
    target: str
    host: Host = LOCAL
    reads: bool = False
    owned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """Remove a file or a tree on a host. Refuses a path that does not hold ``marker``, the run's name."""

    name: str
    path: str
    marker: str
    host: Host = LOCAL
    reads: bool = False
    owned: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Generate:
    """Mint a secret into a 0600 escrow file below the run's directory, synced; one that is there is kept."""

    name: str
    escrow: str
    length: int = 32
    reads: bool = False
    owned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPassword:
    """Give a role the password in ``password``: the server gets a SCRAM-SHA-256 verifier, never the text."""

    name: str
    connection: Connection
    role: str
    password: SecretRef
    reads: bool = False
    owned: bool = False


class Service(StrEnum):
    """Whose call a :class:`Call` is."""

    DOCKER = "docker"
    HTTP = "http"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of a service: Docker (operation ``start``, ``stop``, ``health``, ``run``; argument ``container``) or HTTP.

    Docker's ``run``: ``argv`` in a one-off container with the volumes of the host's container, which has to be stopped;
    ``labels`` (a document) find it again; an exit code other than 0 is a failure. It runs as root, or as the owner of the file
    ``user_of``; without a network, or with ``network: own`` on those of the stopped one; ``secrets`` (a document) are
    variables of the program's environment.
    HTTP: operation is the method; arguments ``url``, ``headers`` (a document), ``body``; result ``status``, ``body``,
    ``elapsed_s``.
    ``expect``: conditions on the result; else failure.
    """

    name: str
    service: Service
    operation: str
    arguments: Document
    host: Host = LOCAL
    expect: tuple[Condition, ...] = ()
    reads: bool = False
    owned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Repeat a read until its conditions hold. ``deadline_s`` 0 is an expectation inside the list: one look, then failure.

    ``interval_s``: the longest pause between two looks; the first ones are shorter.
    """

    name: str
    read: Process | Sql | Call
    until: tuple[Condition, ...]
    interval_s: float = 0.5
    deadline_s: float = 60.0
    reads: bool = True
    owned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Send a message to a channel (a notification URL, which may be a secret)."""

    name: str
    channel: str | SecretRef
    title: str
    body: str
    reads: bool = False
    owned: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """A typed field that a person is asked for."""

    name: str
    type: str = "string"
    help: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A question to a person: instructions, typed fields, or approvals of ``subject`` (a hash). The run waits for it.

    ``approvals`` 0: a confirmation by anybody; else that many different approvers, of ``approvers`` where given.
    Result: the fields' values; ``by``.
    """

    name: str
    instructions: str
    questions: tuple[Question, ...] = ()
    approvals: int = 0
    approvers: tuple[str, ...] = ()
    subject: str = ""
    reads: bool = False
    owned: bool = False


Operation: TypeAlias = (
    Process
    | Pipeline
    | Sql
    | Session
    | CopyRows
    | MakeDirectory
    | Write
    | Rename
    | Remove
    | Generate
    | SetPassword
    | Call
    | Wait
    | Message
    | Ask
)
Operations: TypeAlias = tuple[Operation, ...]


def kind(operation: Operation) -> str:
    """The operation's kind as the journal and ``--json`` name it: ``process``, ``set_password``, …"""
    return _spelt(type(operation).__name__)


@cache
def _spelt(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def digest(operation: Operation) -> str:
    """SHA-256 (hex) of the canonical form: what approval, sealing and resume compare.

    Without bounds, which can only end an operation sooner: what was approved before there were any goes on with them.
    """
    text = json.dumps(canonical(_unbounded(operation)), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _unbounded(operation: Operation) -> Operation:
    match operation:
        case Pipeline(stages=stages) if any(one.most_bytes for one in stages):
            return replace(operation, stages=tuple(replace(one, most_bytes=0) for one in stages))
        case Session(body=body):
            return replace(operation, body=tuple(map(_unbounded, body)))
    return operation


def changes(operation: Operation) -> bool:
    """Whether performing it may change anything outside the run's own directory."""
    return not operation.reads
