"""`python -m tests.sweep.plans`: kill -9 of every plan that ships, at random instants; the table on stdout tells what held.

    .venv/bin/python -m tests.sweep.plans [--instants 25] [--seed N] [--there] [--only PLAN …]

Each plan is run undisturbed once; then, for each instant, its ground is prepared anew, the plan is begun, engine or everything
is killed by turns, and the run is resumed until its end, which must be that of the undisturbed run. *hit*: kills that met a run
between its first record and its end; the first of each plan comes before that, and some may come after. Needs root and a Docker
Engine with the test images; `--there`: the database is in a container.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
from typing import Any

from tests.sweep import archive, cases, logins, pair
from tests.sweep.trials import Case, sweep

CASES: tuple[Case[Any], ...] = (*archive.CASES, *cases.CASES, *logins.CASES, *pair.CASES)


def main() -> int:
    """The table on stdout, each trial on stderr."""
    import docker

    parser = argparse.ArgumentParser(prog="python -m tests.sweep.plans", description="kill -9 of every plan")
    parser.add_argument("--instants", type=int, default=25)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    parser.add_argument("--there", action="store_true", help="the database is in a container")
    parser.add_argument("--only", action="append", choices=[case.plan for case in CASES], default=[])
    asked = parser.parse_args()
    chosen = [case for case in CASES if case.plan in asked.only or not asked.only]
    if asked.there:
        chosen = [case for case in chosen if case.opened_there is not None]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers and containers end with it
    client, whole = docker.from_env(timeout=300), True
    where = "there" if asked.there else "here"
    print(f"{'plan':<24}{'tried':>6}{'held':>6}{'hit':>6}{'clean s':>9}   {where}, seed {asked.seed}", flush=True)
    for case in chosen:
        found = sweep(client, case, there=asked.there, seed=asked.seed, instants=asked.instants)
        whole = whole and found.held == found.tried
        print(f"{case.plan:<24}{found.tried:>6}{found.held:>6}{found.hit:>6}{found.clean_s:>9.1f}", flush=True)
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
