"""Restore beside and swap, killed anywhere: the real action's plan on a cluster in memory."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

import pytest

from runbook.action import Undecidable
from runbook.actions.postgres import swap
from runbook.actions.postgres.database import Properties, Seen
from runbook.actions.postgres.restore import Restore, RestoreFacts, RestoreInputs
from runbook.operation import Operations
from tests.actions.backups import artifact, database, scope, store
from tests.prototype.databases import COPY, HALF, Database, Databases, obey
from tests.prototype.explore import Fault, explore
from tests.prototype.life import Broke, Case, Fields, Life, Op, Results, State, Worlds, followed
from tests.prototype.words import commands, line_of

ORIGINAL = "the original"
SCOPE = scope(store())
INPUTS = RestoreInputs(artifact=artifact())
NAMES = swap.names("civicq", "", SCOPE)
MARKS = swap.marks(SCOPE, INPUTS.artifact.name)


class Restoring(Case[Databases]):
    """The live database, with people in it."""

    start = Databases(frozenset({Database("civicq", 1, content=ORIGINAL, sessions=True)}))

    def observe(self, world: Databases) -> RestoreFacts:
        live, new, old = (_seen(world.named(name)) for name in NAMES.all)
        assumed = Restore().assume(database(), INPUTS, SCOPE)
        original = old.oid if old else live.oid if live else 0
        return replace(assumed, original_oid=original, live=live, new=new, old=old, properties=Properties())

    def plan(self, facts: object) -> Operations:
        assert isinstance(facts, RestoreFacts)
        return Restore().plan(database(), INPUTS, facts, SCOPE)

    def told(self, facts: object, ended: Results) -> object:
        assert isinstance(facts, RestoreFacts)
        return replace(facts, loaded=self.shown(ended, facts.new))

    def shown(self, ended: Results, new: Seen | None) -> bool:
        return swap.load_shown(ended, new)

    def perform(self, world: Databases, operation: Op, results: Results) -> Worlds[Databases]:
        for command in commands(line_of(operation, results)):  # type: ignore[arg-type]  # a real one
            *before, after = obey(world, command)
            yield from ((later, ()) for later in before)
            yield after, self.result(operation, after)
            world = after

    def result(self, operation: Op, world: Databases) -> Fields:
        """The model gives every database of that name the same oid: what tells them apart has to be something else."""
        made = world.named(NAMES.new)
        match operation.name:
            case "create" if made:
                return (("oid", made.oid),)
            case "load":
                return (("exit_code", 0),)
            case _:
                return ()

    def wrong(self, world: Databases) -> str:
        original = [one for one in world.all if one.content == ORIGINAL and not one.invalid]
        live = world.named("civicq")
        if len(original) != 1:
            return "the original is gone"
        if live is None or live.content not in (ORIGINAL, COPY):
            return "nobody is served, or half a copy is"
        return "swapped twice" if world.swaps > 1 else ""

    def verify(self, world: Databases) -> str:
        live = world.named("civicq")
        return "" if live and live.content == COPY and live.open else f"not restored: {live}"

    def end(self, world: Databases) -> Hashable:
        return frozenset(replace(one, sessions=False) for one in world.all)


def _seen(found: Database | None) -> Seen | None:
    return None if found is None else Seen(found.oid, found.comment, found.open, found.invalid)


def test_killed_anywhere_it_ends_the_same() -> None:
    found = explore(Restoring())
    assert found.depth >= 3, found


def test_the_end_is_the_copy_in_place_and_the_original_beside_it() -> None:
    class Ends(Restoring):
        def verify(self, world: Databases) -> str:
            names = {one.name: one.content for one in world.all}
            return "" if names == {"civicq": COPY, NAMES.old: ORIGINAL} else f"stray: {names}"

    explore(Ends())


def test_without_a_mark_half_a_copy_would_be_swapped_in() -> None:
    class Unmarked(Restoring):
        """Takes any copy for a finished one."""

        def observe(self, world: Databases) -> RestoreFacts:
            facts = super().observe(world)
            new = facts.new and replace(facts.new, comment=MARKS.restored)
            return replace(facts, new=new)

    with pytest.raises(Fault, match=HALF):
        explore(Unmarked())


def test_a_load_that_went_on_without_its_engine_is_not_repeated() -> None:
    performed: list[str] = []

    class Watched(Restoring):
        def perform(self, world: Databases, operation: Op, results: Results) -> Worlds[Databases]:
            performed.append(operation.name)
            return super().perform(world, operation, results)

    left: dict[str, State[Databases]] = {}
    Life(Watched(), State(Watched.start), left.__setitem__).go()
    for where, state in left.items():
        performed.clear()
        ended = Life(Watched(), state, lambda *_: None).go()
        assert ended.status == "succeeded"
        witnessed = state.flight is not None and state.flight.witnessed
        if where.startswith("load ") and (witnessed or "its end recorded" in where):
            assert performed[0] == "loaded", where
        if where.startswith(("after load", "loaded ", "after loaded", "analyze", "after analyze")):
            assert "load" not in performed, where
    assert [where for where in left if where.startswith("load ")]


class Meddled(Restoring):
    """While nobody is at work, somebody may drop the copy by hand."""

    def crashed(self, world: Databases) -> tuple[Databases, ...]:
        copy = world.named(NAMES.new)
        return (world, world.put(copy, None)) if copy else (world,)


def test_a_record_of_another_load_is_not_taken_for_one_into_this_database() -> None:
    class Credulous(Meddled):
        """Takes any load that ended well for one into what bears the name now."""

        def shown(self, ended: Results, new: Seen | None) -> bool:
            return new is not None and not new.invalid and "create" in ended and "load" in ended

    explore(Meddled())
    with pytest.raises(Fault, match="half a copy is"):
        explore(Credulous())


def test_without_a_fence_the_restore_that_goes_on_meets_the_new_one() -> None:
    with pytest.raises(Fault):
        explore(Restoring(), fenced=False)


def test_an_original_that_is_not_pinned_can_not_be_told_from_its_successor() -> None:
    class Forgetful(Restoring):
        """Takes whatever is live for the original."""

        def observe(self, world: Databases) -> RestoreFacts:
            facts = super().observe(world)
            live = facts.live.oid if facts.live else 0
            return replace(facts, original_oid=live)

        def plan(self, facts: object) -> Operations:
            assert isinstance(facts, RestoreFacts)
            unpinned = replace(facts, original_oid=facts.live.oid if facts.live else 0)
            return super().plan(unpinned)

    with pytest.raises((Fault, Undecidable)):
        explore(Forgetful())


@pytest.mark.parametrize("stranger", [NAMES.new, NAMES.old])
def test_what_this_step_did_not_leave_is_for_a_person(stranger: str) -> None:
    world = replace(
        Restoring.start,
        all=frozenset({Database("civicq", 3, content=ORIGINAL), Database(stranger, 9, "somebody's", content="theirs")}),
    )
    case = Restoring()
    facts = replace(case.observe(world), original_oid=1)
    with pytest.raises(Undecidable):
        case.plan(facts)


def test_the_pasted_lines_alone_reach_the_same_end() -> None:
    case = Restoring()
    assert case.verify(followed(case)) == ""


def test_the_model_refuses_what_the_server_refuses() -> None:
    case = Restoring()
    swapping = case.plan(case.observe(case.start))[-1]
    with pytest.raises(Broke, match="RENAME"):
        list(case.perform(case.start, swapping, {}))
