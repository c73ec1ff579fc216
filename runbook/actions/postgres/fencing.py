"""Whether a server can take writes, told from its data directory, and the mark that keeps it from taking any.

The mark is ``standby.signal`` in the data directory: whoever starts a server there (a service manager, a restart policy, a person)
gets one that is read-only and waits for WAL (manual, "Standby Server Operation"). It is read at the start only, so a server that
runs has to be stopped as well. Owns what is seen of such a directory, running or not, on this machine or in a container, and the
programs that run while a server is down. Promises: a machine that can't be seen is never taken for one that is down.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runbook.action import Look, Scope, Undecidable, Unreachable
from runbook.actions.postgres import cluster
from runbook.actions.postgres.cluster import Server
from runbook.actions.postgres.instance import found_in, is_contained
from runbook.actions.postgres.replication import Node, read_node
from runbook.actions.postgres.server_tools import Tools
from runbook.errors import Problem, Refused
from runbook.host import Host
from runbook.operation import Call, Condition, Document, Fields, Operation, Process, Service, Test, Wait
from runbook.own_address import is_own
from runbook.system import Postgres

MARK = "standby.signal"
CONTROLDATA = "pg_controldata"
NOT_LET_IN = "{who} is not down: a server answers there, or its container runs, and it doesn't let us in."
CLEAN = ("shut down", "shut down in recovery")
"""What the control file says of a server that ended in an orderly way."""
STOPPED_WITHIN_S = 600
DOWN = ("exited", "created", "dead")
"""The states of a container in which no server of it runs."""

MARKED = """\
set -eu; umask 077
[ -s "$1/PG_VERSION" ] || { echo "$1 holds no cluster" >&2; exit 1; }
printf '%s\\n' "$2" > "$1/standby.signal"
chown --reference="$1/PG_VERSION" "$1/standby.signal"
sync "$1/standby.signal" "$1\""""
_STARTED = """\
log=$1; shift
"$@" --log="$log" || { code=$?; tail -n 12 "$log" >&2; exit $code; }"""
UNMARKED = 'set -eu; rm -f "$1/standby.signal"; sync "$1"'
_QUIET = """\
if [ ! -e "$1/standby.signal" ]; then echo "$1/standby.signal is missing" >&2; exit 1; fi
if "$2" status -D "$1" >/dev/null; then echo "a server runs in $1" >&2; exit 1; fi"""


@dataclass(frozen=True, slots=True)
class Directory:
    """A data directory as seen now. ``marked``: it has the mark. ``owner`` and ``programs`` are '' in a stopped container.

    ``entered``: programs can be run where the server runs; not in a container that its restart policy starts again and again.
    """

    path: str
    owner: str
    programs: str
    options: tuple[str, ...]
    server: Server
    marked: bool
    entered: bool = True

    @property
    def runs(self) -> bool:
        """Whether a server runs in it."""
        return self.server is Server.RUNNING


@dataclass(frozen=True, slots=True)
class Seen:
    """The server and its directory. ``node`` None: no answer; ``directory`` None: its files can't be seen from here.

    ``refuses``: something of PostgreSQL answers there, and doesn't let us in, or its container runs. It is not down.
    """

    node: Node | None
    directory: Directory | None
    refuses: bool = False

    @property
    def writable(self) -> bool:
        """Whether it answers as a primary."""
        return self.node is not None and not self.node.in_recovery

    @property
    def fenced(self) -> bool:
        """Whether it can't take writes, nor a server that is started there: marked, and down or read-only."""
        if self.directory is None or not self.directory.marked:
            return False
        return not self.directory.runs or (self.node is not None and self.node.in_recovery)


def see(look: Look, db: Postgres, scope: Scope, known: str = "") -> Seen:
    """Ask the server, and look at its files. ``known``: the data directory, where neither server nor environment tells."""
    node = read_node(look, db, scope.application)
    found = _files(look, db, node, known)
    return Seen(node, found, refuses=node is None and found is None and _refuses(look, db))


def _files(look: Look, db: Postgres, node: Node | None, known: str) -> Directory | None:
    path = (node.directory if node else "") or db.data_directory.rstrip("/") or known
    try:
        if not path and is_contained(db.host) and (container := look.container(db.host)):
            path = found_in(look, db.host, container)
        here = bool(path) and (is_contained(db.host) or is_own(look, db.host, db.address))
        return _directory(look, db, path) if here else None
    except Unreachable:
        return None


def _refuses(look: Look, db: Postgres) -> bool:
    """Whether a server answers at all: exit codes 0 and 1 of pg_isready, which needs no password. A container may run."""
    if is_contained(db.host):
        try:
            container = look.container(db.host)
        except Unreachable:
            return False
        return container is not None and container.state not in DOWN
    program = f"{db.binaries.rstrip('/')}/pg_isready" if db.binaries else "pg_isready"
    where = ("--host", db.address) if db.address else ()
    try:
        ran = look.run(db.host, (program, "--quiet", *where, "--port", str(db.port), "--timeout=5"))
    except Unreachable:
        return False
    return ran.exit_code in (0, 1)


def _directory(look: Look, db: Postgres, path: str) -> Directory | None:
    host = db.host
    if is_contained(host):
        container = look.container(host)
        if container is None or look.file(host, f"{path}/global/pg_control") is None:
            return None
        runs = container.state not in DOWN
        marked = look.file(host, f"{path}/{MARK}") is not None
        owner = found.owner if container.state == "running" and (found := look.file(host, path)) else ""
        server = Server.RUNNING if runs else Server.STOPPED
        return Directory(path, owner, db.binaries, (), server, marked, entered=container.state != "restarting")
    found = look.file(host, path)
    if found is None or look.file(host, f"{path}/global/pg_control") is None:
        return None
    program, options = cluster.read_options(look, host, path)
    return Directory(
        path=path,
        owner=found.owner,
        programs=db.binaries or posixpath.dirname(program),
        options=options,
        server=cluster.read_server(look, host, path),
        marked=look.file(host, f"{path}/{MARK}") is not None,
    )


def tools_of(db: Postgres, directory: Directory) -> Tools:
    """How the programs of that directory's server are called."""
    return Tools(directory.programs, db.host, directory.owner)


def at_rest(name: str, script: str, arguments: tuple[str, ...], tools: Tools, scope: Scope) -> Operation:
    """A script on the files of a server that is down: here as their owner, in a container beside it, as root."""
    argv = ("sh", "-c", script, "sh", *arguments)
    return aside(name, argv, tools.host, scope) if is_contained(tools.host) else tools.run(name, *argv)


def controldata(directory: str, tools: Tools, scope: Scope) -> Operation:
    """What the control file says, of a server that is down. Only reads."""
    argv = (tools.program(CONTROLDATA), "-D", directory)
    if is_contained(tools.host):
        # of what a one-off container says only the last lines are kept
        script = '"$@" | grep -E "^(Database|Latest checkpoint)"'
        return aside("control", ("sh", "-c", script, "sh", *argv), tools.host, scope, reads=True)
    return tools.run("control", *argv, reads=True)


def aside(name: str, argv: tuple[str, ...], host: Host, scope: Scope, *, reads: bool = False) -> Call:
    """A program in a one-off container beside the stopped one, found again by its labels."""
    labels = {"runbook.run": scope.run, "runbook.step": scope.step, "runbook.operation": name}
    given = (("argv", argv), ("labels", Document(tuple(labels.items()))))
    return Call(name=name, service=Service.DOCKER, operation="run", arguments=Document(given), host=host, reads=reads)


def marked(directory: Directory, tools: Tools, scope: Scope) -> Operation:
    """The mark. In a container that runs it is written inside; the server notices nothing until it is started again."""
    text = f"A server started here is read-only: fenced by runbook, run {scope.run}, step {scope.step}."
    if is_contained(tools.host) and directory.runs and directory.entered:
        return tools.run("mark", "sh", "-c", MARKED, "sh", directory.path, text)
    return at_rest("mark", MARKED, (directory.path, text), tools, scope)


def stopped(directory: str, tools: Tools, by: tuple[str, ...], mode: str = "fast") -> Operation:
    """A fast shutdown: sessions are ended, and what standbys that are connected lack is sent to them first."""
    if is_contained(tools.host):
        return Call(
            name="stop",
            service=Service.DOCKER,
            operation="stop",
            arguments=Document((("timeout_s", STOPPED_WITHIN_S),)),
            host=tools.host,
            expect=(Condition("state", Test.ONE_OF, "\n".join(DOWN)),),
        )
    if by:
        return Process(name="stop", argv=by, host=tools.host)
    pg_ctl = (tools.program("pg_ctl"), "stop", "--silent", f"--pgdata={directory}", "--wait")
    return tools.run("stop", *pg_ctl, f"--timeout={STOPPED_WITHIN_S}", f"--mode={mode}")


def started(directory: str, options: Sequence[str], tools: Tools, by: tuple[str, ...] = ()) -> Operation:
    """The server of a directory with its former options, by the service manager's command where there is one.

    pg_ctl names no cause; the last lines of the log, which lies in the data directory, do.
    """
    if is_contained(tools.host):
        return Call(name="start", service=Service.DOCKER, operation="start", arguments=Document(()), host=tools.host)
    if by:
        return Process(name="start", argv=by, host=tools.host, daemon=True)
    pg_ctl = (tools.program("pg_ctl"), "start", "--silent", f"--pgdata={directory}", "--wait", "--timeout=300")
    given = (f"--options={' '.join(shlex.quote(word) for word in options)}",) if options else ()
    argv = ("sh", "-c", _STARTED, "sh", f"{directory}/server.log", *pg_ctl, *given)
    return tools.run("start", *argv, daemon="a server")


def proven(directory: str, tools: Tools) -> Operation:
    """An expectation inside a list: the server is down, and one that is started there would be read-only."""
    if is_contained(tools.host):
        state = Call(
            name="state",
            service=Service.DOCKER,
            operation="inspect",
            arguments=Document(()),
            host=tools.host,
            reads=True,
        )
        down = (Condition("state", Test.ONE_OF, "\n".join(DOWN)),)
        return Wait(name="fenced", read=state, until=down, deadline_s=0)
    quiet = tools.run("quiet", "sh", "-c", _QUIET, "sh", directory, tools.program("pg_ctl"), reads=True)
    return Wait(name="fenced", read=quiet, until=(Condition("exit_code", Test.EQUALS, 0),), deadline_s=0)


def parse_control(results: Mapping[str, Fields]) -> dict[str, str]:
    """The lines of the operation ``control``, as a mapping."""
    return _lines(str(results.get("control", {}).get("stdout", "")))


def read_control(look: Look, directory: str, tools: Tools) -> dict[str, str]:
    """The same by a look, of a server on this machine; empty where it can't be read."""
    return _lines(look.run(tools.host, (tools.program(CONTROLDATA), "-D", directory)).stdout)


def _lines(text: str) -> dict[str, str]:
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}


def refuse_unfenced(db: Postgres, seen: Seen, attested: str) -> None:
    """Refuse (exit 4) to go on while the old primary may take writes: two primaries would each have rows that the other lacks."""
    who = db.key or "the old primary"
    if seen.writable:
        why = f"{who} answers, and takes writes."
        fix = "Fence it first (postgres.fence), with the services that write stopped."
    elif seen.refuses:
        why, fix = NOT_LET_IN.format(who=who), "Correct its user, password and `data_directory` in the environment."
    elif seen.directory is not None and not seen.fenced:
        state = "a server runs there" if seen.directory.runs else f"it has no {MARK}, so a restart would take writes"
        why, fix = f"{who}: {seen.directory.path} is not fenced: {state}.", "Fence it first (postgres.fence)."
    elif seen.directory is None and not attested:
        why = (
            f"{who} doesn't answer, and its files can't be seen from here: it may be cut off from us alone, and still take "
            "writes from others."
        )
        fix = "Make sure that it is off (power, network, provider), then say so: attested: WHO, AND HOW"
    else:
        return
    raise Refused(Problem("E696", "the old primary is not fenced", why, fix))


def unknown_state(directory: Directory) -> Undecidable:
    """A directory that no step of ours leaves so."""
    detail = f"{directory.path}: server {directory.server.value}, {MARK} {'there' if directory.marked else 'missing'}."
    return Undecidable(Problem("E697", "the servers are not as they should be", detail, "Look at it, then resolve."))
