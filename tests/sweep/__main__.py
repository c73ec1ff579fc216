"""`make sweep`: kill -9 of a restore of a large database, at many random instants; what held is a table on stdout.

    .venv/bin/python -m tests.sweep [--instants 20] [--megabytes 1024] [--seed N] [--only NAME …]

Needs root, a Docker Engine (DOCKER_HOST) with the test images, and space for three copies of the database. Each trial kills a
restore by the plan that ships, resumes it, and compares rows, schema, properties and services with what they were; a trial
that fails is shown whole, and its run's directory is kept. The exit code is 1 where one did not hold.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.evidence.kills import Seen, Trials, Victim
from tests.evidence.stacks import CIVICQ, Guide, stack

if TYPE_CHECKING:
    from docker import DockerClient

IDLE = "celery-beat"
PAGE_BYTES = 8192


@dataclass(frozen=True)
class Series:
    """Trials of one kind."""

    name: str
    local: bool
    victim: Victim


SERIES = (
    Series("here-engine", local=True, victim=Victim.ENGINE),
    Series("here-everything", local=True, victim=Victim.EVERYTHING),
    Series("container-engine", local=False, victim=Victim.ENGINE),
    Series("container-everything", local=False, victim=Victim.EVERYTHING),
    Series("container-far-side-lives", local=False, victim=Victim.ALL_BUT_THE_FAR_SIDE),
)


@dataclass
class Tally:
    """What a series came to."""

    series: Series
    seed: int
    bytes: int = 0
    clean_s: float = 0.0
    seen: list[Seen] = field(default_factory=list)
    broken: list[float] = field(default_factory=list)

    @property
    def line(self) -> str:
        """Its row of the table."""
        tried = len(self.seen) + len(self.broken)
        resumed, adopted = sum(one.resumed for one in self.seen), sum(one.adopted > 0 for one in self.seen)
        alive = sum(one.children > 0 for one in self.seen)
        return (
            f"{self.series.name:<26}{tried:>6}{len(self.seen):>6}{resumed:>9}{alive:>9}{adopted:>9}"
            f"{self.clean_s:>9.1f}{self.bytes / 2**20:>9.0f}  {self.seed}"
        )


HEAD = f"{'series':<26}{'tried':>6}{'held':>6}{'resumed':>9}{'alive':>9}{'adopted':>9}{'clean s':>9}{'MiB':>9}  seed"


def large(megabytes: int) -> Guide:
    """CivicQ with so many scanned pages that are stored as they are."""
    pages = megabytes * 2**20 // PAGE_BYTES
    filling = (
        "CREATE TABLE scans (id int PRIMARY KEY, question_id int, page text NOT NULL)",
        "ALTER TABLE scans ALTER page SET STORAGE EXTERNAL",
        f"INSERT INTO scans SELECT n, 1 + n % 9000, repeat(md5(n::text), {PAGE_BYTES // 32}) FROM generate_series(1, {pages}) n",
        "CREATE INDEX ON scans (question_id)",
    )
    return replace(CIVICQ, data=(*CIVICQ.data, *filling))


def sweep(client: DockerClient, series: Series, *, guide: Guide, seed: int, instants: int) -> Tally:
    """All trials of a series. After one that did not hold the next has a stack of its own."""
    tally = Tally(series, seed)
    with ExitStack() as stands:
        trials: Trials | None = None
        moments = list(Trials.instants(seed, instants))
        for number in range(instants):
            if trials is None:
                stands.close()
                trials = Trials.on(stands.enter_context(stack(client, guide, local=series.local, stopped=(IDLE,))))
                tally.clean_s = trials.clean_s
                tally.bytes = int(trials.stack.sql("SELECT pg_database_size(current_database())")[0][0])
            began = time.monotonic()
            try:
                seen = trials.trial(series.victim, moments[number])
            except Exception:
                tally.broken.append(moments[number])
                _show_broken(series, moments[number], trials)
                trials = None
                continue
            tally.seen.append(seen)
            about = f"{seen.step}, {seen.children} alive, {seen.adopted} adopted"
            _say(
                f"{series.name} {number + 1}/{instants}: {seen.at_s:.2f} s ({about}): held, {time.monotonic() - began:.0f} s"
            )
    return tally


def _show_broken(series: Series, part: float, trials: Trials) -> None:
    kept = Path(tempfile.mkdtemp(prefix="runbook-sweep-"))
    shutil.copytree(trials.stack.program.folder, kept / "home", ignore=shutil.ignore_patterns("*.sock"))
    _say(f"{series.name}: killed after {part:.0%}: DID NOT HOLD; its folder is {kept}\n{traceback.format_exc()}")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def main() -> int:
    """Run the series that were asked for; print the table."""
    import docker

    parser = argparse.ArgumentParser(prog="python -m tests.sweep", description="kill -9 of restores, many times")
    parser.add_argument("--instants", type=int, default=20)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--only", action="append", choices=[series.name for series in SERIES], default=[])
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # an end on request tidies up as well
    guide = large(given.megabytes)
    client = docker.from_env(timeout=300)
    tallies = []
    for number, series in enumerate(SERIES):
        if not given.only or series.name in given.only:
            tallies.append(sweep(client, series, guide=guide, seed=given.seed + number, instants=given.instants))
            sys.stdout.write("\n".join([HEAD, *(tally.line for tally in tallies), ""]) + "\n")
            sys.stdout.flush()
    outcome = Counter(bool(tally.broken) for tally in tallies)
    sys.stdout.write(f"seed {given.seed}: {'all held' if not outcome[True] else f'{outcome[True]} series broken'}\n")
    return 1 if outcome[True] else 0


if __name__ == "__main__":
    sys.exit(main())
