"""`python -m tests.matrix`: every row of faults, bad inputs and threats: tried, held, and red without its defence.

    .venv/bin/python -m tests.matrix [--only ROW …] [--no-power]

The counts come from the run. A row whose defence can be taken out is run once more without it, and has to fail then. Rows that are
owed say why. Needs what the tests need (root, a Docker Engine). Progress goes to standard error, the table to standard output.
The exit code is 1 where a row did not hold, was not tried or stayed green, 2 where pytest could not run the tests.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tests.matrix.mutation import Mutation
from tests.matrix.power import Without, mutated, patched, spurious
from tests.matrix.row import Row, below
from tests.matrix.rows import ROWS
from tests.matrix.session import SHARED, Broken, Session

AT_ONCE = 4
"""Copies whose tests run at a time: most of them wait for servers."""
ALL = "all"
RED, GREEN, UNTRIED, OWED, UNASKED = "red", "STAYS GREEN", "NOT TRIED", "owed", "not asked"


@dataclass(frozen=True)
class Tried:
    """A row's tests: how many cases there were and how many held, and what the others said."""

    cases: int
    held: int
    faults: tuple[str, ...] = ()

    @property
    def well(self) -> bool:
        """Something was tried, and all of it held."""
        return 0 < self.cases == self.held and not self.faults


def main(words: Sequence[str] | None = None) -> int:
    """Run the rows that were asked for, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description="what is tried, and what held")
    parser.add_argument("--only", action="append", choices=[row.name for row in ROWS], default=[], metavar="ROW")
    parser.add_argument("--no-power", action="store_true", help="do not take the defences out")
    asked = parser.parse_args(words)
    rows = [row for row in ROWS if not asked.only or row.name in asked.only]
    try:
        tried = dict(results(rows))
        power = dict.fromkeys((row.name for row in rows), UNASKED) if asked.no_power else dict(without_defences(rows))
    except Broken as error:
        print(f"python -m tests.matrix: {error}", file=sys.stderr)
        return 2
    print("\n".join(table(rows, tried, power)), flush=True)
    well = all(tried[row.name].well for row in rows if row.nodes)
    return 0 if well and not {GREEN, UNTRIED} & set(power.values()) else 1


def results(rows: Sequence[Row]) -> Iterator[tuple[str, Tried]]:
    """What came of each row's tests, by name, as rows end. A test that several rows name runs once."""
    over: dict[str, Mapping[str, Any]] = {}
    waited: dict[str, set[str]] = {}
    for line in Session(flags=SHARED).lines([node for row in rows for node in row.nodes]):
        if "broken" in line:
            over[line["broken"]] = {"cases": 1, "held": False, "why": f"can't be collected: {line['why']}"}
        elif "collected" in line and not waited:
            waited = {row.name: {test for test in line["collected"] if row_of(row, test)} for row in rows}
        elif "test" in line:
            over[line["test"]] = line
            for row in rows:
                if line["test"] in (mine := waited.get(row.name, set())):
                    mine.remove(line["test"])
                    if not mine:
                        _say(row, counted(row, over))
    yield from ((row.name, counted(row, over)) for row in (*rows, everything(rows)))


def everything(rows: Sequence[Row]) -> Row:
    """All tests of all rows: what two rows name counts once."""
    return Row(ALL, "", "", tuple(node for row in rows for node in row.nodes))


def row_of(row: Row, test: str) -> bool:
    """Whether a test, or a file that can't be collected, is one of a row's."""
    return any(below(test, node) or below(node, test) for node in row.nodes)


def counted(row: Row, over: Mapping[str, Mapping[str, Any]]) -> Tried:
    """How many cases of a row were tried, and how many held."""
    mine = [(test, line) for test, line in over.items() if row_of(row, test)]
    faults = tuple(f"{test}: {line['why']}" for test, line in mine if not line["held"])
    return Tried(sum(line["cases"] for _, line in mine), sum(line["cases"] for _, line in mine if line["held"]), faults)


def without_defences(rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """Of each row whether it turns red without its defence, by name, as they end."""
    able = [row for row in rows if row.takes_out is not None]
    here = [row for row in able if not isinstance(row.takes_out, Mutation)]
    yield from ((row.name, OWED) for row in rows if row.takes_out is None)
    red = set()
    for name in patched(here):
        red.add(name)
        _tell(f"{name}: {RED} without its defence")
        yield name, RED
    for row in here:
        if row.name not in red:
            _tell(f"{row.name}: {GREEN} without its defence")
            yield row.name, GREEN
    yield from _without_mutations([row for row in able if row not in here])


def _without_mutations(rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """The same of rows whose defence is in other processes; what failed has to hold in a copy that nobody touched."""
    found: dict[str, Without] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for row, one in zip(rows, pool.map(mutated, rows), strict=True):
            found[row.name] = one
            _tell(f"{row.name}: {RED if one.red else GREEN if one.tried else UNTRIED} without its defence: {one.said}")
    amiss = spurious([test for one in found.values() for test in one.red])
    for name, one in found.items():
        for test in (test for test in one.red if test in amiss):
            _tell(f"{name}: {UNTRIED}: it fails in an untouched copy too: {test}: {amiss[test]}")
        shown = one.red and not amiss.keys() & set(one.red)
        yield name, RED if shown else GREEN if one.tried and not one.red else UNTRIED


def table(rows: Sequence[Row], tried: Mapping[str, Tried], power: Mapping[str, str]) -> Iterable[str]:
    """The lines that are printed in the end."""
    yield f"{'row':<9}{'tried':>7}{'held':>7}  {'without defence':<16}  what is done | what makes it hold"
    for row in rows:
        of = tried[row.name]
        yield f"{row.name:<9}{of.cases:>7}{of.held:>7}  {power[row.name]:<16}  {row.what} | {row.defence}"
        yield from (f"{'':<9}! {fault}" for fault in of.faults)
        if row.nodes and not of.cases:
            yield f"{'':<9}! no test was tried"
        if row.owed:
            yield f"{'':<9}owed: {row.owed}"
    held_rows = sum(tried[row.name].well for row in rows)
    kinds = [
        f"{list(power.values()).count(told)} {told}" for told in (RED, GREEN, UNTRIED, OWED) if told in power.values()
    ]
    whole = f"{len(rows)} rows, {held_rows} held: {tried[ALL].cases} tried, {tried[ALL].held} held"
    yield f"{whole}; without the defence {', '.join(kinds) or UNASKED}"


def _say(row: Row, tried: Tried) -> None:
    _tell(f"{row.name}: {tried.held} of {tried.cases} held" + "".join(f"\n  ! {fault}" for fault in tried.faults))


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
