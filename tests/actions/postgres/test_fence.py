"""The fence: what was seen of the old primary → operations."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runbook.action import CheckFailed, Done, Look
from runbook.actions.postgres.cluster import Server
from runbook.actions.postgres.fence import Fence, FenceFacts, FenceInputs
from runbook.actions.postgres.fencing import Seen
from runbook.actions.postgres.standby_status import ASSUMED
from runbook.host import Docker
from runbook.operation import Call, Process, changes
from tests.actions.backups import database, scope
from tests.actions.postgres.nodes import directory, primary_node

FENCE, INPUTS = Fence(), FenceInputs()
PRIMARY, STANDBY = primary_node(), ASSUMED


def facts(seen: Seen) -> FenceFacts:
    return FenceFacts("/pg/data", "postgres", "/pg/bin", ("-p", "5433"), seen)


@pytest.mark.parametrize(
    ("seen", "remaining"),
    [
        (Seen(PRIMARY, directory(Server.RUNNING)), ["remember", "mark", "stop", "control"]),
        (Seen(None, directory(Server.RUNNING)), ["remember", "mark", "stop", "control"]),
        (Seen(PRIMARY, directory(Server.RUNNING, marked=True)), ["remember", "stop", "control"]),
        (Seen(None, directory(Server.RUNNING, marked=True)), ["remember", "stop", "control"]),
        (Seen(None, directory(Server.STOPPED)), ["remember", "mark", "control"]),
        (Seen(None, directory(Server.STALE)), ["remember", "mark", "control"]),
        (Seen(None, directory(Server.STOPPED, marked=True)), ["control"]),
        (Seen(None, directory(Server.STALE, marked=True)), ["control"]),
        (Seen(STANDBY, directory(Server.RUNNING, marked=True)), []),
        (Seen(None, None), []),
    ],
)
def test_what_remains(seen: Seen, remaining: list[str]) -> None:
    operations = FENCE.plan(database(), INPUTS, facts(seen), scope())
    assert [one.name for one in operations] == remaining
    assert not changes(operations[-1]) if operations else True


def test_in_a_container_it_is_stopped_with_the_container_and_marked_inside_or_beside() -> None:
    db = database(host=Docker("pg"))
    _, mark, stop, control = FENCE.plan(db, INPUTS, facts(Seen(PRIMARY, directory(Server.RUNNING))), scope())
    assert isinstance(mark, Process) and mark.host == Docker("pg")
    assert isinstance(stop, Call) and stop.operation == "stop"
    assert isinstance(control, Call) and (control.operation, control.reads) == ("run", True)
    _, beside, _ = FENCE.plan(db, INPUTS, facts(Seen(None, directory())), scope())
    assert isinstance(beside, Call) and beside.operation == "run"


def test_a_container_that_dies_again_and_again_is_stopped_before_it_is_marked() -> None:
    """No program can be run in it; nor does it take writes."""
    again = replace(directory(Server.RUNNING), entered=False)
    db = database(host=Docker("pg"))
    _, stop, mark, _ = FENCE.plan(db, INPUTS, facts(Seen(None, again)), scope())
    assert isinstance(stop, Call) and stop.operation == "stop"
    assert isinstance(mark, Call) and mark.operation == "run"


def test_a_resume_fences_what_has_ended_or_come_back_meanwhile() -> None:
    for seen in (Seen(None, directory()), Seen(PRIMARY, directory(Server.RUNNING))):
        found = facts(seen)
        assert set(FENCE.plan(database(), INPUTS, found, scope())) <= set(
            FENCE.recovery(database(), INPUTS, found, scope())
        )


@pytest.mark.parametrize("state", ["in production", "in crash recovery", ""])
def test_a_switchover_needs_an_orderly_end(look: Look, state: str) -> None:
    said = {"control": {"stdout": f"Database cluster state:  {state}\nLatest checkpoint location:  0/3000148\n"}}
    done = Done(facts(Seen(None, directory(marked=True))), said)
    with pytest.raises(CheckFailed, match="may not have been sent"):
        FENCE.verify(look, database(), FenceInputs(clean=True), done)
    assert FENCE.verify(look, database(), INPUTS, done).end == "", "after a crash the end isn't known"


def test_it_says_where_the_wal_ends(look: Look) -> None:
    said = {"control": {"stdout": "Database cluster state:  shut down\nLatest checkpoint location:  0/3000148\n"}}
    out = FENCE.verify(look, database(), INPUTS, Done(facts(Seen(None, directory(marked=True))), said))
    assert (out.clean, out.end, out.how) == (True, "0/3000148", "marked and stopped")


def test_one_that_came_back_is_noticed(look: Look) -> None:
    with pytest.raises(CheckFailed, match="still takes writes"):
        FENCE.verify(look, database(), INPUTS, Done(facts(Seen(PRIMARY, directory(Server.RUNNING))), {}))
