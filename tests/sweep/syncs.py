"""`python -m tests.sweep.syncs`: kill -9 of a restore at every passage of every crash point, and at every sync that strace can hit.

    .venv/bin/python -m tests.sweep.syncs [--there] [--every K] [--only POINT …]

A real restore by the plan that ships, on a small database: before, between and after the writes and syncs of every record of the
journal, and round the start and the end of every process that the supervisor looks after. Each is resumed; rows, schema, properties
and services have to be right, and nothing stray left. Needs root, strace and a Docker Engine with the test images.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tests.evidence.kills import Trials
from tests.evidence.stacks import CIVICQ, stack

if TYPE_CHECKING:
    from docker import DockerClient

POINTS = (
    "strace",
    "journal.before_write",
    "journal.after_write",
    "journal.after_sync",
    "journal.after_head",
    "supervisor.start",
    "supervisor.started",
    "supervisor.executed",
    "supervisor.ended",
    "supervisor.recorded",
)
MOST = 1000


def tried(client: DockerClient, point: str, *, there: bool, every: int) -> tuple[int, int]:
    """How many passages of a point were tried, and how many held. After one that did not, the ground is made anew."""
    count, held = 0, 0
    with ExitStack() as standing:
        trials: Trials | None = None
        for number in range(1, MOST, every):
            if trials is None:
                standing.close()
                made = standing.enter_context(stack(client, CIVICQ, local=not there, stopped=("celery-beat",)))
                trials = Trials.on(made)
            try:
                if not trials.trial_at(point, number):
                    break
                held += 1
                sys.stderr.write(f"{point}:{number}: held\n")
            except Exception:
                kept = Path(tempfile.mkdtemp(prefix="runbook-sweep-"))
                shutil.copytree(trials.stack.program.folder, kept / "home", ignore=shutil.ignore_patterns("*.sock"))
                sys.stderr.write(f"{point}:{number}: DID NOT HOLD; {kept}\n{traceback.format_exc()}")
                trials = None
            sys.stderr.flush()
            count += 1
    return count, held


def main(words: Sequence[str] | None = None) -> int:
    """The table on stdout, each trial on stderr."""
    import docker

    parser = argparse.ArgumentParser(
        prog="python -m tests.sweep.syncs", description="kill -9 at every sync of a restore"
    )
    parser.add_argument("--there", action="store_true", help="the database is in a container")
    parser.add_argument("--every", type=int, default=1, metavar="K", help="only every K-th passage")
    parser.add_argument("--only", action="append", choices=POINTS, default=[])
    asked = parser.parse_args(words)
    client, whole = docker.from_env(timeout=300), True
    print(f"{'killed at':<24}{'tried':>6}{'held':>6}   {'there' if asked.there else 'here'}, every {asked.every}")
    for point in asked.only or POINTS:
        count, held = tried(client, point, there=asked.there, every=asked.every)
        whole = whole and count == held > 0
        print(f"{point:<24}{count:>6}{held:>6}", flush=True)
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
