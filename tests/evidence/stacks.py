"""The stacks on which the evidence is taken: a database, services that write to it, a web service, a store for backups.

:class:`Guide` says what differs between the guides' stacks. A database is in a container of the project, as there, or a
cluster of this machine's own. Everything has names of its own and is removed by id, so stacks may stand side by side.
"""

from __future__ import annotations

import shutil
import signal
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.evidence.program import PLANS, Program, Ran
from tests.evidence.servers import PASSWORD, InContainer, OnThisMachine
from tests.evidence.site import site
from tests.evidence.witness import ask, databases, until
from tests.fixtures.account import server_account, server_folder
from tests.fixtures.containers import POSTGRES, ComposeProject, address, wait_healthy
from tests.fixtures.postgres import find_binaries, make_cluster
from tests.fixtures.temporary import make_folder

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

ARCHIVED_WITHIN_S = 180.0
KEEPER = "keeper"
WAL = "/backups/wal"
DATA = "/var/lib/postgresql/data"
QUICK = (
    *("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "shared_buffers=64MB", "-c", "max_wal_size=2GB"),
    *("-c", "autovacuum=off"),  # its own housekeeping would be counted with what a test's subject wrote
)


@dataclass(frozen=True)
class Guide:
    """A guide's stack, by the names that its environment file has."""

    key: str
    project: str
    container: str
    service: str
    database: str
    user: str
    writers: tuple[str, ...]
    others: tuple[str, ...]
    probe: str
    data: tuple[str, ...]
    url: str
    store: str
    bases: str

    @property
    def environment(self) -> Path:
        """The environment file that ships for it."""
        return PLANS / "environments" / f"{self.key}.yaml"


CONTRACT_LUCIDITY = Guide(
    key="contract-lucidity-production",
    project="contract-lucidity",
    container="cl-postgres",
    service="cl-postgres",
    database="contract_lucidity",
    user="cl_user",
    writers=("cl-backend", "cl-worker"),
    others=("cl-frontend", "cl-redis"),
    probe="documents",
    url="https://contractlucidity.com",
    store="/opt/backups/cl-postgres",
    bases="/opt/backups/cl-base",
    data=(
        "CREATE SCHEMA audit",
        "CREATE TYPE state AS ENUM ('draft', 'signed', 'void')",
        "CREATE TABLE projects (id serial PRIMARY KEY, name text NOT NULL UNIQUE)",
        "CREATE TABLE documents (id bigserial PRIMARY KEY, project_id int NOT NULL REFERENCES projects, state state NOT NULL, "
        "body text NOT NULL CHECK (length(body) > 10), facts jsonb NOT NULL DEFAULT '{}', at timestamptz NOT NULL DEFAULT now())",
        "CREATE TABLE audit.events (id bigint GENERATED ALWAYS AS IDENTITY, document_id bigint REFERENCES documents, what text)",
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO audit.events (document_id, what) VALUES (NEW.id, TG_OP); RETURN NEW; END $$",
        "INSERT INTO projects (name) SELECT 'project ' || n FROM generate_series(1, 50) n",
        "INSERT INTO documents (project_id, state, body, facts) "
        "SELECT 1 + n % 50, (ARRAY['draft','signed','void'])[1 + n % 3]::state, "
        "'The parties agree, §' || n || ': ' || md5(n::text), jsonb_build_object('n', n) FROM generate_series(1, 8000) n",
        "CREATE TRIGGER noted AFTER INSERT OR UPDATE ON documents FOR EACH ROW EXECUTE FUNCTION note()",
        "CREATE INDEX ON documents USING gin (facts)",
        "UPDATE documents SET state = 'void' WHERE id % 97 = 0",
        "CREATE MATERIALIZED VIEW signed AS SELECT project_id, count(*) FROM documents WHERE state = 'signed' GROUP BY 1",
    ),
)
CIVICQ = Guide(
    key="civicq-production",
    project="civicq",
    container="civicq-postgres-prod",
    service="postgres",
    database="civicq",
    user="civicq",
    writers=("backend", "celery-worker", "celery-beat"),
    others=("frontend", "redis"),
    probe="users",
    url="https://civicq.org",
    store="/opt/civicq/backups/db",
    bases="/opt/civicq/backups/base",
    data=(
        "CREATE TABLE cities (id serial PRIMARY KEY, name text NOT NULL UNIQUE)",
        "CREATE TABLE users (id serial PRIMARY KEY, email text NOT NULL UNIQUE, city_id int REFERENCES cities)",
        "CREATE TABLE questions (id serial PRIMARY KEY, user_id int NOT NULL REFERENCES users ON DELETE CASCADE, "
        "body text NOT NULL, votes int NOT NULL DEFAULT 0, asked timestamptz NOT NULL DEFAULT now())",
        "INSERT INTO cities (name) SELECT 'Städtchen ' || n FROM generate_series(1, 200) n",
        "INSERT INTO users (email, city_id) SELECT 'u' || n || '@example.org', 1 + n % 200 FROM generate_series(1, 3000) n",
        "INSERT INTO questions (user_id, body, votes) SELECT 1 + n % 3000, 'Why ' || md5(n::text) || '?', n % 17 "
        "FROM generate_series(1, 9000) n",
        "CREATE INDEX ON questions (asked)",
        "CREATE VIEW popular AS SELECT body FROM questions WHERE votes > 10",
    ),
)
GUIDES = (CONTRACT_LUCIDITY, CIVICQ)


@dataclass
class Stack:
    """One stack that stands. ``names`` are the services that ran when it was begun."""

    guide: Guide
    project: ComposeProject
    server: InContainer | OnThisMachine
    store: Path
    bases: Path
    wal: str
    program: Program
    environment: Path
    url: str
    stopped: tuple[str, ...] = ()

    @property
    def database(self) -> str:
        """The live database's name."""
        return self.guide.database

    def plan(self, name: str) -> Path:
        """A plan that ships."""
        return PLANS / f"{name}.yaml"

    def apply(self, plan: str | Path, *more: str) -> Ran:
        """Run a plan, with every confirmation that it may ask for."""
        return self.program.run("apply", *self.arguments(plan, *more))

    @property
    def consent(self) -> tuple[str, ...]:
        """Every confirmation that a plan may ask for."""
        named = (word for name in (self.database, "backups", "bases") for word in ("--confirm", name))
        return (*named, "--yes")

    def arguments(self, plan: str | Path, *more: str) -> list[str | Path]:
        """The arguments of `apply` for a plan."""
        path = self.plan(plan) if isinstance(plan, str) else plan
        return [path, "--env", self.environment, *self.consent, *more]

    def resume(self, *more: str) -> Ran:
        """Go on with the newest run."""
        return self.program.run("resume", self.program.last, *self.consent, *more)

    def back_up(self) -> Path:
        """A backup by the plan that ships; the dump's path."""
        ran = self.apply("backup-db")
        assert ran.code == 0, ran.said
        return self.store / str(self.program.outputs("dump")["artifact"]["name"])

    def sql(self, statement: str, database: str = "") -> list[tuple[Any, ...]]:
        """Run a statement of the tests' own in the live database, or another."""
        return ask(self.server, database or self.database, statement)

    def archived(self) -> None:
        """Wait until every WAL segment that is closed is archived, if the server archives: what is seen of it stays as it is."""
        waiting = "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'"
        until(lambda: self.sql(waiting, "postgres") == [(0,)], ARCHIVED_WITHIN_S, "all that is closed is archived")

    def states(self) -> dict[str, tuple[str, str]]:
        """Every service: its state and since when it runs."""
        found = {}
        for service, container in self.project.containers.items():
            container.reload()
            found[service] = (container.status, str(container.attrs["State"]["StartedAt"]))
        return found

    @property
    def running(self) -> set[str]:
        """The services that run now, without the database."""
        up = {service for service, (state, _) in self.states().items() if state == "running"}
        return up - {self.guide.service, KEEPER}

    def tidy(self) -> None:
        """Drop what restores kept beside the live database, and start the services that ran at first."""
        for name in databases(self.server) - {self.database, "postgres", "template0", "template1"}:
            self.sql(f'DROP DATABASE "{name}" WITH (FORCE)', "postgres")
        for service, container in self.project.containers.items():
            if service not in self.stopped:
                container.start()


def write_environment(stack: Stack) -> None:
    """The environment file that ships, with other names and places; nothing else is changed."""
    guide, server = stack.guide, stack.server
    text = guide.environment.read_text()
    places = {
        f"project: {guide.project}": f"project: {stack.project.name}",
        f"host: {{docker: {guide.container}}}": server.fields(),
        guide.url: stack.url,
        f"file://{guide.store}": f"file://{stack.store}",
        f"file://{guide.bases}": f"file://{stack.bases}",
        f"file://{WAL}": f"file://{stack.wal}",
    }
    for old, new in places.items():
        assert text.count(old) == 1, f"{old} stands {text.count(old)} times in {guide.environment}"
        text = text.replace(old, new)
    stack.environment.write_text(text)


def copied_once(directory: str) -> str:
    """PostgreSQL's own example of an archive command: one that a crash while it copies stops for good."""
    return f"test ! -f {directory}/%f && cp %p {directory}/%f"


@contextmanager
def stack(
    client: DockerClient,
    guide: Guide,
    *,
    local: bool = False,
    stopped: Sequence[str] = (),
    settings: Sequence[str] = (),
    disk: str = "",
    archive: bool = False,
    archiving: Callable[[str], str] = copied_once,
) -> Iterator[Stack]:
    """A stack with the guide's data. ``stopped`` services don't run.

    ``local``: its database is a cluster of this machine. ``disk``: the size of a container's data volume, in memory.
    ``archive``: the cluster archives its WAL where the environment says, by ``archiving`` of that directory.
    """
    with ExitStack() as stack_of:
        folder = make_folder("rb-evidence-")
        stack_of.callback(shutil.rmtree, folder, ignore_errors=True)
        store, bases, wal, home = folder / "store", folder / "bases", folder / "wal", folder / "home"
        for place in (store, bases, wal, home):
            place.mkdir()
        project = _project(client, guide, folder)
        stack_of.callback(project.remove)
        url = stack_of.enter_context(site())
        account = server_account()
        bin_dir = find_binaries(folder, account)
        folder.chmod(0o711)  # the server's account has to get at the archive
        wal.chmod(0o777)
        if archive:
            command = archiving(str(wal) if local else WAL)
            settings = (*settings, "-c", "archive_mode=on", "-c", f"archive_command={command}")
        server: InContainer | OnThisMachine
        if local:
            place = stack_of.enter_context(server_folder(account, "pg"))
            pairs = dict(word.split("=", 1) for word in (*QUICK, *settings) if word != "-c")
            cluster = make_cluster(place, bin_dir=bin_dir, account=account, settings=pairs)
            stack_of.callback(cluster.stop, signal.SIGQUIT)  # nobody will start it again
            cluster.sql(f"CREATE ROLE {guide.user} SUPERUSER LOGIN PASSWORD '{PASSWORD}'")
            cluster.sql(f"CREATE DATABASE {guide.database} OWNER {guide.user}")
            server = OnThisMachine(cluster.port, guide.user, bin_dir, place, cluster.log)
        else:
            if disk:
                options = {"type": "tmpfs", "device": "tmpfs", "o": f"size={disk}"}
                name = f"{project.name}_postgres_data"
                client.volumes.create(name, driver_opts=options, labels=project.labels(guide.service))
                project.add(KEEPER, volumes={"postgres_data": DATA})  # a volume in memory lasts while somebody uses it
            container = _server(project, guide, [*QUICK, *settings], wal)
            server = InContainer(container, address(container), guide.user, bin_dir, folder)
        for service in (*guide.writers, *guide.others):
            project.add(service)
        environment = home / "environment.yaml"
        program = Program(home, {"POSTGRES_PASSWORD": PASSWORD, "NO_COLOR": "1"})
        at = str(wal) if local else WAL
        made = Stack(guide, project, server, store, bases, at, program, environment, url, tuple(stopped))
        write_environment(made)
        for service in stopped:
            project.containers[service].stop(timeout=1)
        with server.connect(guide.database) as connection:
            for statement in guide.data:
                connection.execute(statement.encode())
        yield made


def _project(client: DockerClient, guide: Guide, folder: Path) -> ComposeProject:
    name = f"{guide.project}-{uuid.uuid4().hex[:8]}"
    labels = {"com.docker.compose.project": name, "com.docker.compose.network": "default", "runbook-test": "1"}
    network = client.networks.create(f"{name}_default", labels=labels)
    return ComposeProject(client, name, folder, network)


def _server(project: ComposeProject, guide: Guide, settings: Sequence[str], wal: Path) -> Container:
    environment: Mapping[str, str] = {
        "POSTGRES_USER": guide.user,
        "POSTGRES_PASSWORD": PASSWORD,
        "POSTGRES_DB": guide.database,
        "POSTGRES_INITDB_ARGS": "--no-sync",
    }
    container = project.add(
        guide.service,
        image=POSTGRES,
        command=("postgres", *settings),
        environment=environment,
        volumes={"postgres_data": DATA, str(wal): WAL},
    )
    wait_healthy(container)
    return container
