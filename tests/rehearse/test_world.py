"""The stub world: fates, and what a fence can still tell of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from runbook.operation import Process
from runbook.rehearse.disk import Killed, MemoryDisk
from runbook.rehearse.world import Fate, StubWorld
from runbook.transports.outcome import Begun, Failed, Lost, NeverStarted, Succeeded, Unsettled, Use

ACT = Process(name="run", argv=("x",))
READ = Process(name="look", argv=("x",), reads=True)


def use(step: str = "a", attempt: int = 1) -> Use:
    return Use(f"{step}/{attempt}/1/run", "", {}, lambda _found: None, lambda _progress: None)


@pytest.fixture
def world() -> StubWorld:
    return StubWorld(MemoryDisk(), undoes={"release": "hold"})


def begun(world: StubWorld) -> object:
    return world.fence(Begun(use().id, ACT), use())


def test_an_operation_has_its_effect_once(world: StubWorld) -> None:
    assert world.perform(ACT, use()) == Succeeded({})
    assert world.perform(READ, use()) == Succeeded({})
    assert world.effects == {("a", "run"): 1}
    assert world.looked_at("a") == {"run"}
    assert begun(world) == Succeeded({})


@pytest.mark.parametrize(
    ("fate", "settled", "effects"),
    [(Fate.GOES_ON, Succeeded({}), 1), (Fate.BEFORE, Unsettled(), 0), (Fate.AFTER, Unsettled(), 1)],
)
def test_a_kill_leaves_what_its_records_can_show(world: StubWorld, fate: Fate, settled: object, effects: int) -> None:
    world.fate = ("a", "run", fate)
    with pytest.raises(Killed):
        world.perform(ACT, use())
    calls: list[Callable[[], object]] = [
        lambda: world.perform(ACT, use()),
        lambda: world.looked_at("a"),
        lambda: begun(world),
    ]
    for dead in calls:
        with pytest.raises(Killed):
            dead()
    world.disk.after_kill()
    assert begun(world) == settled
    assert begun(world) == settled, "to be asked twice changes nothing"
    assert world.effects.total() == effects
    assert world.happened("a") is (fate is Fate.AFTER)
    assert world.perform(ACT, use(attempt=2)) == Succeeded({}), "fate strikes once"


def test_a_lost_answer_is_no_kill(world: StubWorld) -> None:
    world.fate = ("a", "run", Fate.LOST)
    assert isinstance(world.perform(ACT, use()), Lost)
    assert begun(world) == Unsettled()
    assert world.happened("a")


def test_what_was_never_begun_never_started(world: StubWorld) -> None:
    assert begun(world) == NeverStarted()


def test_a_failing_step_does_nothing_until_it_is_mended(world: StubWorld) -> None:
    world.failing = "a"
    assert isinstance(world.perform(ACT, use()), Failed)
    assert isinstance(world.perform(READ, use()), Failed)
    assert isinstance(world.perform(ACT, use("b")), Succeeded)
    assert world.looked_at("a") == frozenset()


def test_a_release_takes_back_what_its_hold_did_and_the_hold_can_be_taken_again(world: StubWorld) -> None:
    world.perform(ACT, use("hold"))
    world.perform(ACT, use("release"))
    assert [set(world.looked_at(step)) for step in ("hold", "release")] == [set(), {"run"}]
    world.perform(ACT, use("hold", 2))
    assert [set(world.looked_at(step)) for step in ("hold", "release")] == [{"run"}, set()]


def test_somebody_does_the_rest_by_hand(world: StubWorld) -> None:
    other = Process(name="other", argv=("x",))
    world.perform(ACT, use())
    world.by_hand("a", (ACT, other, READ))
    assert world.looked_at("a") == {"run", "other"}
    assert set(world.effects.values()) == {1}
