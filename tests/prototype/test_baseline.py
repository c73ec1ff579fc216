"""A poll with a baseline: a background save of Redis that counts, whoever began it, and however often we die."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

import pytest

from runbook.action import current, pinned
from runbook.operation import Condition, Process, Scalar, Test, Wait
from tests.prototype.explore import Fault, explore
from tests.prototype.life import Broke, Case, Op, Results, Worlds, followed
from tests.prototype.words import commands, line_of

LAST_RUN = 3
"""The model's server restarts at most twice, so that the model stays finite."""


@dataclass(frozen=True, slots=True)
class Redis:
    """A server. ``saving``: '' or who began the running save; ``good``: a save that began after the step did is on the disk."""

    run: int = 1
    saves: int = 7
    saving: str = "the schedule, before"
    good: bool = False


@dataclass(frozen=True, slots=True)
class SaveFacts:
    """``rdb_saves`` and ``run_id`` of INFO. LASTSAVE counts seconds only, and a restart moves it."""

    base_run: int = pinned()
    base_saves: int = pinned()
    base_saving: bool = pinned()
    run: int = current()
    saves: int = current()
    saving: bool = current()

    @property
    def wanted(self) -> int:
        """How many saves this server has made once one counts: a save that ran at the start began too early for that."""
        return self.base_saves + 1 + self.base_saving if self.run == self.base_run else 1


class Saving(Case[Redis]):
    """The server may be restarted while we are dead; then its counter begins anew, and any save that it makes counts."""

    start = Redis()

    def observe(self, world: Redis) -> SaveFacts:
        now = (world.run, world.saves, bool(world.saving))
        return SaveFacts(*now, *now)

    def plan(self, facts: object) -> tuple[Op, ...]:
        assert isinstance(facts, SaveFacts)
        if facts.saves >= facts.wanted:
            return ()
        counts = facts.saving and facts.saves + 1 >= facts.wanted
        idle = (_info("idle", rdb_bgsave_in_progress=0),) if facts.saving and not counts else ()
        begun = () if counts else (Process(name="save", argv=("redis-cli", "BGSAVE")),)
        saved = _info("saved", run_id=facts.run, rdb_saves=facts.wanted, rdb_last_bgsave_status="ok")
        return (*idle, *begun, saved)

    def perform(self, world: Redis, operation: Op, results: Results) -> Worlds[Redis]:
        if not isinstance(operation, Wait):
            assert commands(line_of(operation, results))[0].argv == ("redis-cli", "BGSAVE")  # type: ignore[arg-type]
            if world.saving:
                raise Broke("ERR Background save already in progress")
            yield replace(world, saving="us"), ()
            return
        later = _saved(world)
        wanted = {condition.field: condition.value for condition in operation.until}
        if wanted.get("run_id", later.run) != later.run or later.saves < int(str(wanted.get("rdb_saves", 0))):
            raise Broke(f"it never holds: {wanted}")
        yield later, ()

    def crashed(self, world: Redis) -> tuple[Redis, ...]:
        restarted = replace(world, run=world.run + 1, saves=0, saving="")
        scheduled = replace(restarted, saving="the schedule, after")
        return (world, _saved(world), *((restarted, scheduled) if world.run < LAST_RUN else ()))

    def verify(self, world: Redis) -> str:
        return "" if world.good else "no save that began after the step is on the disk"

    def end(self, world: Redis) -> Hashable:
        return world.good


def _saved(world: Redis) -> Redis:
    """Once the running save is over."""
    if not world.saving:
        return world
    return replace(world, saving="", saves=world.saves + 1, good=world.good or "before" not in world.saving)


def _info(name: str, **until: Scalar) -> Wait:
    read = Process(name="info", argv=("redis-cli", "INFO"), reads=True)
    tests = {"rdb_saves": Test.AT_LEAST}
    wanted = tuple(Condition(key, tests.get(key, Test.EQUALS), value) for key, value in until.items())
    return Wait(name=name, read=read, until=wanted)


@pytest.mark.parametrize("saving", ["", "the schedule, before"])
def test_a_save_that_counts_is_made_or_joined(saving: str) -> None:
    case = Saving()
    case.start = Redis(saving=saving)
    assert explore(case).depth >= 3
    assert followed(case).good


def test_a_save_that_ran_at_the_start_began_too_early() -> None:
    class Impatient(Saving):
        """Takes the next save that ends for its own."""

        def observe(self, world: Redis) -> SaveFacts:
            return replace(super().observe(world), base_saving=False)

    with pytest.raises(Fault, match="no save that began after"):
        explore(Impatient())


def test_a_restart_begins_the_counter_anew() -> None:
    class Blind(Saving):
        """Compares the counter and not whose it is."""

        def observe(self, world: Redis) -> SaveFacts:
            return replace(super().observe(world), run=1, base_run=1)

    with pytest.raises(Fault, match="it never holds"):
        explore(Blind())
