"""Exchanging the data of a server that is the first process of its container.

There the server can't be stopped without the container, and the data directory is mostly a volume's mount point, which has no
other name to take. So the recovered cluster lies on the same volume; the container is stopped; and a one-off container with its
volumes moves the entries, one rename each: the former ones into a kept directory, then the recovered ones into their place.

Owns those operations, and the table from what is seen to what remains (:func:`exchange_of`). Promises: the directory ``global``,
which holds the control file, leaves first and arrives last, so that no server starts on a mixture; the data directory is never
empty in between, so that no image takes it for a new one (initdb refuses a directory that isn't empty); the kept directory gets
its name only when it is complete.

=====  ==============  ==============  =================  ========================================================
mark   global in data  global in side  kept directory     remaining
=====  ==============  ==============  =================  ========================================================
–      yes             any             –                  the table in :mod:`runbook.actions.postgres.cluster`
yes    yes             yes             – or begun         stop, move, start, history, clean
yes    –               yes             begun or complete  the same: the move goes on where it was
yes    yes             –               complete           start (if it doesn't run), history, clean
–      yes             –               complete           start, if it doesn't run
=====  ==============  ==============  =================  ========================================================

The mark says that the copy was proven, promoted and shut down. All of it is read from the container's files, running or stopped.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from enum import StrEnum

from runbook.action import Look, Scope, Undecidable, Unreachable
from runbook.actions.postgres import cluster, recovery, swap
from runbook.actions.postgres.client import MAINTENANCE_DATABASE
from runbook.actions.postgres.cluster import Paths
from runbook.actions.postgres.recovery import Goal
from runbook.actions.postgres.server_tools import Tools
from runbook.errors import Problem
from runbook.host import LOCAL, Compose, Docker, Host
from runbook.operation import (
    Call,
    Condition,
    Document,
    Operation,
    Operations,
    Service,
    Sql,
    Test,
    Wait,
    Write,
    sql,
)
from runbook.paste import on_host
from runbook.system import Postgres

STOPPED_WITHIN_S = 300
"""How long the server may take to shut down before the engine kills it; the kept cluster would then begin with a recovery."""
ACCEPTS_WITHIN_S = 300.0
CONTROL = "global/pg_control"
KEPT = "old_rb_"
"""How the names of kept directories begin that lie inside the data directory."""

MOVE = """\
set -eu
refuse() { echo "$1" >&2; exit 1; }
whole() { [ -e "$1/global/pg_control" ]; }
carry() {
  for entry in "$1"/* "$1"/.[!.]* "$1"/..?*; do
    name=${entry##*/}
    case $name in global|rb_*|old_rb_*|lost+found) continue ;; esac
    [ -e "$entry" ] || [ -L "$entry" ] || continue
    if [ -e "$2/$name" ] || [ -L "$2/$name" ]; then refuse "$2/$name is in the way of $entry"; fi
    mv -- "$entry" "$2/$name"
  done
}
exchange() {
  data=$1 new=$2 kept=$3
  if [ ! -e "$kept" ]; then
    whole "$new" || refuse "$new holds no cluster"
    [ "$(stat -c %d "$data")" = "$(stat -c %d "$new")" ] || refuse "$new lies on another file system than $data"
    if [ ! -e "$kept.partial" ]; then
      whole "$data" || refuse "$data holds no cluster"
      mkdir -m 0700 "$kept.partial"
      chown "$(stat -c %u:%g "$data")" "$kept.partial"
    fi
    if whole "$data"; then
      mv -- "$data/global" "$kept.partial/global"
      sync "$data" "$kept.partial"
    fi
    whole "$kept.partial" || refuse "$kept.partial holds no cluster"
    carry "$data" "$kept.partial"
    sync "$data" "$kept.partial"
    mv -- "$kept.partial" "$kept"
    sync "${kept%/*}"
  fi
  if ! whole "$data"; then
    whole "$new" || refuse "$new holds no cluster"
    carry "$new" "$data"
    sync "$data" "$new"
    mv -- "$new/global" "$data/global"
    sync "$data" "$new"
  fi
  rmdir "$new" 2>/dev/null || true
}
if [ $# -eq 3 ] || { [ ! -e "$4" ] && [ ! -e "$4.partial" ]; }; then exchange "$1" "$2" "$3"; fi
if [ $# -eq 4 ]; then exchange "$1" "$3" "$4"; fi"""
"""Arguments: data, side, kept: the exchange. With a fourth, the way back: the exchange is finished, then made the other way."""

_SUMMARY = "the data directory can't be exchanged in this container"


class Exchange(StrEnum):
    """How far the exchange is."""

    NOTHING = "nothing"
    READY = "ready"
    MOVING = "moving"
    MOVED = "moved"
    UNDONE = "undone"


class Kept(StrEnum):
    """The kept directory: absent, under its ``.partial`` name, or complete; BOTH is nobody's doing."""

    NONE = "-"
    BEGUN = "begun"
    WHOLE = "whole"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Inside:
    """The container and what lies where. ``live`` and ``new``: the data and the side directory have a control file.

    ``ready``: the mark is there. ``undone``: the way back was begun. ``identifier``: of the cluster, as first seen.
    """

    running: bool
    ready: bool
    live: bool
    new: bool
    kept: Kept
    undone: bool
    identifier: str

    @property
    def begun(self) -> bool:
        """Whether the exchange decides what remains, and no longer the recovery."""
        return self.ready or self.undone or self.kept is not Kept.NONE or not self.live


ASSUMED = Inside(running=True, ready=False, live=True, new=False, kept=Kept.NONE, undone=False, identifier="")


def exchange_of(found: Inside, where: Paths) -> Exchange:
    """How far it is; raises :class:`Undecidable` for what no run of this step leaves behind."""
    if found.undone:
        return Exchange.UNDONE
    match found.ready, found.live, found.new, found.kept:
        case False, True, _, Kept.NONE:
            return Exchange.NOTHING
        case True, True, True, Kept.NONE | Kept.BEGUN:
            return Exchange.READY
        case True, False, True, Kept.BEGUN | Kept.WHOLE:
            return Exchange.MOVING
        case _, True, False, Kept.WHOLE:
            return Exchange.MOVED
    detail = (
        f"{where.data} has {'a' if found.live else 'no'} {CONTROL}, {where.side} has {'one' if found.new else 'none'}; "
        f"{where.old}: {found.kept.value}; {mark_of(where)}: {'there' if found.ready else 'not there'}."
    )
    fix = "Look at them; each cluster is complete where its `global` and all else is. Then `runbook resolve` the step."
    raise Undecidable(Problem("E782", "the directories are in a state that this step does not leave", detail, fix))


def applies(db: Postgres, mode: str) -> bool:
    """Whether a swap is an exchange in a container."""
    return mode == "swap" and isinstance(db.host, Docker | Compose)


def paths(look: Look, db: Postgres, data: str, own: str) -> Paths:
    """Names on the data directory's volume: beside it, or inside it where it is the mount point itself."""
    container = look.container(db.host)
    if container is None or data not in _destinations(container.mounts):
        return cluster.paths(data, own)
    return Paths(data, f"{data}/{own}.side", f"{data}/{own}.side.partial", f"{data}/old_{own}", f"{data}/{own}")


def mark_of(where: Paths) -> str:
    """The mark: in the data directory, so that it isn't empty while the entries move."""
    return f"{where.data}/{posixpath.basename(where.run)}.ready"


def undone_of(where: Paths) -> str:
    """Where the way back keeps the recovered cluster."""
    return f"{where.run}.undone"


def running(look: Look, host: Host) -> bool:
    """Whether the container runs. Raises :class:`Unreachable` where there is none."""
    container = look.container(host)
    if container is None:
        raise Unreachable(
            Problem("E331", "there is no such container", f"There is no container {host}.", "docker ps -a")
        )
    return container.state == "running"


def remembered(look: Look, host: Host, path: str) -> str:
    """What the step has written down of its beginning; '' while it hasn't begun, and then the container has to run."""
    known = look.text(LOCAL, path) or ""
    if not known and not running(look, host):
        raise Unreachable(stopped(host))
    return known


def read(look: Look, host: Host, where: Paths, known: str) -> Inside:
    """What lies where. A stopped container that this step did not stop raises :class:`Unreachable`.

    ``known`` is what :func:`remembered` gave: the cluster's identifier is on its second line.
    """

    found = read_stopped(look, host, where, known, up=running(look, host))
    if not found.running and not found.begun:
        raise Unreachable(stopped(host))
    return found


def read_stopped(look: Look, host: Host, where: Paths, known: str, *, up: bool) -> Inside:
    """The same, whoever stopped the container; ``up`` False: it is."""

    def there(path: str) -> bool:
        return look.file(host, path) is not None

    begun, whole, undone = there(f"{where.old}.partial"), there(where.old), undone_of(where)
    return Inside(
        running=up,
        ready=there(mark_of(where)),
        live=there(f"{where.data}/{CONTROL}"),
        new=there(f"{where.side}/{CONTROL}"),
        kept=Kept.BOTH if begun and whole else Kept.BEGUN if begun else Kept.WHOLE if whole else Kept.NONE,
        undone=there(undone) or there(f"{undone}.partial"),
        identifier=known.partition("\n")[2].strip(),
    )


def stopped(host: Host) -> Problem:
    """The container is down, and this step has not brought that about."""
    name = host.container if isinstance(host, Docker) else str(host)
    fix = f"docker start {name}    # wait until the server answers"
    return Problem("E797", "the server's container does not run", f"{host} is stopped, and not by this step.", fix)


def unfit(look: Look, db: Postgres, data: str, archive: str) -> list[Problem]:
    """What forbids the exchange: the data is on no volume, something is mounted in it, the container would vanish."""
    container = look.container(db.host)
    if container is None:
        return []
    found = []
    mounts = _destinations(container.mounts)
    if not any(data == one or data.startswith(f"{one}/") for one in mounts):
        detail = f"{data} of {container.name} lies on no volume."
        found.append(Problem("E795", _SUMMARY, detail, "Use `mode: side`, and take what is needed with pg_dump."))
    inner = ", ".join(sorted(one for one in mounts if one.startswith(f"{data}/")))
    if inner:
        detail = f"{inner} of {container.name} is mounted inside {data}, and a mount can't be moved."
        found.append(Problem("E795", _SUMMARY, detail, "Mount it elsewhere, or use `mode: side`."))
    if archive.startswith(f"{data}/"):
        detail = f"The WAL archive {archive} lies inside {data}, and would be moved away with it."
        found.append(Problem("E795", _SUMMARY, detail, "Move it to a place of its own, or use `mode: side`."))
    if container.auto_remove:
        detail = f"{container.name} was started with --rm: it would be removed when it stops."
        found.append(Problem("E795", _SUMMARY, detail, "Start it without --rm, or use `mode: side`."))
    return found


def _destinations(mounts: tuple[str, ...]) -> frozenset[str]:
    """Where volumes and directories are mounted; not what is in memory, which a stop would empty."""
    pairs = (one.rpartition(":") for one in mounts)
    return frozenset(path.rstrip("/") for source, _, path in pairs if source)


@dataclass(frozen=True, slots=True)
class Exchanging:
    """The operations of the exchange, for one step."""

    system: Postgres
    scope: Scope
    where: Paths
    tools: Tools
    goal: Goal

    def whole(self) -> Operations:
        """Everything, once the copy is promoted and its server is stopped."""
        text = (
            f"runbook is exchanging the cluster in this directory (run {self.scope.run}, step {self.scope.step}).\n"
            f"Do not start a server here. To go on: runbook resume {self.scope.run}\n"
        )
        mark = Write(name="ready", path=mark_of(self.where), content=text, host=self.tools.host, owner=self.tools.owner)
        return (mark, *self._moved())

    def remaining(self, found: Inside) -> Operations:
        """What is left of it."""
        match exchange_of(found, self.where):
            case Exchange.NOTHING | Exchange.READY | Exchange.MOVING:
                return self._moved()
            case Exchange.MOVED:
                after = self._after() if found.ready else ()
                if found.running:
                    return (self._accepting(), *after) if after else ()
                return (self._call("start_live", "start"), self._accepting(), *after)
            case Exchange.UNDONE:
                detail = f"The recovered cluster is kept as {undone_of(self.where)}."
                fix = "Recover in a new run; remove that directory before."
                raise Undecidable(Problem("E782", "this step was undone", detail, fix))

    def back(self) -> Operations:
        """The former cluster gets its place back; the recovered one is kept. From any state of the exchange."""
        where = self.where
        return (
            self._stop(),
            self._move("move_back", where.data, where.side, where.old, undone_of(where)),
            self._call("start_live", "start"),
            self._accepting(),
            *self._cleaned(),
        )

    def _moved(self) -> Operations:
        where = self.where
        return (
            self._stop(),
            self._move("move", where.data, where.side, where.old),
            self._call("start_live", "start"),
            self._accepting(),
            *self._after(),
        )

    def _after(self) -> Operations:
        own = swap.own_name(self.scope)
        return (recovery.history_archived(self.where.data, self.goal, own, self.tools), *self._cleaned())

    def _cleaned(self) -> Operations:
        """The mark goes last: until then a resume cleans up."""
        own = swap.own_name(self.scope)
        gone = {"clean_side": self.where.side, "clean": self.where.run, "clean_mark": mark_of(self.where)}
        return tuple(recovery.removed(name, path, own, self.tools) for name, path in gone.items())

    def _stop(self) -> Operation:
        exited = (Condition("state", Test.ONE_OF, "exited\ncreated\ndead"),)
        return self._call("stop_live", "stop", timeout_s=STOPPED_WITHIN_S, expect=exited)

    def _move(self, name: str, *directories: str) -> Operation:
        labels = {"runbook.run": self.scope.run, "runbook.step": self.scope.step, "runbook.operation": name}
        given = (("argv", ("sh", "-c", MOVE, "sh", *directories)), ("labels", Document(tuple(labels.items()))))
        return Call(name=name, service=Service.DOCKER, operation="run", arguments=Document(given), host=self.tools.host)

    def _call(self, name: str, operation: str, *, timeout_s: int = 0, expect: tuple[Condition, ...] = ()) -> Operation:
        given = (("timeout_s", timeout_s),) if timeout_s else ()
        return Call(
            name=name,
            service=Service.DOCKER,
            operation=operation,
            arguments=Document(given),
            host=self.tools.host,
            expect=expect,
        )

    def _accepting(self) -> Operation:
        at = self.system.connection(application=self.scope.application, database=MAINTENANCE_DATABASE)
        asked = sql("SELECT pg_is_in_recovery()::int AS recovering")
        return Wait(
            name="accepting",
            read=Sql(name="answers", connection=at, statements=(asked,), reads=True),
            until=(Condition("recovering", Test.EQUALS, 0),),
            deadline_s=ACCEPTS_WITHIN_S,
        )


def advice(where: Paths, host: Host) -> str:
    """What to do next: a base backup, and before it the kept directory out of the way where it is inside."""
    if not where.old.startswith(f"{where.data}/"):
        return ""
    folder, name = posixpath.split(where.old)
    packed = on_host(host, f"tar -C {folder} -cf - {name}")
    gone = on_host(host, f"rm -rf {where.old}")
    return (
        f"The former cluster lies inside the data directory, and a base backup would copy it too. Move it away first: "
        f"`{packed} > {name}.tar`, or remove it: `{gone}`. "
    )
