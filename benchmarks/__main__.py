"""``python -m benchmarks [engine|recovery|wal] [--quick] [--only PART] [--json]``: measure, and print a table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.table import Row, as_json, as_text

RESULTS = Path(__file__).with_name("results")


def main() -> None:
    """Parse, measure, print; keep the rows below ``benchmarks/results/``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("which", nargs="?", choices=("engine", "recovery", "wal"), help="default: all")
    parser.add_argument("--quick", action="store_true", help="smaller and fewer: two minutes each")
    parser.add_argument("--only", choices=("dump", "base"), default="", help="of recovery: only these rows")
    parser.add_argument("--json", action="store_true", dest="as_json", help="JSON on stdout")
    options = parser.parse_args()
    began, rows = time.monotonic(), []
    for which in (options.which,) if options.which else ("engine", "recovery", "wal"):
        with tempfile.TemporaryDirectory(prefix="runbook-bench-") as place:
            for row in _measure(which, Path(place), quick=options.quick, only=options.only):
                rows.append(row)
                print(row.what, "…", row.ours, row.other, file=sys.stderr)
    about = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "took_s": round(time.monotonic() - began),
    }
    result = json.dumps({"about": about, "rows": as_json(rows)}, ensure_ascii=False, indent=1)
    RESULTS.mkdir(exist_ok=True)
    named = (options.which or "all", options.only, "quick" if options.quick else "")
    (RESULTS / f"{'-'.join(filter(None, named))}.json").write_text(result, encoding="utf-8")
    print(
        result
        if options.as_json
        else f"{as_text(rows)}\n\n{' · '.join(f'{key} {value}' for key, value in about.items())}"
    )


def _measure(which: str, place: Path, *, quick: bool, only: str) -> Iterator[Row]:
    if which == "engine":
        from benchmarks.engine import Bench, measure

        bench = (
            Bench(place, rounds=2, steps=300, many=1500) if quick else Bench(place, rounds=3, steps=1000, many=10_000)
        )
        if shutil.which("strace") is None:
            raise SystemExit("the engine's syncs are counted with strace: apt-get install strace")
        yield from measure(bench)
    elif which == "wal":
        from benchmarks.walfetch import measure as fetch

        yield from fetch(place, quick=quick)
    else:
        from benchmarks.recovery import measure as recover

        yield from recover(place, quick=quick, only=only)


if __name__ == "__main__":
    main()
