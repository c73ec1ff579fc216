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
LOOK_AGAIN_S = 0.5
"""So often at most a lock that is lost is asked for while the run only looks."""
BELIEVED_S = 5.0
"""A session that has answered since then is not asked: this machine may have slept, or lost its way there, without a word."""

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


@dataclass
class _Wanted:
    """A cluster's lock: how it is wanted, and the session that holds it.

    By the engine's clock: ``answered``, when that session did last; ``not_before``, when to ask again at the earliest: before a
    look and, of a server that was ``slow``, before a change too.
    """

    connection: Connection
    exclusive: bool
    words: str
    link: Link | None = None
    answered: float = 0.0
    not_before: float = 0.0
    slow: bool = False


class ClusterLocks:
    """The locks of one run's clusters. May be used by several threads."""

    def __init__(self, databases: Databases, run: str, monotonic: Callable[[], float]) -> None:
        self._databases = databases
        self._mine = application.of_run(run)
        self._monotonic = monotonic
        self._wanted: dict[tuple[Host, str, int], _Wanted] = {}
        self._lock = threading.Lock()

    def take(self, connection: Connection, *, exclusive: bool, words: Mapping[str, Scalar], anew: bool = False) -> None:
        """Hold the cluster from now on, as soon as it can be asked. Raises :class:`Busy`. ``words`` tell others who holds it.

        A lock that is held is kept, in the stronger of the two modes; ``anew``: it is another cluster now, at the same place.
        ``connection`` is one to the maintenance database.
        """
        told = json.dumps(words).replace("*/", "")  # ASCII, which every encoding has; it stands in a comment
        with self._lock:
            place = (connection.host, connection.address, connection.port)
            wanted = self._wanted.setdefault(place, _Wanted(connection, exclusive, told))
            if anew or (exclusive and not wanted.exclusive):
                self._drop(wanted)
                wanted.exclusive = wanted.exclusive or exclusive
            self._hold(wanted)

    def keep(self, *, change: bool) -> None:
        """Take again what was lost with its session, or could not be taken yet. Raises :class:`Busy`.

        Before a ``change`` who is in the way is waited for, if only for a moment; while the run only looks, nobody is.
        """
        with self._lock:
            for wanted in self._wanted.values():
                self._hold(wanted, change=change)

    def rest(self, host: Host) -> None:
        """Let the sessions at the servers of a host go, before it is stopped: some servers wait for all of theirs to end."""
        with self._lock:
            for place, wanted in self._wanted.items():
                if place[0] == host:
                    self._drop(wanted)

    def close(self) -> None:
        """Give every lock back, at once. May be called again."""
        with self._lock:
            for wanted in self._wanted.values():
                self._drop(wanted)
            self._wanted.clear()

    def _hold(self, wanted: _Wanted, *, change: bool = True) -> None:
        if wanted.link is not None and self._stands(wanted, wanted.link):
            return
        self._drop(wanted)
        began = self._monotonic()
        if began < wanted.not_before and (wanted.slow or not change):
            return
        try:
            wanted.link = self._taken(wanted, began + (GIVEN_BACK_WITHIN_S if change else 0.0))
        except (Trouble, Unreachable):  # it is down, as it may have to be
            wanted.link = None
        finally:
            wanted.answered = now = self._monotonic()
            wanted.slow = wanted.link is None and now - began > SLOW_S + GIVEN_BACK_WITHIN_S
            wanted.not_before = now + (NOT_AGAIN_WITHIN_S if wanted.slow else LOOK_AGAIN_S)

    def _taken(self, wanted: _Wanted, until: float) -> Link | None:
        """A session that holds the lock; None where it ended meanwhile, or is none of the server's own (a pooler's)."""
        import psycopg

        link = self._databases.connect(wanted.connection, self._soon(), application=self._mine)
        rivals: tuple[_Holder, ...] | None = None
        try:
            with Watch(link, self._soon()):
                if link.execute("SELECT pg_backend_pid()").fetchone() != (link.info.backend_pid,):
                    return None  # what is locked through a pooler may be anybody's next
                for setting in _SETTINGS:
                    with contextlib.suppress(psycopg.errors.UndefinedObject):
                        link.execute(setting)
                rivals = self._rivals(link, wanted, until)
        except psycopg.Error:
            return None
        finally:
            if rivals != ():
                link.close()
        if rivals:
            raise _busy(rivals[0], wanted)
        return link

    def _rivals(self, link: Link, wanted: _Wanted, until: float) -> tuple[_Holder, ...]:
        """Take the lock, or say who is in the way; a session that is just ending is waited for.

        A session of this run that isn't this engine's is of an engine that is gone, or of a way to the server that broke: nobody
        else may go on with the run meanwhile. The server has not noticed; it is ended.
        """
        how = "pg_try_advisory_lock" if wanted.exclusive else "pg_try_advisory_lock_shared"
        while True:
            taken = link.execute(f"SELECT {how}({KEY})").fetchone() == (True,)
            rivals: tuple[_Holder, ...] = ()
            if not taken:
                rivals = self._asked(link, _HOLDERS)
            elif wanted.exclusive:
                rivals = self._asked(link, _AT_WORK)
            mates = self._mates(rivals)
            if not taken and wanted.exclusive and any(not one.exclusive for one in mates.values()):
                for one in mates.values():
                    self._drop(one)
                    one.exclusive = True
                continue
            if (taken or mates) and len(rivals) == len(mates):
                link.execute(_telling(wanted.words))
                return ()
            if taken:
                link.execute("SELECT pg_advisory_unlock_all()")
            for stale in (one for one in rivals if one.application == self._mine and one.pid not in mates):
                link.execute("SELECT pg_terminate_backend(%s)", (stale.pid,))
            if self._monotonic() >= until:
                if not rivals:
                    raise _unseen(wanted)
                return rivals
            time.sleep(PAUSE_S)

    def _mates(self, holders: tuple[_Holder, ...]) -> dict[int, _Wanted]:
        """Of these, by process id, those of this very engine: another system of the plan is the same cluster by another address."""
        backends = {one.link.info.backend_pid: one for one in self._wanted.values() if one.link is not None}
        ours = (one.pid for one in holders if one.application == self._mine)
        return {pid: backends[pid] for pid in ours if pid in backends}

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

    def _stands(self, wanted: _Wanted, link: Link) -> bool:
        """Whether the session lives; one that answered a moment ago, and has nothing to say, is not asked."""
        import psycopg

        try:
            line = select.poll()
            line.register(link.fileno(), select.POLLIN)
            if line.poll(0) or self._monotonic() - wanted.answered > BELIEVED_S:
                with Watch(link, self._soon()):
                    link.execute(_telling(wanted.words))
                wanted.answered = self._monotonic()
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
    who = f"The run {run} works there, as {holder.role}{holder.since and f', since {holder.since}'}."
    if told:
        by = f"{told.get('user')}@{told.get('host')} (pid {told.get('pid')})"
        who = f"{told.get('holds')} is held by the run {run} of {by} since {told.get('since')}."
    where = f", from {holder.address}" if holder.address else ""
    detail = f"{who} In {_place(wanted)} that is the backend {holder.pid}{where}."
    fix = (
        f"on that machine, `runbook show {run}` tells what it does: wait for it. If it has stopped: runbook resume {run}. If"
        f" the machine is gone for good: SELECT pg_terminate_backend({holder.pid})"
    )
    return Busy(Problem("E501", "held by another run", detail, fix))


def _unseen(wanted: _Wanted) -> Busy:
    detail = f"In {_place(wanted)} a session that the server does not show holds the lock of runs."
    fix = "look as a superuser: SELECT * FROM pg_locks WHERE locktype = 'advisory'"
    return Busy(Problem("E501", "held by another run", detail, fix))


def _place(wanted: _Wanted) -> str:
    at = wanted.connection
    return f"the cluster at {at.address or at.host}:{at.port}"


def _told(query: str) -> Mapping[str, object]:
    _, _, rest = query.partition("/*")
    try:
        found = json.loads(rest.rpartition("*/")[0])
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
