"""The fence: before a resume looks at the world, nothing that an earlier executor began may still move.

Owns how an operation whose end is not journalled is settled: attach to its living processes and wait, adopt exit records, end
what is left in the database by its exact name, ask the server about a noted transaction. Promises: it ends backends only
after the processes that own them are gone; what it can't ensure is :class:`Lost`, what it can't know is :class:`Unsettled`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from runbook.action import Unreachable
from runbook.errors import Problem
from runbook.host import Compose, Docker
from runbook.operation import (
    Connection,
    CopyRows,
    Fields,
    Pipeline,
    Process,
    Session,
    SetPassword,
    Sql,
    Stage,
    Transaction,
    Wait,
)
from runbook.transports.bound import Bound
from runbook.transports.database import Databases
from runbook.transports.far import FarSide, handles_noted
from runbook.transports.orphans import Fate, end_backends, settle
from runbook.transports.outcome import Begun, Failed, Lost, NeverStarted, Settled, Succeeded, Unsettled, Use
from runbook.transports.postgres import NOTE_RESULT, NOTE_TIMELINE, NOTE_TRANSACTION
from runbook.transports.process import Processes, hosts_of
from runbook.transports.running import Running
from runbook.transports.sessions import NOTE_INSIDE, notes_inside
from runbook.transports.supervisor import records, worker
from runbook.transports.supervisor.client import Supervisor
from runbook.transports.supervisor.records import Child, State
from runbook.transports.supervisor.requests import GRACE_S
from runbook.transports.trouble import Trouble

PAUSE_S = 0.1
APPLICATION_NAME = "PGAPPNAME"
_PLACE = re.compile(r"(?:^|[\s=])(host|port)=('(?:[^'\\]|\\.)*'|\S+)")
"""Where a libpq connection string says that the server is."""


class Fence:
    """Settles what was begun. ``connections`` are the databases in which processes of this run may have left backends."""

    def __init__(
        self,
        run_directory: Path,
        *,
        supervisor: Callable[[], Supervisor],
        alive: Callable[[], tuple[str, ...]],
        processes: Processes,
        databases: Databases,
        far: FarSide,
        running: Running,
        connections: Sequence[Connection],
        monotonic: Callable[[], float],
    ) -> None:
        self._directory = run_directory
        self._supervisor = supervisor
        self._alive = alive
        self._processes = processes
        self._databases = databases
        self._far = far
        self._running = running
        self._connections = tuple(connections)
        self._monotonic = monotonic

    def settle(self, begun: Begun, use: Use) -> Settled | Lost:
        """Make sure that nothing of it moves, and say what came of it."""
        bound = Bound(self._monotonic, use.deadline)
        operation = begun.operation
        match operation:
            case Process() | Pipeline():
                settled = self._process(operation, begun, use, bound)
                return settled if isinstance(settled, Lost) else self._then_backends(settled, operation, use, bound)
            case Sql() | SetPassword():
                return self._sql(operation, begun, use, bound)
            case Session():
                return self._session(operation, begun, use, bound)
            case Wait():
                return self._reads(begun, use, bound)
            case _:
                return NeverStarted() if operation.reads else Unsettled()

    def _process(self, operation: Process | Pipeline, begun: Begun, use: Use, bound: Bound) -> Settled | Lost:
        child = self._wait_here(begun.id, bound)
        if child.state is State.RUNNING:
            return Lost(_still_runs(f"{operation.name}: its processes here still run"))
        handles = handles_noted(begun.notes, hosts_of(operation))
        there = [self._far.settle(handle, bound) for handle in handles]
        for handle, state in zip(handles, there, strict=True):
            if isinstance(state, worker.Running) or (state is None and self._far.lives(handle)):
                return Lost(_still_runs(f"{operation.name}: on {handle.host} it still runs, or that can't be asked"))
        if child.state is State.NEVER_STARTED and all(isinstance(one, worker.NeverStarted | None) for one in there):
            return NeverStarted()
        if child.ended is not None:
            outcome = self._processes.outcome(operation, child.ended, begun.id)
            if isinstance(outcome, Succeeded) or (isinstance(outcome, Failed) and not handles):
                return outcome
        return self._told_there(operation, there)

    def _told_there(self, operation: Process | Pipeline, there: Sequence[worker.FarState | None]) -> Settled:
        """What the far side's own record says of a single process; a pipeline's input may have been cut, so it says nothing."""
        if isinstance(operation, Process) and len(there) == 1:
            match there[0]:
                case worker.NeverStarted():
                    return NeverStarted()
                case worker.Finished(code) if code in operation.ok_codes:
                    return Succeeded({"exit_code": code, "log": ""})
                case _:
                    pass
        return NeverStarted() if operation.reads else Unsettled()

    def _wait_here(self, begun_id: str, bound: Bound) -> Child:
        """Attach to what lives here and wait for its end; a stop that is asked for meanwhile ends it."""
        asked = False
        while begun_id in self._alive() and not bound.over:
            if self._running.stopped(begun_id) and not asked:
                self._supervisor().kill(begun_id)
                asked = True
            time.sleep(PAUSE_S)
        if begun_id in self._alive():
            return Child(begun_id, State.RUNNING)
        child = records.settle(self._directory, begun_id, until=lambda: bound.over or self._running.stopped(begun_id))
        if child.state is State.RUNNING and self._running.stopped(begun_id):
            records.end_orphans(self._directory, begun_id, grace_s=GRACE_S)
            child = records.settle(self._directory, begun_id, until=lambda: True)
        return child

    def _then_backends(self, settled: Settled, operation: Process | Pipeline, use: Use, bound: Bound) -> Settled | Lost:
        """Clients of PostgreSQL that were killed leave backends that go on: end those too, in the clusters that they name.

        Others are not asked: one that doesn't answer has nothing to do with it.
        """
        if isinstance(settled, Succeeded):
            return settled
        clients = _clients(operation, use.application)
        for connection in self._connections:
            if not any(_means(client, connection) for client in clients):
                continue
            problem = end_backends(self._databases, connection, use.application, bound)
            if problem is not None:
                return Lost(problem)
        return settled

    def _sql(self, operation: Sql | SetPassword, begun: Begun, use: Use, bound: Bound) -> Settled | Lost:
        problem = end_backends(self._databases, operation.connection, use.application, bound)
        if problem is not None:
            return Lost(problem)
        note = next((note for note in reversed(begun.notes) if NOTE_TRANSACTION in note), None)
        if note is None:
            in_one = isinstance(operation, SetPassword) or operation.transaction is Transaction.ONE
            return NeverStarted() if operation.reads or in_one else Unsettled()
        match self._fate(operation.connection, note, bound):
            case Fate.COMMITTED:
                return Succeeded(json.loads(str(note.get(NOTE_RESULT, "{}"))))
            case Fate.ABORTED:
                return NeverStarted()
            case Fate.UNKNOWN:
                return Unsettled()
            case fate:
                detail = f"Transaction {note[NOTE_TRANSACTION]} of {operation.name}: {fate}."
                return Lost(_still_runs(detail))

    def _session(self, session: Session, begun: Begun, use: Use, bound: Bound) -> Settled | Lost:
        """First what the body began, then the session's own connection. A session whose end isn't shown is redone."""
        for inner in session.body:
            part = Begun(f"{begun.id}/{inner.name}", inner, notes_inside(begun.notes, inner.name))
            if isinstance(inner, Process | Pipeline):
                settled = self._process(inner, part, use, bound)
                if isinstance(settled, Lost):
                    return settled
        connections = {session.connection, *_connections_in(session)}
        for connection in sorted(connections, key=repr):
            problem = end_backends(self._databases, connection, use.application, bound)
            if problem is not None:
                return Lost(problem)
        return NeverStarted() if session.reads else self._ended(session, begun, bound)

    def _ended(self, session: Session, begun: Begun, bound: Bound) -> Settled | Lost:
        """Whether its end was committed, where it noted the transaction before it sent the COMMIT; else the body is redone."""
        note = next((n for n in reversed(begun.notes) if NOTE_TRANSACTION in n and NOTE_INSIDE not in n), None)
        if note is None:
            return Unsettled()
        match self._fate(session.connection, note, bound):
            case Fate.COMMITTED:
                result = json.loads(str(note[NOTE_RESULT]))
                return Succeeded(result["fields"], result["inner"])
            case Fate.ABORTED | Fate.UNKNOWN:
                return Unsettled()  # what else the body did is for the world to show
            case fate:
                return Lost(_still_runs(f"Transaction {note[NOTE_TRANSACTION]} of {session.name}: {fate}."))

    def _fate(self, connection: Connection, note: Fields, bound: Bound) -> Fate:
        transaction, timeline = str(note[NOTE_TRANSACTION]), str(note.get(NOTE_TIMELINE, ""))
        return settle(self._databases, connection, transaction, bound, timeline=timeline)

    def _reads(self, begun: Begun, use: Use, bound: Bound) -> Settled | Lost:
        """A wait's looks: the last one may still run."""
        for operation in [one for one in self._alive() if one.startswith(f"{begun.id}/")]:
            if self._wait_here(operation, bound).state is State.RUNNING:
                return Lost(_still_runs(f"{begun.operation.name}: its last look still runs"))
        return NeverStarted()


def guarded(settle_it: Callable[[], Settled | Lost]) -> Settled | Lost:
    """The settling, with what could not be asked as Lost: it is not ensured that nothing moves."""
    try:
        return settle_it()
    except (Trouble, Unreachable) as error:
        return Lost(error.problem)


def _connections_in(session: Session) -> set[Connection]:
    found = {one.connection for one in session.body if isinstance(one, Sql | SetPassword | Session)}
    return found | {one.source for one in session.body if isinstance(one, CopyRows)}


def _clients(operation: Process | Pipeline, application: str) -> tuple[Process | Stage, ...]:
    """Those of its programs whose backends carry the step's application name; what carries another is never ended."""
    stages = (operation,) if isinstance(operation, Process) else operation.stages
    return tuple(stage for stage in stages if dict(stage.env).get(APPLICATION_NAME) == application)


def _means(client: Process | Stage, connection: Connection) -> bool:
    """Whether the program may have connected to this cluster: same host, and the place that it was given, if it was given one.

    In a container the address and the port are as seen from outside, so there the host alone counts.
    """
    if client.host != connection.host:
        return False
    told = {key: value for word in client.argv for key, value in _PLACE.findall(str(word))}
    if "port" not in told or isinstance(connection.host, Docker | Compose):
        return True
    address = re.sub(r"\\(.)", r"\1", told.get("host", "").strip("'"))
    return (address, told["port"]) == (connection.address, str(connection.port))


def _still_runs(detail: str) -> Problem:
    return Problem(
        "E307",
        "something of an earlier run still moves",
        detail,
        "Wait for it or end it by hand, then `runbook resume`.",
    )
