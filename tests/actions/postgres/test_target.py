"""Where recovery is to end: exactly one of its kinds, the server's settings for each, and what shows that it stands there."""

from __future__ import annotations

from datetime import timedelta

import pytest

from runbook.actions.postgres import target
from runbook.actions.postgres.recovery_step import RestoreToTimeInputs
from runbook.actions.postgres.target import CommitOf, EndOfArchive, Moment, Position, RestorePoint, Target
from runbook.artifact import Format
from tests.actions.backups import NOON, artifact, manifest

BASE = artifact(manifest("base.tar.gz", format=Format.BASE_BACKUP))
ALL: tuple[Target, ...] = (
    Moment(NOON),
    Position("0/3000148"),
    CommitOf(750),
    RestorePoint("it's here"),
    EndOfArchive(),
)


def given(**written: object) -> RestoreToTimeInputs:
    return RestoreToTimeInputs.model_validate({"artifact": BASE, **written})


def test_each_kind_has_its_input() -> None:
    assert given(target=NOON).ends == Moment(NOON)
    assert given(lsn="0/3000ab8", inclusive=False).ends == Position("0/3000AB8", inclusive=False)
    assert given(xid=750, inclusive=False).ends == CommitOf(750, inclusive=False)
    assert given(name="before the migration").ends == RestorePoint("before the migration")
    assert given(latest=True).ends == EndOfArchive()
    assert given(lsn=None, target=NOON, xid=None, name=None).ends == Moment(NOON), (
        "a plan passes on what it wasn't given"
    )


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({}, "given: none"),
        ({"target": NOON, "lsn": "0/3000148"}, "given: target and lsn"),
        ({"xid": 750, "latest": True}, "given: xid and latest"),
        ({"latest": True, "inclusive": False}, "inclusive: false means nothing with latest"),
        ({"name": "here", "inclusive": False}, "inclusive: false means nothing with name"),
        ({"lsn": "3000148"}, "lsn"),
        ({"xid": 2}, "xid"),
        ({"name": 'a"b'}, "name"),
        ({"name": "a\nb"}, "name"),
    ],
)
def test_what_is_not_one_target_is_refused(written: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        given(**written)


@pytest.mark.parametrize("one", ALL, ids=target.told)
def test_other_kinds_are_emptied_before_its_own_is_set(one: Target) -> None:
    found = target.settings(one)
    names = list(found)
    own = [name for name in target.KINDS if found.get(name)]
    assert len(own) == (0 if isinstance(one, EndOfArchive) else 1)
    assert found["recovery_target"] == ""
    assert found["recovery_target_action"] == "pause"
    for name in own:
        assert all(names.index(other) < names.index(name) for other in names if found[other] == "")


def test_the_settings_say_the_target_as_the_server_reads_it() -> None:
    assert target.settings(Moment(NOON + timedelta(microseconds=7)))["recovery_target_time"] == (
        "2026-02-14 12:00:00.000007+00"
    )
    assert target.settings(CommitOf(750, inclusive=False))["recovery_target_inclusive"] == "off"
    assert target.signal(EndOfArchive()) == "standby.signal", "without a target it would promote itself"
    assert {target.signal(one) for one in ALL[:-1]} == {"recovery.signal"}


def test_a_transaction_is_known_by_the_lower_half_of_its_id() -> None:
    assert target.stopped_there(CommitOf(3 * 2**32 + 750, inclusive=False)).endswith(
        "before commit of transaction 750,"
    )


def test_what_was_asked_for_is_told() -> None:
    assert [target.told(one) for one in ALL] == [
        "2026-02-14T12:00:00.000000Z",
        "up to LSN 0/3000148",
        "up to transaction 750",
        "restore point it's here",
        "the end of the archive",
    ]
    assert target.told(Moment(NOON, inclusive=False)) == "before 2026-02-14T12:00:00.000000Z"
