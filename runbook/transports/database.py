"""Connections to PostgreSQL: made, watched, and ended from outside when their time is over.

Owns :class:`Databases` (how one connects) and :class:`Watch` (who may interrupt one). Promises: a connection carries its
application name and a ``statement_timeout`` no later than the bound; a password is in no conninfo string that is shown; a
server that stops answering is given up.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias

from runbook.errors import Problem
from runbook.operation import Connection, Scalar
from runbook.transports.address import server_address
from runbook.transports.bound import Bound
from runbook.transports.docker import DockerEngine
from runbook.transports.rows import adapters
from runbook.transports.secrets import SecretStore
from runbook.transports.trouble import LATE, Absent, Trouble, trouble

if TYPE_CHECKING:
    import psycopg

Link: TypeAlias = "psycopg.Connection[tuple[Scalar, ...]]"

CONNECT_WITHIN_S = 10.0
CANCEL_WITHIN_S = 5.0
"""How long a cancelled statement may take to answer before the connection is cut."""
SERVER_ANSWERS_WITHIN_S = 2.0
"""How long after its deadline the server's own statement_timeout is awaited before a cancel is sent."""
_NOBODY = re.compile(r"Connection refused|connection to server on socket .* failed: No such file or directory")
_TRIED = re.compile(r"^- host: .*|connection to server .*", re.MULTILINE)
"""What libpq says of each address that was tried: a name such as `localhost` has two."""
_DENIED = re.compile(r'password authentication failed for user|FATAL:\s+role "[^\n]*" does not exist')


class Databases:
    """Makes connections: address from the host, password from the store."""

    def __init__(self, secrets: SecretStore, engine: DockerEngine, redact: Callable[[str], str]) -> None:
        self._secrets = secrets
        self._engine = engine
        self.redact = redact

    def connect(
        self,
        connection: Connection,
        bound: Bound,
        *,
        application: str = "",
        database: str = "",
        password: str | None = None,
    ) -> Link:
        """An open connection in autocommit mode; the caller closes it. Raises :class:`Trouble` or :class:`Unreachable`.

        ``password`` replaces the connection's own; nothing of the engine's ``PG…`` environment is used for it.
        """
        import psycopg

        if bound.over:
            where = f"{connection.user}@{connection.address or connection.host}/{connection.database}"
            raise trouble("E327", "the time was over", f"{where} was not asked any more.", LATE)
        host = server_address(connection, self._engine)
        if password is None and connection.password is not None:
            password = self._secrets.reveal(connection.password).reveal()
        try:
            link: Link = psycopg.connect(
                host=host,
                port=connection.port,
                user=connection.user,
                dbname=database or connection.database,
                password=password or "",  # empty, not absent: else libpq would take the engine's PGPASSWORD
                application_name=application or connection.application,
                connect_timeout=max(2, int(bound.at_most(CONNECT_WITHIN_S))),
                client_encoding="UTF8",
                options="",
                keepalives_idle=15,
                keepalives_interval=5,
                keepalives_count=3,
                tcp_user_timeout=30_000,
                autocommit=True,
                context=adapters(),
            )
        except psycopg.Error as error:
            problem = self._explain(connection, host, error)
            raise (Absent if _nobody(problem.detail) else Trouble)(problem) from None
        left_s = bound.left_s()
        if left_s is not None:
            try:
                _set_timeout(link, left_s)
            except psycopg.Error as error:  # ended, or cut off, as soon as it was there: nothing was asked yet
                link.close()
                raise Trouble(self._explain(connection, host, error)) from None
        link.prepare_threshold = None
        return link

    def login(self, connection: Connection, bound: Bound, *, password: str | None) -> bool | None:
        """Whether the server takes this password; None if it lets the role in without asking for one.

        Raises :class:`Trouble` or :class:`Unreachable` where it could not be asked.
        """
        try:
            link = self.connect(connection, bound, password=password or "")
        except Trouble as error:
            if _DENIED.search(error.problem.detail) or (
                password is None and "no password supplied" in error.problem.detail
            ):
                return False
            raise
        with contextlib.closing(link):
            return True if link.pgconn.used_password or password is None else None

    def _explain(self, connection: Connection, host: str, error: Exception) -> Problem:
        where = f"{connection.user}@{host}:{connection.port}/{connection.database}"
        fix = f"psql {self.redact(f'host={host} port={connection.port} user={connection.user} dbname={connection.database}')!r}"
        detail = self.redact(f"{where}: {str(error).strip()}")
        return Problem("E311", "the database could not be reached", detail, fix)


_LONGEST_MS = 2**31 - 1
"""The greatest statement_timeout that a server takes: 24 days."""


def _nobody(said: str) -> bool:
    """Whether nothing listens at any of the addresses: one where nothing does says nothing of a server that refused at another."""
    tried = _TRIED.findall(said)
    return bool(tried) and all(_NOBODY.search(one) for one in tried)


def _set_timeout(link: Link, seconds: float) -> None:
    milliseconds = min(max(1, int(seconds * 1000)), _LONGEST_MS)
    link.execute(f"SET statement_timeout = {milliseconds}")


class Watch:
    """Lets others interrupt the work on a connection: at its deadline, or when the operator says stop.

    First the server's own timeout, then a cancel, then the connection is cut. ``why`` says what was done to it.
    """

    def __init__(self, link: Link, bound: Bound) -> None:
        self._link = link
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._bound = bound
        self.why = ""

    def __enter__(self) -> Watch:
        left_s = self._bound.left_s()
        if left_s is not None:
            due = left_s + SERVER_ANSWERS_WITHIN_S
            self._thread = threading.Thread(target=self._expire, args=(due,), name="sql-deadline", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()

    def stop(self, grace_s: float) -> None:
        """Cancel what the server does, and cut the connection if it doesn't answer within ``grace_s``."""
        self._interrupt("it was stopped", grace_s)

    def _expire(self, due_s: float) -> None:
        if not self._over.wait(due_s):
            self._interrupt("its time was over", CANCEL_WITHIN_S)

    def _interrupt(self, why: str, grace_s: float) -> None:
        import psycopg

        self.why = why
        with contextlib.suppress(psycopg.Error, OSError):  # whatever hinders a cancel, the cut below doesn't need it
            self._link.cancel_safe(timeout=max(0.1, min(grace_s, CANCEL_WITHIN_S)))
        if not self._over.wait(grace_s):
            self._cut()

    def _cut(self) -> None:
        import psycopg

        with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(self._link.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)


def server_words(error: Exception, redact: Callable[[str], str]) -> str:
    """What the server said: message, detail, hint and SQLSTATE; redacted."""
    diagnosis = getattr(error, "diag", None)
    parts = [str(error).strip()] if diagnosis is None or not diagnosis.message_primary else [diagnosis.message_primary]
    if diagnosis is not None:
        parts += [text for text in (diagnosis.message_detail, diagnosis.message_hint) if text]
        if diagnosis.sqlstate:
            parts[0] += f" (SQLSTATE {diagnosis.sqlstate})"
    return redact("\n".join(parts))


REFUSED_FIX = "mend what the server says (a right, a missing table or extension, a mistyped query), then try again"
"""After a statement that it refused."""


def is_lost(link: Link) -> bool:
    """Whether the connection is of no use any more."""
    from psycopg.pq import ConnStatus, TransactionStatus

    bad = link.closed or link.pgconn.status == ConnStatus.BAD
    return bad or link.pgconn.transaction_status == TransactionStatus.UNKNOWN


def lost_problem(detail: str) -> Problem:
    """The connection broke while an answer was due."""
    fix = "does the server still run, and can it be reached? Its log says why it let go; then try again"
    return Problem("E316", "the connection to the database was lost", detail, fix)
