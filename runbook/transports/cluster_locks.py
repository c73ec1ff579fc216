"""The lock of a cluster in the cluster itself: it excludes the runs of other machines, whose lock files nobody sees here.

A session of its own in the maintenance database holds an advisory lock: exclusively if the run may change the cluster, else
shared. Promises: a run that is refused is told who holds it, from where and since when; nobody else's session is ended; a server
that can't be asked is asked again before the next change; what programs of a killed run still do in the server is in the way as
well. A lock ends with its session, so a machine that is gone holds it until the server notices: a minute.
"""

from __future__ import annotations

import contextlib
import json
import select
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runbook import application
from runbook.action import Unreachable
from runbook.errors import Busy, Problem
from runbook.host import Host
from runbook.operation import Connection, Scalar
from runbook.transports.bound import Bound
from runbook.transports.database import Databases, Link, Watch
from runbook.transports.trouble import Trouble

KEY = int.from_bytes(b"runbook\0", "big")
"""The number of the lock: one a cluster, in its maintenance database."""
ASKED_WITHIN_S = 5.0
GIVEN_BACK_WITHIN_S = 2.0
"""A server notices that a client was killed when it next looks at its line; so long the loser asks again."""
PAUSE_S = 0.1
SLOW_S = 1.0
NOT_AGAIN_WITHIN_S = 15.0
"""A server that took long to say nothing is not asked again before every operation."""

_SETTINGS = (
    "SET idle_session_timeout = 0",  # from 14 on; an older one does not know it
    "SET tcp_keepalives_idle = 20",
    "SET tcp_keepalives_interval = 10",
    "SET tcp_keepalives_count = 4",
)
_HOLDERS = """
SELECT a.pid, a.application_name, a.usename::text, coalesce(host(a.client_addr), ''), a.backend_start::text, a.query
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid JOIN pg_database d ON d.oid = l.database
WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database() AND l.objsubid = 1
  AND (l.classid::int8 << 32 | l.objid::int8) = %(key)s AND l.pid <> pg_backend_pid()
ORDER BY a.backend_start
"""
_AT_WORK = """
SELECT pid, application_name, usename::text, coalesce(host(client_addr), ''), backend_start::text, ''
FROM pg_stat_activity
WHERE application_name LIKE 'runbook/%%/%%' AND application_name NOT LIKE 'runbook/plan/%%'
  AND application_name NOT LIKE 'runbook/%%/' AND left(application_name, length(%(mine)s)) <> %(mine)s
ORDER BY backend_start
"""
"""Of other runs, what a step of theirs does here: not the dry-runs, and not the sessions of locks."""


@dataclass(frozen=True, slots=True)
class _Holder:
    """A session that is in the way: its backend's process id, and what the server shows of it ('' where it may not)."""

    pid: int
    application: str
    role: str
    address: str
    since: str
    query: str


_UNSEEN = _Holder(0, "", "somebody", "", "we don't know when", "")
"""Who holds it while the server shows nobody."""


@dataclass
class _Wanted:
    """A cluster's lock: how it is wanted, the session that holds it, and when (engine's clock) to ask again at the earliest."""

    connection: Connection
    exclusive: bool
    words: str
    link: Link | None = None
    not_before: float = 0.0


class ClusterLocks:
    """The locks of one run's clusters. May be used by several threads."""

    def __init__(self, databases: Databases, run: str, monotonic: Callable[[], float]) -> None:
        self._databases = databases
        self._mine = application.of_run(run)
        self._monotonic = monotonic
        self._wanted: dict[tuple[Host, str, int], _Wanted] = {}
        self._lock = threading.Lock()

    def take(self, connection: Connection, *, exclusive: bool, words: Mapping[str, Scalar]) -> None:
        """Hold the cluster from now on, as soon as it can be asked. Raises :class:`Busy`. ``words`` tell others who holds it.

        A lock that is held is kept, in the stronger of the two modes. ``connection`` is one to the maintenance database.
        """
        told = json.dumps(words).replace("*/", "")  # ASCII, which every encoding has; it stands in a comment
        with self._lock:
            place = (connection.host, connection.address, connection.port)
            wanted = self._wanted.setdefault(place, _Wanted(connection, exclusive, told))
            if exclusive and not wanted.exclusive:
                self._drop(wanted)
                wanted.exclusive = True
            self._hold(wanted)

    def keep(self) -> None:
        """Before a change: take again what was lost with its session, or could not be taken yet. Raises :class:`Busy`."""
        with self._lock:
            for wanted in self._wanted.values():
                self._hold(wanted)

    def close(self) -> None:
        """Give every lock back, at once. May be called again."""
        with self._lock:
            for wanted in self._wanted.values():
                self._drop(wanted)
            self._wanted.clear()

    def _hold(self, wanted: _Wanted) -> None:
        if wanted.link is not None and self._stands(wanted.link, wanted.words):
            return
        self._drop(wanted)
        began = self._monotonic()
        if began < wanted.not_before:
            return
        try:
            wanted.link = self._taken(wanted)
        except (Trouble, Unreachable):  # it is down, as it may have to be: nobody else can use it now
            now = self._monotonic()
            wanted.not_before = now + NOT_AGAIN_WITHIN_S if now - began > SLOW_S else 0.0

    def _taken(self, wanted: _Wanted) -> Link | None:
        """A session that holds the lock; None where it ended meanwhile."""
        import psycopg

        link = self._databases.connect(wanted.connection, self._soon(), application=self._mine)
        rivals: tuple[_Holder, ...] | None = None
        try:
            with Watch(link, self._soon()):
                for setting in _SETTINGS:
                    with contextlib.suppress(psycopg.errors.UndefinedObject):
                        link.execute(setting)
                rivals = self._rivals(link, wanted)
        except psycopg.Error:
            return None
        finally:
            if rivals != ():
                link.close()
        if rivals:
            raise _busy(rivals[0], wanted)
        return link

    def _rivals(self, link: Link, wanted: _Wanted) -> tuple[_Holder, ...]:
        """Take the lock, or say who is in the way; a session that is just ending is waited for."""
        until = self._monotonic() + GIVEN_BACK_WITHIN_S
        how = "pg_try_advisory_lock" if wanted.exclusive else "pg_try_advisory_lock_shared"
        while True:
            taken = link.execute(f"SELECT {how}({KEY})").fetchone() == (True,)
            rivals: tuple[_Holder, ...] = ()
            if not taken:
                rivals = self._asked(link, _HOLDERS)
            elif wanted.exclusive:
                rivals = self._asked(link, _AT_WORK)
            mates = tuple(one for one in rivals if self._ours(one))
            if (taken or mates) and rivals == mates:
                link.execute(_telling(wanted.words))
                return ()
            if taken:
                link.execute("SELECT pg_advisory_unlock_all()")
            if self._monotonic() >= until:
                return rivals or (_UNSEEN,)
            time.sleep(PAUSE_S)

    def _ours(self, holder: _Holder) -> bool:
        """Whether it is a session of this very engine: another system of the plan is the same cluster, by another address."""
        backends = {one.link.info.backend_pid for one in self._wanted.values() if one.link is not None}
        return holder.application == self._mine and holder.pid in backends

    def _asked(self, link: Link, query: str) -> tuple[_Holder, ...]:
        rows = link.execute(query, {"key": KEY, "mine": self._mine}).fetchall()
        return tuple(_Holder(int(row[0] or 0), *(str(value or "") for value in row[1:])) for row in rows)

    def _drop(self, wanted: _Wanted) -> None:
        import psycopg

        link, wanted.link = wanted.link, None
        if link is None:
            return
        with (
            contextlib.suppress(psycopg.Error),
            Watch(link, self._soon()),
        ):  # else its session is gone, and the lock with it
            link.execute("SELECT pg_advisory_unlock_all()")  # the next run need not wait until the server sees the end
        link.close()

    def _stands(self, link: Link, words: str) -> bool:
        """Whether the session lives; one that has nothing to say is not asked."""
        import psycopg

        try:
            line = select.poll()
            line.register(link.fileno(), select.POLLIN)
            if line.poll(0):
                with Watch(link, self._soon()):
                    link.execute(_telling(words))
        except psycopg.Error:
            return False
        return True

    def _soon(self) -> Bound:
        return Bound(self._monotonic, self._monotonic() + ASKED_WITHIN_S)


def _telling(words: str) -> str:
    """The last statement of a session that holds a lock: what it asks for does not matter, others read its comment."""
    return f"SELECT pg_backend_pid() /* {words} */"


def _busy(holder: _Holder, wanted: _Wanted) -> Busy:
    """Who is in the way, in words; what the server doesn't show is left out."""
    told = _told(holder.query)
    run = str(told.get("run") or holder.application.removeprefix("runbook/").partition("/")[0])
    where = holder.address or "the server's own machine"
    if told:
        since = f"{told.get('holds')} is held by the run {run} of {told.get('user')}@{told.get('host')} (pid {told.get('pid')})"
        since += f" since {told.get('since')}."
    else:
        since = f"The run {run} works there, as {holder.role}, since {holder.since}."
    place = wanted.connection
    detail = f"{since} In the cluster at {place.address or place.host}:{place.port} that is the backend {holder.pid}, from {where}."
    fix = (
        f"on that machine, `runbook show {run}` tells what it does: wait for it. If it has stopped: runbook resume {run}. If"
        f" the machine is gone for good: SELECT pg_terminate_backend({holder.pid})"
    )
    return Busy(Problem("E501", "held by another run", detail, fix))


def _told(query: str) -> Mapping[str, object]:
    _, _, rest = query.partition("/*")
    try:
        found = json.loads(rest.rpartition("*/")[0])
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
