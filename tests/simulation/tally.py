"""Many seeds, counted. Apart from the command, so that each of its workers can import it.

Owns :class:`Tally`, :func:`tally` and :func:`begin_worker`.
"""

from __future__ import annotations

import gc
import signal
import time
from dataclasses import dataclass

from tests.simulation.machine import Rooms
from tests.simulation.trial import Trial


@dataclass(frozen=True, slots=True)
class Tally:
    """What a chunk of seeds came to: how many cases, executions and records there were, and what broke, by seed.

    ``cpu_s`` is the processor's time, in seconds.
    """

    cases: int
    cpu_s: float
    executions: int
    records: int
    faults: tuple[tuple[int, str], ...]


def begin_worker(parent: str) -> None:
    """A worker may be killed at any time: its files are below a directory that outlives it, and Ctrl-C isn't meant for it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Rooms.parent = parent


def tally(seeds: range) -> Tally:
    """Carry these seeds out, whatever becomes of them."""
    began, executions, records = time.process_time(), 0, 0
    faults: list[tuple[int, str]] = []
    for seed in seeds:
        trial = Trial(seed)
        try:
            trial.go()
        except Exception as error:  # whatever it is, it is this seed's fault to show
            faults.append((seed, f"{type(error).__name__}: {error}"))
        executions += trial.executions
        records += len(trial.run.acknowledged)
    gc.collect()
    return Tally(len(seeds), time.process_time() - began, executions, records, tuple(faults))
