"""The same ground where both servers are containers: their volumes are filled anew for each trial.

A container that is never a server's, `keeper`, has both volumes and what was prepared on a third.
"""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.evidence.kills import SETTLES_IN_S, Victim, kill, processes_about
from tests.evidence.program import Program
from tests.evidence.site import site
from tests.evidence.test_failover import House
from tests.evidence.witness import until
from tests.fixtures.containers import POSTGRES, empty_project, exec_in, removed
from tests.fixtures.pair import eventually
from tests.fixtures.pair_in_containers import DATA, ContainedServer, PairInContainers, pair_of
from tests.fixtures.temporary import make_folder
from tests.sweep.ground import plain, strays
from tests.sweep.pair_ends import FIRST_ROWS, PairPlace, part
from tests.sweep.proofs import rightly_hashed, stored
from tests.sweep.trials import End

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

KEEPER = "keeper"
SERVICES = ("a", "b")
_FILLED = "rm -rf /{0}/* /{0}/.[!.]* && cp -a /prepared/{0}/. /{0}/"
_KEPT = "rm -rf /prepared/{0} && cp -a /{0} /prepared/{0}"
_ROWS = """\
set -eu
cp -a "$1" /tmp/looked; cd /tmp/looked
rm -f standby.signal postmaster.pid
echo "SELECT number FROM notes" | postgres --single -F -D /tmp/looked -c archive_mode=off postgres"""


@dataclass
class PairThere(PairPlace):
    """Two containers, as their volumes were when they were prepared."""

    prepared: Path = Path()

    @property
    def pair(self) -> PairInContainers:
        """Both servers."""
        found: PairInContainers = self.house.pair
        return found

    def keep(self) -> None:
        """This is the pair that each trial begins with."""
        self.quiet()
        for server in (self.pair.first, self.pair.second):
            server.stop()
        for service in SERVICES:
            self._kept(_KEPT.format(service))
        shutil.copytree(self.archive, self.prepared, dirs_exist_ok=True)
        self.acknowledged = tuple(self.pair.acknowledged)

    def cleared(self) -> None:
        """The pair as it was prepared, running; no run, no base backup."""
        self.quiet()
        self.noted.clear()
        runs = self.program.state / "runs"
        if runs.exists():
            until(lambda: not processes_about(runs), SETTLES_IN_S, "supervisors of earlier runs leave")
            shutil.rmtree(runs)
        self.forgotten()
        for server in (self.pair.first, self.pair.second):
            if self.lives(server):
                self.pair.crash(server)
        for service in SERVICES:
            self._kept(_FILLED.format(service))
        for place in (self.archive, self.bases):
            for path in place.iterdir():
                path.unlink() if path.is_file() else shutil.rmtree(path)
        shutil.copytree(self.prepared, self.archive, dirs_exist_ok=True)
        self.pair.acknowledged[:] = self.acknowledged
        for server in (self.pair.first, self.pair.second):
            server.start()
        for container in self.house.app.containers.values():
            container.start()

    def struck(self, victim: Victim, engine: subprocess.Popen[bytes]) -> None:
        """Kill; with everything else, what runs beside a stopped container too."""
        from docker.errors import APIError

        kill(victim, engine, self.program.directory())
        if victim is Victim.EVERYTHING:
            for one in self.alone(running=True):
                with suppress(APIError):  # it has ended by itself
                    one.kill()

    def found_again(self) -> None:
        """Their addresses are asked for each time."""

    def left(self) -> End:
        """What may stay of no run: directories, containers, half files, programs, stopped services, databases."""
        runs = self.program.state / "runs"
        until(lambda: not processes_about(runs), SETTLES_IN_S, "nothing of the run lives any more")
        inside = {service: self._kept(f"ls -A /{service}").split() for service in SERVICES}
        return {
            "inside": {
                service: sorted(plain(name) for name in names if name.startswith(("rb_", "old_rb_")))
                for service, names in inside.items()
            },
            "alone": [str(one.name) for one in self.alone()],
            "servers": [server.state for server in (self.pair.first, self.pair.second)],
            "bases": (stored(self.bases), rightly_hashed(self.bases)),
            "no WAL": strays(self.archive),
            "services": self.house.running(),
            "databases": self.pair.second.sql("SELECT datname FROM pg_database ORDER BY 1"),
        }

    def died(self, server: ContainedServer) -> None:
        """Its container has ended when `crash` returns."""
        assert not self.lives(server)

    def lives(self, server: ContainedServer) -> bool:
        """Whether its container runs."""
        return server.state == "running"

    def rows_in(self, kept: str, like: ContainedServer) -> list[int]:
        """The rows of a directory that was kept, read as the plan advises: a copy, without the mark."""
        said = like.project.client.containers.run(
            POSTGRES,
            ["sh", "-c", _ROWS, "sh", kept],
            user="postgres",
            volumes_from=[str(like.container.id)],
            network_mode="none",
            remove=True,
        ).decode()
        assert DATA in kept
        return sorted(int(line.split('"')[1]) for line in said.splitlines() if "number = " in line)

    def forgotten(self) -> None:
        """Away with the containers that runs have made."""
        for one in self.alone():
            removed(partial(one.remove, force=True))

    def _kept(self, script: str) -> str:
        """What a script says that has the volumes of both, and of what was prepared."""
        code, said = exec_in(self.house.app.containers[KEEPER], ["sh", "-c", script])
        assert code == 0, said.decode()
        return said.decode()

    def alone(self, *, running: bool = False) -> list[Container]:
        """Containers that runs have made beside those of the project."""
        runs = {path.name for path in (self.program.state / "runs").glob("*")}
        found = self.house.app.client.containers.list(
            all=not running, ignore_removed=True, filters={"label": "runbook.run"}
        )
        return [one for one in found if one.labels["runbook.run"] in runs]


@contextmanager
def pair_there(client: DockerClient, *, parted: bool) -> Iterator[PairThere]:
    """A pair that streams; ``parted``: the standby was promoted, and the old primary has rows of its own and takes writes."""
    with ExitStack() as standing:
        place = make_folder("rb-pair-there-")
        standing.callback(shutil.rmtree, place, ignore_errors=True)
        home, archive, prepared = place / "home", place / "wal", place / "prepared"
        for folder in (home, home / "bases", archive, prepared):
            folder.mkdir(mode=0o700)
        project = empty_project(client, f"rb{uuid.uuid4().hex[:10]}", place)
        standing.callback(project.remove)
        project.add("backend")
        pair = pair_of(project, archive=archive, secrets=home)
        volumes = {**{service: f"/{service}" for service in SERVICES}, "prepared": "/prepared"}
        project.add(KEEPER, volumes=volumes)
        url = standing.enter_context(site())
        pair.write(FIRST_ROWS)
        pair.caught_up(pair.first, pair.second)
        if parted:
            part(pair)
            eventually(lambda: pair.first.sql("SELECT 1"))
        program = Program(home, {"NO_COLOR": "1"})
        found = PairThere(House(pair, project, program, url), archive, prepared=prepared)
        standing.callback(found.forgotten)
        found.keep()
        yield found
