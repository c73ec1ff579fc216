"""Recovering a copy of a cluster beside it: the operations, and the proof that stands before the point of no return.

Owns how a base backup becomes a directory, how the side server is started, awaited, judged and promoted, and how directories
are swapped. Promises: the live directory is touched by two renames and nothing else; the side server has a private socket, no
TCP port, and archives nothing; its recovery settings are on its command line only, so that nothing has to be cleared.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from runbook.actions.postgres import side_settings, target
from runbook.actions.postgres.closed_segment import SEGMENT, archived, closed
from runbook.actions.postgres.cluster import PRODUCTION, Paths
from runbook.actions.postgres.packing import unpacked
from runbook.actions.postgres.server_tools import Tools
from runbook.actions.postgres.tablespace_copies import MAP, NOT_UNPACKED
from runbook.actions.postgres.target import Target
from runbook.actions.postgres.unpacking import untarred
from runbook.actions.postgres.wal import SEGMENT_BYTES
from runbook.actions.postgres.wal_source import Archive
from runbook.operation import (
    Arg,
    Condition,
    Connection,
    Hashing,
    MakeDirectory,
    Operation,
    Operations,
    Pipeline,
    Process,
    Remove,
    Rename,
    Test,
    Wait,
    Write,
)

STOPPED_WITHIN_S = 600
STARTED_WITHIN_S = 300
PROMOTED_WITHIN_S = 600
EXTRACT = "extract"
"""How the names of the operations begin that unpack."""
CHECKED = "checked"
"""A file in the side server's own directory: the caller's queries gave what they have to give."""
ARCHIVED_WITHIN_S = 120.0
INSTANT = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
"""An instant in UTC for to_char()."""

STRAY = ("recovery.conf", "recovery.signal", "standby.signal")
"""Files of another recovery that a base backup may hold: the first keeps a server from starting, the others change what it does."""

ACCESS = """\
# Access of the side cluster. Its socket lies in a directory that only the server's own account may enter.
local all all trust
"""

_STARTED = """\
log=$1; shift
"$@" --log="$log" || { code=$?; tail -n 12 "$log" >&2; exit $code; }"""

_AWAITED = """\
if state=$("$1" -XAtq -h "$2" -p "$3" -U "$4" -d postgres -c "$7" 2>/dev/null); then printf %s "$state"
elif "$5" status -D "$6" >/dev/null 2>&1; then printf starting
else printf ended; fi"""

_PROVEN = """\
ask() { "$1" -XAtq -h "$2" -p "$3" -U "$4" -d postgres -c "$5"; }
state=$(ask "$1" "$2" "$3" "$4" "$7") || state=ended
within=$(ask "$1" "$2" "$3" "$4" "$8") || within=unknown
stop=$(grep -F 'recovery stopping' "$2/log" | tail -n 1)
case $stop in *"${10}"*) stopped=t ;; *) stopped=f ;; esac
[ -z "${10}" ] || grep -q -F 'pausing at the end of recovery' "$2/log" || stopped=f
if [ "$state" = "$9" ] && [ "$within" = t ] && [ $stopped = t ]; then
  ask "$1" "$2" "$3" "$4" "${11}"
else
  echo "recovery: $state (expected: $9); within the target: $within; the server's words: ${stop:-none}" >&2
  tail -n 12 "$2/log" >&2
  exit 1
fi"""

_REACHED = f"""\
SELECT coalesce(to_char(pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC', '{INSTANT}'), '')
  || chr(10) || coalesce(pg_last_wal_replay_lsn()::text, '')"""

_ASKED = 'found=$("$1" -XAtq -h "$2" -p "$3" -U "$4" -d "$5" -c "$6") && printf %s "$found"'


@dataclass(frozen=True, slots=True)
class Goal:
    """Until where, along which timeline, from which archive. ``first`` is the first segment that is needed; '' = not known."""

    target: Target
    timeline: str
    archive: Archive
    within_s: float
    first: str = ""
    segment_bytes: int = SEGMENT_BYTES


@dataclass(frozen=True, slots=True)
class Side:
    """The side server: its port (of the socket's name), the superuser, and the options that the live one is started with."""

    port: int
    user: str
    options: tuple[str, ...]


def switched(live: Connection, goal: Goal, tools: Tools) -> Operations:
    """Closes the present WAL segment and waits until it is archived, with a commit in it that is later than any target.

    Without such a commit recovery would run out of WAL before it can know that the target was passed.
    """
    arrived = goal.archive.arrived("in_archive", SEGMENT, tools, segment_bytes=goal.segment_bytes)
    return (closed(live), archived(arrived, within_s=ARCHIVED_WITHIN_S))


def readable(goal: Goal, tools: Tools) -> Operation:
    """The account that recovery runs under can read the archive: looked at before anything is made."""
    look = goal.archive.readable(goal.first, tools)
    return Wait(name="archive_readable", read=look, until=(Condition("exit_code", Test.EQUALS, 0),), deadline_s=0)


def whole(segment: Arg, goal: Goal, tools: Tools) -> Operation:
    """The last segment can be read to its end. Behind a flaw in it a server would wait as it does at the archive's end."""
    look = goal.archive.whole("reads_last", segment, tools)
    return Wait(name="last_is_whole", read=look, until=(Condition("exit_code", Test.EQUALS, 0),), deadline_s=0)


def extracted(
    source: str, sha256: str, where: Paths, goal: Goal, tools: Tools, *, most_bytes: int, spaces: Operations = ()
) -> Operations:
    """The base backup as a directory, every file checked against the server's own manifest, ready to recover.

    ``most_bytes``: what may come out of ``source``. ``spaces`` unpack what lies outside of that directory, and link it.
    """
    left_out = (*STRAY, *NOT_UNPACKED)
    unpack = untarred(where.partial, tools.host, tools.owner, most_bytes=most_bytes, without=left_out)
    ignored = tuple(f"--ignore={name}" for name in (*STRAY, MAP))
    signal_file = f"{where.partial}/{target.signal(goal.target)}"
    return (
        MakeDirectory(name="make_side", path=where.partial, host=tools.host, mode=0o700, owner=tools.owner),
        Pipeline(
            name=EXTRACT,
            source=source,
            stages=(*unpacked(source), unpack),
            hashing=Hashing.SOURCE,
            expect_sha256=sha256,
        ),
        *spaces,
        tools.run("check_files", tools.program("pg_verifybackup"), "--quiet", *ignored, where.partial, reads=True),
        Write(name="signal", path=signal_file, content="", host=tools.host, owner=tools.owner),
        Rename(name="name_side", source=where.partial, target=where.side, host=tools.host),
    )


def started(where: Paths, side: Side, goal: Goal, tools: Tools, *, feeding: bool) -> Operations:
    """The side server, with its own socket, access file and log. A second start goes on where the first was killed.

    ``feeding`` False: it was promoted, and needs nothing from the archive any more.
    """
    given = " ".join(shlex.quote(word) for word in side_options(where, side, goal))
    words = _pg_ctl(tools, "start", where.side, STARTED_WITHIN_S)
    control, server = tools.program("pg_controldata"), tools.program("postgres")
    known = (f"{where.run}/log", control, where.side, where.data, f"--options={given}", server)
    start = tools.run("start_side", "sh", "-c", side_settings.STARTED, "sh", *known, *words, daemon="a server")
    return (
        MakeDirectory(name="make_run", path=where.run, host=tools.host, mode=0o700, owner=tools.owner),
        Write(name="access", path=f"{where.run}/pg_hba.conf", content=ACCESS, host=tools.host, owner=tools.owner),
        *(goal.archive.fed(where.run, goal.segment_bytes, tools) if feeding else ()),
        start,
    )


def side_options(where: Paths, side: Side, goal: Goal) -> tuple[str, ...]:
    """The live server's options, then ours, which prevail over them and over every configuration file."""
    settings = {
        "data_directory": where.side,
        "hba_file": f"{where.run}/pg_hba.conf",
        "external_pid_file": "",
        "listen_addresses": "",
        "unix_socket_directories": where.run,
        "unix_socket_permissions": "0700",
        "port": str(side.port),
        "ssl": "off",
        "archive_mode": "off",
        "synchronous_standby_names": "",
        "hot_standby": "on",
        "logging_collector": "off",
        "log_destination": "stderr",
        "log_min_messages": "warning",
        "lc_messages": "C",
        "restore_command": goal.archive.restore_command(where.run),
        "recovery_end_command": "",
        "archive_cleanup_command": "",
        "recovery_min_apply_delay": "0",
        "primary_conninfo": "",
        "primary_slot_name": "",
        # a subscription of the copy would fetch from the live one's slot what that one then never gets
        "max_logical_replication_workers": "0",
        "recovery_target_timeline": goal.timeline,
        **target.settings(goal.target),
    }
    return (*side.options, *(word for key, value in settings.items() for word in ("-c", f"{key}={value}")))


def stopped_unfit(where: Paths, tools: Tools) -> Operation:
    """After a failure: a side server that has paused for a setting ends, and the next attempt starts it with the higher one."""
    words = (*_pg_ctl(tools, "stop", where.side, STOPPED_WITHIN_S), "--mode=fast")
    return tools.run("stop_unfit", "sh", "-c", side_settings.STOPPED_UNFIT, "sh", f"{where.run}/log", *words)


def reached(where: Paths, side: Side, goal: Goal, tools: Tools) -> Operations:
    """Wait until recovery pauses (or ends), then the proof: it stands at the target, and not beyond it."""
    asked = (
        tools.program("psql"),
        where.run,
        str(side.port),
        side.user,
        tools.program("pg_ctl"),
        where.side,
        target.STATE,
    )
    sought = goal.target
    wanted = (target.within(sought), target.standing(sought), target.stopped_there(sought), _REACHED)
    over = (Condition("stdout", Test.ONE_OF, "paused\nwaiting\npromoted\nended"),)
    proven = (Condition("exit_code", Test.EQUALS, 0),)
    return (
        Wait(
            name="recovered",
            read=tools.run("state", "sh", "-c", _AWAITED, "sh", *asked, reads=True),
            until=over,
            interval_s=1.0,
            deadline_s=goal.within_s,
        ),
        Wait(
            name="proof",
            read=tools.run("proven", "sh", "-c", _PROVEN, "sh", *asked, *wanted, reads=True),
            until=proven,
            deadline_s=0,
        ),
    )


def checked(
    where: Paths, side: Side, checks: Sequence[tuple[str, tuple[Condition, ...]]], database: str, tools: Tools
) -> Operations:
    """The caller's queries, asked of the side server: a failure leaves the live one alone. A mark tells that they held.

    Asked after the promotion: while recovery is paused it holds the locks of every transaction that the target has cut, and the
    accident is usually one of these; a query of the very table that was dropped a moment later would wait for ever.
    """
    if not checks:
        return ()
    at = (tools.program("psql"), where.run, str(side.port), side.user, database)
    asked = (
        Wait(
            name=f"check_{number}",
            read=tools.run(f"asked_{number}", "sh", "-c", _ASKED, "sh", *at, query, reads=True),
            until=tuple(Condition("stdout", one.test, one.value) for one in conditions),
            deadline_s=0,
        )
        for number, (query, conditions) in enumerate(checks, start=1)
    )
    mark = Write(name="checked", path=f"{where.run}/{CHECKED}", content="", host=tools.host, owner=tools.owner)
    return (*asked, mark)


def promoted(where: Paths, tools: Tools) -> Operation:
    """Recovery ends here: the side cluster begins a timeline of its own."""
    return tools.run("promote", *_pg_ctl(tools, "promote", where.side, PROMOTED_WITHIN_S))


def promotion_over(where: Paths, tools: Tools) -> Operation:
    """Wait until the control file says that recovery has ended. Only reads: for a resume that finds the promotion under way."""
    return Wait(
        name="in_production",
        read=tools.run("control", tools.program("pg_controldata"), "-D", where.side, reads=True),
        until=(Condition("stdout", Test.CONTAINS, PRODUCTION),),
        interval_s=0.5,
        deadline_s=PROMOTED_WITHIN_S,
    )


def stopped(name: str, directory: str, tools: Tools, *, by: Sequence[str] = ()) -> Operation:
    """A fast shutdown; ``by`` is a command of the service manager to use instead."""
    if by:
        return Process(name=name, argv=tuple(by), host=tools.host)
    return tools.run(name, *_pg_ctl(tools, "stop", directory, STOPPED_WITHIN_S), "--mode=fast")


def history_archived(directory: str, goal: Goal, own: str, tools: Tools) -> Operation:
    """Copies timeline histories that the archive lacks, and compares those that it has.

    A cluster that was promoted with archiving off never archives its history by itself; a later recovery along the latest
    timeline would then follow the old one, and bring back what was discarded.
    """
    return goal.archive.histories_in(directory, own, goal.segment_bytes, tools)


def renamed(name: str, source: str, target: str, tools: Tools) -> Operation:
    """A directory under another name."""
    return Rename(name=name, source=source, target=target, host=tools.host)


def live_started(where: Paths, side: Side, log: str, tools: Tools, *, by: Sequence[str] = ()) -> Operation:
    """The cluster in its place, with the options that the former one was started with."""
    if by:
        return Process(name="start_live", argv=tuple(by), host=tools.host, daemon=True)
    given = " ".join(shlex.quote(word) for word in side.options)
    return _start("start_live", where.data, log, given, tools)


def _start(name: str, directory: str, log: str, options: str, tools: Tools) -> Process:
    """pg_ctl names no cause; the last lines of the server's log do."""
    given = (f"--options={options}",) if options else ()
    words = (*_pg_ctl(tools, "start", directory, STARTED_WITHIN_S), *given)
    return tools.run(name, "sh", "-c", _STARTED, "sh", log, *words, daemon="a server")


def unlocked(directory: str, marker: str, tools: Tools) -> Operation:
    """Removal of a lock file whose server is gone."""
    return Remove(name="unlock_side", path=f"{directory}/postmaster.pid", marker=marker, host=tools.host)


def removed(name: str, path: str, marker: str, tools: Tools) -> Operation:
    """Removal of a directory that carries the run's name."""
    return Remove(name=name, path=path, marker=marker, host=tools.host)


def _pg_ctl(tools: Tools, verb: str, directory: str, within_s: int) -> tuple[str, ...]:
    return (tools.program("pg_ctl"), verb, "--silent", f"--pgdata={directory}", "--wait", f"--timeout={within_s}")
