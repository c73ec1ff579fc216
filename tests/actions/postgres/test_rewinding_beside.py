"""Rewinding in a container: what lies where → operations; who runs what, with which network and secret; the refusals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import pytest

from runbook.action import ContainerFacts, Look, Undecidable
from runbook.actions.postgres import rewinding_beside
from runbook.actions.postgres.cluster import Paths
from runbook.actions.postgres.following import Follower
from runbook.actions.postgres.in_container import Inside, Kept
from runbook.actions.postgres.rewind import Rewind, RewindFacts, RewindInputs
from runbook.actions.postgres.rewinding import Parted
from runbook.errors import Refused
from runbook.host import Compose, Docker
from runbook.operation import Call, Document, changes
from runbook.paste import paste
from runbook.secret import FromEnv
from tests.actions.backups import database, scope

REWIND = Rewind()
DATA = "/var/lib/postgresql/data"
NEW = {"key": "new", "host": Docker("db-b"), "password": FromEnv("PASSWORD")}
INPUTS = RewindInputs.model_validate({"primary": database(**NEW), "passfile": f"{DATA}/own/pgpass"})
OLD = database(host=Compose("p", "db"))
WHERE = Paths(DATA, f"{DATA}/rb_x.side", f"{DATA}/rb_x.side.partial", f"{DATA}/old_rb_x", f"{DATA}/rb_x")
DOWN = Inside(running=False, ready=False, live=True, new=False, kept=Kept.NONE, undone=False, identifier="")
BEFORE = replace(REWIND.assume(OLD, INPUTS, scope()), where=WHERE, inside=DOWN, path=DATA)
STREAMS = Follower(runs=True, told=True, streams=True)
UP = Follower(runs=True, told=True, streams=False)
COPIED = ["discarded", "copy", "recover", "rewind", "own_settings", "settings", "name_copy"]
AFTER = ["nudge", "start", "streaming", "clean_mark"]


def seen(found: Follower | None = None, **fields: object) -> RewindFacts:
    inside = replace(DOWN, **fields)  # type: ignore[arg-type]
    return replace(BEFORE, inside=inside, found=found or BEFORE.found)


@pytest.mark.parametrize(
    ("facts", "names"),
    [
        (seen(), ["remember", *COPIED, "move", *AFTER]),
        (seen(running=True), ["remember", "stop", *COPIED, "move", *AFTER]),
        (seen(new=True), ["remember", *COPIED, "move", *AFTER]),
        (seen(ready=True, new=True), ["move", *AFTER]),
        (seen(ready=True, new=True, running=True), ["stop", "move", *AFTER]),
        (seen(ready=True, new=True, kept=Kept.BEGUN), ["move", *AFTER]),
        (seen(ready=True, live=False, new=True, kept=Kept.BEGUN), ["move", *AFTER]),
        (seen(ready=True, live=False, new=True, kept=Kept.WHOLE), ["move", *AFTER]),
        (seen(ready=True, kept=Kept.WHOLE), AFTER),
        (seen(UP, ready=True, kept=Kept.WHOLE, running=True), ["streaming", "clean_mark"]),
        (seen(STREAMS, ready=True, kept=Kept.WHOLE, running=True), ["clean_mark"]),
        (seen(STREAMS, kept=Kept.WHOLE, running=True), []),
        (replace(seen(running=True), parted=Parted("", 0, "", ""), found=STREAMS), []),
    ],
)
def test_what_remains(facts: RewindFacts, names: list[str]) -> None:
    assert [one.name for one in REWIND.plan(OLD, INPUTS, facts, scope())] == names


@pytest.mark.parametrize(
    "facts",
    [seen(ready=True), seen(live=False), seen(kept=Kept.BOTH), seen(ready=True, live=False, new=True)],
)
def test_a_person_decides_about_the_rest(facts: RewindFacts) -> None:
    with pytest.raises(Undecidable):
        REWIND.plan(OLD, INPUTS, facts, scope())


def test_a_container_that_was_started_again_is_stopped_by_a_resume_although_that_was_not_shown() -> None:
    for facts in (seen(running=True), seen(running=True, ready=True, live=False, new=True, kept=Kept.BEGUN)):
        added = REWIND.recovery(OLD, INPUTS, facts, scope())
        assert [one.name for one in added] == ["stop"]
        assert set(added) <= set(REWIND.plan(OLD, INPUTS, facts, scope()))
    assert REWIND.recovery(OLD, INPUTS, seen(), scope()) == ()
    assert REWIND.recovery(OLD, INPUTS, seen(running=True, kept=Kept.WHOLE), scope()) == ()


def arguments(name: str) -> tuple[Call, dict[str, object]]:
    found = next(one for one in REWIND.plan(OLD, INPUTS, BEFORE, scope()) if one.name == name)
    assert isinstance(found, Call)
    return found, dict(found.arguments.items)


def test_who_works_on_the_stopped_containers_volumes() -> None:
    """The server's programs as the data's owner; what moves files as root; pg_rewind alone has a network and the password."""
    for name in (*COPIED, "move"):
        call, given = arguments(name)
        assert call.operation == "run"
        assert given.get("user_of") == (f"{DATA}/PG_VERSION" if name in ("discarded", "recover", "rewind") else None)
        assert ("network" in given, "secrets" in given) == ((True, True) if name == "rewind" else (False, False))
        assert changes(call) == (name != "discarded")
    call, given = arguments("rewind")
    assert given["secrets"] == Document((("PGPASSWORD", FromEnv("PASSWORD")),))
    said = str(given["argv"])
    assert "host=db-b port=5432" in said, "by its container's name, which stays"
    assert f"{DATA}/rb_x.side.partial" in said
    assert paste(call).startswith('PGPASSWORD="$PASSWORD" docker run --rm --network "$(docker inspect')


def test_without_a_password_the_passfile_is_used() -> None:
    new = RewindInputs.model_validate(
        {**INPUTS.model_dump(), "primary": database(key="new", host=Docker("db-b"), password=None)}
    )
    found = next(one for one in REWIND.plan(OLD, new, BEFORE, scope()) if one.name == "rewind")
    assert isinstance(found, Call)
    given = dict(found.arguments.items)
    assert "secrets" not in given
    assert f"passfile={DATA}/own/pgpass" in str(given["argv"])


def test_a_password_file_inside_the_directory_stays_its_own() -> None:
    """pg_rewind brings the new primary's files: the directory's own are put back."""
    assert arguments("own_settings")[1]["argv"][-1] == "own/pgpass"  # type: ignore[index]


@dataclass
class Both:
    """A look at the stopped container, and at what lies in the new primary's data directory."""

    mounts: tuple[str, ...]
    kept: str = ""

    def container(self, host: object) -> ContainerFacts:
        return ContainerFacts("1", "pg", "", "", "exited", "", "postgres:15", "", 0, self.mounts)

    def query(self, connection: object, statement: object) -> list[dict[str, str]]:
        return [{"directory": DATA, "kept": self.kept}]


@pytest.mark.parametrize(
    ("look", "code", "words"),
    [
        (Both((f"v:{DATA}",)), "", ""),
        (Both(("v:/elsewhere",)), "E795", "lies on no volume"),
        (Both((f"v:{DATA}", f"/etc/pg.conf:{DATA}/postgresql.conf")), "E795", "is mounted inside"),
        (Both((f"v:{DATA}",), "old_rb_a rb_b"), "E698", "old_rb_a, rb_b: pg_rewind would bring it along"),
    ],
)
def test_what_can_be_seen_to_forbid_it(look: Both, code: str, words: str) -> None:
    def refused() -> None:
        rewinding_beside.refuse(cast(Look, look), OLD, INPUTS.primary, DATA, scope())

    if not code:
        refused()
        return
    with pytest.raises(Refused) as found:
        refused()
    [problem] = found.value.problems
    assert problem.code == code
    assert words in problem.detail
    assert "mode: side" not in problem.fix, "the remedy is another than a recovery's"


def test_a_dry_run_that_can_not_know_where_the_volume_is_mounted_says_so() -> None:
    shown = "\n".join(paste(one) for one in REWIND.plan(OLD, INPUTS, REWIND.assume(OLD, INPUTS, scope()), scope()))
    assert "<its copy on the volume>" in shown
    assert "<its history>" in shown
