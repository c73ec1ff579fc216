"""For pytest (`-p tests.matrix.plugin`): what came of each test; and, where it is asked for, of each without its row's defence."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

from tests.matrix.row import below
from tests.matrix.rows import ROWS

RESULTS, POWER = "RUNBOOK_MATRIX_RESULTS", "RUNBOOK_MATRIX_POWER"


class Results:
    """By test: how many cases it counts for (`record_property("cases", n)`, or 1), and whether none of its phases failed."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._of: dict[str, tuple[int, bool]] = {}

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One phase of a test is over."""
        cases, held = self._of.get(report.nodeid, (1, True))
        cases = next((int(str(value)) for name, value in report.user_properties if name == "cases"), cases)
        self._of[report.nodeid] = (cases, held and not report.failed and not report.skipped)

    @pytest.hookimpl
    def pytest_sessionfinish(self) -> None:
        """Leave them where the command looks."""
        self._place.write_text(json.dumps(self._of), encoding="utf-8")


class Power:
    """Runs each test once for every row that wants it red, without that row's defence; tells which rows saw a failure."""

    def __init__(self, place: Path, rows: frozenset[str]) -> None:
        self._place = place
        self._rows = [row for row in ROWS if row.name in rows and row.takes_out is not None]
        self._red = dict.fromkeys((row.name for row in self._rows), False)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        """In the place of the usual one run."""
        for row in self._rows:
            if self._red[row.name] or not any(below(item.nodeid, node) for node in row.red):
                continue
            assert isinstance(item, pytest.Function)
            item._initrequest()
            with pytest.MonkeyPatch.context() as patch:
                assert row.takes_out is not None
                row.takes_out(patch)
                reports = runtestprotocol(item, log=False, nextitem=None)  # the next one may be passed over
            self._red[row.name] = any(one.failed for one in reports if one.when == "call")
        return True

    @pytest.hookimpl
    def pytest_sessionfinish(self) -> None:
        """Leave the names of the rows that turned red where the command looks."""
        self._place.write_text(json.dumps([name for name, red in self._red.items() if red]), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Register one of the two, as the environment says."""
    place, rows = os.environ.get(RESULTS), os.environ.get(POWER)
    if place and rows:
        config.pluginmanager.register(Power(Path(place), frozenset(rows.split(";"))), "matrix-power")
    elif place:
        config.pluginmanager.register(Results(Path(place)), "matrix-results")
