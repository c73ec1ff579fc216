"""The server goes away in the middle of a restore: back at once, or gone until somebody starts it again."""

from __future__ import annotations

import signal

from tests.trouble.night import DONE, FAILED, WAITS, Night


def test_postgresql_is_restarted_in_the_middle_of_a_restore(night: Night) -> None:
    live = night.oid()
    with night.restoring() as engine:
        night.server.restart(signal.SIGQUIT)
        ended = night.end(engine)
    assert ended.code == FAILED, ended.said
    steps = night.tells(
        ended, "server closed the connection unexpectedly", "done and not undone: create", status="failed"
    )
    assert steps == {"pick": "succeeded", "prove": "succeeded", "restore": "failed"}
    night.untouched(live)

    resumed = night.resume()
    assert resumed.code == DONE, resumed.said
    night.restored(live)


def test_postgresql_stays_away_until_somebody_starts_it(night: Night) -> None:
    live = night.oid()
    with night.restoring() as engine:
        night.server.stop(signal.SIGQUIT)
        try:
            ended = night.end(engine)
            assert ended.code == FAILED, ended.said
            early = night.resume()
        finally:
            night.server.start()
    assert early.code == WAITS, early.said
    steps = night.tells(early, "the database could not be reached", "Connection refused", status="unknown")
    assert steps["restore"] == "unknown", "it was begun, and nobody could look"
    night.untouched(live)

    resumed = night.resume()
    assert resumed.code == DONE, resumed.said
    night.restored(live)
