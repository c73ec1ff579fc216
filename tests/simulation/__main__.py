"""Simulate: ``python -m tests.simulation --seed N`` (one seed, told), or ``--seeds FROM:TO`` (many, the first fault ends it)."""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from tests.simulation.trial import Trial


def main() -> int:
    """Run the seeds that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="one seed, with its story")
    parser.add_argument("--seeds", default="0:2000", metavar="FROM:TO", help="default: %(default)s")
    parser.add_argument("--keep-going", action="store_true", help="list every seed that shows a fault")
    given = parser.parse_args()
    if given.seed is not None:
        return int(not shows_nothing(given.seed, told=True))
    first, _, last = given.seeds.partition(":")
    began, faults = time.monotonic(), 0
    for seed in range(int(first), int(last)):
        if shows_nothing(seed, told=False):
            continue
        faults += 1
        if not given.keep_going:
            break
    print(f"{seed - int(first) + 1} seeds in {time.monotonic() - began:.0f} s, {faults} with a fault")
    return int(faults > 0)


def shows_nothing(seed: int, *, told: bool) -> bool:
    """Whether the seed comes to its end with every rule kept; what broke is printed."""
    trial = Trial(seed)
    try:
        trial.go()
    except Exception as error:
        print(f"seed {seed}: {type(error).__name__}: {error}\n  again: python -m tests.simulation --seed {seed}")
        if told:
            traceback.print_exc()
        return False
    finally:
        if told:
            print(f"{len(trial.plan.steps)} steps, {trial.parallel} at once, {trial.wild} wild executions")
            for one in trial.plan.steps:
                print(
                    f"  {one.section.value}: {one.id} {one.uses} needs {','.join(one.needs)} {one.when} {one.on_failure}"
                )
            print("\n".join(trial.story))
    return True


if __name__ == "__main__":
    sys.exit(main())
