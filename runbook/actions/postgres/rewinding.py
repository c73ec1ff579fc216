"""Bringing a data directory that parted from the primary's history back to it, in a copy that then takes its place.

`pg_rewind` works in place, and says of an interrupted run that the directory is probably lost. Here it works on a copy beside the
directory, so an interruption costs the copy only, and what is lost stays whole: the former directory is kept, with the WAL and
the rows that the new primary hasn't. Owns those operations. Promises: the directory itself is touched by two renames; the copy has
its name only when it is rewound, configured and marked.

============  =============  ============  =============================================================
data          copy           kept          remaining
============  =============  ============  =============================================================
as it was     – or partial   –             everything
as it was     named          –             the two renames, start
–             named          as it was     the second rename, start
another       –              as it was     start, or a wait until it streams
============  =============  ============  =============================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from runbook.action import Look, Scope, Undecidable
from runbook.actions.postgres import client, cluster, fencing, recovery, swap
from runbook.actions.postgres.client import MAINTENANCE_DATABASE
from runbook.actions.postgres.cluster import Paths, Place
from runbook.actions.postgres.fencing import CLEAN
from runbook.actions.postgres.following import Following, FollowingInputs
from runbook.actions.postgres.replication import maintenance, not_as_it_should
from runbook.actions.postgres.server_tools import Tools
from runbook.errors import Problem, Refused
from runbook.operation import (
    Condition,
    MakeDirectory,
    Operation,
    Operations,
    Process,
    Rename,
    Sql,
    Test,
    Transaction,
    Wait,
    sql,
)
from runbook.system import Postgres
from runbook.units import show_size

CONFIGURATION = "postgresql.conf postgresql.auto.conf pg_hba.conf pg_ident.conf"
REWOUND = "in archive recovery"
"""What the control file says after pg_rewind: the last thing that it writes."""

# Which commits are in the WAL that is given up: from where the histories part to its end.
DISCARDED = """\
"$1" --path="$2/pg_wal" --timeline="$3" --start="$4" --rmgr=Transaction 2>&1 | awk '
/could not/ && !n { lost = 1 }
/ desc: COMMIT/ { n++; at = $0; sub(/.* desc: COMMIT[A-Z_]* /, "", at); sub(/;.*/, "", at); if (n == 1) first = at; last = at }
END { print (lost && !n ? "unknown" : n + 0); print first; print last }'"""
_COPIED = """\
set -eu
cp --archive --reflink=auto "$1/." "$2"
rm -f "$2/standby.signal" "$2/recovery.signal" "$2/postmaster.pid\""""
# pg_rewind brings the source's configuration too, with its port and its directories.
_OWN = f"""\
set -eu
for name in {CONFIGURATION}; do
  if [ -e "$1/$name" ]; then cp --archive "$1/$name" "$2/$name"; else rm -f "$2/$name"; fi
done
cp --archive "$1/standby.signal" "$2/standby.signal"
sync "$2/standby.signal" "$2\""""


REBUILD = "Rebuild it: move it away, and take a base backup of the new primary (pg_basebackup) in its place."


class Stage(StrEnum):
    """How far it is, as the directories tell."""

    NOTHING = "nothing"
    COPIED = "copied"
    HALF_SWAPPED = "half_swapped"
    SWAPPED = "swapped"


@dataclass(frozen=True, slots=True)
class Inodes:
    """The three directories by their inodes, 0 = absent; ``original`` is the data directory's before anything was done."""

    data: int
    side: int
    old: int
    original: int


def stage_of(found: Inodes, where: Paths) -> Stage:
    """How far it is; raises :class:`Undecidable` for what no run of this step leaves behind."""
    match found.data, found.side, found.old:
        case found.original, 0, 0:
            return Stage.NOTHING
        case found.original, side, 0 if side:
            return Stage.COPIED
        case 0, side, found.original if side:
            return Stage.HALF_SWAPPED
        case data, 0, found.original if data:
            return Stage.SWAPPED
    told = f"{where.data}: inode {found.data}; {where.side}: {found.side}; {where.old}: {found.old} (0: absent)."
    fix = "Look at them (ls -lid), put the names right by hand, then `runbook resolve` the step."
    raise Undecidable(not_as_it_should(f"{told} The one from the start has inode {found.original}.", fix))


@dataclass(frozen=True, slots=True)
class Parted:
    """How the directory parted: its ``timeline``, the ``fork`` (LSN), its control file's state; '' = it did not.

    A dry-run that can't know them yet has placeholders for the two.
    """

    why: str
    timeline: int | str
    fork: str
    state: str


@dataclass(frozen=True, slots=True)
class Rewinding:
    """The operations of one step. ``following`` is of the data directory."""

    where: Paths
    parted: Parted
    primary: Postgres
    inputs: FollowingInputs
    tools: Tools
    options: tuple[str, ...]
    following: Following
    scope: Scope

    def whole(self, *, partial: bool, runs: bool) -> Operations:
        """Everything, for a directory that has its name still."""
        own = swap.own_name(self.scope)
        sweep = (recovery.removed("sweep", self.where.partial, own, self.tools),) if partial else ()
        stop = self.halted() if runs else ()
        recover = () if self.parted.state in CLEAN else (self._recovered(),)
        name = Rename(name="name_copy", source=self.where.partial, target=self.where.side, host=self.tools.host)
        return (
            *sweep,
            *stop,
            self._discarded(),
            MakeDirectory(name="make_copy", path=self.where.partial, host=self.tools.host, owner=self.tools.owner),
            self._script("copy", _COPIED),
            *recover,
            self._rewound(),
            self._script("own_settings", _OWN),
            self.following.told(self.where.partial),
            self._proof(),
            name,
            *self.exchanged(),
        )

    def halted(self) -> Operations:
        """The stop of a server that runs in the directory, or that something has started there since: read-only, by its mark."""
        return (fencing.stopped(self.where.data, self.tools, self.inputs.stop),)

    def exchanged(self) -> Operations:
        """The two renames, once the copy has its name."""
        aside = Rename(name="set_aside", source=self.where.data, target=self.where.old, host=self.tools.host)
        return (aside, *self.second())

    def second(self) -> Operations:
        """The second rename and the start."""
        place = Rename(name="into_place", source=self.where.side, target=self.where.data, host=self.tools.host)
        return (place, *self.started())

    def started(self) -> Operations:
        """The start. A rewound server lets nobody in until it has passed where the primary stood when it was rewound: so a record
        is written there, since one in which nothing happens would be waited for until its next checkpoint.
        """
        record = sql(
            "SELECT pg_logical_emit_message(false, 'runbook', 'a standby waits for a record')::text AS position"
        )
        at = maintenance(self.primary, self.scope.application)
        nudge = Sql(name="nudge", connection=at, statements=(record,), transaction=Transaction.AUTOCOMMIT)
        return (nudge, *self.following.begun())

    def _discarded(self) -> Operation:
        tools, parted = self.tools, self.parted
        argv = (tools.program("pg_waldump"), self.where.data, str(parted.timeline), parted.fork)
        return tools.run("discarded", "sh", "-c", DISCARDED, "sh", *argv, reads=True)

    def _script(self, name: str, script: str) -> Operation:
        return self.tools.run(name, "sh", "-c", script, "sh", self.where.data, self.where.partial)

    def _recovered(self) -> Operation:
        """A crashed directory's copy is brought to the end of its WAL; its configuration may lie elsewhere, and name another."""
        settings = {"data_directory": self.where.partial, "archive_mode": "off", "hot_standby": "on"}
        settings["wal_keep_size"] = "1TB"  # the checkpoint at its end would remove WAL that pg_rewind has to read
        given = (word for key, value in settings.items() for word in ("-c", f"{key}={value}"))
        argv = (self.tools.program("postgres"), "--single", "-F", *self.options, "-D", self.where.partial, *given)
        return self.tools.run("recover", *argv, "template1")

    def _rewound(self) -> Operation:
        tools = self.tools
        return Process(
            name="rewind",
            argv=(
                tools.program("pg_rewind"),
                f"--target-pgdata={self.where.partial}",
                f"--source-server={client.conninfo(self.primary, MAINTENANCE_DATABASE)}",
                "--no-ensure-shutdown",
            ),
            host=tools.host,
            user=tools.owner,
            cwd="/",
            env=client.env(self.primary, self.scope.application),
        )

    def _proof(self) -> Operation:
        read = self.tools.run("control", self.tools.program(fencing.CONTROLDATA), "-D", self.where.partial, reads=True)
        return Wait(name="rewound", read=read, until=(Condition("stdout", Test.CONTAINS, REWOUND),), deadline_s=0)


def refuse(look: Look, db: Postgres, control: dict[str, str], place: Place, where: Paths, *, needed_bytes: int) -> None:
    """Refuse (exit 4) what can't be rewound, before anything is stopped or copied, with everything that forbids it at once."""
    host, found = db.host, []
    hints = control.get("wal_log_hints setting") == "on" or control.get("Data page checksum version", "0") != "0"
    if not hints:
        why = f"{where.data} has neither wal_log_hints nor data checksums: which pages it changed can't be told."
        found.append(cannot(why, REBUILD + " Then set wal_log_hints = on, for the next time."))
    if control.get("Latest checkpoint's full_page_writes") == "off":
        found.append(cannot(f"{where.data} was written with full_page_writes off.", REBUILD))
    if look.listing(host, f"{where.data}/pg_tblspc"):
        found.append(cannot(f"{where.data} has tablespaces of its own, which a copy would share with it.", REBUILD))
    wal = look.file(host, f"{where.data}/pg_wal")
    if wal is None or wal.kind != "directory":
        found.append(cannot(f"{where.data}/pg_wal is not a directory: a copy would share the WAL with it.", REBUILD))
    if cluster.is_mount(look, host, place, where.data):
        found.append(cannot(f"{where.data} is a file system of its own, and can't be renamed.", REBUILD))
    free = look.free_bytes(host, where.side)
    if free < needed_bytes:
        detail = f"Beside {where.data} are {show_size(free)} free; the copy may need {show_size(needed_bytes)}."
        found.append(Problem("E761", "there is not enough space for a second copy", detail, "Make space."))
    if found:
        raise Refused(*found)


def cannot(why: str, fix: str) -> Problem:
    """pg_rewind can't be used."""
    return Problem("E698", "this data directory can't be rewound", why, fix)
