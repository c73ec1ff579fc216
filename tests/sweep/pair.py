"""The ground of the plans for a primary and its standby: two clusters of this machine, copied anew for each trial.

Each trial begins with the same bytes: a pair that was prepared once and shut down is copied, and started. What each plan has to
come to: who is the primary, on which timeline, that the other one streams or is fenced, that it takes no writes, and that every
row is there whose commit a client was told of (failover: that had been replayed).
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from tests.evidence.kills import SETTLES_IN_S, Victim, kill, processes_about
from tests.evidence.program import Program
from tests.evidence.site import site
from tests.evidence.test_failover import Client, House
from tests.evidence.witness import until
from tests.fixtures.account import server_account, server_folder
from tests.fixtures.containers import empty_project
from tests.fixtures.pair import Pair, eventually, pair_in
from tests.fixtures.ports import free_port
from tests.fixtures.postgres import PostgresServer, find_binaries
from tests.sweep.ground import OF_WAL, plain
from tests.sweep.proofs import rightly_hashed, stored
from tests.sweep.servers import at_work_in, buried, end_all_in, gone_from
from tests.sweep.trials import Case, End

if TYPE_CHECKING:
    from docker import DockerClient

FIRST_ROWS = 20
OWN_ROWS = 5
ROLES = {"rejoin-standby": ("b", "a")}


@dataclass
class PairGround:
    """Two servers as they were when they were prepared, the services that write, and the program."""

    house: House[Pair]
    archive: Path
    prepared: Path
    acknowledged: tuple[int, ...] = ()
    clients: list[Client] = field(default_factory=list)
    noted: dict[str, Any] = field(default_factory=dict)

    @property
    def program(self) -> Program:
        """The program, with a state folder of its own."""
        return self.house.program

    @property
    def consent(self) -> tuple[str, ...]:
        """Every confirmation that a plan may ask for."""
        return ("--confirm", "postgres", "--yes")

    @property
    def bases(self) -> Path:
        """The store for base backups."""
        return self.program.folder / "bases"

    @property
    def places(self) -> dict[str, Path]:
        """What is copied for each trial, by its name among what was prepared."""
        pair = self.house.pair
        return {"first": pair.first.data_dir, "second": pair.second.data_dir, "archive": self.archive}

    def arguments(self, plan: str, *words: str) -> list[str | Path]:
        """The arguments of `apply`, with the roles that the servers have before it."""
        return self.house.arguments(plan, *ROLES.get(plan, ("a", "b")), *words)

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

    def quiet(self) -> None:
        """The clients write no more."""
        while self.clients:
            self.clients.pop().stop()

    def struck(self, victim: Victim, engine: subprocess.Popen[bytes]) -> None:
        """Kill; a server that died with the run is started again if its directory is in place, one that was down is not."""
        pair = self.house.pair
        ran = {
            server.port: (_postmaster(server), at_work_in(server.data_dir.parent))
            for server in (pair.first, pair.second)
        }
        kill(victim, engine, self.program.directory())
        if victim is Victim.ENGINE:
            return
        for server in (pair.first, pair.second):
            pid, worked = ran[server.port]
            if pid and pid not in at_work_in(server.data_dir.parent):
                gone_from(server.data_dir)
                buried(server.data_dir.parent, worked)
                if (server.data_dir / "PG_VERSION").exists():
                    server.start()

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
            "no WAL": [path.name for path in self.archive.iterdir() if not OF_WAL.fullmatch(path.name)],
            "services": self.house.running(),
            "databases": pair.second.sql("SELECT datname FROM pg_database ORDER BY 1"),
        }


def _copy(place: Path, to: Path) -> None:
    shutil.rmtree(to, ignore_errors=True)
    subprocess.run(["cp", "-a", "--reflink=auto", place, to], check=True)


def _postmaster(server: PostgresServer) -> int:
    """The process id of the server that runs in its directory; 0 where none does."""
    lock = server.data_dir / "postmaster.pid"
    pid = int(lock.read_text().split()[0]) if lock.exists() else 0
    return pid if pid in at_work_in(server.data_dir) else 0


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
            _part(pair)
        found = PairGround(House(pair, app, Program(home, {"NO_COLOR": "1"}), url), archive, prepared)
        found.keep()
        yield found


def _part(pair: Pair) -> None:
    """The standby is promoted while its primary is down; then that comes back, and both take rows."""
    pair.crash(pair.first)
    pair.second.sql("SELECT pg_promote()")
    pair.write(OWN_ROWS, on=pair.second)
    pair.first.start()
    pair.write(OWN_ROWS, on=pair.first)


# --- before and after ---------------------------------------------------------------------------------------------


def _streaming(ground: PairGround) -> list[str]:
    """A standby that streams, and a client that commits until its server is gone."""
    pair = ground.house.pair
    pair.caught_up(pair.first, pair.second)
    ground.clients.append(Client(pair, pair.first))
    return []


def _changed_places(ground: PairGround) -> End:
    """The standby is the primary with every row that was acknowledged; the old one streams from it."""
    ground.quiet()
    pair = ground.house.pair
    return {
        "wrote": len(pair.acknowledged) > FIRST_ROWS,
        "lost": pair.lost(pair.second),
        "lossless": ground.program.outputs("promote")["lost_nothing"],
        **_two(ground),
    }


def _primary_lost(ground: PairGround) -> list[str]:
    """The last rows never reached the standby when the primary died."""
    pair = ground.house.pair
    pair.write(OWN_ROWS)
    pair.caught_up(pair.first, pair.second)
    ground.noted["replayed"] = _rows(pair.second)
    pair.cut_off(pair.second)
    pair.write(OWN_ROWS)
    pair.crash(pair.first)
    gone_from(pair.first.data_dir)
    return []


def _taken_over(ground: PairGround) -> End:
    """The standby is the primary with all that it had replayed; the old one is down, and read-only if somebody starts it."""
    pair = ground.house.pair
    kept = _rows(pair.second)
    found: dict[str, object] = {
        "replayed": kept == ground.noted["replayed"],
        "lost": len(pair.lost(pair.second)),
        "primary": _leads(pair.second),
        "old one is down": _postmaster(pair.first) == 0,
    }
    pair.write(1, on=pair.second)
    pair.first.start()
    found["old one refuses"] = _refuses(pair.first)
    pair.first.stop()
    return found


def _two_primaries(ground: PairGround) -> list[str]:
    """After a failover the old primary has come back by itself, and has rows that the new one lacks."""
    pair = ground.house.pair
    eventually(lambda: _leads(pair.first) and _leads(pair.second))
    ground.noted["own"] = _rows(pair.first)
    ground.noted["new"] = _rows(pair.second)
    return []


def _come_back(ground: PairGround) -> End:
    """It streams from the new primary, whose rows are all there; its own are in the directory that was kept."""
    pair = ground.house.pair
    rewound = ground.program.outputs("rewind")
    own = set(ground.noted["own"]) - set(ground.noted["new"])
    return {
        "new": _rows(pair.second) == ground.noted["new"],
        "discarded": rewound["discarded_commits"] == len(own) == OWN_ROWS,
        "kept": _rows_in(Path(rewound["kept_as"]), pair.first) == ground.noted["own"],
        **_two(ground),
    }


def _two(ground: PairGround) -> End:
    """The second server leads, the first follows it, has every row that it gets, and takes none itself."""
    pair = ground.house.pair
    leads = _leads(pair.second)
    pair.write(1, on=pair.second)
    pair.caught_up(pair.second, pair.first)
    [(follows, timeline)] = pair.first.sql("SELECT sender_port, received_tli FROM pg_stat_wal_receiver")
    return {
        "primary": leads,
        "streams": follows == pair.second.port,
        "along": timeline,
        "rows": _rows(pair.first) == _rows(pair.second),
        "refuses": _refuses(pair.first),
        "senders": pair.second.sql("SELECT count(*), min(state) FROM pg_stat_replication"),
        "port": pair.first.sql("SHOW port") == [(str(pair.first.port),)],
    }


def _rows(server: PostgresServer) -> list[int]:
    return sorted(int(str(number)) for (number,) in server.sql("SELECT number FROM notes"))


def _leads(server: PostgresServer) -> int:
    """The timeline that it writes; 0 for one in recovery."""
    [(recovering,)] = server.sql("SELECT pg_is_in_recovery()")
    if recovering:
        return 0
    [(segment,)] = server.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
    return int(str(segment)[:8], 16)


def _refuses(server: PostgresServer) -> bool:
    """Whether it takes no write, because it is in recovery."""
    try:
        server.sql("INSERT INTO notes VALUES (0)")
    except psycopg.errors.ReadOnlySqlTransaction:
        return server.sql("SELECT pg_is_in_recovery()") == [(True,)]
    return False


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


def _pointed(ground: PairGround) -> None:
    """The services stay stopped while a person works."""
    assert ground.house.running() == set()


def _pair(client: DockerClient) -> Any:
    return pair_ground(client, parted=False)


def _parted(client: DockerClient) -> Any:
    return pair_ground(client, parted=True)


CASES = (
    Case("failover", _primary_lost, _taken_over, opened=_pair, answer=("repoint",), person=_pointed),
    Case("switchover", _streaming, _changed_places, opened=_pair, answer=("repoint",), person=_pointed),
    Case("rejoin-standby", _two_primaries, _come_back, opened=_parted),
)
