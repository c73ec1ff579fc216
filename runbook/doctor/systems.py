"""Gathering from the systems of an environment: who answers, in what version, with how much room; which programs a host has.

Acts, and only reads. Promises: every system is asked at the same time as the others, and has a few seconds; one that takes longer
is told as silent, and holds nobody up; SQL runs in a read-only transaction; a secret is revealed to its system alone.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

from runbook.action import CheckFailed, Look, Unreachable
from runbook.actions.backup.layout import MANIFEST, Broken, names, read_manifest, size_of
from runbook.doctor import redis
from runbook.doctor.facts import UNKNOWN, Detail, Need, Program, SecretFacts, Seen, ServerFacts, StoreFacts, place
from runbook.errors import Bug, InvalidInput, Problem, Refused
from runbook.host import LOCAL, Compose, Docker, Host, Local, Ssh
from runbook.operation import Connection, sql
from runbook.secret import FromEnv, FromFile, Redactor, SecretRef
from runbook.system import Channel, ComposeProject, Machine, Postgres, Redis, Store, System, Volume, Web, secrets_in
from runbook.transports.bound import Bound
from runbook.transports.commands import Commands
from runbook.transports.database import Databases
from runbook.transports.docker import DockerEngine, asked
from runbook.transports.look import LiveLook
from runbook.transports.secrets import SecretStore
from runbook.transports.trouble import Trouble

ANSWER_WITHIN_S = 10.0
GIVEN_UP_AFTER_S = 15.0
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_SERVER = sql(
    "SELECT current_setting('server_version_num')::int AS version, "
    "extract(epoch FROM clock_timestamp())::float8 AS clock, "
    "(SELECT rolsuper FROM pg_roles WHERE rolname = current_user)::int AS superuser, "
    "(SELECT setting FROM pg_settings WHERE name = 'data_directory') AS directory"
)
_SIZES = sql(
    "SELECT datname AS name, CASE WHEN has_database_privilege(oid, 'CONNECT') THEN pg_database_size(oid) ELSE -1 END AS bytes "
    "FROM pg_database WHERE NOT datistemplate"
)
_NAMES = sql("SELECT datname AS name, -1 AS bytes FROM pg_database WHERE NOT datistemplate")
_SEARCH = r"""
for p in "$@"; do
  n=${p##*/} a=
  f=$(command -v "$p" 2>/dev/null) || f=
  if [ -z "$f" ]; then
    for d in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin; do if [ -x "$d/$n" ]; then f=$d/$n a=aside; fi; done
  fi
  v=
  case $f in */pg_*|*/psql) v=$("$f" --version 2>/dev/null) ;; esac
  printf '%s\t%s\t%s\t%s\n' "$p" "$f" "$a" "$v"
done
"""


class Gatherer:
    """Asks systems and hosts. To be closed."""

    def __init__(self, *, within_s: float = ANSWER_WITHIN_S, redactor: Redactor | None = None) -> None:
        redactor = redactor or Redactor()
        self._within_s = within_s
        self._engine = DockerEngine()
        self._secrets = SecretStore(Path("/nonexistent"), redactor)
        self._commands = Commands(self._engine)
        self._look: Look = LiveLook(
            secrets=self._secrets,
            engine=self._engine,
            databases=Databases(self._secrets, self._engine, redactor),
            commands=self._commands,
            within_s=within_s,
        )

    def close(self) -> None:
        """Give connections back."""
        self._engine.close()

    def secrets(self, systems: Iterable[System]) -> tuple[SecretFacts, ...]:
        """Whether each secret of this machine can be read; what a command or a service gives is asked for with its system."""
        found = []
        for system in systems:
            for ref in dict.fromkeys(secrets_in(system)):
                if isinstance(ref, FromEnv | FromFile):
                    found.append(SecretFacts(system.key, str(ref), self._unreadable(ref)))
        return tuple(found)

    def ask(
        self, systems: Mapping[str, System], hosts: Mapping[Host, tuple[Need, ...]], *, changed: frozenset[str]
    ) -> tuple[tuple[Seen, ...], Mapping[Host, Mapping[str, Program] | Problem]]:
        """Every system and every host, all at once."""
        jobs: dict[str | Host, Callable[[], Seen | Mapping[str, Program] | Problem]] = {}
        for name, system in systems.items():
            jobs[name] = partial(self._seen, system, changed=name in changed)
        for host, wanted in hosts.items():
            jobs[host] = partial(self._programs, host, wanted)
        answers = at_once(jobs, within_s=GIVEN_UP_AFTER_S)
        seen = []
        for name, system in systems.items():
            answer = answers[name]
            late = Seen(system.key, system.kind, _place(system), problem=_late(name), changed=name in changed)
            seen.append(answer if isinstance(answer, Seen) else late)
        programs: dict[Host, Mapping[str, Program] | Problem] = {}
        for host in hosts:
            found = answers[host]
            programs[host] = _late(str(host)) if found is None or isinstance(found, Seen) else found
        return tuple(seen), programs

    def _seen(self, system: System, *, changed: bool) -> Seen:
        began, at = time.monotonic(), _place(system)
        try:
            says, detail = self._answer(system)
        except (Unreachable, Trouble) as error:
            return Seen(system.key, system.kind, at, problem=error.problem, changed=changed)
        except (CheckFailed, Refused, InvalidInput) as error:
            return Seen(system.key, system.kind, at, problem=error.problems[0], changed=changed)
        elapsed_s = 0.0 if isinstance(system, Channel) else time.monotonic() - began
        return Seen(system.key, system.kind, at, elapsed_s, says, None, detail, changed)

    def _answer(self, system: System) -> tuple[str, Detail]:
        match system:
            case Postgres():
                return "answers", self._server(system)
            case Store():
                return self._store(system)
            case Redis():
                return redis.ask(system, self._look, self._secrets, within_s=self._within_s), None
            case ComposeProject():
                return self._project(system), None
            case Web():
                return self._web(system), None
            case Volume():
                return self._volume(system), None
            case Machine():
                return self._machine(system), None
            case Channel():
                return "is not asked: a message would be sent", None
        raise Bug(f"the doctor knows no {type(system).__name__}")

    def _server(self, db: Postgres) -> ServerFacts:
        """Asked in the maintenance database: the plan's own may be what is lost."""
        at = db.connection(application="runbook/doctor", database="postgres")
        before, before_s = time.time(), time.monotonic()
        row = self._look.query(at, _SERVER)[0]
        took = time.monotonic() - before_s
        sizes = self._sizes(at)
        directory = str(row["directory"] or db.data_directory)
        return ServerFacts(
            version=int(row["version"] or 0),
            database=db.database,
            database_there=db.database in sizes,
            superuser=bool(row["superuser"]),
            database_bytes=sizes.get(db.database, 0),
            cluster_bytes=UNKNOWN if UNKNOWN in sizes.values() else sum(sizes.values()),
            data_directory=directory,
            free_bytes=self._free(db, directory),
            offset_s=float(row["clock"] or 0) - (before + took / 2),
            slack_s=took / 2,
        )

    def _sizes(self, at: Connection) -> dict[str, int]:
        """The databases with their sizes; unknown for those that this role may not enter, and for all where it takes too long."""
        try:
            rows = self._look.query(at, _SIZES)
        except (Unreachable, CheckFailed):
            rows = self._look.query(at, _NAMES)
        return {str(row["name"]): int(row["bytes"] or 0) for row in rows}

    def _free(self, db: Postgres, directory: str) -> int:
        """What the server's disk has left, where it can be seen from the system's host."""
        if not directory or (isinstance(db.host, Local) and not Path(directory).parent.exists()):
            return UNKNOWN
        try:
            return self._look.free_bytes(db.host, directory)
        except Unreachable:
            return UNKNOWN

    def _store(self, store: Store) -> tuple[str, StoreFacts]:
        if store.scheme == "s3":
            entries = names(self._look.objects(store))
            newest = max(_backups(entries), key=lambda name: entries[name].modified, default="")
            size = entries[newest].bytes if newest else UNKNOWN
            return store.url, StoreFacts(there=True, writable=None, newest=newest, newest_bytes=size)
        if store.scheme != "file":
            detail = f"{store.scheme}:// can be named, and not yet used."
            raise Unreachable(Problem("E390", "not built yet", detail, "use a store with a url like file:// or s3://"))
        folder = store.directory
        facts = self._look.file(LOCAL, folder)
        if facts is None:
            return folder, StoreFacts(there=False, writable=False)
        writable = os.access(folder, os.W_OK | os.X_OK)
        free = self._look.free_bytes(LOCAL, folder)
        entries = names(self._look.listing(LOCAL, folder))
        newest = max(_backups(entries), key=lambda name: entries[name + MANIFEST].modified, default="")
        size = self._newest_bytes(folder, newest)
        mode = facts.mode & 0o7777
        return folder, StoreFacts(
            there=True, writable=writable, mode=mode, free_bytes=free, newest=newest, newest_bytes=size
        )

    def _newest_bytes(self, directory: str, newest: str) -> int:
        manifest = read_manifest(self._look, directory, newest) if newest else None
        if manifest is None or isinstance(manifest, Broken):
            return UNKNOWN
        return size_of(self._look, directory, manifest[0])

    def _project(self, app: ComposeProject) -> str:
        found = self._look.containers(app.host, app.project)
        if not found:
            detail = f"The Docker Engine has no container with the label com.docker.compose.project={app.project}."
            raise Unreachable(Problem("E331", "there is no such container", detail, "docker ps -a"))
        running = sum(one.state == "running" for one in found)
        return f"{running} of {len(found)} containers run, as the engine said"

    def _volume(self, volume: Volume) -> str:
        found = asked(lambda: self._engine.client().volumes.list(filters={"name": volume.name}))
        if volume.name not in [str(one.name) for one in found]:
            detail = f"The Docker Engine has no volume {volume.name}."
            raise Unreachable(Problem("E957", "a system does not answer", detail, "docker volume ls"))
        return "is there, as the engine said"

    def _web(self, site: Web) -> str:
        answer = self._look.http(site.url, site.headers, self._within_s)
        if not answer.status:
            raise Unreachable(
                Problem("E957", "a system does not answer", f"{site.url}: {answer.body[:300]}", f"curl -sv {site.url}")
            )
        return f"answers with {answer.status}"

    def _machine(self, machine: Machine) -> str:
        ran = self._commands.run(machine.at, ("uname", "-sr"), self._bound())
        return f"runs {ran.stdout.strip()}, as it said"

    def _programs(self, host: Host, wanted: tuple[Need, ...]) -> Mapping[str, Program] | Problem:
        """Where each program is, and which version PostgreSQL's say: one shell on the host, which only looks."""
        argv = ("sh", "-c", _SEARCH, "sh", *dict.fromkeys(need.asked for need in wanted))
        try:
            ran = self._commands.run(host, argv, self._bound())
        except Unreachable as error:
            return error.problem
        rows = [line.split("\t", 3) for line in ran.stdout.splitlines()]
        if ran.exit_code:
            said = (ran.stderr or ran.stdout).strip()[:300]
            return Problem("E305", "a command gave no answer", said, f"is there a shell (sh) on {host}?")
        return {row[0]: Program(row[1], row[3], row[2] == "aside") for row in rows if len(row) == 4}

    def _unreadable(self, ref: SecretRef) -> Problem | None:
        try:
            self._secrets.reveal(ref)
        except Trouble as error:
            return error.problem
        return None

    def _bound(self) -> Bound:
        return Bound(time.monotonic, time.monotonic() + self._within_s)


def at_once(jobs: Mapping[K, Callable[[], V]], *, within_s: float) -> dict[K, V | None]:
    """What each job gives, all begun together; None for one that isn't ready by then. It is left alone, and ends with us."""
    answers: dict[K, V | None] = dict.fromkeys(jobs)
    threads = []
    for key, job in jobs.items():

        def work(key: K = key, job: Callable[[], V] = job) -> None:
            answers[key] = job()

        thread = threading.Thread(target=work, name=f"doctor-{key}", daemon=True)
        thread.start()
        threads.append(thread)
    end = time.monotonic() + within_s
    for key, thread in zip(jobs, threads, strict=True):
        thread.join(max(0.0, end - time.monotonic()))
        if not thread.is_alive() and answers[key] is None:
            raise Bug(f"Asking {key} ended without an answer.")
    return dict(answers)


def _place(system: System) -> str:
    host = getattr(system, "host", LOCAL)
    return place(host) if isinstance(host, Local | Docker | Compose | Ssh) else ""


def needs_engine(systems: Iterable[System]) -> bool:
    """Whether one of them is in a container, or is one."""
    hosts = (getattr(system, field, None) for system in systems for field in ("host", "at"))
    return any(isinstance(host, Docker | Compose) for host in hosts) or any(
        isinstance(system, ComposeProject | Volume) for system in systems
    )


def _backups(entries: Iterable[str]) -> list[str]:
    """The names of what has a manifest beside it."""
    known = set(entries)
    return [name.removesuffix(MANIFEST) for name in known if name.endswith(MANIFEST)]


def _late(name: str) -> Problem:
    detail = f"{name} was asked, and said nothing within {GIVEN_UP_AFTER_S:.0f} s."
    return Problem("E957", "a system does not answer", detail, "look at its network, its load and its logs")
