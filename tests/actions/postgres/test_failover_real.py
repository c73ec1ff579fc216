"""Failover and switchover on two real servers: what is lost is counted, what must not be lost isn't, and never two primaries."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from pydantic import ValidationError

from runbook.action import CheckFailed
from runbook.actions.postgres.fence import Fence
from runbook.actions.postgres.follow import Follow
from runbook.actions.postgres.promote import Promote
from runbook.actions.postgres.rewind import Rewind
from runbook.actions.postgres.standby_status import StandbyStatus
from runbook.errors import Refused
from runbook.system import Postgres
from tests.actions.harness import Stage
from tests.actions.postgres.steps import Steps
from tests.fixtures.pair import Pair, eventually
from tests.fixtures.process import lives

MakePair = Callable[..., Pair]


@pytest.fixture
def steps(stage: Stage) -> Steps:
    return Steps(stage, [])


def test_a_failover_loses_what_was_not_received_and_counts_it(steps: Steps, make_pair: MakePair) -> None:
    pair = make_pair(wal_keep_size="0")  # what pg_rewind needs is kept all the same
    pair.write(20)
    pair.caught_up(pair.first, pair.second)
    pair.cut_off(pair.second)
    pair.write(7)
    seen = steps.step(StandbyStatus(), pair.standby, "lag", primary=pair.primary)
    assert (seen.estimate, seen.source, seen.paused) == (False, "archive", False)
    assert seen.behind_bytes > 0
    assert "would be lost" in seen.meaning
    pair.crash(pair.first)
    seen = steps.step(StandbyStatus(), pair.standby, "lag2", primary=pair.primary)
    assert seen.estimate and seen.behind_bytes is None and seen.behind_s > 0
    assert seen.meaning.startswith("The primary doesn't answer. Estimate")

    fenced = steps.step(Fence(), pair.primary, "fence")
    assert steps.performed == ["remember", "mark", "control"]
    assert (fenced.how, fenced.state, fenced.clean) == ("marked and stopped", "in production", False)
    promoted = steps.step(Promote(), pair.standby, "promote", primary=pair.primary)
    assert steps.performed == ["fenced", "promote", "takes_writes", "checkpoint"]
    assert (promoted.timeline, promoted.lost_nothing) == (2, None)
    assert promoted.recovery_point == seen.last_commit != ""
    assert pair.lost(pair.second) == set(range(21, 28))
    pair.write(5, on=pair.second)

    with pytest.raises(Refused, match=r"can't follow") as refused:
        steps.planned(Follow(), pair.primary, "follow", primary=pair.standby)
    assert "WAL goes on" in str(refused.value) or "without a shutdown" in str(refused.value)
    back = steps.step(Rewind(), pair.primary, "rewind", primary=pair.standby, passfile=str(pair.passfile))
    assert back.discarded_commits == 7
    assert back.fork == promoted.fork
    assert back.first_discarded <= back.last_discarded != ""
    assert back.timeline == 2
    pair.caught_up(pair.second, pair.first)
    assert pair.lost(pair.first) == set(range(21, 28))
    assert pair.first.sql("SHOW port") == [(str(pair.first.port),)], "its own configuration"
    assert pair.first.sql("SELECT pg_is_in_recovery()") == [(True,)]
    good = steps.step(StandbyStatus(), pair.primary, "lag3", primary=pair.standby, streaming=True, max_behind="1MB")
    assert good.behind_bytes is not None and good.behind_bytes < 8192, (
        "the server may write a line of its own now and then"
    )


def test_a_switchover_loses_nothing_there_and_back(steps: Steps, make_pair: MakePair) -> None:
    pair = make_pair()
    servers = {"a": pair.first, "b": pair.second}
    systems = {"a": pair.primary, "b": pair.standby}
    for number, (old, new) in enumerate((("a", "b"), ("b", "a"), ("a", "b"))):
        pair.write(50, on=servers[old])
        fenced = steps.step(Fence(), systems[old], f"fence{number}", clean=True)
        assert fenced.clean and fenced.state == "shut down"
        given = {"primary": systems[old], "end": fenced.end, "lossless": True}
        promoted = steps.step(Promote(), systems[new], f"promote{number}", **given)
        assert steps.performed == ["fenced", "lossless", "promote", "takes_writes", "checkpoint"]
        assert (promoted.timeline, promoted.lost_nothing, promoted.recovery_point) == (number + 2, True, None)
        assert pair.lost(servers[new]) == set()
        told = {"primary": systems[new], "passfile": str(pair.passfile)}
        followed = steps.step(Follow(), systems[old], f"follow{number}", **told)
        assert steps.performed == ["settings", "start", "streaming"]
        assert "correct-horse" not in followed.conninfo
        assert "correct-horse" not in (servers[old].data_dir / "postgresql.auto.conf").read_text()
        pair.caught_up(servers[new], servers[old])
        assert pair.lost(servers[old]) == set()
        # nothing of its own: there is nothing to rewind, and it follows already
        assert steps.planned(Rewind(), systems[old], f"rewind{number}", **told) == ()


def test_a_standby_that_lacks_the_end_is_not_promoted_in_a_switchover(steps: Steps, make_pair: MakePair) -> None:
    pair = make_pair()
    pair.cut_off(pair.second)
    pair.write(3)
    fenced = steps.step(Fence(), pair.primary, "fence", clean=True)
    written = {"primary": pair.primary, "end": fenced.end, "lossless": True}
    life = steps.life(Promote(), pair.standby, "promote", **written)
    names = [one.name for one in life.plan()]
    assert names[:2] == ["fenced", "lossless"]
    assert steps.killed(life, 1) == ["fenced"]
    assert pair.second.sql(f"SELECT pg_last_wal_replay_lsn() > '{fenced.end}'") == [(False,)]
    assert pair.second.sql("SELECT pg_is_in_recovery()") == [(True,)]
    # the way back: the old primary takes writes again, and nothing is lost
    back = steps.life(Fence(), pair.primary, "fence", clean=True)
    assert back.undo() == ["unmark", "start"]
    pair.write(1)
    assert pair.lost(pair.first) == set()


def test_there_are_never_two_primaries(steps: Steps, make_pair: MakePair) -> None:
    pair = make_pair()
    pair.write(3)
    unseen = pair.primary.model_copy(update={"data_directory": "/nowhere/data", "key": "primary"})
    for written in ({"primary": pair.primary}, {"primary": pair.primary, "attested": "me"}, {"primary": unseen}):
        with pytest.raises(Refused, match="not fenced") as refused:
            steps.planned(Promote(), pair.standby, "promote", **written)
        assert "takes writes" in str(refused.value)
    with pytest.raises(Refused, match="is a primary"):
        steps.planned(Promote(), pair.primary, "promote", primary=pair.standby)
    with pytest.raises(Refused, match="is a primary"):
        steps.planned(StandbyStatus(), pair.primary, "lag", primary=pair.standby)

    # a wrong password is no sign that it is down, whatever somebody attests
    locked_out = unseen.model_copy(update={"password": None})
    claims: tuple[tuple[Fence | Promote, Postgres, dict[str, object]], ...] = (
        (Fence(), locked_out, {"attested": "me"}),
        (Promote(), pair.standby, {"primary": locked_out, "attested": "me"}),
    )
    for action, on, claimed in claims:
        with pytest.raises(Refused, match="doesn't let us in"):
            steps.planned(action, on, "fence", **claimed)

    # an address that moved to the standby when the primary died
    moved = pair.standby.model_copy(update={"key": "primary"})
    with pytest.raises(Refused, match="are one server"):
        steps.planned(Promote(), pair.standby, "promote", primary=moved)

    pair.crash(pair.first)
    with pytest.raises(Refused, match="a restart would take writes"):
        steps.planned(Promote(), pair.standby, "promote", primary=pair.primary)
    # nothing is seen of it: down, or cut off from us alone?
    with pytest.raises(Refused, match="cut off from us alone"):
        steps.planned(Fence(), unseen, "fence")
    with pytest.raises(Refused, match="cut off from us alone"):
        steps.planned(Promote(), pair.standby, "promote", primary=unseen)
    # the same path is on the standby's machine too: there it is the standby's
    there = {"address": "192.0.2.1", "data_directory": str(pair.second.data_dir)}
    with pytest.raises(Refused, match="cut off from us alone"):
        steps.planned(Fence(), pair.primary.model_copy(update=there), "fence")
    fenced = steps.step(Fence(), unseen, "fence", attested="J. Doe, power pulled, 03:12")
    assert steps.performed == []
    assert (fenced.how, fenced.attested) == ("attested", "J. Doe, power pulled, 03:12")

    steps.step(Fence(), pair.primary, "fence2")
    # whoever starts it gets one that is read-only; the fence holds
    pair.first.start()
    assert pair.first.sql("SELECT pg_is_in_recovery()") == [(True,)]
    again = steps.step(Fence(), pair.primary, "fence3")
    assert (again.how, steps.performed) == ("read-only", [])
    steps.step(Promote(), pair.standby, "promote", primary=pair.primary)
    with pytest.raises(Refused, match="not fenced"):
        steps.planned(Follow(), pair.standby, "follow", primary=pair.standby)


def test_one_that_is_stopped_at_once_has_no_known_end(steps: Steps, make_pair: MakePair) -> None:
    pair = make_pair()
    pair.write(3)
    fenced = steps.step(Fence(), pair.primary, "fence", mode="immediate")
    assert (fenced.clean, fenced.end, fenced.state) == (False, "", "in production")
    with pytest.raises(ValidationError, match="lossless needs"):
        steps.planned(Promote(), pair.standby, "promote", primary=pair.primary, end=fenced.end, lossless=True)
    assert steps.step(Promote(), pair.standby, "promote", primary=pair.primary).lost_nothing is None


def test_a_primary_of_another_cluster_is_no_primary(steps: Steps, make_pair: MakePair, db: object) -> None:
    pair = make_pair()
    with pytest.raises(Refused, match="belongs to cluster"):
        steps.planned(StandbyStatus(), pair.standby, "lag", primary=db)


def test_a_lag_that_is_too_large_fails(steps: Steps, make_pair: MakePair) -> None:
    pair = make_pair()
    pair.write(2)
    pair.caught_up(pair.first, pair.second)
    looked = []

    def lacks_nothing() -> bool:
        given = {"primary": pair.primary, "max_lag": "5m", "streaming": True}
        looked.append(steps.step(StandbyStatus(), pair.standby, "lag", **given))
        return bool(looked[-1].behind_bytes == 0)

    eventually(lacks_nothing)  # at once, unless the server writes a line of its own just then
    assert (looked[-1].behind_s, looked[-1].source) == (0.0, "streaming")
    assert looked[-1].meaning.startswith("Nothing would be lost")
    pair.cut_off(pair.second)
    pair.write(2)
    for bound in ({"max_lag": "1ms"}, {"max_behind": "1B"}, {"streaming": True}):
        with pytest.raises(CheckFailed, match="lacks what the primary has"):
            steps.step(StandbyStatus(), pair.standby, "lag", primary=pair.primary, **bound)
    pair.second.sql("SELECT pg_wal_replay_pause()")
    eventually(lambda: pair.second.sql("SELECT pg_get_wal_replay_pause_state()") == [("paused",)])
    steps.step(Fence(), pair.primary, "fence")
    with pytest.raises(Refused, match="paused"):
        steps.planned(Promote(), pair.standby, "promote", primary=pair.primary)


def test_what_pg_rewind_can_not_do_is_refused_before(steps: Steps, make_pair: MakePair) -> None:
    pair = make_pair(wal_log_hints="off")
    pair.cut_off(pair.second)
    pair.write(3)
    pair.crash(pair.first)
    steps.step(Fence(), pair.primary, "fence")
    steps.step(Promote(), pair.standby, "promote", primary=pair.primary)
    pair.write(1, on=pair.second)
    with pytest.raises(Refused, match="can't be rewound") as refused:
        steps.planned(Rewind(), pair.primary, "rewind", primary=pair.standby)
    assert "wal_log_hints" in str(refused.value)
    assert not any(path.name.startswith("data.") for path in pair.first.data_dir.parent.iterdir())


REWIND = 15


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", range(REWIND))
def test_a_rewind_stopped_anywhere_and_resumed(steps: Steps, make_pair: MakePair, stop_after: int) -> None:
    pair = make_pair()
    pair.write(5)
    pair.caught_up(pair.first, pair.second)
    pair.cut_off(pair.second)
    pair.write(4)
    pair.crash(pair.first)
    steps.step(Fence(), pair.primary, "fence")
    steps.step(Promote(), pair.standby, "promote", primary=pair.primary)
    pair.write(2, on=pair.second)
    before = pair.first.data_dir.stat().st_ino
    life = steps.life(Rewind(), pair.primary, "rewind", primary=pair.standby, passfile=str(pair.passfile))
    assert len(life.plan()) == REWIND
    first = steps.killed(life, stop_after)
    out = steps.through(life)
    pair.caught_up(pair.second, pair.first)
    assert pair.lost(pair.first) == {6, 7, 8, 9}
    assert out.discarded_commits == 4
    beside = {path.name for path in pair.first.data_dir.parent.iterdir() if path.name.startswith("data.")}
    assert beside == {out.kept_as.rpartition("/")[2]}
    assert pair.first.data_dir.parent.joinpath(*beside).stat().st_ino == before, "the former directory is whole"
    if "name_copy" in first:
        assert "copy" not in steps.performed


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", range(8))
def test_a_switchover_stopped_anywhere_and_resumed(steps: Steps, make_pair: MakePair, stop_after: int) -> None:
    """The same number of operations of every step, killed, then the rest of it."""
    pair = make_pair()
    pair.write(10)
    fence = steps.life(Fence(), pair.primary, "fence", clean=True)
    steps.killed(fence, stop_after)
    fenced = steps.through(fence)
    promote = steps.life(Promote(), pair.standby, "promote", primary=pair.primary, end=fenced.end, lossless=True)
    steps.killed(promote, stop_after)
    assert steps.through(promote).timeline == 2
    follow = steps.life(Follow(), pair.primary, "follow", primary=pair.standby, passfile=str(pair.passfile))
    steps.killed(follow, stop_after)
    steps.through(follow)
    pair.write(1, on=pair.second)
    pair.caught_up(pair.second, pair.first)
    assert pair.lost(pair.first) == set()


@pytest.mark.slow
def test_a_standby_that_dies_while_it_starts_is_started_again(steps: Steps, make_pair: MakePair) -> None:
    """It ended without a shutdown, as one that parted might; but this step saw it whole, and started it as nothing else."""
    pair = make_pair()
    pair.write(10)
    fenced = steps.step(Fence(), pair.primary, "fence", clean=True)
    steps.step(Promote(), pair.standby, "promote", primary=pair.primary, end=fenced.end, lossless=True)
    follow = steps.life(Follow(), pair.primary, "follow", primary=pair.standby, passfile=str(pair.passfile))
    steps.killed(follow, 2)
    postmaster = int((pair.first.data_dir / "postmaster.pid").read_text().split()[0])
    os.kill(postmaster, signal.SIGQUIT)
    eventually(lambda: not lives(postmaster))
    control = pair.first.account.run([pair.first.tool("pg_controldata"), "-D", pair.first.data_dir])
    assert "in archive recovery" in control
    steps.through(follow)
    pair.write(1, on=pair.second)
    pair.caught_up(pair.second, pair.first)
    assert pair.lost(pair.first) == set()
