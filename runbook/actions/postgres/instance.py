"""The server of a cluster as something that is stopped and started: whether it runs, how it was started, who else uses it.

Owns what ``postgres.stop``, ``postgres.start`` and ``postgres.cold_copy`` read first. Promises: nothing here needs a server that
answers; a server that doesn't answer counts as stopped only where its process, or its container, is gone.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field

from runbook.action import ContainerFacts, Look, Scope, Unreachable
from runbook.actions.postgres import cluster
from runbook.actions.postgres.client import MAINTENANCE_DATABASE
from runbook.actions.postgres.cluster import Server
from runbook.actions.postgres.elsewhere import refuse_elsewhere
from runbook.actions.postgres.moment import memory, read_log
from runbook.errors import Problem, Refused
from runbook.host import LOCAL, Compose, Docker, Host
from runbook.operation import Condition, Json, Operation, Sql, Test, Wait, sql
from runbook.system import Postgres

CONTROL = "global/pg_control"
_UP = ("running", "paused", "restarting")
LOOKS_FROM_S = 2
"""Sessions that are younger than this are not counted as somebody's: a health check's, for one."""

_ASKED = sql(
    "SELECT current_setting('data_directory') AS directory, "
    "(SELECT system_identifier::text FROM pg_control_system()) AS identifier, "
    "(SELECT coalesce(string_agg(spcname, ', '), '') FROM pg_tablespace WHERE spcname !~ '^pg_') AS tablespaces"
)
_OTHERS = sql(
    "SELECT format('%s as %s in %s%s, since %s', coalesce(nullif(application_name, ''), 'a program without a name'), "
    "usename, datname, coalesce(' from ' || host(client_addr), ''), to_char(backend_start, 'HH24:MI:SS')) AS who "
    "FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name NOT LIKE 'runbook%' "
    "AND pid <> pg_backend_pid() AND backend_start < now() - make_interval(secs => {young}) ORDER BY backend_start LIMIT 20",
    young=LOOKS_FROM_S,
)


@dataclass(frozen=True, slots=True)
class Manner:
    """How a cluster's server is run: where its data is, whose it is, with which programs and options, and where it logs.

    In a container nothing but the directory is needed.
    """

    directory: str = ""
    owner: str = ""
    programs: str = ""
    options: tuple[str, ...] = ()
    log: str = ""


@dataclass(frozen=True, slots=True)
class Instance:
    """One look. ``runs``: there is a process, or a container that runs; ``answers``: it takes connections. Sizes are bytes."""

    runs: bool
    answers: bool
    manner: Manner
    identifier: str = ""
    tablespaces: str = ""
    bytes: int = 0
    others: tuple[str, ...] = field(default=())


def is_contained(host: Host) -> bool:
    """Whether the server is stopped and started with its container."""
    return isinstance(host, Docker | Compose)


def read_instance(look: Look, db: Postgres, scope: Scope, *, known: Manner | None = None) -> Instance:
    """The server and its directory; ``known`` is what an earlier step has found.

    Refuses (exit 4) a server of another machine, and one that is down and of which nobody says where its data is. In a container
    the volumes tell, or nobody does: it can be stopped and started all the same.
    """
    refuse_elsewhere(look, db)
    at = db.connection(application=scope.application, database=MAINTENANCE_DATABASE)
    remembered = (look.text(LOCAL, memory(scope)) or "").partition("\n")[0]
    given = (db.data_directory or (known.directory if known else "") or remembered).rstrip("/")
    container = _container(look, db.host) if is_contained(db.host) else None
    runs = container.state in _UP if container else True
    try:
        row: Mapping[str, object] = look.query(at, _ASKED)[0] if runs else {}
        others = tuple(str(one["who"]) for one in look.query(at, _OTHERS)) if runs else ()
    except Unreachable as down:
        row, others = {}, ()
        if not given and not is_contained(db.host):
            raise Refused(_unknown_directory(down.problem.detail)) from None
    directory = str(row.get("directory", given)).rstrip("/")
    if given and row and given != directory and db.data_directory:
        detail = f"The environment says {given}, the server that answers says {directory}."
        raise Refused(
            Problem("E784", "this is not the server of that data directory", detail, "Correct the environment.")
        )
    if not directory and not is_contained(db.host):
        raise Refused(_unknown_directory("The server does not run."))
    if container:
        manner = Manner(directory or found_in(look, db.host, container))
    else:
        manner, runs = _local(look, db, directory, known)
    return Instance(
        runs=runs,
        answers=bool(row),
        manner=manner,
        identifier=str(row.get("identifier", "")),
        tablespaces=str(row.get("tablespaces", "")),
        bytes=_bytes(look, db.host, directory) if row or container is None else 0,
        others=others,
    )


def answering(db: Postgres, scope: Scope, within_s: float) -> Operation:
    """Wait until the server takes connections."""
    at = db.connection(application=scope.application, database=MAINTENANCE_DATABASE)
    return Wait(
        name="answers",
        read=Sql(name="asked", connection=at, statements=(sql("SELECT 1 AS answers"),), reads=True),
        until=(Condition("answers", Test.EQUALS, 1),),
        deadline_s=within_s,
    )


def refuse_commands(db: Postgres, field: str, command: tuple[str, ...]) -> None:
    """Refuse (exit 4) a service manager's command for a server in a container: it is stopped and started with that."""
    if command and is_contained(db.host):
        detail = f"{db.host} is stopped and started as a container; `{field}` would never be run."
        fix = f"Leave out `{field}`."
        raise Refused(Problem("E677", "a server in a container has no commands of its own", detail, fix))


def held_manner(held: Mapping[str, Json] | None) -> Manner | None:
    """How the server was run, from the baselines of the step that stopped it; None where there are none."""
    match (held or {}).get("manner"):
        case {"directory": str(d), "owner": str(o), "programs": str(p), "options": [*options], "log": str(log)}:
            return Manner(d, o, p, tuple(str(one) for one in options), log)
    return None


def _container(look: Look, host: Host) -> ContainerFacts:
    found = look.container(host)
    if found is None:
        raise Unreachable(
            Problem("E331", "there is no such container", f"There is no container {host}.", "docker ps -a")
        )
    return found


def found_in(look: Look, host: Host, container: ContainerFacts) -> str:
    """Where a server that doesn't answer has its data: the one place in the container's volumes with a control file; else ''."""
    mounts = [one.rpartition(":")[2].rstrip("/") for one in container.mounts]
    places = [f"{mount}{below}" for mount in mounts for below in ("", "/data", "/pgdata")]
    found = []
    for place in dict.fromkeys(places):
        try:
            if look.file(host, f"{place}/{CONTROL}") is not None:
                found.append(place)
        except Unreachable:
            continue  # it is restarting, and can't be looked into this moment
    return found[0] if len(found) == 1 else ""


def _local(look: Look, db: Postgres, directory: str, known: Manner | None) -> tuple[Manner, bool]:
    place = cluster.read_place(look, db.host, directory)
    if place is None:
        detail = f"{directory} does not exist."
        raise Refused(Problem("E786", "there is no data directory", detail, "Write the right `data_directory`."))
    runs = place.server is Server.RUNNING
    program, options = cluster.read_options(look, db.host, directory)
    log = read_log(look, db.host, directory, place) or (known.log if known else "")
    programs = db.binaries or posixpath.dirname(program)
    return Manner(directory, place.owner, programs, options, log), runs


def _bytes(look: Look, host: Host, directory: str) -> int:
    """What the directory takes; 0 where that can't be told in time."""
    try:
        words = look.run(host, ("du", "-sk", "--", directory)).stdout.split()
    except Unreachable:
        return 0
    return int(words[0]) * 1024 if words and words[0].isdecimal() else 0


def _unknown_directory(why: str) -> Problem:
    detail = f"{why}\nWithout the server, its data directory has to be known."
    return Problem(
        "E783", "the data directory is not known", detail, "Write `data_directory` of the system in the environment."
    )
