"""The faults of the guides' archiving by number: 19 (`cp %p`, and where it goes), 20 (settings that nobody reads), 21 (no timeout).

Each is made by the guide's own line in front of a real server, and then met by the program: by the plans that ship.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.evidence.kills import over, processes_about
from tests.evidence.program import PLANS, Program, Ran
from tests.evidence.servers import InContainer
from tests.evidence.stacks import CIVICQ, Stack, stack
from tests.evidence.witness import until
from tests.fixtures.account import Account, server_folder
from tests.fixtures.containers import POSTGRES, ComposeProject, PostgresContainer, wait_healthy
from tests.fixtures.postgres import PostgresServer

if TYPE_CHECKING:
    from docker import DockerClient

SEGMENT = 16 * 1024 * 1024
WITHIN_S = 60.0


@dataclass
class Yard:
    """A cluster of this machine, a folder for its archive, a store, and the program with an environment for them."""

    server: PostgresServer
    folder: Path
    archive: Path

    @property
    def program(self) -> Program:
        return Program(self.folder, {"DB_PASSWORD": self.server.password, "NO_COLOR": "1"})

    def environment(self) -> Path:
        path = self.folder / "environment.yaml"
        path.write_text(
            "environment: yard\nsystems:\n"
            f"  db: {{type: postgres, address: 127.0.0.1, port: {self.server.port}, user: {self.server.user}, "
            f'database: postgres, password: {{env: DB_PASSWORD}}, binaries: "{self.server.bin_dir}", '
            f'archive: "file://{self.archive}"}}\n'
            f'  bases: {{type: store, url: "file://{self.folder}/bases"}}\n'
        )
        return path

    def apply(self, plan: str, *more: str) -> Ran:
        """Run a plan that ships to its end, confirming what it asks."""
        return self.program.run("apply", PLANS / f"{plan}.yaml", "--env", self.environment(), "--yes", *more)

    def archived(self, name: str) -> bool:
        path = self.archive / name
        return path.exists() and path.stat().st_size == SEGMENT

    def closed(self) -> str:
        """Close a segment with a commit in it; its name."""
        self.server.sql("SELECT pg_current_xact_id()")
        return str(self.server.sql("SELECT pg_walfile_name(pg_switch_wal())")[0][0])

    def told(self, name: str) -> bool:
        """Whether the server says that the segment is archived: its command has ended."""
        return self.server.sql(f"SELECT last_archived_wal >= '{name}' FROM pg_stat_archiver") == [(True,)]

    def quiet(self) -> bool:
        """Whether the archiver has nothing to do."""
        return not list(self.server.data_dir.glob("pg_wal/archive_status/*.ready"))

    @contextmanager
    def visited(self) -> Iterator[None]:
        """Meanwhile somebody asks the server something, again and again."""
        over = threading.Event()

        def visit() -> None:
            while not over.wait(0.5):
                self.server.sql("SELECT 1")

        with ThreadPoolExecutor(1) as pool:
            visits = pool.submit(visit)
            try:
                yield
            finally:
                over.set()
            visits.result()

    def stop(self) -> None:
        """End the server by its own process id: a step may have started it anew."""
        lock = self.server.data_dir / "postmaster.pid"
        with suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int(lock.read_text().split()[0]), signal.SIGQUIT)
            until(lambda: not lock.exists(), WITHIN_S, "the server ends")


@pytest.fixture
def make(
    tmp_path: Path, postgres_account: Account, postgres_cluster: Callable[..., PostgresServer]
) -> Iterator[Callable[..., Yard]]:
    """`yard = make(archive_mode="on", …)`: clusters that share one folder for their archives, as the guides' would."""
    made: list[Yard] = []
    with server_folder(postgres_account, "backups") as backups:
        (backups / "wal").mkdir(mode=0o700)
        postgres_account.give(backups / "wal")

        def yard(**settings: str) -> Yard:
            folder = tmp_path / f"yard{len(made)}"
            (folder / "bases").mkdir(parents=True, mode=0o700)
            given = {name: value.replace("ARCHIVE", str(backups / "wal")) for name, value in settings.items()}
            made.append(Yard(postgres_cluster(**given), folder, backups / "wal"))
            return made[-1]

        yield yard
        for one in made:
            one.stop()


GUIDE = {"wal_level": "replica", "archive_mode": "on", "archive_command": "cp %p ARCHIVE/%f"}
"""What the guide writes."""


def test_fault_19_cp_overwrites_what_another_cluster_has_archived(make: Callable[..., Yard]) -> None:
    first, second = make(**GUIDE), make(**GUIDE)
    name = first.closed()
    until(lambda: first.archived(name), WITHIN_S, "it is archived")
    kept = (first.archive / name).read_bytes()
    while (last := second.closed()) < name:
        pass
    until(lambda: second.told(last), WITHIN_S, "the other cluster's segments are archived")
    assert (second.archive / name).read_bytes() != kept, "the other cluster's segment replaces it"
    assert "was written by cluster" in first.apply("check-archive").said

    shutil.rmtree(first.archive)
    first.archive.mkdir(mode=0o700)
    first.server.account.give(first.archive)
    assert first.apply("enable-archiving").code == 0
    until(first.quiet, WITHIN_S, "all that is closed is archived")
    ours = {path.name: path.read_bytes() for path in first.archive.iterdir()}
    refused = second.apply("enable-archiving")
    assert refused.code == 1 and "was written by another cluster" in refused.said, refused.said
    assert {name: (first.archive / name).read_bytes() for name in ours} == ours, (
        "nothing of the first one's was touched"
    )
    assert second.server.sql("SHOW archive_command") == [(f"cp %p {second.archive}/%f",)], "and nothing was set"


def test_fault_19_a_full_disk_leaves_half_a_segment_under_its_name(make: Callable[..., Yard], tmp_path: Path) -> None:
    """`cp` writes under the final name: what is there after it was cut off looks archived. Ours has no name until it is whole."""
    (tmp_path / "cp").write_text('#!/bin/sh\nhead -c 5000000 "$1" > "$2"; echo "No space left on device" >&2; exit 1\n')
    (tmp_path / "cp").chmod(0o755)
    tmp_path.chmod(0o755)
    yard = make(**GUIDE)
    source, cut = yard.server.data_dir / "pg_wal" / yard.closed(), {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    until(lambda: yard.archived(source.name), WITHIN_S, "it is archived")
    folder = tmp_path / "other"
    folder.mkdir()

    def archive(command: str) -> int:
        line = command.replace("%p", str(source)).replace("%f", source.name).replace(str(yard.archive), str(folder))
        return subprocess.run(["sh", "-c", line], env=cut, capture_output=True, check=False, timeout=60).returncode

    assert archive(f"cp %p {yard.archive}/%f") == 1
    assert [path.stat().st_size for path in folder.iterdir()] == [5_000_000], (
        "and the next `test ! -f` refuses it for ever"
    )
    (folder / source.name).unlink()
    assert yard.apply("enable-archiving").code == 0
    ours = str(yard.server.sql("SHOW archive_command")[0][0])
    assert archive(ours) == 1
    assert list(folder.iterdir()) == []


def test_fault_19_aws_is_not_in_the_image(make: Callable[..., Yard]) -> None:
    yard = make(
        wal_level="replica", archive_mode="on", archive_command="/nowhere/aws s3 cp %p s3://civicq-backups/wal/%f"
    )
    yard.closed()
    until(lambda: b"archive" in yard.server.log.read_bytes(), WITHIN_S, "the server says that it can't")
    assert yard.server.sql("SELECT failed_count FROM pg_stat_archiver") == [(0,)], "and doesn't even count it: code 127"
    found = yard.apply("check-archive")
    assert found.code == 1 and "holds no segment" in found.said
    with yard.visited():  # it begins a new archiver when somebody comes, or after a minute
        assert yard.apply("enable-archiving").code == 0, "it has never archived anything: nothing ends with it"
    assert yard.apply("check-archive").code == 0


@pytest.mark.docker
def test_fault_19_the_archive_lies_in_the_container_itself(
    compose_project: Callable[..., ComposeProject], tmp_path: Path
) -> None:
    """As in the guide's compose file: nothing is mounted at /backups, and `docker compose down` takes the archive with it."""
    container, environment, program = guides_container(compose_project(), tmp_path, "")
    made = container.container.exec_run(["install", "-d", "-o", "postgres", "/backups/wal"])
    assert made[0] == 0
    for plan in ("enable-archiving", "check-archive"):
        ran = program.run("apply", PLANS / f"{plan}.yaml", "--env", environment, "--yes")
        assert ran.code in (1, 4) and "it is gone with the container" in ran.said, ran.said
    assert container.psql("SHOW archive_mode") == "off"


@pytest.mark.docker
def test_fault_20_settings_in_a_variable_that_nobody_reads(
    compose_project: Callable[..., ComposeProject], tmp_path: Path
) -> None:
    """POSTGRES_EXTRA_ARGS is no variable of the image: archiving is off without a word."""
    container, environment, program = guides_container(compose_project(), tmp_path, "/backups")
    assert container.psql("SHOW archive_mode") == "off"

    def apply(plan: str) -> Ran:
        return program.run("apply", PLANS / f"{plan}.yaml", "--env", environment, "--yes")

    found = apply("check-archive")
    assert found.code == 1 and "archive_mode is off, whatever else is written somewhere" in found.said, found.said
    refused = apply("base-backup")
    assert refused.code == 4 and "does not archive its WAL" in refused.said
    turned_on = apply("enable-archiving")
    assert turned_on.code == 0, turned_on.said
    assert container.psql("SHOW archive_mode") == "on"
    assert apply("check-archive").code == 0


def guides_container(project: ComposeProject, folder: Path, mounted: str) -> tuple[PostgresContainer, Path, Program]:
    """The guide's server: its settings are in POSTGRES_EXTRA_ARGS. ``mounted``: where a volume for the archive is."""
    args = "-c wal_level=replica -c archive_mode=on -c archive_command='cp %p /backups/wal/%f'"
    container = project.add(
        "postgres",
        image=POSTGRES,
        environment={
            "POSTGRES_USER": PostgresContainer.user,
            "POSTGRES_PASSWORD": PostgresContainer.password,
            "POSTGRES_DB": PostgresContainer.database,
            "POSTGRES_EXTRA_ARGS": args,
        },
        command=("postgres", "-c", "fsync=off", "-c", "shared_buffers=16MB"),
        volumes={"data": "/var/lib/postgresql/data"} | ({"backups": mounted} if mounted else {}),
    )
    wait_healthy(container)
    if mounted:
        assert container.exec_run(["install", "-d", "-o", "postgres", "-m", "0700", "/backups/wal"])[0] == 0
    (folder / "bases").mkdir(mode=0o700)
    environment = folder / "environment.yaml"
    environment.write_text(
        "environment: guide\nsystems:\n"
        f"  db: {{type: postgres, host: {{docker: {container.name}}}, user: {PostgresContainer.user}, "
        f"database: {PostgresContainer.database}, password: {{env: DB_PASSWORD}}, "
        'archive: "file:///backups/wal"}\n'
        f'  bases: {{type: store, url: "file://{folder}/bases"}}\n'
    )
    program = Program(folder, {"DB_PASSWORD": PostgresContainer.password, "NO_COLOR": "1"})
    return PostgresContainer(project, container, ""), environment, program


def test_fault_21_without_a_timeout_a_quiet_database_archives_nothing(make: Callable[..., Yard]) -> None:
    yard = make(**GUIDE)
    name = yard.closed()
    until(lambda: yard.archived(name), WITHIN_S, "the first segment is archived")
    assert yard.apply("base-backup").code == 0
    until(yard.quiet, WITHIN_S, "all is archived")
    yard.server.sql("CREATE TABLE orders AS SELECT 1 AS id")
    before = {path.name for path in yard.archive.iterdir()}
    time.sleep(3)
    assert {path.name for path in yard.archive.iterdir()} == before, "the order would be lost, however long one waits"
    for path in yard.archive.iterdir():
        os.utime(path, (time.time() - 3600,) * 2)  # an hour has gone by since it was archived
    found = yard.apply("check-archive")
    assert found.code == 1 and "too much would be lost" in found.said, found.said

    assert yard.apply("enable-archiving", "-i", "archive_timeout=1s").code == 0
    # asked in the same statement: a moment later it may be closed, and another one be the present one
    ordered = "INSERT INTO orders VALUES (2) RETURNING pg_walfile_name(pg_current_wal_insert_lsn())"
    name = str(yard.server.sql(ordered)[0][0])
    until(lambda: yard.archived(name), WITHIN_S, "the next order is archived by itself")
    found = yard.apply("check-archive")
    assert found.code == 0, found.said


def test_fault_21_the_second_base_backup_works_too(make: Callable[..., Yard]) -> None:
    yard = make(**GUIDE)
    target = yard.folder / "guide"
    target.mkdir()
    guide = [str(yard.server.tool("pg_basebackup")), "-D", str(target), "--format=tar", "--gzip", "--checkpoint=fast"]
    environment = yard.server.environment() | {"PATH": os.environ["PATH"]}
    codes = [subprocess.run(guide, env=environment, capture_output=True, check=False).returncode for _ in range(2)]
    assert codes == [0, 1], "directory not empty"
    for _ in range(2):
        assert yard.apply("base-backup").code == 0
        time.sleep(1)  # a base backup is named by its second
    assert len(list((yard.folder / "bases").glob("*.manifest.json"))) == 2


def test_fault_21_wal_without_a_base_backup_is_useless(make: Callable[..., Yard]) -> None:
    yard = make(**GUIDE)
    assert yard.apply("enable-archiving").code == 0
    assert yard.apply("check-archive").code == 0
    for path in (yard.folder / "bases").iterdir():
        path.unlink()  # as a rule by age would, while the WAL is kept
    found = yard.apply("check-archive")
    assert found.code == 1 and "no base backup leads to the present" in found.said


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["set_archive_mode", "stop_server", "start_server", "archived"])
@pytest.mark.parametrize("victim", ["engine", "everything"])
def test_killed_while_archiving_is_turned_on_it_goes_on(make: Callable[..., Yard], operation: str, victim: str) -> None:
    yard = make()
    program = yard.program
    engine = program.start("apply", PLANS / "enable-archiving.yaml", "--env", yard.environment(), "--yes")
    until(lambda: engine.poll() is not None or begun(program, operation), WITHIN_S, f"{operation} begins")
    engine.kill()
    engine.wait(60)
    if victim == "everything":
        for pid in processes_about(program.directory()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    if not over(program):
        resumed = program.run("resume", program.last, "--yes")
        assert resumed.code == 0, resumed.said
    assert yard.server.sql("SHOW archive_mode") == [("on",)]
    assert yard.archived(str(program.outputs("archive")["segment"]))
    until(lambda: not processes_about(program.directory()), WITHIN_S, "nothing of the run lives any more")
    assert yard.apply("check-archive").code == 0


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.parametrize("operation", ["set_archive_command", "stop_server", "start_server", "archived"])
def test_killed_in_a_container_it_goes_on(
    compose_project: Callable[..., ComposeProject], tmp_path: Path, operation: str
) -> None:
    container, environment, program = guides_container(compose_project(), tmp_path, "/backups")
    engine = program.start("apply", PLANS / "enable-archiving.yaml", "--env", environment, "--yes")
    until(lambda: engine.poll() is not None or begun(program, operation), WITHIN_S, f"{operation} begins")
    engine.kill()
    engine.wait(60)
    for pid in processes_about(program.directory()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if not over(program):
        resumed = program.run("resume", program.last, "--yes")
        assert resumed.code == 0, resumed.said
    assert container.psql("SHOW archive_mode") == "on"
    segment = str(program.outputs("archive")["segment"])
    assert container.container.exec_run(["sh", "-c", f"[ $(stat -c %s /backups/wal/{segment}) = {SEGMENT} ]"])[0] == 0
    until(lambda: not processes_about(program.directory()), WITHIN_S, "nothing of the run lives any more")
    checked = program.run("apply", PLANS / "check-archive.yaml", "--env", environment)
    assert checked.code == 0, checked.said


def begun(program: Program, operation: str) -> bool:
    """Whether the run has begun that operation."""
    events = program.events() if program.runs else []
    return any(one["event"] == "operation.started" and one["operation"] == operation for one in events)


@pytest.mark.docker
@pytest.mark.slow
def test_on_the_guides_stack_from_no_archive_to_a_moment(docker_client: DockerClient) -> None:
    """CivicQ as it is deployed: archiving turned on, checked, and a recovery to a moment with what it archived."""
    with stack(docker_client, CIVICQ) as made:
        ran = made.apply("enable-archiving")
        assert ran.code == 0, ran.said
        assert isinstance(made.server, InContainer)
        made.server.found_again()
        wrecked(made)
        made.server.found_again()
        assert made.sql("SELECT count(*) FROM users")[0][0] == 3000
        made.server.run("rm", "-rf", str(made.program.outputs("restore")["kept_as"]))  # no base backup with it inside
        for plan in ("check-archive", "base-backup", "check-archive"):
            ran = made.apply(plan)
            assert ran.code == 0, ran.said
        assert made.program.outputs("check")["timelines"] == [1, 2]


def wrecked(made: Stack) -> None:
    """An accident, and the recovery to the moment before it."""
    made.sql("INSERT INTO cities (name) VALUES ('late')")
    moment = made.sql("SELECT clock_timestamp()")[0][0].isoformat()
    time.sleep(0.05)
    made.sql("DELETE FROM users WHERE id % 2 = 0")
    ran = made.apply("restore-db-pitr", "-i", f"target={moment}")
    assert ran.code == 0, ran.said
