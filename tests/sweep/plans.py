"""`python -m tests.sweep.plans`: kill -9 of every plan that ships, at random instants; the table on stdout tells what held.

    .venv/bin/python -m tests.sweep.plans [--instants 25] [--seed N] [--there] [--only PLAN …]

Each plan is run undisturbed once; then, for each instant, its ground is prepared anew, the plan is begun, engine or everything
is killed by turns, and the run is resumed until its end, which must be that of the undisturbed run. Needs root and a Docker
Engine with the test images; `--there`: the database is in a container.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from runbook.actions.postgres.wal import parse_lsn, segment_at, segment_name
from runbook.transports.supervisor.processes import look
from tests.evidence.damage import ended_with_the_test
from tests.evidence.kills import SETTLES_IN_S, Trials, Victim, kill, processes_about
from tests.evidence.program import Ran
from tests.evidence.stacks import CIVICQ, InContainer, Stack, stack
from tests.evidence.telephone import OnCall, on_call
from tests.evidence.witness import Picture, databases, picture, until
from tests.faults.test_retention import copied
from tests.fixtures.account import server_account

if TYPE_CHECKING:
    from docker import DockerClient

WAITS = 6
MOST_RESUMES = 4
ENDS_WITHIN_S = 300.0
OWN = {"postgres", "template0", "template1"}
End = Mapping[str, object]
"""What a trial came to, as far as it must be the same however often the run was killed."""


@dataclass
class Ground:
    """A stack with a second of everything that the plans name, and what the preparation of a trial remembers."""

    made: Stack
    people: OnCall
    whole: Picture
    noted: dict[str, str] = field(default_factory=dict)

    @property
    def evidence(self) -> Path:
        """The store for evidence."""
        return self.made.store.with_name("evidence")

    def left(self) -> End:
        """What may stay of no run: databases, half files, programs."""
        made = self.made
        until(
            lambda: not processes_about(made.program.state / "runs"), SETTLES_IN_S, "nothing of the run lives any more"
        )
        stores = (made.store, made.bases, self.evidence)
        return {
            "databases": {name.split("_old_")[0] for name in databases(made.server)},
            "partials": [path.name for place in stores for path in place.rglob("*.partial*")],
            "services": made.running,
        }

    def emptied(self, *stores: Path) -> None:
        """Away with what earlier trials stored."""
        for place in stores:
            shutil.rmtree(place)
            place.mkdir(mode=0o700)


@dataclass(frozen=True)
class Case:
    """A plan: what is there before it (which gives the words of its inputs), and what must be there at its end."""

    plan: str
    before: Callable[[Ground], list[str]]
    after: Callable[[Ground], End]
    answer: tuple[str, ...] = ()
    """The step that waits for a person, and what it is told."""


def _inputs(**given: str) -> list[str]:
    return [word for name, value in given.items() for word in ("-i", f"{name}={value}")]


def _same(ground: Ground) -> End:
    return {"whole": picture(ground.made.server, ground.made.database) == ground.whole}


def _stored(place: Path) -> list[str]:
    """The files of a store, without what is never the same in two runs."""
    suffixes = ("." + path.name.split(".", 1)[1] if "." in path.name else "" for path in place.iterdir())
    return sorted(suffixes)


def _no_backup(ground: Ground) -> list[str]:
    ground.emptied(ground.made.store)
    return []


def _proven_dump(ground: Ground) -> End:
    proven = ground.made.apply("verify-backup")
    return {"store": _stored(ground.made.store), "proven": proven.code, **_same(ground)}


def _no_base(ground: Ground) -> list[str]:
    ground.emptied(ground.made.bases)
    return []


def _base_there(ground: Ground) -> End:
    return {"bases": _stored(ground.made.bases), **_same(ground)}


def _one_dump(ground: Ground) -> list[str]:
    ground.emptied(ground.made.store)
    ground.made.back_up()
    return []


def _two_dumps(ground: Ground) -> list[str]:
    _one_dump(ground)
    time.sleep(1.1)  # a backup is named by its second
    ground.made.back_up()
    return _inputs(probes="SELECT count(*) FROM users", sample_of="questions")


def _told(ground: Ground) -> End:
    return {"told": "succeeded" in ground.people.told[-1], **_same(ground)}


def _damage(ground: Ground) -> list[str]:
    _one_dump(ground)
    ground.made.sql("DELETE FROM questions WHERE id % 3 = 0")
    return []


def _rows_gone(ground: Ground) -> list[str]:
    _one_dump(ground)
    moment = datetime.now(UTC).isoformat()
    time.sleep(0.01)
    ground.made.sql("DELETE FROM users WHERE id % 5 = 0")
    return _inputs(accident=moment, tables="users,questions")


def _rows_back(ground: Ground) -> End:
    """The rows; sequences may have moved forward."""
    now = picture(ground.made.server, ground.made.database).rows
    tables = {name: rows for name, rows in ground.whole.rows.items() if not name.endswith("_seq")}
    return {"rows": {name: now[name] for name in tables} == tables}


def _moment_passed(ground: Ground) -> list[str]:
    ground.emptied(ground.made.bases)
    based = ground.made.apply("base-backup")
    assert based.code == 0, based.said
    moment = ground.made.sql("SELECT clock_timestamp()")[0][0]
    assert isinstance(moment, datetime)
    time.sleep(0.05)
    ground.made.sql("DROP TABLE questions CASCADE")
    return _inputs(target=moment.isoformat())


def _no_damage(ground: Ground) -> list[str]:
    ground.emptied(ground.evidence)
    return []


def _looked_at(ground: Ground) -> End:
    ground.made.sql("DROP EXTENSION IF EXISTS amcheck")
    kept = [suffix for suffix in _stored(ground.evidence) if suffix.endswith(".manifest.json")]
    return {"evidence": len(kept), **_same(ground)}


def _months_of_dumps(ground: Ground) -> list[str]:
    """One dump, and six of its likes, each of another month."""
    ground.emptied(ground.made.store)
    copied(ground.made.back_up(), *(31 * age + 1 for age in range(6)))
    return _inputs(daily="0", weekly="0", monthly="3", max_delete="1")


def _pruned(ground: Ground) -> End:
    return {"store": sorted(path.name for path in ground.made.store.iterdir()), **_same(ground)}


def _three_bases(ground: Ground) -> list[str]:
    ground.emptied(ground.made.bases)
    for _ in range(3):
        assert ground.made.apply("base-backup").code == 0
        ground.made.sql("SELECT pg_switch_wal()")
        time.sleep(1.1)  # a base backup is named by its second
    return _inputs(weekly="0")


def _bases_pruned(ground: Ground) -> End:
    """The oldest segment that is left is the one that the older of the two needs."""
    made, bases = ground.made, sorted(ground.made.bases.glob("*.manifest.json"))
    needed = segment_name(segment_at(parse_lsn(json.loads(bases[0].read_text())["wal_start"]), 1))
    if isinstance(made.server, InContainer):
        there = made.server.run("ls", made.wal).decode().split()
    else:
        there = [path.name for path in Path(made.wal).iterdir()]
    oldest = min(name for name in there if len(name) == 24)
    return {"bases": len(bases), "hidden": list(made.bases.glob(".*")), "oldest": oldest >= needed, **_same(ground)}


def _nothing(_: Ground) -> list[str]:
    return []


CASES = (
    Case("backup-db", _no_backup, _proven_dump),
    Case("verify-backup", _one_dump, _same),
    Case("prune-backups", _months_of_dumps, _pruned),
    Case("prune-base-backups", _three_bases, _bases_pruned),
    Case("restore-db", _damage, _same),
    Case("restore-rows", _rows_gone, _rows_back),
    Case("restore-test", _two_dumps, _told),
    Case("base-backup", _no_base, _base_there),
    Case("restore-db-pitr", _moment_passed, _same),
    Case("enable-archiving", _no_base, _base_there),
    Case("check-archive", _nothing, _same),
    Case("database-corruption", _no_damage, _looked_at, ("decide", "-i", "way=leave")),
)


@contextmanager
def ground(client: DockerClient, *, there: bool, settings: Sequence[str] = ()) -> Iterator[Ground]:
    """CivicQ with an archive, an evidence store and people on call; the cluster as it is now is what restores come back to."""
    with ExitStack() as standing:
        made = standing.enter_context(stack(client, CIVICQ, local=not there, archive=True, settings=settings))
        standing.enter_context(ended_with_the_test(made))
        people = standing.enter_context(on_call())
        made.program.extra["ON_CALL_URL"] = people.url
        found = Ground(made, people, picture(made.server, made.database))
        found.evidence.mkdir(mode=0o700)
        text = made.environment.read_text()
        line = next(one for one in text.splitlines() if one.startswith("  evidence:"))
        made.environment.write_text(text.replace(line, f'  evidence: {{type: store, url: "file://{found.evidence}"}}'))
        based = made.apply("base-backup")  # check-archive asks for one
        assert based.code == 0, based.said
        yield found


def tidied(ground: Ground) -> None:
    """Away with earlier runs, with databases that they kept, and with data directories beside the live one."""
    made = ground.made
    made.server.found_again()
    made.tidy()
    runs = made.program.state / "runs"
    if runs.exists():
        until(lambda: not processes_about(runs), SETTLES_IN_S, "supervisors of earlier runs leave")
        shutil.rmtree(runs)
    if isinstance(made.server, InContainer):
        made.server.run("sh", "-c", "rm -rf /var/lib/postgresql/*_old_* /var/lib/postgresql/data/old_rb_*")
    else:
        for kept in made.server.folder.glob("*_old_*"):
            shutil.rmtree(kept)


def ended(ground: Ground, case: Case, ran: Ran) -> None:
    """Resume until the run is over, answering what it asks."""
    made = ground.made
    for _ in range(MOST_RESUMES):
        made.server.found_again()
        if ran.code == 0:
            return
        if ran.code == WAITS and case.answer:
            step, *words = case.answer
            said = made.program.run("confirm", made.program.last, step, *words)
            assert said.code in (0, 4), said.said  # 4: it was answered before the kill
        ran = made.program.run("resume", made.program.last, *made.consent, within_s=ENDS_WITHIN_S)
    made.server.found_again()
    assert ran.code == 0, ran.said


def undisturbed(ground: Ground, case: Case) -> tuple[float, End]:
    """How long the plan takes, and its end."""
    tidied(ground)
    words = case.before(ground)
    began = time.monotonic()
    ended(ground, case, ground.made.apply(case.plan, *words))
    took = time.monotonic() - began
    return took, {**case.after(ground), **ground.left()}


def booted(made: Stack) -> None:
    """A local server that was killed with the rest is started as a machine that boots does it, if its directory is in place."""
    data = made.server.folder / "data"
    if isinstance(made.server, InContainer) or not (data / "PG_VERSION").exists() or alive(data):
        return
    start = ["--silent", "-D", str(data), "-l", str(made.server.folder / "log.boot"), "-w", "start"]
    time.sleep(2.0)  # the killed one's children take a moment to go; at a boot there are none
    server_account().run([made.server.bin_dir / "pg_ctl", *start])


def alive(data: Path) -> bool:
    """Whether a server runs in a data directory of this machine."""
    lock = data / "postmaster.pid"
    facts = look(int(lock.read_text().split()[0])) if lock.exists() else None
    return facts is not None and facts.lives


def trial(ground: Ground, case: Case, at_s: float, victim: Victim, expected: End) -> None:
    """Begin, kill, resume, compare; an AssertionError says what did not hold."""
    tidied(ground)
    made, words = ground.made, case.before(ground)
    earlier = set(made.program.runs)
    engine = made.program.start("apply", *made.arguments(case.plan, *words))
    time.sleep(at_s)
    begun = [run for run in made.program.runs if run not in earlier and made.program.events(run)]
    if not begun:  # it had not yet begun a run: nothing was killed but a reader
        engine.kill()
        engine.wait(30)
        runs = made.program.state / "runs"
        until(
            lambda: not processes_about(runs), SETTLES_IN_S, "a supervisor without a run leaves, and its locks with it"
        )
        ended(ground, case, made.apply(case.plan, *words))
    else:
        kill(victim, engine, made.program.directory(), made)
        if victim is Victim.EVERYTHING:
            booted(made)
        over = any(
            event["event"] == "run.finished" and event["status"] == "succeeded" for event in made.program.events()
        )
        if not over:
            ended(ground, case, made.resume())
        made.server.found_again()
    found = {**case.after(ground), **ground.left()}
    assert found == expected, f"expected {expected}\nfound    {found}"


def sweep(client: DockerClient, case: Case, *, there: bool, seed: int, instants: int) -> tuple[int, float]:
    """How many instants held, and how long the undisturbed run took (seconds). After one that did not the ground is another."""
    held, took, expected = 0, 0.0, dict[str, object]()
    with ExitStack() as standing:
        made: Ground | None = None
        for number, part in enumerate(Trials.instants(seed, instants)):
            if made is None:
                standing.close()
                made = standing.enter_context(ground(client, there=there))
                took, found = undisturbed(made, case)
                expected = dict(found)
            victim = Victim.EVERYTHING if number % 2 else Victim.ENGINE
            about = f"{case.plan} {number + 1}/{instants}: {victim} after {part * took:.2f} of {took:.2f} s"
            try:
                trial(made, case, part * took, victim, expected)
            except Exception:
                kept = Path(tempfile.mkdtemp(prefix="runbook-sweep-"))
                shutil.copytree(made.made.program.folder, kept / "home", ignore=shutil.ignore_patterns("*.sock"))
                _say(f"{about}: DID NOT HOLD; {kept}\n{traceback.format_exc()}")
                made = None
                continue
            held += 1
            _say(f"{about}: held")
    return held, took


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def main() -> int:
    """The table on stdout, each trial on stderr."""
    import docker

    parser = argparse.ArgumentParser(prog="python -m tests.sweep.plans", description="kill -9 of every plan")
    parser.add_argument("--instants", type=int, default=25)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    parser.add_argument("--there", action="store_true", help="the database is in a container")
    parser.add_argument("--only", action="append", choices=[case.plan for case in CASES], default=[])
    asked = parser.parse_args()
    cases = [case for case in CASES if not asked.only or case.plan in asked.only]
    client, whole = docker.from_env(timeout=300), True
    print(
        f"{'plan':<24}{'tried':>6}{'held':>6}{'clean s':>9}   {'there' if asked.there else 'here'}, seed {asked.seed}"
    )
    for case in cases:
        held, took = sweep(client, case, there=asked.there, seed=asked.seed, instants=asked.instants)
        whole = whole and held == asked.instants
        print(f"{case.plan:<24}{asked.instants:>6}{held:>6}{took:>9.1f}", flush=True)
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
