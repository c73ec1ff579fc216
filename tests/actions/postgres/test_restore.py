"""Restoring: facts → operations, on every kind of host and dump."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runbook.action import Attempt, Effect, Role, roles
from runbook.actions.backup.unpacked_size import ALWAYS_BYTES
from runbook.actions.postgres.assertion import Check
from runbook.actions.postgres.counts import Count
from runbook.actions.postgres.database import Properties, Seen
from runbook.actions.postgres.globals_file import Roles
from runbook.actions.postgres.restore import Restore, RestoreFacts, RestoreInputs
from runbook.artifact import Artifact, Format
from runbook.errors import Refused
from runbook.host import Docker
from runbook.operation import (
    Condition,
    Hashing,
    Operation,
    Operations,
    Pipeline,
    Process,
    Remove,
    Sql,
    Test,
    Wait,
    changes,
    digest,
)
from runbook.paste import paste
from runbook.runner.step import pinned_as
from runbook.secret import FromEnv
from tests.actions.backups import HASH, artifact, database, manifest, scope, store

RESTORE = Restore()
NEW = "rb_20260214_120000_test_4f3a_restore"


def dump(form: Format = Format.CUSTOM, name: str = "a.dump") -> Artifact:
    return artifact(manifest(name, format=form))


def planned(
    of: Artifact | None = None,
    host: object = "local",
    *,
    jobs: int = 2,
    checks: tuple[Check, ...] = (),
    **changed: object,
) -> Operations:
    system = database(host=host, password=FromEnv("PW"))
    here = scope(store(), step="restore")
    inputs = RestoreInputs(artifact=of or dump(), jobs=jobs, checks=checks)
    facts = replace(RESTORE.assume(system, inputs, here), version=150018, **changed)  # type: ignore[arg-type]
    return RESTORE.plan(system, inputs, facts, here)


def names(operations: Operations) -> list[str]:
    return [operation.name for operation in operations]


def one(operations: Operations, name: str) -> Operation:
    return next(operation for operation in operations if operation.name == name)


def seen(oid: int, comment: str = "") -> Seen:
    return Seen(oid=oid, comment=comment, open=True, invalid=False)


DONE = "runbook 20260214-120000-test-4f3a/restore: restored from a.dump"
LOADED = "runbook 20260214-120000-test-4f3a/restore: loaded from a.dump, not proven yet"
KEPT = "runbook 20260214-120000-test-4f3a/restore: set aside at the restore from a.dump"
PUT_IN_PLACE = ["close", "drained", "swap"]


def test_on_this_machine_pg_restore_reads_the_file() -> None:
    operations = planned()
    assert names(operations) == ["create", "load", "loaded", "analyze", "finish", *PUT_IN_PLACE]
    load = one(operations, "load")
    assert isinstance(load, Process)
    assert load.argv[:3] == ("pg_restore", "--exit-on-error", "--no-password")
    assert load.argv[-2:] == ("--jobs=2", "/backups/a.dump")
    assert f"dbname={NEW}" in str(load.argv[3])
    assert isinstance(one(operations, "drained"), Wait)


def test_in_a_container_one_job_is_fed_through_a_pipe() -> None:
    load = one(planned(host={"docker": "pg"}, jobs=1), "load")
    assert isinstance(load, Pipeline)
    assert (load.source, load.hashing, load.expect_sha256) == ("/backups/a.dump", Hashing.SOURCE, HASH)
    assert load.stages[0].host == Docker("pg")


@pytest.mark.parametrize("form", [Format.CUSTOM, Format.DIRECTORY])
def test_in_a_container_more_jobs_need_a_copy_there(form: Format) -> None:
    operations = planned(dump(form), host={"docker": "pg"})
    assert names(operations)[1:5] == ["staging", "stage", "load", "unstage"]
    load, gone = one(operations, "load"), one(operations, "unstage")
    assert isinstance(load, Process) and load.argv[-1] == f"/tmp/{NEW}/a.dump" and load.host == Docker("pg")
    assert isinstance(gone, Remove) and gone.owned and gone.marker == NEW and gone.host == Docker("pg")
    left = planned(dump(form), host={"docker": "pg"}, staged=True)
    assert names(left)[0] == "unstage"


@pytest.mark.parametrize(("form", "programs"), [(Format.PLAIN, 1), (Format.PLAIN_GZIP, 2)])
def test_plain_text_is_searched_and_run_in_one_transaction(form: Format, programs: int) -> None:
    operations = planned(dump(form, "old.sql"))
    searched, load = one(operations, "no_connect"), one(operations, "load")
    assert isinstance(searched, Pipeline) and searched.reads and searched.stages[-1].ok_codes == (1,)
    assert isinstance(load, Pipeline) and len(load.stages) == programs
    assert {"--single-transaction", "--set=ON_ERROR_STOP=1", "--no-psqlrc"} <= set(load.stages[-1].argv)
    bounds = [stage.most_bytes for pipeline in (searched, load) for stage in pipeline.stages]
    assert bounds == ([0] * 2 if form is Format.PLAIN else [0, ALWAYS_BYTES] * 2), "no more comes out than may"


def test_no_secret_is_in_the_list() -> None:
    for host in ("local", {"docker": "pg"}):
        for operation in planned(host=host):
            stages = operation.stages if isinstance(operation, Pipeline) else ()
            argvs = [operation.argv] if isinstance(operation, Process) else [stage.argv for stage in stages]
            assert not [word for argv in argvs for word in argv if "password=" in str(word)]
            assert "PW" not in paste(operation).replace("$PW", "")


def test_rows_are_compared_before_the_mark() -> None:
    operations = planned(counts=(Count("public.users", 3),))
    order = names(operations)
    assert order.index("loaded") == order.index("load") + 1
    assert order.index("loaded") < order.index("rows") < order.index("finish")
    rows = one(operations, "rows")
    assert isinstance(rows, Sql) and not changes(rows) and rows.expect


def test_what_it_has_to_answer_is_asked_of_the_finished_copy_before_the_live_one_is_closed() -> None:
    checks = (Check(query="SELECT count(*) FROM users", at_least=1), Check(query="SELECT 1", equals=1))
    for left in (None, seen(5, DONE), seen(5, LOADED)):
        operations = planned(checks=checks, new=left)
        order = names(operations)
        assert order[-5:] == ["check_1", "check_2", *PUT_IN_PLACE]
        asked = one(operations, "check_1")
        assert isinstance(asked, Sql)
        assert (asked.connection.database, changes(asked)) == (NEW, False)
        assert asked.expect == (Condition("value", Test.AT_LEAST, 1),)
    assert planned(checks=checks, live=seen(5, "ours"), old=seen(1, KEPT)) == (), (
        "what took its place is not asked again"
    )


def test_missing_roles_come_first_and_from_the_file() -> None:
    operations = planned(roles=Roles(names=("app",)))
    first = operations[0]
    assert isinstance(first, Pipeline)
    assert (first.name, first.source) == ("roles", "/backups/a.dump.globals.sql")
    assert first.stages[0].argv[:2] == ("grep", "--text")
    assert "--single-transaction" in first.stages[-1].argv


def test_a_resume_may_make_the_roles_that_are_still_missing() -> None:
    def added(*still: str) -> list[str]:
        here, system, inputs = scope(store(), step="restore"), database(), RestoreInputs(artifact=dump())
        base = RESTORE.assume(system, inputs, here)
        facts = replace(base, missing=("app", "reader"), roles=Roles(names=still))
        extra = set(map(digest, RESTORE.recovery(system, inputs, facts, here)))
        return [one.name for one in RESTORE.plan(system, inputs, facts, here) if digest(one) in extra]

    assert added("reader") == ["roles"]
    assert added() == []
    assert added("reader", "another") == []


def test_what_was_done_is_not_done_again() -> None:
    assert names(planned(new=seen(5)))[:2] == ["drop_unfinished", "create"]
    assert names(planned(new=seen(5, DONE))) == PUT_IN_PLACE
    assert planned(live=seen(5, "ours"), old=seen(1, KEPT)) == ()
    assert names(planned(original_oid=0, live=None, new=seen(5, DONE))) == ["swap"]
    assert planned(original_oid=0, live=seen(5, f"[{DONE}]")) == ()


def test_the_same_list_comes_out_whatever_was_left() -> None:
    whole, again = planned(), planned(new=seen(5))
    assert again[0].owned
    assert again[1:] == whole
    assert planned(new=seen(5, DONE)) == whole[-3:]
    assert planned(new=seen(5, LOADED)) == whole[-5:]
    assert planned(new=seen(5), loaded=True) == whole[-6:]
    assert names(whole[-6:-3]) == ["loaded", "analyze", "finish"]
    assert planned(new=replace(seen(5, LOADED), invalid=True))[0].name == "drop_unfinished"


def test_undo_goes_back_from_every_state() -> None:
    here, system = scope(store(), step="restore"), database()
    inputs = RestoreInputs(artifact=dump())
    base = RESTORE.assume(system, inputs, here)

    def back(**changed: object) -> list[str]:
        return names(RESTORE.undo(system, inputs, replace(base, **changed), here) or ())  # type: ignore[arg-type]

    closed = replace(seen(1), open=False)
    assert back() == []
    assert back(new=seen(5)) == ["drop_unfinished"]
    assert back(new=seen(5, LOADED)) == ["drop_unfinished"]
    assert back(new=seen(5, DONE), live=closed) == ["open"]
    assert back(live=seen(5), old=seen(1, KEPT)) == ["close", "drained", "swap_back"]


@pytest.mark.parametrize(
    ("begun", "succeeded", "code", "changed", "back"),
    [
        ("close", "close", "E361", {}, ["open"]),
        ("close", "", "E310", {}, ["open"]),  # half of a list of statements on their own
        ("close swap", "close", "E310", {}, ["open"]),
        ("close swap", "close swap", "E211", {}, []),
        ("create load", "create", "E300", {}, []),
        (
            "create load",
            "create",
            "E300",
            {"live": replace(seen(1), open=False)},
            ["open"],
        ),  # an earlier attempt could not
        ("close", "close", "E361", {"properties": Properties(open=False)}, []),  # it was never open
        ("swap", "", "E310", {"live": None, "original_oid": 0}, []),
        ("loaded rows", "loaded", "E314", {}, ["disproven"]),
        ("loaded rows", "loaded", "E310", {}, []),  # the server went away: that says nothing of the copy
        ("rows finish", "rows", "E314", {}, []),
    ],
)
def test_what_a_failed_attempt_takes_back(
    begun: str, succeeded: str, code: str, changed: dict[str, object], back: list[str]
) -> None:
    here, system = scope(store(), step="restore"), database()
    inputs = RestoreInputs(artifact=dump())
    facts = replace(RESTORE.assume(system, inputs, here), **changed)  # type: ignore[arg-type]
    attempt = Attempt(facts, frozenset(begun.split()), frozenset(succeeded.split()), code)
    assert names(RESTORE.retreat(system, inputs, attempt, here)) == back


def test_facts_go_into_the_journal_and_come_back() -> None:
    inputs = RestoreInputs(artifact=dump())
    here = scope(store(), step="restore")
    facts = replace(RESTORE.assume(database(), inputs, here), properties=Properties(owner="app", grants=()))
    assert set(roles(facts, Role.GUARD)) == {"system_identifier", "database", "artifact_sha256"}
    later = replace(facts, original_oid=99, properties=Properties())
    assert pinned_as(later, roles(facts, Role.PINNED)) == facts
    assert isinstance(facts, RestoreFacts) and Restore.effect is Effect.DESTROYS


def test_a_base_backup_and_an_unknown_store_are_refused() -> None:
    with pytest.raises(Refused, match="not a dump"):
        planned(dump(Format.BASE_BACKUP))
    with pytest.raises(Refused, match="not in this environment"):
        planned(artifact(manifest(), store="elsewhere"))


def test_a_dry_run_shows_that_the_rows_are_compared_before_anybody_has_read_how_many_they_are() -> None:
    operations = planned(artifact(manifest(counts="a.dump.counts.jsonl")))
    assert names(operations) == ["create", "load", "loaded", "rows", "analyze", "finish", *PUT_IN_PLACE]
    assert '"rows": "<rows, from a.dump.counts.jsonl>"' in paste(one(operations, "rows"))
    assert 'OWNER "<as it is now>"' in paste(one(operations, "create")), "nor has anybody asked whose it is"
