"""Assertions: inputs and facts → queries with what they have to give."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from runbook.action import Done
from runbook.actions.postgres.assertion import Assert, AssertFacts, AssertInputs, Check
from runbook.actions.postgres.counts import Count, chosen, parse
from runbook.errors import Refused
from runbook.operation import Condition, Sql, Test
from runbook.quoting import sql_text
from tests.actions.backups import artifact, database, scope

ASSERT = Assert()
USERS = "SELECT count(*) FROM users"


@pytest.mark.parametrize(
    ("bound", "conditions"),
    [
        ({"at_least": 1}, [(Test.AT_LEAST, 1)]),
        ({"at_most": 2.5}, [(Test.AT_MOST, 2.5)]),
        ({"equals": True}, [(Test.EQUALS, True)]),
        ({"equals": 0}, [(Test.EQUALS, 0)]),
        ({"equals": ""}, [(Test.EQUALS, "")]),
        ({"differs": "x"}, [(Test.DIFFERS, "x")]),
        ({"contains": "ready"}, [(Test.CONTAINS, "ready")]),
        ({"one_of": ["a", 2, True]}, [(Test.ONE_OF, "a\n2\ntrue")]),
        ({"at_least": 1, "at_most": 9}, [(Test.AT_LEAST, 1), (Test.AT_MOST, 9)]),
    ],
)
def test_bounds_become_conditions(bound: dict[str, object], conditions: list[tuple[Test, object]]) -> None:
    inputs = AssertInputs.model_validate({"checks": [{"query": USERS, **bound}]})
    (operation,) = ASSERT.plan(database(), inputs, AssertFacts("", ()), scope())
    assert isinstance(operation, Sql)
    assert operation.reads
    assert [(one.field, one.test, one.value) for one in operation.expect] == [("value", *one) for one in conditions]


@pytest.mark.parametrize("query", [USERS, f"{USERS};", f" {USERS} ; ", f"{USERS} -- as of now", "SELECT '{a}'"])
def test_a_query_is_sent_as_a_value_in_text_form(query: str) -> None:
    inputs = AssertInputs.model_validate({"checks": [{"query": query, "at_least": 1}]})
    (operation,) = ASSERT.plan(database(), inputs, AssertFacts("", ()), scope())
    assert isinstance(operation, Sql)
    text = sql_text(operation.statements[0])
    assert text == f"SELECT (\n{query.strip().removesuffix(';')}\n)::text AS value"


@pytest.mark.parametrize(
    ("name", "title"), [("Users are there", "Users are there"), ("two\nlines {x}", "two lines {x}"), ("  ", "")]
)
def test_what_a_check_is_for_stands_before_its_query(name: str, title: str) -> None:
    statement = Check(query=USERS, at_least=1, name=name).statement()
    query = f"SELECT (\n{USERS}\n)::text AS value"
    assert statement.title == title
    assert sql_text(statement) == (f"-- {title}\n{query}" if title else query)


@pytest.mark.parametrize("written", [{}, {"checks": []}, {"checks": [{"query": USERS}]}, {"checks": [{"at_least": 1}]}])
def test_an_assertion_that_asserts_nothing_is_invalid(written: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AssertInputs.model_validate(written)


def test_counts_are_compared_in_one_query() -> None:
    inputs = AssertInputs.model_validate({"counts_of": {"artifact": artifact()}})
    facts = AssertFacts("ab", (Count("public.it's", 3),))
    (operation,) = ASSERT.plan(database(), inputs, facts, scope())
    assert isinstance(operation, Sql)
    assert operation.expect == (Condition("which", Test.EQUALS, ""), Condition("wrong", Test.EQUALS, 0))
    assert "public.it''s" in sql_text(operation.statements[0])
    assert "IS DISTINCT FROM e.rows" in sql_text(operation.statements[0])


NO_LOOK: Any = None
"""Nothing is looked at."""


def test_values_are_the_outputs() -> None:
    inputs = AssertInputs.model_validate(
        {"checks": [{"query": USERS, "at_least": 1}, {"query": USERS, "differs": "x"}]}
    )
    done = Done(AssertFacts("", ()), {"check_1": {"value": "12"}, "check_2": {"value": None}})
    found = ASSERT.verify(NO_LOOK, database(), inputs, done)
    assert found.values == ("12", None)


def test_a_record_of_counts_is_json_lines() -> None:
    counts = parse('{"table":"public.a","rows":1}\n{"table":"log.b","rows":0}\n', "x")
    assert counts == (Count("public.a", 1), Count("log.b", 0))
    assert chosen(counts, ("public.*",)) == (Count("public.a", 1),)
    assert chosen(counts, ()) == counts


@pytest.mark.parametrize("text", ["{", '{"table": "a"}', '{"table": "a", "rows": "many"}', "[]"])
def test_another_record_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="row counts"):
        parse(text, "x")


def test_probes_are_checks_for_something_that_is_there() -> None:
    inputs = AssertInputs.model_validate({"checks": [{"query": USERS, "equals": 3}], "probes": [USERS, "SELECT 7"]})
    operations = ASSERT.plan(database(), inputs, AssertFacts("", ()), scope())
    assert [one.name for one in operations] == ["check_1", "check_2", "check_3"]
    assert [one.expect for one in operations if isinstance(one, Sql)][1:] == [
        (Condition("value", Test.AT_LEAST, 1),),
        (Condition("value", Test.AT_LEAST, 1),),
    ]
    results = {f"check_{number}": {"value": str(number)} for number in (1, 2, 3)}
    done = Done(AssertFacts("", ()), results)
    assert ASSERT.verify(NO_LOOK, database(), inputs, done).values == ("1", "2", "3")
    with pytest.raises(ValidationError):
        AssertInputs.model_validate({"probes": [""]})
