"""Witnesses that owe nothing to the program: hashes of rows and catalogues, schema dumps, processes, files, containers."""

from __future__ import annotations

import hashlib
import json
import stat
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Protocol, Self

import psycopg

from tests.fixtures.containers import BASE, OURS

if TYPE_CHECKING:
    from tests.fixtures.containers import ComposeProject

CATALOGS = (
    "pg_class",
    "pg_attribute",
    "pg_proc",
    "pg_namespace",
    "pg_constraint",
    "pg_index",
    "pg_trigger",
    "pg_rewrite",
)
HEARS_WITHIN_S = 60.0
MAY_LEAVE_WITHIN_S = 15.0
"""How long the backends of connections that were just closed may take to be gone."""
SHARED = ("pg_database", "pg_authid", "pg_auth_members", "pg_db_role_setting", "pg_shdescription", "pg_tablespace")


class Cluster(Protocol):
    """A running PostgreSQL that a test can look into."""

    def connect(self, database: str) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection in autocommit mode."""

    def schema(self, database: str) -> str:
        """What `pg_dump --schema-only` says of a database."""


@dataclass(frozen=True)
class Picture:
    """A database as it looks from outside: rows by table, schema, and what belongs to the database itself."""

    rows: Mapping[str, tuple[int, str]]
    schema: str
    properties: str


def ask(cluster: Cluster, database: str, question: str) -> list[tuple[Any, ...]]:
    """Run one statement of the tests' own."""
    with cluster.connect(database) as connection:
        cursor = connection.execute(question.encode())
        return cursor.fetchall() if cursor.description else []


def rows_of(cluster: Cluster, database: str) -> dict[str, tuple[int, str]]:
    """Count and order-independent hash of every table's rows, and of every sequence's value."""
    listed = ask(
        cluster,
        database,
        "SELECT format('%I.%I', n.nspname, c.relname), c.relkind = 'S' "
        "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind IN ('r', 'S', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') ORDER BY 1",
    )
    found: dict[str, tuple[int, str]] = {}
    for table, sequence in listed:
        what = "concat(last_value, is_called)" if sequence else "t::text"
        hashed = f"SELECT count(*), coalesce(sum(hashtextextended({what}, 0)::numeric), 0)::text FROM {table} t"
        count, total = ask(cluster, database, hashed)[0]
        found[table] = (int(count), str(total))
    return found


def picture(cluster: Cluster, database: str) -> Picture:
    """Everything of a database that a restore has to bring back."""
    properties = ask(
        cluster,
        "postgres",
        "SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype, datconnlimit, datallowconn, "
        "datistemplate, datacl::text, shobj_description(oid, 'pg_database'), "
        "(SELECT array_agg(setconfig::text || setrole::text ORDER BY setrole) FROM pg_db_role_setting WHERE setdatabase = d.oid) "
        f"FROM pg_database d WHERE datname = '{database}'",
    )
    return Picture(rows_of(cluster, database), cluster.schema(database), repr(properties))


def plain_schema(text: str) -> str:
    """A schema dump without the lines that differ from one pg_dump to the next."""
    return "\n".join(line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict", "--")))


def databases(cluster: Cluster) -> set[str]:
    """The names of all databases."""
    return {str(name) for (name,) in ask(cluster, "postgres", "SELECT datname FROM pg_database")}


def oid_of(cluster: Cluster, database: str) -> int:
    """Which database has that name now."""
    return int(ask(cluster, "postgres", f"SELECT oid FROM pg_database WHERE datname = '{database}'")[0][0])


def catalogs(cluster: Cluster, database: str) -> dict[str, str]:
    """A hash of each catalogue, with the rows' own transaction ids: any change shows, even one that was undone."""

    def hashed(at: str, name: str) -> str:
        row = "md5(concat_ws('|', xmin, xmax, ctid, t::text))"
        question = f"SELECT md5(coalesce(string_agg({row}, '' ORDER BY ctid), '')) FROM {name} t"
        return str(ask(cluster, at, question)[0][0])

    return {name: hashed(database, name) for name in CATALOGS} | {name: hashed("postgres", name) for name in SHARED}


def written(cluster: Cluster) -> dict[str, tuple[int, ...]]:
    """Per database, the tuples inserted, updated and deleted so far.

    A backend tells what it counted when it ends, before it leaves the list of those that live; one that stays tells it at most
    once a second.
    """
    question = "SELECT coalesce(datname, ''), tup_inserted, tup_updated, tup_deleted FROM pg_stat_database ORDER BY 1"
    others = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    leaving_until = time.monotonic() + MAY_LEAVE_WITHIN_S
    before: dict[str, tuple[int, ...]] = {}
    while True:
        with cluster.connect("postgres") as connection:
            connection.execute("SELECT pg_stat_force_next_flush()")
            alone = connection.execute(others.encode()).fetchall() == [(0,)]
            now = {str(row[0]): tuple(row[1:]) for row in connection.execute(question.encode())}
        if alone or now == before:
            return now
        if time.monotonic() < leaving_until:
            time.sleep(0.02)
        else:
            before = now
            time.sleep(1.1)


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder: kind, mode, owner, size, times, content."""
    found: dict[str, str] = {}
    for path in sorted([folder, *folder.rglob("*")]):
        facts = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(facts.st_mode) else ""
        about = (oct(facts.st_mode), facts.st_uid, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)
        found[str(path.relative_to(folder))] = f"{about} {content}"
    return found


class DockerWitness:
    """Listens to what the Docker Engine says of a project's containers, from ``with`` to its end; or of those with a ``label``.

    It has to listen all the while: an engine remembers its last 64 events only. A container of its own, which never runs, tells
    by another name whether all was heard up to then: the engine tells everything in its order.
    """

    def __init__(self, project: ComposeProject, label: str = "") -> None:
        self._project = project
        self._label = label or f"com.docker.compose.project={project.name}"
        self._seen: list[dict[str, Any]] = []
        self._heard: set[str] = set()

    def __enter__(self) -> Self:
        self._client = type(self._project.client).from_env(timeout=600)
        self._own = self._client.containers.create(BASE, ["true"], labels=OURS)
        self._stream = self._client.events(filters={"type": "container"}, decode=True)
        self._thread = Thread(target=self._listen, daemon=True)
        self._thread.start()
        self._hears()
        return self

    def __exit__(self, *ended: object) -> None:
        try:
            self._hears()
        finally:
            self._own.remove()
            self._stream.close()
            self._thread.join(10)
            self._client.close()

    def _listen(self) -> None:
        key, _, value = self._label.partition("=")
        for event in self._stream:
            about = event["Actor"]["Attributes"]
            if event["Actor"]["ID"] == self._own.id:
                self._heard.add(str(about["name"]))
            elif key in about and value in ("", about[key]):
                self._seen.append(event)

    def _hears(self) -> None:
        """Wait until everything was heard that the engine has to tell up to now; at first it may not even have begun to tell."""
        deadline = time.monotonic() + HEARS_WITHIN_S
        while time.monotonic() < deadline:
            name = f"runbook-test-{uuid.uuid4().hex}"
            self._own.rename(name)
            asked_again = time.monotonic() + 1
            while time.monotonic() < asked_again:
                if name in self._heard:
                    return
                time.sleep(0.01)
        raise AssertionError(f"the engine told nothing within {HEARS_WITHIN_S} s")

    def created(self, run: str) -> list[tuple[str, str]]:
        """Step and operation of each container that was made for a run, by its labels."""
        made = [event["Actor"]["Attributes"] for event in self._seen if event["Action"] == "create"]
        mine = [about for about in made if about.get("runbook.run") == run]
        return [(str(about["runbook.step"]), str(about["runbook.operation"])) for about in mine]

    @property
    def events(self) -> list[tuple[str, str, str]]:
        """Service, action (``start``, ``exec_create``, …) and command of each event, in order; without health checks."""
        found = []
        checks: set[str] = set()
        for event in self._seen:
            action, _, words = str(event["Action"]).partition(": ")
            about = event["Actor"]["Attributes"]
            if action.startswith("health_status"):
                continue
            if "pg_isready" in words:
                checks.add(str(about["execID"]))
            elif about.get("execID") not in checks:
                found.append((str(about["com.docker.compose.service"]), action, words))
        return found


def children_of(run_directory: Path) -> dict[int, str]:
    """Living processes that the run's supervisor recorded, by pid and start time."""
    alive: dict[int, str] = {}
    path = run_directory / "supervisor.jsonl"
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        for process in record.get("processes", ()) if record.get("event") == "pids" else ():
            if (started := start_time(process["pid"])) is not None and started == process["start"]:
                alive[process["pid"]] = process["program"]
    return alive


def start_time(pid: int) -> int | None:
    """The process's start in clock ticks since boot, or None for one that does not live."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def descendants(pid: int) -> list[int]:
    """All that descends from a process, itself included."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    found, coming = [], [pid]
    while coming:
        found.append(coming.pop())
        coming += parents.get(found[-1], [])
    return found


def pg_dump_schema(pg_dump: Path, dsn: str) -> str:
    """The schema by `pg_dump`, without what is never the same twice."""
    ended = subprocess.run([pg_dump, "--schema-only", dsn], capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return plain_schema(ended.stdout)


def until(holds: Callable[[], bool], within_s: float, what: str) -> None:
    """Wait until something holds; an AssertionError with what it was otherwise."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.02)
