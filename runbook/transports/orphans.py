"""Backends that outlived their clients, and the fate of their transactions.

Owns the fence on the server's side: the end of backends by their exact application name, and ``pg_xact_status`` for a COMMIT whose
answer was lost. Promises: it never ends a backend of another name, waits until those that it ended are gone, and says what it
could not learn.
"""

from __future__ import annotations

import contextlib
import time
from enum import StrEnum

from runbook.action import Unreachable
from runbook.errors import Problem
from runbook.operation import Connection, sql
from runbook.quoting import shell_word, sql_text
from runbook.transports.bound import Bound
from runbook.transports.database import Databases, Link, server_words
from runbook.transports.trouble import Absent, Trouble

SETTLES_WITHIN_S = 30.0
"""How long a server may take to come back, and a transaction to end, before it is called unknown."""
GONE_WITHIN_S = 30.0
MAINTENANCE_DATABASE = "postgres"
PAUSE_S = 0.2
TIMELINE = "substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"
"""The history that a server writes. After a failover, or a recovery to an earlier time, it is another, and transactions that the
new one never saw have their numbers used again by others."""
_BETWEEN = "the database system is"
"""Of a server that is starting up or shutting down: worth another try."""


class Fate(StrEnum):
    """What became of a transaction."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    RUNNING = "still in progress"
    UNKNOWN = "the server keeps no record of it"
    UNREACHABLE = "the server could not be asked"


def settle(
    databases: Databases,
    connection: Connection,
    transaction: str,
    bound: Bound,
    *,
    timeline: str = "",
    orphan: tuple[int, str] | None = None,
) -> Fate:
    """What the server says of a transaction (``xid8`` as text), asked until it has ended; within 30 s and the bound.

    ``timeline``: in which it began (see :data:`TIMELINE`; '': nobody noted it). A server of another one can't tell.
    ``orphan``: pid and application name of our own backend, which is ended if it still runs: nobody will ever send its COMMIT.
    """
    soon = bound.within(SETTLES_WITHIN_S)
    fate = Fate.UNREACHABLE
    while True:
        try:
            fate = _ask(databases, connection, (transaction, timeline), soon, orphan)
        except (Trouble, Unreachable):
            fate = Fate.UNREACHABLE
        if fate in (Fate.COMMITTED, Fate.ABORTED, Fate.UNKNOWN) or soon.over:
            return fate
        time.sleep(PAUSE_S)


def _ask(
    databases: Databases, connection: Connection, noted: tuple[str, str], bound: Bound, orphan: tuple[int, str] | None
) -> Fate:
    import psycopg

    transaction, timeline = noted
    query = f"SELECT pg_xact_status(%s::xid8), CASE WHEN NOT pg_is_in_recovery() THEN {TIMELINE} END"
    with contextlib.closing(_anywhere(databases, connection, bound)) as link:
        try:
            if orphan is not None:
                pid, application = orphan
                link.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND application_name = %s",
                    (pid, application),
                )
            row = link.execute(query, (transaction,)).fetchone()
        except psycopg.OperationalError:
            return Fate.UNREACHABLE
        except psycopg.Error:
            return Fate.UNKNOWN  # such as "transaction ID … is in the future": another history of this cluster
    status, history = row or (None, None)
    if timeline and history is None:
        return Fate.UNREACHABLE  # it is still being recovered, or is a standby by now
    if timeline and history != timeline:
        return Fate.UNKNOWN
    match status:
        case "committed":
            return Fate.COMMITTED
        case "aborted":
            return Fate.ABORTED
        case "in progress":
            return Fate.RUNNING
        case _:
            return Fate.UNKNOWN


def end_backends(databases: Databases, connection: Connection, application: str, bound: Bound) -> Problem | None:
    """End the backends of exactly that application name, and wait until they are gone. A problem: it could not be ensured.

    A server that isn't there (nothing listens, its container is stopped) has no backends: those of a dead postmaster end too.
    """
    soon = bound.within(GONE_WITHIN_S)
    while True:
        try:
            return _end_all(databases, connection, application, soon)
        except Absent:
            return None
        except (Trouble, Unreachable) as error:
            if _BETWEEN not in error.problem.detail or soon.over:
                return error.problem
        time.sleep(PAUSE_S)


def _end_all(databases: Databases, connection: Connection, application: str, soon: Bound) -> Problem | None:
    import psycopg

    with contextlib.closing(_anywhere(databases, connection, soon)) as link:
        try:
            while pids := _end(link, application):
                if soon.over:
                    detail = f"Backends {', '.join(pids)} of {application} still run after {GONE_WITHIN_S:.0f} s."
                    return _unfenced(detail, application)
                time.sleep(PAUSE_S)
        except psycopg.Error as error:
            return _unfenced(server_words(error, databases.redact), application)
    return None


def _end(link: Link, application: str) -> list[str]:
    query = (
        "SELECT pid::text, pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = %s AND pid <> pg_backend_pid()"
    )
    return [str(row[0]) for row in link.execute(query, (application,)).fetchall()]


def _anywhere(databases: Databases, connection: Connection, bound: Bound) -> Link:
    """A connection to the cluster, under a name of its own: to the connection's database, else the maintenance database."""
    try:
        return databases.connect(connection, bound, application="runbook/fence")
    except Absent:
        raise
    except Trouble:
        return databases.connect(connection, bound, application="runbook/fence", database=MAINTENANCE_DATABASE)


def _unfenced(detail: str, application: str) -> Problem:
    shown = sql("SELECT pid, state, query FROM pg_stat_activity WHERE application_name = {name}", name=application)
    fix = f"psql -c {shell_word(sql_text(shown))}"
    return Problem(
        "E319", "it could not be ensured that nothing of an earlier run still works in the database", detail, fix
    )
