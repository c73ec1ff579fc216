"""Rewinding the data of a server that is the first process of its container, while that is stopped.

One-off containers beside the stopped one, of its image and with its volumes, do the work (:mod:`runbook.actions.postgres.fencing`):
as the data's owner, since neither pg_rewind nor the server runs as root, and the one with pg_rewind on the stopped one's networks.
The copy lies on the same volume; when it is rewound, the entries of the two directories are exchanged, and the former ones are
kept: table and script are those of a recovery (:mod:`runbook.actions.postgres.in_container`), and so are their promises.

The control file can't be read before, nor by a dry-run: what forbids a rewind is found by the first of those containers, which
only reads, before anything is copied; and a directory that has nothing of its own is copied too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from runbook.action import Look, Scope
from runbook.actions.postgres import client, fencing, in_container, recovery, swap
from runbook.actions.postgres.client import MAINTENANCE_DATABASE, quoted
from runbook.actions.postgres.cluster import Paths
from runbook.actions.postgres.fencing import DOWN
from runbook.actions.postgres.in_container import Exchange, Inside, Kept, exchange_of, mark_of
from runbook.actions.postgres.replication import maintenance
from runbook.actions.postgres.rewinding import CONFIGURATION, DISCARDED, REBUILD, Rewinding, cannot
from runbook.errors import Refused
from runbook.operation import Document, DocumentValue, Operation, Operations, sql
from runbook.paste import on_host
from runbook.placeholder import stand_for
from runbook.quoting import shell_word
from runbook.system import Postgres

# by the very function that a role which may rewind has been granted (manual, pg_rewind)
_INSIDE = sql(
    "SELECT current_setting('data_directory') AS directory, coalesce(string_agg(name, ' '), '') AS kept "
    "FROM pg_ls_dir('.', false, false) AS name WHERE name ~ '^(old_)?rb_'"
)

_SAID = """\
set -eu; export LC_ALL=C
refuse() { echo "$1" >&2; exit 1; }
said() { pg_controldata -D "$1" | sed -n "s/^$2: *//p"; }
[ -z "$1" ] || PATH="$1:$PATH"
data=$2 leads=$3
timeline=$(said "$data" "Latest checkpoint's TimeLineID") state=$(said "$data" "Database cluster state")
[ -n "$timeline" ] || refuse "the control file of $data can't be read"
"""
# What forbids it, and which commits are in the WAL that is given up. Arguments: programs, data, the primary's timeline, the
# cluster, the history, the copy, the factor of space, the remedy.
_JUDGED = (
    _SAID
    + """\
[ "$(said "$data" "Database system identifier")" = "$4" ] || refuse "$data is not of the cluster $4 of the new primary"
if [ "$timeline" = "$leads" ]; then
  case $state in "shut down"|"shut down in recovery"|"in archive recovery") printf '0\\n\\n\\n\\n'; exit 0 ;; esac
  refuse "$data is on timeline $leads itself, and ended without a shutdown ($state). $8"
fi
fork=$(printf '%s\\n' "$5" | awk -v own="$timeline" '$1 == own { print $2; exit }')
[ -n "$fork" ] || refuse "its timeline $timeline is not in the history of the primary's timeline $leads. $8"
[ "$(said "$data" "wal_log_hints setting")" = on ] || [ "$(said "$data" "Data page checksum version")" != 0 ] ||
  refuse "$data has neither wal_log_hints nor data checksums: which pages it changed can't be told. $8"
[ "$(said "$data" "Latest checkpoint's full_page_writes")" = on ] || refuse "$data was written with full_page_writes off. $8"
if [ -L "$data/pg_wal" ] || [ ! -d "$data/pg_wal" ]; then refuse "$data/pg_wal is not a directory. $8"; fi
[ -z "$(ls -A "$data/pg_tblspc")" ] || refuse "$data has tablespaces of its own, which a copy would share with it. $8"
used() { du -sk "$@" | awk '{ n += $1 } END { print n + 0 }'; }
needed=0
for entry in "$data"/*; do
  case ${entry##*/} in rb_*|old_rb_*|lost+found) continue ;; esac
  needed=$((needed + $(used "$entry")))
done
needed=$(awk -v n="$needed" -v by="$7" 'BEGIN { print int(n * by) }')
free=$(df -Pk "$data" | awk 'NR == 2 { print $(NF - 2) }')
[ ! -e "$6" ] || free=$((free + $(used "$6")))
[ "$free" -ge "$needed" ] || refuse "beside $data are $free KiB free; the copy may need $needed. Make space."
path=$data
set -- pg_waldump "$path" "$timeline" "$fork"
"""
    + DISCARDED
    + """
echo "$fork\""""
)
_COPIED = """\
set -eu
data=$1 copy=$2
as_it_was() { cksum < "$data/global/pg_control"; }
before=$(as_it_was)
rm -rf "$copy" "$3"
mkdir -m 0700 "$copy"
chown "$(stat -c %u:%g "$data")" "$copy"
for entry in "$data"/* "$data"/.[!.]* "$data"/..?*; do
  case ${entry##*/} in rb_*|old_rb_*|lost+found) continue ;; esac
  [ -e "$entry" ] || [ -L "$entry" ] || continue
  cp -a --reflink=auto -- "$entry" "$copy/"
done
[ "$(as_it_was)" = "$before" ] || { echo "a server was started in $data meanwhile: stop it, and try again" >&2; exit 1; }
rm -f "$copy/standby.signal" "$copy/recovery.signal" "$copy/postmaster.pid\""""
# A crashed directory's copy is brought to the end of its WAL. What its server had from the command line is not in its files; the
# control file keeps some of it: without wal_log_hints the copy could not be rewound any more, nor without the WAL before the fork.
_RECOVERED = (
    _SAID
    + """\
case $state in "shut down"|"shut down in recovery") exit 0 ;; esac
[ "$timeline" != "$leads" ] || exit 0
set_to() { said "$data" "$1 setting"; }
set -- -c data_directory="$data" -c archive_mode=off -c hot_standby=on -c wal_keep_size=1TB
set -- "$@" -c wal_level="$(set_to wal_level)" -c wal_log_hints="$(set_to wal_log_hints)"
set -- "$@" -c max_prepared_transactions="$(set_to max_prepared_xacts)"
set -- "$@" -c track_commit_timestamp="$(set_to track_commit_timestamp)"
exec postgres --single -F -D "$data" "$@" template1 < /dev/null"""
)
_REWOUND = (
    _SAID
    + """\
if [ "$timeline" = "$leads" ]; then sync; exit 0; fi
exec pg_rewind --target-pgdata="$data" --source-server="$4" --no-ensure-shutdown"""
)
# pg_rewind brings the source's configuration too.
_OWN = """\
set -eu
data=$1 copy=$2; shift 2
for name; do
  rm -f "$copy/$name"
  [ ! -e "$data/$name" ] || cp -a "$data/$name" "$copy/$name"
done
cp -a "$data/standby.signal" "$copy/standby.signal"
sync "$copy/standby.signal" "$copy\""""
# The copy gets its name, and then the mark by which the exchange is begun.
_NAMED = """\
set -eu
mv -- "$2" "$3"
sync "${3%/*}"
printf '%s\\n' "$5" > "$4"
chown --reference="$1/PG_VERSION" "$4"
sync "$4" "$1\""""


@dataclass(frozen=True, slots=True)
class Beside:
    """The operations of one step, for a server in a container. ``leads``: the timeline of the new primary.

    ``work`` is the step as it would be on a machine: its names, the new primary, the inputs.
    """

    work: Rewinding
    identifier: str
    leads: int | str
    history: str
    space_factor: float

    @property
    def where(self) -> Paths:
        """The directories."""
        return self.work.where

    def remaining(self, found: Inside, *, streams: bool) -> Operations:
        """What is left: see the table in :mod:`runbook.actions.postgres.in_container`."""
        stop = self.work.halted() if found.running else ()
        clean = (self._cleaned(),) if found.ready else ()
        match exchange_of(found, self.where):
            case Exchange.NOTHING:
                return (*stop, *self._copied(), *self._exchanged(), *self.work.started(), self._cleaned())
            case Exchange.READY | Exchange.MOVING:
                return (*stop, *self._exchanged(), *self.work.started(), self._cleaned())
            case Exchange.MOVED | Exchange.UNDONE:
                if streams:
                    return clean
                begun = (self.work.following.streaming(),) if found.running else self.work.started()
                return (*begun, *clean)

    def _copied(self) -> Operations:
        """The copy, rewound and told whom to follow, under its name."""
        where, work = self.where, self.work
        folder, leads = work.tools.folder, str(self.leads)
        judged = (
            folder,
            where.data,
            leads,
            self.identifier,
            self.history,
            where.partial,
            str(self.space_factor),
            REBUILD,
        )
        text = (
            f"runbook is exchanging the cluster in this directory (run {work.scope.run}, step {work.scope.step}).\n"
            f"Do not start a server here. To go on: runbook resume {work.scope.run}"
        )
        named = (where.data, where.partial, where.side, mark_of(where), text)
        return (
            self._script("discarded", _JUDGED, *judged, owner=where.data, reads=True),
            self._script("copy", _COPIED, where.data, where.partial, where.side),
            self._script("recover", _RECOVERED, folder, where.partial, leads, owner=where.data),
            self._rewound(),
            self._script("own_settings", _OWN, where.data, where.partial, *self._own()),
            work.following.told(where.partial),
            self._script("name_copy", _NAMED, *named),
        )

    def _own(self) -> tuple[str, ...]:
        """Files of the directory itself that stay: its configuration, and a password file that lies in it."""
        inside = f"{self.where.data}/"
        passfile = self.work.inputs.passfile
        given = (passfile.removeprefix(inside),) if passfile.startswith(inside) else ()
        return (*CONFIGURATION.split(), *given)

    def _rewound(self) -> Operation:
        """With the network of the stopped container, which reaches the new primary as the server will."""
        work, db = self.work, self.work.primary
        host, port = work.inputs.sender
        given = {
            "host": host,
            "port": str(port),
            "user": db.user,
            "dbname": MAINTENANCE_DATABASE,
            "application_name": work.scope.application,
            "connect_timeout": str(client.CONNECT_TIMEOUT_S),
            "sslmode": work.inputs.sslmode,
            "passfile": work.inputs.passfile if db.password is None else "",
        }
        source = " ".join(f"{key}={quoted(value)}" for key, value in given.items() if value)
        more: list[tuple[str, DocumentValue]] = [("network", "own")]
        if db.password is not None:
            more.append(("secrets", Document((("PGPASSWORD", db.password),))))
        words = (work.tools.folder, self.where.partial, str(self.leads), source)
        return self._script("rewind", _REWOUND, *words, owner=self.where.data, more=tuple(more))

    def _exchanged(self) -> Operations:
        where = self.where
        return (self._script("move", in_container.MOVE, where.data, where.side, where.old),)

    def _cleaned(self) -> Operation:
        """The mark goes last: until then the exchange is not over."""
        work = self.work
        return recovery.removed("clean_mark", mark_of(self.where), swap.own_name(work.scope), work.tools)

    def _script(
        self,
        name: str,
        script: str,
        *words: str,
        owner: str = "",
        reads: bool = False,
        more: tuple[tuple[str, DocumentValue], ...] = (),
    ) -> Operation:
        """A script in a one-off container: as root, or as the ``owner`` of a data directory."""
        scope, host = self.work.scope, self.work.tools.host
        argv = ("sh", "-c", script, "sh", *words)
        made = fencing.aside(name, argv, host, scope, reads=reads)
        user: tuple[tuple[str, DocumentValue], ...] = (("user_of", f"{owner}/PG_VERSION"),) if owner else ()
        given = Document((*made.arguments.items, *user, *more))
        return replace(made, arguments=given)


def read(look: Look, db: Postgres, where: Paths) -> Inside:
    """What lies where, in a container that runs or not."""
    container = look.container(db.host)
    up = container is not None and container.state not in DOWN
    return in_container.read_stopped(look, db.host, where, "", up=up)


def refuse(look: Look, db: Postgres, primary: Postgres, data: str, scope: Scope) -> None:
    """Refuse (exit 4) what can be seen to forbid it without the stopped server's programs, everything at once."""
    found = [replace(one, fix=REBUILD) for one in in_container.unfit(look, db, data, "")]
    inside = look.query(maintenance(primary, scope.application), _INSIDE)[0]
    kept = str(inside["kept"]).split()
    if kept:
        who = primary.key or "the new primary"
        why = f"In the data directory of {who} lies {', '.join(kept)}: pg_rewind would bring it along."
        gone = " ".join(shell_word(f"{inside['directory']}/{name}") for name in kept)
        found.append(cannot(why, f"Pack it away, then: {on_host(primary.host, f'rm -rf {gone}')}"))
    if found:
        raise Refused(*found)


ASSUMED = Inside(running=False, ready=False, live=True, new=False, kept=Kept.NONE, undone=False, identifier="")
"""A container that is down, in which nothing was done."""


def assumed(data: str, own: str) -> Paths:
    """Names on the volume, of which nobody knows yet where it is mounted."""
    copy = stand_for("its copy on the volume")
    return Paths(data, copy, copy, stand_for("the former cluster, kept on the volume"), f"{data}/{own}")
