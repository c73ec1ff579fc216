"""What an observer may see: bounded, typed, and never a change."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runbook.action import CheckFailed, FileFacts, Ran, Unreachable
from runbook.errors import Bug
from runbook.host import LOCAL, Compose, Docker, Host, Ssh
from runbook.operation import Connection, sql
from runbook.secret import FromFile
from runbook.transports import look as look_module
from runbook.transports import look_files
from runbook.transports.bound import Bound
from runbook.transports.commands import LONGEST_OUTPUT, Commands
from runbook.transports.docker import DockerEngine
from runbook.transports.world import World
from tests.fixtures.postgres import FreshDatabases, PostgresServer

Connect = Callable[..., Connection]
PLACE = Ran(0, "41c0|40|0|root|1|1|/d\n", "")
"""What is said of a directory that is there."""


def test_a_query_gives_rows(world: World, connect_to: Connect) -> None:
    rows = world.look.query(connect_to(), sql("SELECT n, {v} AS v FROM generate_series(1, 2) n", v="it's"))
    assert rows == [{"n": 1, "v": "it's"}, {"n": 2, "v": "it's"}]


def test_a_query_cannot_change_anything(world: World, connect_to: Connect, fresh_database: FreshDatabases) -> None:
    with pytest.raises(CheckFailed) as caught:
        world.look.query(connect_to(fresh_database()), sql("CREATE TABLE t ()"))
    assert "read-only transaction" in str(caught.value)


def test_a_query_that_is_refused_is_shown_with_what_to_mend(world: World, connect_to: Connect) -> None:
    with pytest.raises(CheckFailed) as caught:
        world.look.query(connect_to(), sql("SELECT count(*)\n  FROM documentz"))
    (problem,) = caught.value.problems
    assert problem.detail.splitlines()[-1] == "It was asked: SELECT count(*) FROM documentz"
    assert "then try again" in problem.fix


@pytest.mark.parametrize("text", ["SELECT generate_series(1, 20000)", "SELECT repeat('x', 70000)"])
def test_a_query_is_bounded_in_size(text: str, world: World, connect_to: Connect) -> None:
    with pytest.raises(CheckFailed, match="too large"):
        world.look.query(connect_to(), sql(text))


def test_a_query_is_bounded_in_time(world: World, connect_to: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_module, "ANSWER_WITHIN_S", 0.7)
    began = time.monotonic()
    with pytest.raises(Unreachable):
        world.look.query(connect_to(), sql("SELECT pg_sleep(600)"))
    assert time.monotonic() - began < 300


def test_what_cannot_be_asked_is_not_the_same_as_no(world: World, connect_to: Connect) -> None:
    for connection in (connect_to(port=1), connect_to("no_such_database")):
        with pytest.raises(Unreachable):
            world.look.query(connection, sql("SELECT 1"))
    with pytest.raises(Unreachable):
        world.look.login(connect_to(port=1), connect_to().password)


def test_a_login_is_yes_no_or_cannot_tell(
    world: World, connect_to: Connect, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("not-the-password")
    wrong.chmod(0o600)
    connection = connect_to()
    assert world.look.login(connection, connection.password) is True
    assert world.look.login(connection, FromFile(str(wrong))) is False
    assert world.look.login(connection, None) is False
    assert world.look.login(connect_to(user="nobody_here"), FromFile(str(wrong))) is False
    with pytest.raises(Unreachable):  # the password may be right; the database isn't there to say so
        world.look.login(connect_to("no_such_database"), connection.password)
    trusting = Connection(LOCAL, str(postgres_server.socket_dir), postgres_server.port, "postgres", "postgres", None)
    with pytest.raises(Unreachable) as caught:
        world.look.login(trusting, FromFile(str(wrong)))
    assert "did not ask for a password" in caught.value.problem.summary


def test_facts_of_files(world: World, tmp_path: Path) -> None:
    path = tmp_path / "ü b"
    path.write_text("x" * 10)
    path.chmod(0o640)
    (tmp_path / "link").symlink_to(path)
    found = world.look.file(LOCAL, str(path))
    assert found is not None
    assert (found.kind, found.bytes, found.mode) == ("file", 10, 0o640)
    assert (found.device, found.inode) == (path.stat().st_dev, path.stat().st_ino)
    assert abs((datetime.now(UTC) - found.modified).total_seconds()) < 600
    link = world.look.file(LOCAL, str(tmp_path / "link"))
    assert link is not None
    assert link.kind == "link"
    assert world.look.file(LOCAL, str(tmp_path / "nothing")) is None
    assert world.look.file(LOCAL, str(path / "below a file")) is None
    names = [Path(one.path).name for one in world.look.listing(LOCAL, str(tmp_path))]
    assert names == ["link", "run", "ü b"]
    assert world.look.listing(LOCAL, str(tmp_path / "nothing")) == ()


def test_an_entry_that_goes_meanwhile_takes_no_other_out_of_a_listing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "busy"
    folder.mkdir()
    for name in ("a", "b", "c"):
        (folder / name).touch()
    facts_here = look_files._facts_here

    def and_the_others_go(path: str, found: os.stat_result) -> FileFacts:
        for other in folder.iterdir():
            if str(other) != path:
                other.unlink()
        return facts_here(path, found)

    monkeypatch.setattr(look_files, "_facts_here", and_the_others_go)
    assert len(world.look.listing(LOCAL, str(folder))) == 1


class Saying(Commands):
    """Says of a program what it was told to."""

    def __init__(self, **answers: Ran) -> None:
        super().__init__(DockerEngine())
        self._answers = answers

    def run(
        self, host: Host, argv: Sequence[str], bound: Bound, *, longest: int = LONGEST_OUTPUT, user: str = ""
    ) -> Ran:
        """The answer for the program."""
        return self._answers[argv[0]]


def test_the_same_in_a_container() -> None:
    still = "81a4|5|0|root|1|2|/d/still\n"
    went = "stat: cannot statx '/d/went': No such file or directory\n"
    nowhere = Ran(1, "", "stat: cannot statx '/d': No such file or directory\n")
    bound, box = Bound(time.monotonic, None), Docker("box")

    def listing(found: Ran, folder: Ran) -> list[str]:
        return [one.path for one in look_files.listing(Saying(find=found, stat=folder), box, "/d", bound)]

    assert listing(Ran(1, still, went), PLACE) == ["/d/still"]
    assert listing(Ran(1, "", "find: '/d': No such file or directory\n"), nowhere) == []
    with pytest.raises(Unreachable, match="can't be seen"):
        listing(Ran(1, still, went + "find: '/d/x': Permission denied\n"), PLACE)


@pytest.mark.parametrize(
    ("line", "free"),
    [
        ("overlay 103081248 50 90 1% /", 90),
        ("//nas/share 2 1000 100 900 10% /mnt/disk 2", 900),
        ("tmpfs 0 0 0 - /mnt/7 8 9", 0),
    ],
)
def test_free_space_is_read_between_names_with_numbers(line: str, free: int) -> None:
    said = Saying(df=Ran(0, f"Filesystem 1024-blocks Used Available Capacity Mounted on\n{line}\n", ""), stat=PLACE)
    assert look_files.free_bytes(said, Docker("box"), "/d", Bound(time.monotonic, None)) == free * 1024


def test_what_is_no_plain_file_is_not_waited_for(world: World, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for read in (lambda path: world.look.text(LOCAL, path), lambda path: world.look.head(LOCAL, path, 8)):
        with pytest.raises(Unreachable) as caught:
            read(str(tmp_path / "fifo"))
        assert "it is no plain file" in caught.value.problem.detail


def test_small_texts_and_free_space(world: World, tmp_path: Path) -> None:
    (tmp_path / "t").write_text("content\n")
    assert world.look.text(LOCAL, str(tmp_path / "t")) == "content\n"
    assert world.look.text(LOCAL, str(tmp_path / "nothing")) is None
    (tmp_path / "long").write_text("x" * 70_000)
    with pytest.raises(Unreachable) as refused:
        world.look.text(LOCAL, str(tmp_path / "long"))
    assert "at most 65536" in refused.value.problem.detail
    assert world.look.text(LOCAL, str(tmp_path / "long"), most_bytes=100_000) == "x" * 70_000
    (tmp_path / "longer").write_text("x" * 1_100_000)
    with pytest.raises(Unreachable) as refused:
        world.look.text(LOCAL, str(tmp_path / "longer"), most_bytes=2_000_000)
    assert "at most 1048576" in refused.value.problem.detail
    (tmp_path / "large").write_text("x" * 70_000)
    with pytest.raises(Unreachable):
        world.look.text(LOCAL, str(tmp_path / "large"))
    here = world.look.free_bytes(LOCAL, str(tmp_path))
    assert here > 0
    assert abs(world.look.free_bytes(LOCAL, str(tmp_path / "not" / "there" / "yet")) - here) < 1 << 30


def test_programs_are_on_a_list(world: World, postgres_bin: Path) -> None:
    ran = world.look.run(LOCAL, (str(postgres_bin / "pg_dump"), "--version"))
    assert ran.exit_code == 0
    assert "(PostgreSQL)" in ran.stdout
    assert world.look.run(LOCAL, ("/nowhere/pg_dump", "--version")).exit_code == 127
    with pytest.raises(Bug):
        world.look.run(LOCAL, ("psql", "-c", "DROP TABLE t"))


def test_a_probe_is_the_users_own_program(world: World) -> None:
    assert world.look.probe(LOCAL, ("sh", "-c", "echo done; exit 3")).exit_code == 3


def test_a_program_that_this_machine_could_not_start_has_not_said_no(world: World) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)  # the lowest number that is free
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        with pytest.raises(Unreachable) as caught:
            world.look.probe(LOCAL, ("true",))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "true: Too many open files" in caught.value.problem.detail
    with pytest.raises(Unreachable, match="no answer"):
        world.look.probe(LOCAL, ("true", "x" * (1 << 18)))  # longer than one argument may be


def test_a_program_is_bounded_in_size_and_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unreachable):
        world.look.probe(LOCAL, ("yes",))
    monkeypatch.setattr(look_module, "ANSWER_WITHIN_S", 0.5)
    began = time.monotonic()
    with pytest.raises(Unreachable):
        world.look.probe(LOCAL, ("sleep", "600"))
    assert time.monotonic() - began < 300


def test_ssh_says_that_it_is_not_built(world: World) -> None:
    with pytest.raises(Unreachable) as caught:
        world.look.file(Ssh("ops@db1"), "/etc")
    assert caught.value.problem.code == "E390"


def test_without_an_engine_containers_cannot_be_seen(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    for ask in (lambda: world.look.containers(LOCAL, "p"), lambda: world.look.container(Compose("p", "s"))):
        with pytest.raises(Unreachable) as caught:
            ask()
        assert "docker version" in caught.value.problem.fix
