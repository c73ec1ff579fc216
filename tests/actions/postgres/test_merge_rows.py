"""What merging and comparing plan: from facts to operations; and which tables can't be filled."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from runbook.action import Effect, Interrupted
from runbook.actions.postgres.compare_rows import CompareRows, CompareRowsFacts, CompareRowsInputs
from runbook.actions.postgres.drift import differences, refuse_unfit
from runbook.actions.postgres.filling import followers, in_order, refuse_triggers
from runbook.actions.postgres.ledger import Ledger
from runbook.actions.postgres.merge_rows import MergeRows, MergeRowsFacts, MergeRowsInputs
from runbook.actions.postgres.row_source import Source, live, side
from runbook.actions.postgres.tables import Column, ForeignKey, Numbering, Table, Trigger
from runbook.errors import Refused
from runbook.operation import Condition, CopyRows, Operations, Session, Sql, Test, changes
from runbook.quoting import sql_text
from tests.actions.backups import database, scope

SCOPE = scope(step="merge")
DB = database()
USERS = Table(
    "public",
    "users",
    partitioned=False,
    columns=(Column("id", "integer"), Column("email", "text"), Column("shout", "text", generated=True)),
    key=("id",),
    uniques=(("email",),),
    followers=("public.orders", "public.items"),
    sequences=(Numbering("id", "public", "users_id_seq"),),
)
ORDERS = Table(
    "public",
    "orders",
    partitioned=True,
    columns=(Column("id", "bigint"), Column("who", "integer")),
    key=("id",),
    foreign_keys=(ForeignKey("orders_who_fkey", "public.users"), ForeignKey("again", "public.orders")),
    triggers=(Trigger("tell", "public", "orders"), Trigger("always", "public", "orders_2026", always=True)),
)
NEW = Ledger(SCOPE.run, SCOPE.step)
DONE = replace(NEW, made=True, at="2026-02-14 12:00:00+00")


def inputs(**more: object) -> MergeRowsInputs:
    given: dict[str, object] = {"source": Source(database="copy"), "tables": ("orders", "public.users"), "at_most": 9}
    return MergeRowsInputs.model_validate(given | more)


def plan(ledger: Ledger = NEW, /, **more: object) -> Operations:
    facts = MergeRowsFacts("c", 1, ledger, (ORDERS, USERS))
    return MergeRows().plan(DB, inputs(**more), facts, SCOPE)


def merge(**more: object) -> Session:
    session = plan(**more)[-1]
    assert isinstance(session, Session)
    return session


def inner(session: Session, name: str) -> str:
    """The statements of one operation inside."""
    found = next(one for one in session.body if one.name == name)
    if isinstance(found, CopyRows):
        return sql_text(found.query)
    assert isinstance(found, Sql)
    return "; ".join(map(sql_text, found.statements))


@pytest.mark.parametrize(
    ("ledger", "planned"),
    [(NEW, ["ledger", "merge"]), (replace(NEW, made=True), ["merge"]), (DONE, [])],
    ids=["nothing is there", "another run was here", "it was committed"],
)
def test_what_remains_follows_from_the_ledger_alone(ledger: Ledger, planned: list[str]) -> None:
    assert [one.name for one in plan(ledger)] == planned


def test_the_ledgers_row_is_the_transactions_first_statement() -> None:
    begin = [sql_text(one) for one in merge().begin]
    assert begin[:2] == ["BEGIN", f"INSERT INTO runbook.ledger (run, step) VALUES ('{SCOPE.run}', 'merge')"]
    assert begin[4] == 'LOCK TABLE ONLY "public"."users", "public"."orders" IN SHARE ROW EXCLUSIVE MODE'
    assert [sql_text(one) for one in merge().end] == ["COMMIT"]


def test_referenced_tables_are_filled_first_and_generated_columns_left_out() -> None:
    session = merge()
    assert [one.name for one in session.body] == ["copy_1", "put_1", "copy_2", "put_2", "settle"]
    assert inner(session, "copy_1") == 'SELECT "id", "email" FROM ONLY "public"."users" WHERE true'
    assert 'INSERT INTO "public"."users" ("id", "email") OVERRIDING SYSTEM VALUE' in inner(session, "put_1")
    assert "ON CONFLICT DO NOTHING RETURNING jsonb_build_object('id', \"id\")" in inner(session, "put_1")
    assert inner(session, "copy_2") == 'SELECT "id", "who" FROM "public"."orders" WHERE true'


def test_a_row_whose_unique_value_is_taken_is_not_even_tried() -> None:
    assert 'AND NOT (EXISTS (SELECT FROM ONLY "public"."users" AS o WHERE o."email" = s."email"))' in inner(
        merge(), "put_1"
    )


def test_conditions_are_put_in_by_the_names_that_were_written() -> None:
    session = merge(where={"orders": "who < 5 -- some", "*": "id = '{1}'"})
    assert inner(session, "copy_2").endswith("WHERE (\nwho < 5 -- some\n)")
    assert inner(session, "copy_1").endswith("WHERE (\nid = '{1}'\n)")


def test_what_is_expected_is_a_condition_inside_the_transaction() -> None:
    session = merge(expected={"public.users": 3, "public.orders": 4})
    by_name = {one.name: one for one in session.body if isinstance(one, Sql)}
    assert by_name["put_1"].expect == (
        Condition("users kept out", Test.EQUALS, 0),
        Condition("users put back", Test.EQUALS, 3),
    )
    assert by_name["settle"].expect == (Condition("rows put back", Test.AT_MOST, 9),)


def test_who_confirms_is_told_the_preview_and_no_operation_holds_it() -> None:
    assert MergeRows().tells(inputs(preview="users: 3")) == "users: 3"
    assert plan(preview="users: 3") == plan()


@pytest.mark.parametrize("skip", [True, False])
def test_triggers_are_off_within_the_transaction_only(skip: bool) -> None:
    session = merge(triggers="skip" if skip else "fire")
    begin = "; ".join(map(sql_text, session.begin))
    last = inner(session, "settle")
    assert ('ALTER TABLE "public"."orders" DISABLE TRIGGER "tell"' in begin) is skip
    assert ('ALTER TABLE "public"."orders" ENABLE TRIGGER "tell"' in last) is skip
    assert ('ALTER TABLE "public"."orders_2026" ENABLE ALWAYS TRIGGER "always"' in last) is skip
    if skip:
        assert last.index("SET CONSTRAINTS ALL IMMEDIATE") < last.index("ENABLE TRIGGER")


def test_triggers_that_nobody_decided_about_are_named() -> None:
    refuse_triggers((USERS,))
    with pytest.raises(Refused) as refused:
        refuse_triggers((USERS, ORDERS))
    assert "tell on public.orders, always on public.orders_2026" in refused.value.problems[0].detail


def test_undo_deletes_by_the_kept_keys_children_first() -> None:
    facts = MergeRowsFacts("c", 1, DONE, (ORDERS, USERS))
    (way_back,) = MergeRows().undo(DB, inputs(), facts, SCOPE) or ()
    assert isinstance(way_back, Sql)
    texts = [sql_text(one) for one in way_back.statements]
    assert texts[1].startswith('DELETE FROM "public"."orders" AS t USING runbook.merged AS m')
    assert texts[2].startswith('DELETE FROM ONLY "public"."users" AS t USING runbook.merged AS m')
    assert texts[3].startswith("DELETE FROM runbook.merged")
    assert not any("runbook.ledger" in text for text in texts), "or a resume would bring them back again"


def test_the_source_is_beside_the_live_database_or_where_it_is_said_to_be() -> None:
    here = database(address="/pg", port=5433)
    beside, there = inputs(), inputs(source=Source(database="x", address="/side", port=6000, user="reader"))
    assert (side(here, beside, SCOPE).address, side(here, beside, SCOPE).port) == ("/pg", 5433)
    assert side(here, beside, SCOPE).database == "copy"
    elsewhere = side(here, there, SCOPE)
    assert (elsewhere.address, elsewhere.port, elsewhere.user, elsewhere.database) == ("/side", 6000, "reader", "x")
    assert live(here, beside, SCOPE).database == "civicq"


@pytest.mark.parametrize(
    "wrong", [{"tables": ()}, {"at_most": -1}, {"triggers": "maybe"}, {"source": {"database": ""}}]
)
def test_inputs_that_make_no_sense(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        inputs(**wrong)


def test_a_comparison_reads_only_and_is_rolled_back() -> None:
    given = CompareRowsInputs(source=Source(database="copy"), tables=("orders", "users"), where={"users": "id > 5"})
    (session,) = CompareRows().plan(DB, given, CompareRowsFacts((ORDERS, USERS)), SCOPE)
    assert isinstance(session, Session)
    assert (CompareRows().effect, CompareRows().interrupted) == (Effect.READS, Interrupted.REPEATABLE)
    assert not changes(session)
    assert not any(map(changes, session.body))
    assert sql_text(session.begin[0]) == "BEGIN ISOLATION LEVEL REPEATABLE READ"
    assert [sql_text(one) for one in session.end] == ["ROLLBACK"]
    assert inner(session, "copy_2") == (
        'SELECT "id", "email", sha256(convert_to(ROW("email", "id")::text, \'UTF8\')) AS rb_row_sha256 '
        'FROM ONLY "public"."users" WHERE (\nid > 5\n)'
    )


def test_without_a_look_the_whole_list_is_there_still() -> None:
    given = inputs()
    names = [one.name for one in MergeRows().plan(DB, given, MergeRows().assume(DB, given, SCOPE), SCOPE)]
    assert names == ["ledger", "merge"]


def table(name: str, *references: tuple[str, bool]) -> Table:
    keys = tuple(ForeignKey(f"to_{there}", f"public.{there}", deferrable) for there, deferrable in references)
    return Table("public", name, partitioned=False, columns=(Column("id", "int"),), key=("id",), foreign_keys=keys)


def test_the_order_follows_the_references() -> None:
    a, b, c = table("a", ("b", False), ("elsewhere", False)), table("b", ("c", True)), table("c", ("c", False))
    assert [one.name for one in in_order((a, b, c)).tables] == ["c", "b", "a"]
    assert not in_order((a, b, c)).deferred


def test_a_circle_is_broken_where_a_reference_can_wait_and_else_refused() -> None:
    a, b = table("a", ("b", False)), table("b", ("a", True))
    order = in_order((a, b))
    assert ([one.name for one in order.tables], order.deferred) == (["b", "a"], True)
    with pytest.raises(Refused) as refused:
        in_order((a, table("b", ("a", False))))
    problem = refused.value.problems[0]
    assert problem.code == "E684"
    assert "to_a on public.b, to_b on public.a" in problem.detail


def test_tables_that_a_deletion_reached_too_are_named() -> None:
    assert followers((USERS,)) == ("public.items", "public.orders")
    assert followers((USERS, ORDERS)) == ("public.items",)


def test_columns_may_stand_in_another_order_but_not_be_others() -> None:
    turned = replace(USERS, columns=tuple(reversed(USERS.columns)))
    assert differences(USERS, turned) == ()
    assert refuse_unfit(USERS, turned, "users") is USERS
    other = replace(USERS, columns=(Column("id", "bigint"), Column("shout", "text"), Column("mail", "text")))
    assert differences(USERS, other) == (
        "mail is in the copy only",
        "email is in the live table only",
        "id is integer, in the copy bigint",
        "shout is computed in one of the two only",
    )


@pytest.mark.parametrize(
    ("here", "there", "code", "said"),
    [
        (None, None, "E681", "users is in neither database"),
        (USERS, None, "E681", "users is in the live database only"),
        (None, USERS, "E681", "users is in the copy only"),
        (replace(USERS, key=()), replace(USERS, key=()), "E682", "public.users has neither"),
    ],
)
def test_tables_that_cannot_be_compared(here: Table | None, there: Table | None, code: str, said: str) -> None:
    with pytest.raises(Refused) as refused:
        refuse_unfit(here, there, "users")
    assert refused.value.problems[0].code == code
    assert said in refused.value.problems[0].detail
