"""Recovery to random points between two commits: exactly the commits before it are there.

    .venv/bin/python -m tests.sweep.moments [--instants 50] [--seconds 6] [--seed N]

A client writes and keeps a record of every commit that the server acknowledged: its transaction, its time by the server's own
clock, and a position after it. Another one rolls back and closes segments. Two base backups are taken meanwhile. Then a side
copy is recovered to each point, by time, position or transaction, from the last base backup before it, at first beside a live
server, then beside one that is down. Prints the seed and a table; the exit code is 1 where one did not hold.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from runbook.actions.postgres.basebackup import Basebackup
from runbook.actions.postgres.restore_to_time import RestoreToTime
from runbook.artifact import Artifact
from runbook.journal.layout import make_run
from runbook.secret import FromFile, Redactor
from runbook.system import Postgres, Store
from runbook.transports.world import World
from tests.actions.harness import RUN, Stage
from tests.actions.postgres.life import Life
from tests.evidence.witness import until
from tests.fixtures.account import server_account, server_folder
from tests.fixtures.postgres import PostgresServer, find_binaries, make_cluster

LEAST_COMMITS = 5
COMMITS_WITHIN_S = 60.0
BESIDE_A_LIVE_ONE = 5
"""So many first trials have a live server beside them; each of them costs a segment of the archive."""
KINDS = (
    "time",
    "time, at a commit",
    "before a commit's time",
    "position",
    "transaction",
    "before a transaction",
    "end",
)


@dataclass(frozen=True)
class Commit:
    """An acknowledged commit of row ``n``; ``position`` lies after it and before the next one."""

    n: int
    xid: int
    at: datetime
    position: str


@dataclass(frozen=True)
class Trial:
    """A target, and the last row that has to be there."""

    kind: str
    base: Artifact
    given: tuple[tuple[str, object], ...]
    last: int


@dataclass
class Ground:
    """A cluster that was written to, its record, and what is needed to recover from it."""

    server: PostgresServer
    db: Postgres
    stage: Stage
    commits: list[Commit] = field(default_factory=list)
    bases: list[Artifact] = field(default_factory=list)

    def write(self, seed: int, seconds: float) -> None:
        """Write for so long, while two base backups are taken; on a machine that stands still now and then, longer."""
        self.server.sql("CREATE TABLE ledger (n int PRIMARY KEY)")
        over = threading.Event()
        clients = [threading.Thread(target=one, args=(seed, over)) for one in (self._writing, self._troubling)]
        for client in clients:
            client.start()
        store = self.stage.systems["backups"]
        for number in (1, 2):
            self._go_on(seconds / 10)
            made = self.stage.live(
                Basebackup(), self.db, self.stage.scope(f"base{number}"), to=store, name=f"c{number}.tar"
            )
            self.bases.append(made.artifact)
            self._go_on(seconds / 2 - seconds / 10)
        over.set()
        for client in clients:
            client.join()

    def _go_on(self, seconds: float) -> None:
        """Let so much time go by, and some commits."""
        known = len(self.commits)
        time.sleep(seconds)
        until(lambda: len(self.commits) >= known + LEAST_COMMITS, COMMITS_WITHIN_S, "commits")

    def _writing(self, seed: int, over: threading.Event) -> None:
        chance = random.Random(seed)
        with self.server.connect() as connection:
            n = 0
            while not over.is_set():
                n += 1
                written = "INSERT INTO ledger VALUES (%s) RETURNING pg_current_xact_id()::text"
                (xid,) = connection.execute(written, (n,)).fetchone() or ("",)
                asked = "SELECT pg_xact_commit_timestamp(%s::xid), pg_current_wal_insert_lsn()::text"
                at, position = connection.execute(asked, (xid,)).fetchone() or (None, "")
                assert isinstance(at, datetime)
                self.commits.append(Commit(n, int(str(xid)), at, str(position)))
                time.sleep(chance.random() / 50)

    def _troubling(self, seed: int, over: threading.Event) -> None:
        chance = random.Random(seed + 1)
        with self.server.connect() as connection:
            while not over.is_set():
                with connection.transaction(force_rollback=True), connection.transaction():
                    connection.execute("INSERT INTO ledger SELECT 1000000 + n FROM generate_series(1, 50) n")
                if chance.random() < 0.02:
                    connection.execute("SELECT pg_switch_wal()")
                time.sleep(chance.random() / 50)

    def trials(self, seed: int, count: int) -> Iterator[Trial]:
        """Random points between two commits, none before the first base backup's end."""
        chance = random.Random(seed)
        first = self.bases[0].finished_at
        possible = [at for at in range(1, len(self.commits) - 1) if self.commits[at - 1].at > first]
        for number in range(count):
            at = chance.choice(possible)
            here, after = self.commits[at], self.commits[at + 1]
            kind = KINDS[number % len(KINDS)]
            base = [one for one in self.bases if one.finished_at < self.commits[at - 1].at][-1]
            given: dict[str, object]
            last = here.n
            match kind:
                case "time":
                    given = {"target": here.at + chance.random() * (after.at - here.at)}
                case "time, at a commit":
                    given = {"target": here.at}
                case "before a commit's time":
                    given, last = {"target": here.at, "inclusive": False}, here.n - 1
                case "position":
                    given = {"lsn": here.position, "inclusive": False}
                case "transaction":
                    given = {"xid": here.xid}
                case "before a transaction":
                    given, last = {"xid": here.xid, "inclusive": False}, here.n - 1
                case _:
                    given, last = {"latest": True}, self.commits[-1].n
            yield Trial(kind, base, tuple(given.items()), last)

    def recovered(self, trial: Trial, number: int) -> list[int]:
        """The rows of a side copy that was recovered to the trial's target; the copy is gone afterwards."""
        written = {"artifact": trial.base, "mode": "side", **dict(trial.given)}
        life = Life(self.stage, RestoreToTime(), self.db, self.stage.scope(f"t{number}"), written)
        try:
            life.go()
            out = life.end()
            psql = [self.server.tool("psql"), "-h", out.address, "-p", str(out.port), "-U", self.server.user, "-XAtc"]
            said = self.server.account.run([*psql, "SELECT n FROM ledger ORDER BY n", "postgres"])
            return [int(line) for line in said.split()]
        finally:
            life.undo()


@contextmanager
def ground() -> Iterator[Ground]:
    """A cluster that archives, with a store and a run's directory, all of it in fresh folders."""
    account = server_account()
    with ExitStack() as stack:
        folder, archive, tools = (stack.enter_context(server_folder(account, name)) for name in ("pg", "wal", "bin"))
        own = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rb-moments-")))
        tools.chmod(0o755)
        command = f"test ! -e {archive}/%f && cp %p {archive}/%f"
        settings = {"archive_mode": "on", "archive_command": command, "track_commit_timestamp": "on"}
        server = make_cluster(folder, bin_dir=find_binaries(tools, account), account=account, settings=settings)
        stack.callback(_ended, folder)
        stack.callback(server.stop)
        (own / "password").touch(mode=0o600)
        (own / "password").write_text(server.password)
        (own / "store").mkdir(mode=0o700)
        db = Postgres(
            type="postgres",
            key="db",
            address=server.host,
            port=server.port,
            user=server.user,
            database="postgres",
            password=FromFile(str(own / "password")),
            binaries=str(server.bin_dir),
            data_directory=str(server.data_dir),
            archive=f"file://{archive}",
        )
        store = Store(type="store", url=f"file://{own}/store", key="backups")
        directory = make_run(own / "state", RUN).path
        world = World(directory, run=RUN, redactor=Redactor())
        stack.callback(world.close)
        yield Ground(server, db, Stage(world.look, world, directory, {"db": db, "backups": store}))


def _ended(folder: Path) -> None:
    """End what a trial that failed may have left running, by its own process id."""
    for lock in folder.glob("*/postmaster.pid"):
        try:
            os.kill(int(lock.read_text().split()[0]), signal.SIGQUIT)
        except ProcessLookupError:
            continue


def sweep(made: Ground, trials: Sequence[Trial]) -> list[tuple[Trial, str]]:
    """Each trial with what was wrong ('' = it held)."""
    found = []
    for number, trial in enumerate(trials, start=1):
        if number == BESIDE_A_LIVE_ONE + 1:
            made.server.stop()
        began = time.monotonic()
        rows, wanted = made.recovered(trial, number), list(range(1, trial.last + 1))
        extra, lost = sorted(set(rows) - set(wanted)), sorted(set(wanted) - set(rows))
        wrong = f"too many: {extra[:5]}, lost: {lost[:5]}" if rows != wanted else ""
        said = wrong or f"held, {len(rows)} rows, {time.monotonic() - began:.1f} s"
        print(f"{number}/{len(trials)} {trial.kind}: {said}", file=sys.stderr, flush=True)
        found.append((trial, wrong))
    return found


def main() -> int:
    """The table on stdout, each trial on stderr."""
    given = argparse.ArgumentParser(prog="python -m tests.sweep.moments")
    given.add_argument("--instants", type=int, default=50)
    given.add_argument("--seconds", type=float, default=6.0)
    given.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    asked = given.parse_args()
    with ground() as made:
        made.write(asked.seed, asked.seconds)
        found = sweep(made, list(made.trials(asked.seed, asked.instants)))
        commits = len(made.commits)
    tried, held = Counter(trial.kind for trial, _ in found), Counter(trial.kind for trial, wrong in found if not wrong)
    print(f"{'target':<26}{'tried':>6}{'held':>6}")
    for kind in tried:
        print(f"{kind:<26}{tried[kind]:>6}{held[kind]:>6}")
    print(f"{'all':<26}{len(found):>6}{held.total():>6}   {commits} commits, seed {asked.seed}")
    return 0 if held.total() == len(found) else 1


if __name__ == "__main__":
    sys.exit(main())
