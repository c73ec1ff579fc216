"""The way to the server breaks while it is told to COMMIT: the swap of a restore, and the merge of deleted rows."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.evidence.kills import Victim, kill
from tests.evidence.witness import until
from tests.faults.house import COUNTS, DATABASE, RESTORE
from tests.faults.test_rows import PLAN, words
from tests.trouble.night import DONE, FAILED, WITHIN_S, Night
from tests.trouble.ways import Cut, Way

SWAP, MERGE = b"RENAME TO", b"runbook.merged"
DELETED = "DELETE FROM users WHERE id BETWEEN 301 AND 600"


@pytest.mark.parametrize("delivered", [True, False], ids=["delivered", "not delivered"])
def test_a_swap_whose_commit_is_cut_off(night: Night, delivered: bool) -> None:
    live = night.oid()
    with Way(night.server.port, cut=Cut(SWAP, b"COMMIT", delivered)) as way:
        night.port = way.port
        ended = night.end(night.begin(RESTORE))
        assert way.cuts == 1
        if delivered:
            assert ended.code == DONE, "the server says that it was committed"
        else:
            assert ended.code == FAILED, ended.said
            steps = night.tells(ended, "The server says that transaction", "was rolled back", status="failed")
            assert steps["restore"] == "failed"
            night.untouched(live)
            way.mend()
            resumed = night.resume()
            assert resumed.code == DONE, resumed.said
    night.restored(live)


@pytest.mark.parametrize("delivered", [True, False], ids=["delivered", "not delivered"])
def test_a_merge_whose_commit_is_cut_off_and_nobody_can_ask(night: Night, delivered: bool) -> None:
    """The way is gone with the COMMIT, and the engine is killed while it tries to ask: the resume settles it by the note."""
    night.server.sql(DELETED, DATABASE)
    with Way(night.server.port, cut=Cut(MERGE, b"COMMIT", delivered, altogether=True)) as way:
        night.port = way.port
        (night.folder / "plan.yaml").write_text(PLAN)
        engine = night.program.start("apply", night.folder / "plan.yaml", *words(night, datetime.now(UTC)))
        until(lambda: way.cuts == 1, WITHIN_S, "the way is cut at the COMMIT")
        noted = [event for event in night.program.events() if event["event"] == "operation.noted"]
        assert noted[-1]["step"] == "merge"
        kill(Victim.EVERYTHING, engine, night.program.directory())
        way.mend()
        resumed = night.resume()
        assert resumed.code == DONE, resumed.said
    adopted = [event["step"] for event in night.program.events() if event.get("adopted")]
    assert adopted == (["merge"] if delivered else [])
    assert night.rows() == COUNTS
    put = night.server.sql("SELECT count(*), count(DISTINCT key) FROM runbook.merged", DATABASE)
    assert put == [(300, 300)], "once"
    assert night.databases() == {DATABASE}
    night.nothing_left()
