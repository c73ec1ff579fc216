"""The ground of the plans for a primary and its standby: two clusters of this machine, copied anew for each trial.

Each trial begins with the same bytes: a pair that was prepared once and shut down is copied, and started. What each plan has to
come to is in `pair_ends.py`; the ground of containers in `pair_there.py`.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from tests.evidence.kills import SETTLES_IN_S, Victim, kill, processes_about
from tests.evidence.program import Program
from tests.evidence.site import site
from tests.evidence.test_failover import House
from tests.evidence.witness import until
from tests.fixtures.account import server_account, server_folder
from tests.fixtures.containers import empty_project
from tests.fixtures.pair import pair_in
from tests.fixtures.ports import free_port
from tests.fixtures.postgres import PostgresServer, find_binaries
from tests.sweep.ground import plain, strays
from tests.sweep.pair_ends import (
    FIRST_ROWS,
    PairPlace,
    changed_places,
    come_back,
    part,
    pointed,
    primary_lost,
    streaming,
    taken_over,
    two_primaries,
)
from tests.sweep.pair_there import pair_there
from tests.sweep.proofs import rightly_hashed, stored
from tests.sweep.servers import at_work_in, buried, end_all_in, gone_from, posted_in, postmaster_in
from tests.sweep.trials import Case, End

if TYPE_CHECKING:
    from docker import DockerClient


@dataclass
class PairGround(PairPlace):
    """Two servers of this machine, as they were when they were prepared."""

    prepared: Path = Path()

    @property
    def places(self) -> dict[str, Path]:
        """What is copied for each trial, by its name among what was prepared."""
        pair = self.house.pair
        return {"first": pair.first.data_dir, "second": pair.second.data_dir, "archive": self.archive}

    def keep(self) -> None:
        """This is the pair that each trial begins with."""
        self.quiet()
        pair = self.house.pair
        for server in (pair.first, pair.second):
            server.stop()
        for name, place in self.places.items():
            _copy(place, self.prepared / name)
        self.acknowledged = tuple(pair.acknowledged)

    def cleared(self) -> None:
        """The pair as it was prepared, running; no run, no base backup."""
        self.quiet()
        self.noted.clear()
        pair = self.house.pair
        runs = self.program.state / "runs"
        if runs.exists():
            until(lambda: not processes_about(runs), SETTLES_IN_S, "supervisors of earlier runs leave")
            shutil.rmtree(runs)
        for server in (pair.first, pair.second):
            _end(server)
            for folder in server.data_dir.parent.iterdir():
                if folder.is_dir():
                    shutil.rmtree(folder)
        shutil.rmtree(self.archive)
        shutil.rmtree(self.bases, ignore_errors=True)
        self.bases.mkdir(mode=0o700)
        for name, place in self.places.items():
            _copy(self.prepared / name, place)
        pair.acknowledged[:] = self.acknowledged
        for server in (pair.first, pair.second):
            server.start()
        for container in self.house.app.containers.values():
            container.start()

    def struck(self, victim: Victim, engine: subprocess.Popen[bytes]) -> None:
        """Kill; a server that died with the run is started again if its directory is in place, one that was down is not."""
        pair = self.house.pair
        ran = {
            server.port: (postmaster_in(server.data_dir), at_work_in(server.data_dir.parent))
            for server in (pair.first, pair.second)
        }
        kill(victim, engine, self.program.directory())
        if victim is Victim.ENGINE:
            return
        for server in (pair.first, pair.second):
            pid, worked = ran[server.port]
            if pid and not postmaster_in(server.data_dir):
                gone_from(server.data_dir)
                buried(server.data_dir.parent, {*worked, posted_in(server.data_dir)})
                if (server.data_dir / "PG_VERSION").exists():
                    server.start()

    def died(self, server: PostgresServer) -> None:
        """Wait until nothing is left of a server that was killed."""
        gone_from(server.data_dir)

    def lives(self, server: PostgresServer) -> bool:
        """Whether it runs."""
        return postmaster_in(server.data_dir) != 0

    def rows_in(self, kept: str, like: PostgresServer) -> list[int]:
        """The rows of a directory that was kept, read as the plan advises: a copy, without the mark, on a socket of its own."""
        return _rows_in(Path(kept), like)

    def found_again(self) -> None:
        """Their addresses stay."""

    def left(self) -> End:
        """What may stay of no run: directories, servers, half files, programs, stopped services, databases."""
        runs = self.program.state / "runs"
        until(lambda: not processes_about(runs), SETTLES_IN_S, "nothing of the run lives any more")
        pair = self.house.pair
        folders = {"first": pair.first.data_dir.parent, "second": pair.second.data_dir.parent}
        return {
            "beside": {
                name: sorted(plain(path.name) for path in folder.iterdir() if path.is_dir())
                for name, folder in folders.items()
            },
            "servers": {
                name: {path.relative_to(folder).parts[0] for path in at_work_in(folder).values()}
                for name, folder in folders.items()
            },
            "bases": (stored(self.bases), rightly_hashed(self.bases)),
            "no WAL": strays(self.archive),
            "services": self.house.running(),
            "databases": pair.second.sql("SELECT datname FROM pg_database ORDER BY 1"),
        }


def _copy(place: Path, to: Path) -> None:
    shutil.rmtree(to, ignore_errors=True)
    subprocess.run(["cp", "-a", "--reflink=auto", place, to], check=True)


def _end(server: PostgresServer) -> None:
    """End whatever runs in the server's folder, whoever started it."""
    end_all_in(server.data_dir.parent)
    if server.process is not None:
        server.process.wait(30)
        server.process = None


@contextmanager
def pair_ground(client: DockerClient, *, parted: bool) -> Iterator[PairGround]:
    """A pair that streams; ``parted``: the standby was promoted, and the old primary has rows of its own and takes writes."""
    account = server_account()
    with ExitStack() as standing:
        place = Path(tempfile.mkdtemp(prefix="rb-pair-"))
        standing.callback(shutil.rmtree, place, ignore_errors=True)
        place.chmod(0o711)
        home, prepared = place / "home", place / "prepared"
        for folder in (home, home / "bases", prepared):
            folder.mkdir(mode=0o700)
        one, other, wal = (standing.enter_context(server_folder(account, name)) for name in ("a", "b", "wal"))
        for folder in (one, other):
            standing.callback(end_all_in, folder)
        archive = wal / "archive"
        archive.mkdir()
        account.give(archive)
        app = empty_project(client, f"rb{uuid.uuid4().hex[:10]}", place)
        standing.callback(app.remove)
        app.add("backend")
        url = standing.enter_context(site())
        settings = {"archive_mode": "on", "archive_command": f"test ! -e {archive}/%f && cp %p {archive}/%f"}
        binaries = find_binaries(place, account)
        pair = pair_in(one, other, bin_dir=binaries, account=account, secrets=home, **settings)
        pair.caught_up(pair.first, pair.second)
        pair.write(FIRST_ROWS)
        pair.caught_up(pair.first, pair.second)
        if parted:
            part(pair)
        found = PairGround(House(pair, app, Program(home, {"NO_COLOR": "1"}), url), archive, prepared=prepared)
        found.keep()
        yield found


def _rows_in(kept: Path, like: PostgresServer) -> list[int]:
    """The rows of a directory that was kept, read as the plan advises: a copy, without the mark, on a socket of its own."""
    looked = kept.with_name("looked-into")
    _copy(kept, looked)
    (looked / "standby.signal").unlink()
    (looked / "postmaster.pid").unlink(missing_ok=True)
    port, folder = free_port(), looked.parent
    options = f"-p {port} -k {folder} -c listen_addresses='' -c archive_mode=off"
    control: list[str | Path] = [like.tool("pg_ctl"), "--silent", "-D", looked, "-w"]
    like.account.run([*control, "-o", options, "-l", folder / "log.looked", "start"])
    try:
        with psycopg.connect(f"host={folder} port={port} user={like.user} dbname=postgres") as connection:
            return sorted(int(row[0]) for row in connection.execute("SELECT number FROM notes"))
    finally:
        like.account.run([*control, "-m", "immediate", "stop"])
        shutil.rmtree(looked)


def _pair(client: DockerClient) -> Any:
    return pair_ground(client, parted=False)


def _parted(client: DockerClient) -> Any:
    return pair_ground(client, parted=True)


def _pair_there(client: DockerClient) -> Any:
    return pair_there(client, parted=False)


def _parted_there(client: DockerClient) -> Any:
    return pair_there(client, parted=True)


_case = partial(Case[PairPlace], opened=_pair, opened_there=_pair_there)
CASES = (
    _case("failover", primary_lost, taken_over, answer=("repoint",), person=pointed),
    _case("switchover", streaming, changed_places, answer=("repoint",), person=pointed),
    _case("rejoin-standby", two_primaries, come_back, opened=_parted, opened_there=_parted_there),
)
