"""Experience: how long steps took when the same plan ran in the same environment before.

Owns :func:`durations`. Reads journals only. A journal that can't be read teaches nothing, and is not complained about here.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from statistics import median

from runbook.journal.layout import runs
from runbook.journal.local import read

RUNS_LOOKED_AT = 20


def durations(state: Path, plan: str, environment: str) -> Mapping[str, float]:
    """Seconds by step: the median over the newest runs in which the step succeeded."""
    seen: dict[str, list[float]] = {}
    if not state.exists():
        return {}
    for run in islice(reversed(runs(state)), RUNS_LOOKED_AT):
        records = read(run.path).records
        header = records[0].payload if records else {}
        if header.get("plan") != plan or header.get("environment") != environment:
            continue
        for record in records:
            if record.event == "step.succeeded":
                step, spent = record.payload.get("step"), record.payload.get("duration_s")
                if isinstance(step, str) and isinstance(spent, int | float):
                    seen.setdefault(step, []).append(float(spent))
    return {step: median(spent) for step, spent in seen.items()}
