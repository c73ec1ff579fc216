"""Simulate: one seed, told, or many. The seed of a failure is printed, and told it fails in the same way again.

python -m tests.simulation --seed 713
python -m tests.simulation --seeds 0:1000000 --workers 8
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from multiprocessing import active_children, get_context
from tempfile import TemporaryDirectory

from tests.simulation.machine import MEMORY
from tests.simulation.tally import Tally, begin_worker, tally
from tests.simulation.trial import Trial

CHUNK = 50
TELL_EVERY_S = 10.0
MOST_TOLD = 20


def main() -> int:
    """Run the seeds that were asked for. Exit code 1: a rule was broken."""
    given = _asked()
    if given.seed is not None:
        return int(not _told(given.seed))
    first, _, last = given.seeds.partition(":")
    return _many(int(first), int(last), given.workers, most_faults=MOST_TOLD if given.keep_going else 1)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, help="one seed, with its story")
    parser.add_argument("--seeds", default="0:2000", metavar="FROM:TO", help="default: %(default)s")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="0: in this process; default: %(default)s"
    )
    parser.add_argument(
        "--keep-going", action="store_true", help=f"end with the {MOST_TOLD}th failure, not with the first"
    )
    return parser.parse_args()


def _many(first: int, last: int, workers: int, *, most_faults: int) -> int:
    began, told = time.monotonic(), -TELL_EVERY_S
    cases, cpu_s, executions, records, failures = 0, 0.0, 0, 0, 0
    chunks = [range(at, min(at + CHUNK, last)) for at in range(first, last, CHUNK)]
    # Ctrl-C ends it, and what was tried so far is told
    with suppress(KeyboardInterrupt), _tallies(chunks, workers) as tallies:
        for found in tallies:
            cases, executions, records = cases + found.cases, executions + found.executions, records + found.records
            cpu_s += found.cpu_s
            failures += len(found.faults)
            for seed, fault in found.faults:
                print(f"seed {seed}: {fault}\n  again: python -m tests.simulation --seed {seed}", flush=True)
            spent = time.monotonic() - began
            if spent - told >= TELL_EVERY_S:
                told = spent
                left = spent / cases * (last - first - cases)
                print(f"{cases:,} of {last - first:,} seeds, {failures} failures, {left:,.0f} s to go", flush=True)
            if failures >= most_faults:
                break
    spent = time.monotonic() - began
    print(
        f"{cases:,} cases of the seeds {first}:{last} ({executions:,} executions, {records:,} records) in {spent:,.0f} s"
        f" ({cpu_s:,.0f} s of CPU): {failures} failures"
    )
    return int(failures > 0)


@contextmanager
def _tallies(chunks: list[range], workers: int) -> Iterator[Iterator[Tally]]:
    if not workers:
        yield map(tally, chunks)
        return
    with (
        TemporaryDirectory(prefix="simulation-", dir=MEMORY) as parent,
        ProcessPoolExecutor(workers, get_context("spawn"), begin_worker, (parent,)) as pool,
    ):
        chunked = [pool.submit(tally, chunk) for chunk in chunks]
        try:
            yield (one.result() for one in as_completed(chunked))
        except BaseException:
            for worker in active_children():
                worker.kill()  # a trial takes any other signal for its own
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _told(seed: int) -> bool:
    """Whether the seed comes to its end with every rule kept; its plan and its story are printed."""
    trial = Trial(seed)
    try:
        trial.go()
    except Exception:
        traceback.print_exc()
        well = False
    else:
        well = True
    print(f"{len(trial.plan.steps)} steps, {trial.parallel} at once, {trial.wild} wild executions")
    for one in trial.plan.steps:
        print(f"  {one.section.value}: {one.id} {one.uses} needs {','.join(one.needs)} {one.when} {one.on_failure}")
    print("\n".join(trial.story))
    print(f"seed {seed}: {'every rule is kept' if well else 'a rule is broken'}")
    return well


if __name__ == "__main__":
    sys.exit(main())
