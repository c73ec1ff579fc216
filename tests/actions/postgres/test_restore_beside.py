"""A copy beside the live database: facts → operations, and what may be dropped."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runbook.action import Attempt, Effect, Role, roles
from runbook.actions.postgres.counts import Count
from runbook.actions.postgres.database import Grant, Properties, Seen, Setting
from runbook.actions.postgres.drop_beside import DropBeside, DropBesideInputs
from runbook.actions.postgres.globals_file import Roles
from runbook.actions.postgres.restore_beside import RestoreBeside, RestoreBesideInputs, _of_a_copy
from runbook.artifact import Format
from runbook.errors import Refused
from runbook.host import Compose, Docker, Ssh
from runbook.operation import Operations, Sql, changes
from runbook.paste import paste
from runbook.secret import FromEnv
from tests.actions.backups import artifact, database, manifest, scope, store

ACTION = RestoreBeside()
DROP = DropBeside()
COPY = "rb_20260214_120000_test_4f3a_look"
MARK = "runbook 20260214-120000-test-4f3a/look: "
LOADED = f"{MARK}loaded from a.dump, not proven yet"
DONE = f"{MARK}restored from a.dump"
HERE = scope(store(), step="look")


def seen(comment: str, *, invalid: bool = False) -> Seen:
    return Seen(oid=7, comment=comment, open=True, invalid=invalid)


def planned(form: Format = Format.CUSTOM, host: object = "local", *, jobs: int = 2, **changed: object) -> Operations:
    system = database(host=host, password=FromEnv("PW"))
    inputs = RestoreBesideInputs(artifact=artifact(manifest(format=form)), jobs=jobs)
    facts = replace(ACTION.assume(system, inputs, HERE), version=150018, **changed)  # type: ignore[arg-type]
    return ACTION.plan(system, inputs, facts, HERE)


def names(operations: Operations) -> list[str]:
    return [operation.name for operation in operations]


@pytest.mark.parametrize(
    ("form", "host", "jobs", "load"),
    [
        (Format.CUSTOM, "local", 2, ["load"]),
        (Format.DIRECTORY, "local", 2, ["load"]),
        (Format.PLAIN_GZIP, "local", 2, ["no_connect", "load"]),
        (Format.CUSTOM, Docker("pg"), 1, ["load"]),
        (Format.CUSTOM, Docker("pg"), 2, ["staging", "stage", "load", "unstage"]),
        (Format.PLAIN, Docker("pg"), 2, ["no_connect", "load"]),
    ],
)
def test_every_kind_of_dump_on_every_kind_of_host(form: Format, host: object, jobs: int, load: list[str]) -> None:
    assert names(planned(form, host, jobs=jobs)) == ["create", *load, "loaded", "analyze", "finish"]


def test_nobody_else_is_inside_when_the_rows_come() -> None:
    create = planned()[0]
    assert isinstance(create, Sql)
    shown = paste(create)
    steps = ["CONNECTION LIMIT 0", f"{MARK}being restored", "REVOKE ALL ON DATABASE", "CONNECTION LIMIT -1"]
    places = [shown.index(step) for step in steps]
    assert places == sorted(places)


def test_rows_are_compared_where_the_dump_has_a_record() -> None:
    operations = planned(counts=(Count("public.users", 3),))
    assert names(operations) == ["create", "load", "loaded", "rows", "analyze", "finish"]
    rows = operations[3]
    assert isinstance(rows, Sql)
    assert [(c.field, c.value) for c in rows.expect] == [("which", ""), ("wrong", 0)]


@pytest.mark.parametrize(
    ("copy", "begins"),
    [
        (None, ["create"]),
        (seen(""), ["drop_unfinished", "create"]),
        (seen(f"{MARK}being restored from a.dump"), ["drop_unfinished", "create"]),
        (seen(DONE, invalid=True), ["drop_unfinished", "create"]),
        (seen(LOADED, invalid=True), ["drop_unfinished", "create"]),
        (seen(LOADED), ["analyze", "finish"]),
        (seen(DONE), []),
    ],
)
def test_what_is_there_decides_what_remains(copy: Seen | None, begins: list[str]) -> None:
    assert names(planned(copy=copy))[:2] == (begins if begins != ["create"] else ["create", "load"])


def test_a_load_that_ended_well_is_not_begun_anew() -> None:
    whole = planned()
    assert planned(copy=seen(LOADED)) == whole[-2:]
    assert planned(copy=seen(f"{MARK}being restored from a.dump"), loaded=True) == whole[-3:]
    assert names(whole[-3:]) == ["loaded", "analyze", "finish"]


@pytest.mark.parametrize(
    ("begun", "succeeded", "code", "back"),
    [
        ("loaded rows", "loaded", "E314", ["disproven"]),
        ("loaded rows", "loaded", "E310", []),  # the server went away: that says nothing of the copy
        ("rows finish", "rows", "E314", []),
    ],
)
def test_a_copy_that_was_found_wrong_stays_its_own_and_is_loaded_anew(
    begun: str, succeeded: str, code: str, back: list[str]
) -> None:
    system, inputs = database(), RestoreBesideInputs(artifact=artifact(manifest()))
    facts = ACTION.assume(system, inputs, HERE)
    attempt = Attempt(facts, frozenset(begun.split()), frozenset(succeeded.split()), code)
    taken = ACTION.retreat(system, inputs, attempt, HERE)
    assert names(taken) == back
    assert all(f"{MARK}being restored from a.dump" in paste(one) for one in taken)


def test_dropping_what_is_its_own_needs_no_approval() -> None:
    owned = {one.name for one in planned(copy=seen("")) if one.owned and changes(one)}
    assert owned == {"drop_unfinished"}


def test_missing_roles_are_made_from_the_file_and_after_a_cut_still() -> None:
    system = database(password=FromEnv("PW"))
    inputs = RestoreBesideInputs(artifact=artifact(manifest()))
    both = replace(ACTION.assume(system, inputs, HERE), missing=("a", "b"), roles=Roles(("a", "b")))
    assert names(ACTION.plan(system, inputs, both, HERE))[0] == "roles"
    one = replace(both, roles=Roles(("b",)))
    assert names(ACTION.recovery(system, inputs, one, HERE)) == ["roles"]
    assert ACTION.recovery(system, inputs, replace(one, roles=Roles(("c",))), HERE) == ()


def test_a_copy_takes_over_how_text_is_stored_and_not_who_may_do_what() -> None:
    live = Properties(
        owner="app",
        encoding="UTF8",
        lc_collate="de_DE.UTF-8",
        connection_limit=3,
        comment="the shop",
        settings=(Setting("", "search_path", "shop"), Setting("app", "work_mem", "8MB")),
        grants=(Grant("app", "", "CONNECT", grantable=False),),
    )
    copied = _of_a_copy(live)
    assert (copied.encoding, copied.lc_collate) == ("UTF8", "de_DE.UTF-8")
    assert copied.settings == (Setting("", "search_path", "shop"),)
    assert (copied.owner, copied.grants, copied.connection_limit, copied.comment) == ("", None, -1, "")


def test_what_proves_whose_it_is_is_pinned() -> None:
    system = database()
    inputs = RestoreBesideInputs(artifact=artifact(manifest()))
    pinned = roles(ACTION.assume(system, inputs, HERE), Role.PINNED)
    assert (pinned["database"], pinned["mark"]) == (COPY, MARK)
    assert (ACTION.effect, ACTION.holds) == (Effect.CREATES, True)


@pytest.mark.parametrize(
    ("host", "line"),
    [
        ("local", f"psql 'port=5432 user=civicq dbname={COPY}'"),
        (Docker("pg"), f"docker exec -it pg psql 'port=5432 user=civicq dbname={COPY}'"),
        (Compose("p", "db"), f"docker compose -p p exec db psql 'port=5432 user=civicq dbname={COPY}'"),
        (Docker("pg", Ssh("ops@db1")), "ssh -t ops@db1 "),
    ],
)
def test_the_line_says_how_to_get_in(host: object, line: str) -> None:
    system = database(host=host)
    inputs = RestoreBesideInputs(artifact=artifact(manifest()))
    facts = replace(ACTION.assume(system, inputs, HERE), version=150018, counts=(Count("a.b", 3), Count("a.c", 4)))
    out = ACTION.expect(system, inputs, facts)
    assert out is not None
    assert out.connect.startswith(line)
    assert (out.rows, out.tables_counted) == (7, 2)


@pytest.mark.parametrize(
    ("held", "dropped"),
    [({}, []), ({"database": COPY, "mark": MARK}, ["drop"])],
)
def test_what_the_hold_made_is_dropped(held: dict[str, str], dropped: list[str]) -> None:
    here = replace(scope(step="drop"), held=held)
    system, inputs = database(), DropBesideInputs()
    assert names(DROP.plan(system, inputs, DROP.assume(system, inputs, here), here)) == dropped


@pytest.mark.parametrize(
    "held", [None, {"running": []}, {"database": "civicq", "mark": MARK}, {"database": "rb_of_another_run", "mark": ""}]
)
def test_anything_else_is_refused(held: dict[str, str] | None) -> None:
    here = replace(scope(step="drop"), held=held)
    with pytest.raises(Refused, match="which copy"):
        DROP.assume(database(), DropBesideInputs(), here)


def test_a_dry_run_shows_that_the_rows_are_compared_before_anybody_has_read_how_many_they_are() -> None:
    inputs = RestoreBesideInputs(artifact=artifact(manifest(counts="a.dump.counts.jsonl")))
    facts = ACTION.assume(database(), inputs, HERE)
    operations = ACTION.plan(database(), inputs, facts, HERE)
    assert names(operations) == ["create", "load", "loaded", "rows", "analyze", "finish"]
    compared = next(one for one in operations if one.name == "rows")
    assert '"rows": "<rows, from a.dump.counts.jsonl>"' in paste(compared)
    assert ACTION.expect(database(), inputs, facts) is None, "nothing is reckoned with them"
