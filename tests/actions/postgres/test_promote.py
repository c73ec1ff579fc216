"""Promoting: what both servers say → operations, and the proof before the point of no return."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from runbook.actions.postgres.fencing import Seen
from runbook.actions.postgres.promote import Promote, PromoteFacts, PromoteInputs
from runbook.actions.postgres.replication import Node
from runbook.actions.postgres.standby_status import ASSUMED
from runbook.host import Docker
from runbook.operation import Call, Wait
from tests.actions.backups import database, scope
from tests.actions.postgres.nodes import directory, primary_node

PROMOTE = Promote()
DOWN, UNSEEN = Seen(None, directory(marked=True)), Seen(None, None)


def remaining(standby: Node, primary: Seen, **written: object) -> list[str]:
    inputs = PromoteInputs.model_validate({"primary": database(key="old"), **written})
    facts = PromoteFacts("1", 1, "", standby, primary)
    return [one.name for one in PROMOTE.plan(database(), inputs, facts, scope())]


@pytest.mark.parametrize(
    ("standby", "names"),
    [
        (ASSUMED, ["fenced", "promote", "takes_writes", "checkpoint"]),
        (primary_node(timeline=2, checkpoint_timeline=1), ["checkpoint"]),
        (primary_node(timeline=2), []),
    ],
)
def test_what_remains(standby: Node, names: list[str]) -> None:
    assert remaining(standby, DOWN) == names


def test_the_proofs_stand_before_the_promotion() -> None:
    lossless = {"end": "0/3000148", "lossless": True}
    assert remaining(ASSUMED, DOWN, **lossless)[:3] == ["fenced", "lossless", "promote"]
    assert remaining(ASSUMED, DOWN, end="0/3000148")[:2] == ["fenced", "promote"], "known, and not asked for"
    assert remaining(ASSUMED, UNSEEN, attested="J. Doe")[:1] == ["promote"], (
        "nothing can be proven of what can't be seen"
    )
    inputs = PromoteInputs.model_validate({"primary": database(key="old", host=Docker("old")), **lossless})
    fenced, *_ = PROMOTE.plan(database(), inputs, PromoteFacts("1", 1, "", ASSUMED, DOWN), scope())
    assert isinstance(fenced, Wait) and fenced.deadline_s == 0
    assert isinstance(fenced.read, Call) and fenced.read.host == Docker("old")


def test_lossless_needs_to_know_the_end() -> None:
    with pytest.raises(ValidationError, match="lossless needs"):
        PromoteInputs.model_validate({"primary": database(), "lossless": True})
    with pytest.raises(ValidationError, match="position in the WAL"):
        PromoteInputs.model_validate({"primary": database(), "end": "yesterday"})


def test_an_assumed_standby_gives_the_whole_list() -> None:
    inputs = PromoteInputs.model_validate({"primary": database()})
    facts = PROMOTE.assume(database(), inputs, scope())
    assert len(PROMOTE.plan(database(), inputs, replace(facts, timeline=7), scope())) == 4
