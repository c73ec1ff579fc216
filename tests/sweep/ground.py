"""The ground of the plans for one server: CivicQ's stack with a second of everything that the plans name.

The cluster as it is when the ground is opened is what restores come back to: ``whole``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runbook.actions.postgres.archiving import command_for
from tests.evidence.damage import end_server, ended_with_the_test
from tests.evidence.kills import SETTLES_IN_S, Victim, kill, processes_about
from tests.evidence.program import Program
from tests.evidence.servers import InContainer
from tests.evidence.stacks import CIVICQ, Stack, stack
from tests.evidence.telephone import OnCall, on_call
from tests.evidence.witness import Picture, databases, picture, until
from tests.fixtures.account import server_account
from tests.sweep.servers import at_work_in, buried, gone_from, posted_in, postmaster_in
from tests.sweep.trials import End

if TYPE_CHECKING:
    from docker import DockerClient

OF_WAL = re.compile(r"[0-9A-F]{24}(\.[0-9A-F]{8}\.backup|\.partial)?|[0-9A-F]{8}\.history")
ARCHIVED_WITHIN_S = 60.0
LETTERS = re.compile(r"(?<=old_rb_).*")
"""The part of a kept thing's name that differs from run to run."""


@dataclass
class Ground:
    """A stack that stands, people on call, and what the preparation of a trial remembers for its end."""

    made: Stack
    people: OnCall
    whole: Picture
    noted: dict[str, Any] = field(default_factory=dict)

    @property
    def program(self) -> Program:
        """The program, with a state folder of its own."""
        return self.made.program

    @property
    def consent(self) -> tuple[str, ...]:
        """Every confirmation that a plan may ask for."""
        return self.made.consent

    @property
    def evidence(self) -> Path:
        """The store for evidence."""
        return self.made.store.with_name("evidence")

    @property
    def archive(self) -> Path:
        """The WAL's archive, as this machine sees it."""
        return self.made.store.with_name("wal")

    def arguments(self, plan: str, *words: str) -> list[str | Path]:
        """The arguments of `apply`."""
        return self.made.arguments(plan, *words)

    def cleared(self) -> None:
        """Away with earlier runs, with databases that they kept, and with data directories beside the live one."""
        tidied(self)

    def struck(self, victim: Victim, engine: subprocess.Popen[bytes]) -> None:
        """Kill; a local server that died with the rest is started if its directory is in place."""
        worked = at_work_in(self.made.server.folder)
        kill(victim, engine, self.program.directory(), self.made)
        data = self.made.server.folder / "data"
        if victim is Victim.ENGINE or isinstance(self.made.server, InContainer):
            return
        if (data / "PG_VERSION").exists() and not postmaster_in(data):
            gone_from(data)
            buried(self.made.server.folder, {*worked, posted_in(data)})  # it may have been started since
            started(self.made)

    def found_again(self) -> None:
        """After a restart by somebody else a container has another address."""
        self.made.server.found_again()

    def left(self) -> End:
        """What may stay of no run: databases, directories, half files, servers, programs, stopped services."""
        made = self.made
        runs = made.program.state / "runs"
        until(lambda: not processes_about(runs), SETTLES_IN_S, "nothing of the run lives any more")
        stores = (made.store, made.bases, self.evidence)
        found: dict[str, object] = {
            "databases": {name.split("_old_")[0] for name in databases(made.server)},
            "partials": [path.name for place in stores for path in place.rglob("*.partial*")],
            "hidden": [path.name for place in stores for path in place.glob(".*")],
            "no WAL": strays(self.archive),
            "services": made.running,
        }
        if isinstance(made.server, InContainer):
            server = made.server
            until(lambda: not server.pids(), SETTLES_IN_S, f"nothing is left in the container: {server.pids()}")
            beside = server.run("find", "/var/lib/postgresql", "-maxdepth", "2", "-name", "*rb_*").decode().split()
            return {**found, "files": server.files(), "beside": sorted({plain(Path(one).name) for one in beside})}
        folder = made.server.folder
        beside = [plain(path.name) for path in folder.iterdir() if path.is_dir()]
        works = {path.relative_to(folder).parts[0] for path in at_work_in(folder).values()}
        return {**found, "beside": sorted(beside), "servers": works}

    def emptied(self, *stores: Path) -> None:
        """Away with what earlier trials stored."""
        for place in stores:
            shutil.rmtree(place)
            place.mkdir(mode=0o700)

    def restarted(self) -> None:
        """The server is started anew, with the settings that its files have."""
        made = self.made
        if isinstance(made.server, InContainer):
            made.server.container.restart(timeout=30)
            made.server.found_again()
            return
        end_server(made.server.folder / "data")
        gone_from(made.server.folder / "data")
        started(made)


def plain(name: str) -> str:
    """The name without what differs from run to run."""
    return LETTERS.sub("", name)


def strays(archive: Path) -> list[str]:
    """What lies there, is no WAL, and stays: what the archiver writes at this moment has a name of its own until it is whole."""
    deadline = time.monotonic() + ARCHIVED_WITHIN_S
    while found := [path.name for path in archive.iterdir() if not OF_WAL.fullmatch(path.name)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return found


def started(made: Stack) -> None:
    """Start the server of this machine."""
    folder = made.server.folder
    start = ["--silent", "-D", str(folder / "data"), "-l", str(folder / "log.again"), "-w", "start"]
    server_account().run([made.server.bin_dir / "pg_ctl", *start])


@contextmanager
def ground(
    client: DockerClient, *, there: bool, settings: Sequence[str] = (), archive: bool = True
) -> Iterator[Ground]:
    """CivicQ with an evidence store and people on call; ``archive``: its WAL is archived, and there is a base backup."""
    with ExitStack() as standing:
        made = standing.enter_context(
            # a server in a container starts anew when one of its strangers is killed: the simple command stops for good then
            stack(client, CIVICQ, local=not there, archive=archive, archiving=command_for, settings=settings)
        )
        standing.enter_context(ended_with_the_test(made))
        people = standing.enter_context(on_call())
        made.program.extra["ON_CALL_URL"] = people.url
        found = Ground(made, people, picture(made.server, made.database))
        found.evidence.mkdir(mode=0o700)
        text = made.environment.read_text()
        line = next(one for one in text.splitlines() if one.startswith("  evidence:"))
        made.environment.write_text(text.replace(line, f'  evidence: {{type: store, url: "file://{found.evidence}"}}'))
        if archive:
            based = made.apply("base-backup")  # check-archive asks for one
            assert based.code == 0, based.said
        yield found


def tidied(ground: Ground) -> None:
    """Away with earlier runs, with databases that they kept, and with data directories beside the live one."""
    made = ground.made
    made.server.found_again()
    made.tidy()
    ground.noted.clear()
    runs = made.program.state / "runs"
    if runs.exists():
        until(lambda: not processes_about(runs), SETTLES_IN_S, "supervisors of earlier runs leave")
        shutil.rmtree(runs)
    if isinstance(made.server, InContainer):
        made.server.run("sh", "-c", "rm -rf /var/lib/postgresql/*_old_* /var/lib/postgresql/data/old_rb_*")
    else:
        for kept in made.server.folder.glob("*.old_rb_*"):
            shutil.rmtree(kept)


def archives(ground: Ground) -> bool:
    """Whether the segment that is being written arrives in the archive, whole."""
    # the name in the same statement: another segment may be the present one a moment later
    said = "pg_logical_emit_message(false, 'sweep', 'a segment with nothing in it is not closed')"
    name = str(ground.made.sql(f"SELECT pg_walfile_name({said})")[0][0])
    ground.made.sql("SELECT pg_switch_wal()")
    segment = ground.archive / name
    until(segment.exists, ARCHIVED_WITHIN_S, f"{name} is archived")
    until(lambda: segment.stat().st_size == 16 * 1024**2, ARCHIVED_WITHIN_S, f"{name} is whole")
    return True
