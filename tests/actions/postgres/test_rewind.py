"""Rewinding: what lies where → operations; any other state is a person's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runbook.action import Undecidable
from runbook.actions.postgres.cluster import Place, Server
from runbook.actions.postgres.following import Follower
from runbook.actions.postgres.rewind import Rewind, RewindFacts, RewindInputs
from runbook.actions.postgres.rewinding import Parted
from runbook.operation import MakeDirectory, Process, Rename
from tests.actions.backups import database, scope

REWIND = Rewind()
INPUTS = RewindInputs.model_validate({"primary": database(key="new", address="db-b")})
BEFORE = replace(REWIND.assume(database(data_directory="/pg/data"), INPUTS, scope()), options=("-p", "5433"))
DOWN = Follower(runs=False, told=False, streams=False)
UP = Follower(runs=True, told=True, streams=False)
STREAMS = Follower(runs=True, told=True, streams=True)
CLEAN = Parted("its WAL goes on", 1, "0/3000148", "shut down")
WHOLE = [
    *(
        "remember",
        "discarded",
        "make_copy",
        "copy",
        "recover",
        "rewind",
        "own_settings",
        "settings",
        "rewound",
        "name_copy",
    ),
    *("set_aside", "into_place", "nudge", "start", "streaming"),
]


def place(inode: int) -> Place:
    return Place(inode=inode, device=1, owner="postgres", server=Server.STOPPED, signal=False)


def remaining(facts: RewindFacts) -> list[str]:
    return [one.name for one in REWIND.plan(database(), INPUTS, facts, scope())]


@pytest.mark.parametrize(
    ("facts", "names"),
    [
        (BEFORE, WHOLE),
        (replace(BEFORE, parted=CLEAN), [name for name in WHOLE if name != "recover"]),
        (replace(BEFORE, partial=True), [WHOLE[0], "sweep", *WHOLE[1:]]),
        (replace(BEFORE, found=UP), [WHOLE[0], "stop", *WHOLE[1:]]),
        (replace(BEFORE, side=place(2)), WHOLE[10:]),
        (replace(BEFORE, side=place(2), found=UP), ["stop", *WHOLE[10:]]),
        (replace(BEFORE, data=None, side=place(2), old=place(1)), WHOLE[11:]),
        (replace(BEFORE, data=place(2), old=place(1)), WHOLE[12:]),
        (replace(BEFORE, data=place(2), old=place(1), found=UP), ["streaming"]),
        (replace(BEFORE, data=place(2), old=place(1), found=STREAMS), []),
        (replace(BEFORE, parted=Parted("", 0, "", "")), ["settings", "start", "streaming"]),
        (replace(BEFORE, parted=Parted("", 0, "", ""), found=STREAMS), []),
    ],
)
def test_what_remains(facts: RewindFacts, names: list[str]) -> None:
    assert remaining(facts) == names


def test_a_server_that_was_started_again_is_stopped_by_a_resume_although_that_was_not_shown() -> None:
    found = replace(BEFORE, side=place(2), found=UP)
    added = REWIND.recovery(database(), INPUTS, found, scope())
    assert [one.name for one in added] == ["stop"]
    assert set(added) <= set(REWIND.plan(database(), INPUTS, found, scope()))
    assert REWIND.recovery(database(), INPUTS, replace(BEFORE, side=place(2)), scope()) == ()


@pytest.mark.parametrize(
    "facts",
    [
        replace(BEFORE, data=None),
        replace(BEFORE, data=None, side=place(2)),
        replace(BEFORE, old=place(3)),
        replace(BEFORE, data=place(2)),
        replace(BEFORE, data=place(2), side=place(3), old=place(1)),
    ],
)
def test_a_person_decides_about_the_rest(facts: RewindFacts) -> None:
    with pytest.raises(Undecidable):
        remaining(facts)


def test_the_directory_itself_is_touched_by_two_renames() -> None:
    operations = REWIND.plan(database(), INPUTS, BEFORE, scope())
    renames = [one for one in operations if isinstance(one, Rename)]
    assert [(one.source, one.target) for one in renames[1:]] == [
        ("/pg/data", BEFORE.where.old),
        (BEFORE.where.side, "/pg/data"),
    ]
    made = next(one for one in operations if isinstance(one, MakeDirectory))
    assert made.path == BEFORE.where.partial != "/pg/data"
    rewind = next(one for one in operations if one.name == "rewind")
    assert isinstance(rewind, Process)
    assert f"--target-pgdata={BEFORE.where.partial}" in rewind.argv
    recover = next(one for one in operations if one.name == "recover")
    assert isinstance(recover, Process)
    assert f"data_directory={BEFORE.where.partial}" in recover.argv, "a configuration elsewhere may name the original"
    assert "wal_keep_size=1TB" in recover.argv, (
        "pg_rewind reads WAL that the checkpoint at the recovery's end would remove"
    )


def test_a_dry_run_that_can_not_know_where_they_part_says_so() -> None:
    discarded = next(one for one in REWIND.plan(database(), INPUTS, BEFORE, scope()) if one.name == "discarded")
    assert isinstance(discarded, Process)
    assert discarded.argv[-2:] == ("<its timeline>", "<where they part>")
