"""For pytest (`-p tests.matrix.plugin`): tells what comes of each test; where it is asked for, without each row's defence.

A line is a JSON object: `collected` (the tests that will run), `broken` (a file that could not be collected), `test` (one that is
over: `cases`, none where it was left out, `held`, `failed`, `why`), or `red` (a row of which a test failed without its defence).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

from tests.matrix.mutation import Mutation
from tests.matrix.row import Row, below
from tests.matrix.rows import ROWS

RESULTS, POWER = "RUNBOOK_MATRIX_RESULTS", "RUNBOOK_MATRIX_POWER"
WHY_CHARACTERS = 300


class Results:
    """Tells of each test how many cases it counts for (`record_property("cases", n)`, or 1), and whether each phase passed."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._cases: dict[str, int] = {}
        self._why: dict[str, str] = {}
        self._failed: set[str] = set()

    def tell(self, **line: object) -> None:
        """One line for the command."""
        with self._place.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    @pytest.hookimpl
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that can't be read, or leaves itself out, is told."""
        if not report.passed:
            self.tell(broken=report.nodeid, why=_said(report))

    @pytest.hookimpl
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """What will run."""
        self.tell(collected=[item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """The same, of tests that are shared out: every worker has collected all."""
        self.tell(collected=ids)

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One phase of a test is over."""
        node = report.nodeid
        for name, value in report.user_properties:
            if name == "cases":
                self._cases[node] = int(str(value))
        if not report.passed:
            self._why.setdefault(node, f"{report.outcome} in {report.when}: {_said(report)}")
        if report.skipped:
            self._cases[node] = 0
        if report.failed and report.when == "call":
            self._failed.add(node)
        if report.when == "teardown":
            why = self._why.get(node, "")
            self.tell(test=node, cases=self._cases.get(node, 1), held=not why, failed=node in self._failed, why=why)


class Power(Results):
    """Runs each test once for every row that wants it red, without that row's defence, which is in this process."""

    def __init__(self, place: Path, rows: frozenset[str]) -> None:
        super().__init__(place)
        self._rows = {row.name: row for row in ROWS if row.name in rows}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        """In the place of the usual one run."""
        for row in list(self._rows.values()):
            if any(below(item.nodeid, node) for node in row.red) and self._fails(item, row):
                del self._rows[row.name]
                self.tell(red=row.name)
        return True

    @staticmethod
    def _fails(item: pytest.Item, row: Row) -> bool:
        assert isinstance(item, pytest.Function)
        assert row.takes_out is not None and not isinstance(row.takes_out, Mutation)
        item._initrequest()
        with pytest.MonkeyPatch.context() as patch:
            row.takes_out(patch)
            reports = runtestprotocol(item, log=False, nextitem=None)  # the next one may be passed over
        return any(one.failed for one in reports if one.when == "call")


def _said(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Of its account the line that says what it was; why it was left out."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    every = text.splitlines()
    telling = [line[1:] for line in every if line.startswith("E ")] or [line for line in every if "Error" in line]
    return next(iter([*telling, *every[-1:]]), "").strip()[:WHY_CHARACTERS]


def pytest_configure(config: pytest.Config) -> None:
    """Register one of the two, as the environment says."""
    place, rows = os.environ.pop(RESULTS, None), os.environ.pop(POWER, None)
    if place and rows:
        config.pluginmanager.register(Power(Path(place), frozenset(rows.split(";"))), "matrix-power")
    elif place:
        config.pluginmanager.register(Results(Path(place)), "matrix-results")
