"""Dropping a side copy: the server before its directories, names of this run's step alone, and nothing where nothing is."""

from __future__ import annotations

import pytest

from runbook.actions.postgres.cluster import Place, Server
from runbook.actions.postgres.drop_side import DropSide, DropSideFacts, DropSideInputs
from runbook.operation import Operations, Process, Remove
from tests.actions.backups import database, scope

ACTION = DropSide()
INPUTS = DropSideInputs(step="recover")
SYSTEM = database(data_directory="/pg/data")


def planned(facts: DropSideFacts, step: str = "drop") -> Operations:
    return ACTION.plan(SYSTEM, INPUTS, facts, scope(step=step))


OWN = "rb_20260214_120000_test_4f3a_recover"


def facts(
    server: Server | None, *, partial: bool = False, run: bool = True, spaces: tuple[str, ...] = ()
) -> DropSideFacts:
    where = ACTION.assume(SYSTEM, INPUTS, scope(step="drop")).where
    side = Place(2, 1, "postgres", server, signal=True) if server else None
    return DropSideFacts(where, side, "/bin", partial=partial, run=run, feeding=False, spaces=spaces)


@pytest.mark.parametrize(
    ("found", "names"),
    [
        (facts(Server.RUNNING), ["stop_side", "remove_side", "remove_run"]),
        (facts(Server.STALE), ["remove_side", "remove_run"]),
        (facts(Server.STOPPED, run=False), ["remove_side"]),
        (facts(None, partial=True, run=False), ["remove_partial"]),
        (facts(None, run=False), []),
        (
            facts(Server.RUNNING, spaces=(f"/fast/a.{OWN}_16400", f"/slow/a.{OWN}_16401")),
            ["stop_side", "remove_side", "remove_space_16400", "remove_space_16401", "remove_run"],
        ),
        (facts(None, run=False, spaces=(f"/fast/a.{OWN}_16400",)), ["remove_space_16400"]),
        (DropSideFacts(None, None, "", partial=False, run=False, feeding=False, spaces=()), []),
    ],
)
def test_what_is_there_goes_the_server_first(found: DropSideFacts, names: list[str]) -> None:
    assert [one.name for one in planned(found)] == names


def test_only_names_of_the_step_that_made_it_are_removed() -> None:
    stop, *removed = planned(ACTION.assume(SYSTEM, INPUTS, scope(step="drop")))
    assert isinstance(stop, Process) and stop.user == "postgres"
    assert removed and all(isinstance(one, Remove) and one.marker.endswith("_recover") for one in removed)
    assert {one.path.rpartition("/")[2] for one in removed if isinstance(one, Remove)} == {
        f"data.{OWN}",
        OWN,
    }


def test_in_an_included_plan_the_step_is_that_plans_own() -> None:
    inside = ACTION.assume(SYSTEM, INPUTS, scope(step="tables.drop")).where
    outside = ACTION.assume(SYSTEM, INPUTS, scope(step="drop")).where
    assert inside is not None and outside is not None and inside.side != outside.side
