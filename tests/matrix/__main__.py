"""`python -m tests.matrix`: every row of faults, bad inputs and threats: tried, held, and red without its defence.

    .venv/bin/python -m tests.matrix [--only ROW …] [--no-power]

The counts come from the run. A row whose defence can be taken out is run once more without it, and has to fail then. Rows that are
owed say why. Needs what the tests need (root, a Docker Engine); the exit code is 1 where a row did not hold or stayed green.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.matrix.plugin import POWER, RESULTS
from tests.matrix.row import Row, below
from tests.matrix.rows import ROWS


def main(words: Sequence[str] | None = None) -> int:
    """Run the rows that were asked for, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description="what is tried, and what held")
    parser.add_argument("--only", action="append", choices=[row.name for row in ROWS], default=[])
    parser.add_argument("--no-power", action="store_true", help="do not take the defences out")
    asked = parser.parse_args(words)
    rows = [row for row in ROWS if not asked.only or row.name in asked.only]
    found = results([node for row in rows for node in row.tests])
    red = frozenset() if asked.no_power else turned_red(rows)
    whole = True
    print(f"{'row':<9}{'tried':>7}{'held':>7}  {'without its defence':<20}  what is done | what makes it hold")
    for row in rows:
        tried, held = counted(row, found)
        power = "" if asked.no_power or row.takes_out is None else ("red" if row.name in red else "STAYS GREEN")
        whole = whole and tried == held and (tried > 0 or not row.tests) and power != "STAYS GREEN"
        told = power or (f"owed: {row.owed}" if row.owed else "not tried")
        print(f"{row.name:<9}{tried:>7}{held:>7}  {told:<20}  {row.what} | {row.defence}", flush=True)
    return 0 if whole else 1


def results(nodes: Sequence[str]) -> Mapping[str, tuple[int, bool]]:
    """What came of every test below these nodes: how many cases, and whether it held."""
    return {node: (cases, held) for node, (cases, held) in (_told(nodes, {}) or {}).items()}


def counted(row: Row, found: Mapping[str, tuple[int, bool]]) -> tuple[int, int]:
    """How many cases of a row were tried, and how many held."""
    mine = [one for node, one in found.items() if any(below(node, named) for named in row.tests)]
    return sum(cases for cases, _ in mine), sum(cases for cases, held in mine if held)


def turned_red(rows: Sequence[Row]) -> frozenset[str]:
    """The names of those rows of which a test fails without the defence; one process, each patch in force for its tests alone."""
    able = [row for row in rows if row.takes_out is not None]
    return frozenset(
        _told([node for row in able for node in row.red], {POWER: ";".join(row.name for row in able)}) or ()
    )


def _told(nodes: Sequence[str], environment: Mapping[str, str]) -> Any:
    """What the plugin has to say after these tests; None where pytest did not come to its end."""
    if not nodes:
        return None
    with tempfile.TemporaryDirectory(prefix="runbook-matrix-") as place:
        file = Path(place) / "results.json"
        argv = [sys.executable, "-m", "pytest", "-q", "-p", "tests.matrix.plugin", "-p", "no:cacheprovider"]
        subprocess.run(
            [*argv, *dict.fromkeys(nodes)],
            cwd=Path(__file__).parents[2],
            env={**os.environ, **environment, RESULTS: str(file)},
            stdout=subprocess.DEVNULL,
            check=False,
        )
        return json.loads(file.read_text()) if file.exists() else None


if __name__ == "__main__":
    sys.exit(main())
