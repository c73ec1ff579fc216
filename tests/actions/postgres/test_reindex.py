"""Which indexes remain to be built, in which order, and how a key that stands twice is looked for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from runbook.action import CheckFailed, Done, Effect, Scope
from runbook.actions.postgres.client import Server
from runbook.actions.postgres.reindex import Index, Reindex, ReindexFacts, ReindexInputs
from runbook.artifact import Artifact, Format
from runbook.operation import Sql, Transaction, changes
from runbook.placeholder import AHEAD
from runbook.quoting import sql_text
from runbook.system import Postgres

NOW = datetime(2026, 2, 14, tzinfo=UTC)
SCOPE = Scope("r1", "reindex", NOW, "/run/r1", "here", False, {})
DB = Postgres(type="postgres", key="db", user="civicq", database="civicq")
EVIDENCE = Artifact(
    store="evidence", url="file:///srv/evidence/cold", name="cold", format=Format.COLD_COPY, bytes=1, finished_at=NOW
)
PLAIN = Index(
    given="public.orders_who",
    schema="public",
    name="orders_who",
    table="public.orders",
    file=10,
    valid=True,
    unique=False,
    system=False,
    btree=True,
    keys=("who",),
    predicate="",
    nulls_too=False,
    left=(),
)
UNIQUE = replace(
    PLAIN, given="public.u", name="u", table="public.users", unique=True, keys=("lower(email)", "'{}'::text")
)


def facts(*indexes: Index, amcheck: str = "public", before: int = 10) -> ReindexFacts:
    files = tuple((one.given, before) for one in indexes)
    return ReindexFacts(Server(150018, "73", superuser=True), "a" * 64, files, indexes, amcheck)


def inputs(*, concurrently: bool = False) -> ReindexInputs:
    return ReindexInputs(indexes=("public.orders_who", "public.u"), evidence=EVIDENCE, concurrently=concurrently)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (facts(PLAIN, UNIQUE), ["search_2", "reindex_1", "check_1", "reindex_2", "check_2"]),
        (facts(PLAIN, UNIQUE, amcheck=""), ["search_2", "reindex_1", "reindex_2"]),
        (facts(replace(PLAIN, file=11), UNIQUE), ["search_2", "reindex_2", "check_2"]),
        (facts(replace(PLAIN, file=11), replace(UNIQUE, file=12)), []),
        (facts(replace(PLAIN, file=11, valid=False), replace(UNIQUE, file=12)), ["reindex_1", "check_1"]),
        (facts(replace(PLAIN, btree=False)), ["reindex_1"]),
        (facts(replace(PLAIN, left=("orders_who_ccnew",))), ["sweep_1_1", "reindex_1", "check_1"]),
        (facts(replace(PLAIN, file=11, left=("orders_who_ccold",))), ["sweep_1_1"]),
        (facts(), []),
    ],
)
def test_what_remains(found: ReindexFacts, expected: list[str]) -> None:
    assert [one.name for one in Reindex().plan(DB, inputs(), found, SCOPE)] == expected


def test_every_search_comes_before_the_first_change() -> None:
    operations = Reindex().plan(DB, inputs(), facts(UNIQUE, replace(UNIQUE, given="public.v", name="v")), SCOPE)
    first = next(number for number, one in enumerate(operations) if changes(one))
    assert [one.name for one in operations[:first]] == ["search_1", "search_2"]


def test_a_search_reads_the_table_and_not_the_index() -> None:
    search = Reindex().plan(DB, inputs(), facts(replace(UNIQUE, predicate="left_at IS NULL")), SCOPE)[0]
    assert isinstance(search, Sql)
    texts = [sql_text(one) for one in search.statements]
    assert texts[:3] == [f"SET LOCAL enable_{kind} = off" for kind in ("indexscan", "indexonlyscan", "bitmapscan")]
    assert (
        "FROM ONLY public.users WHERE (lower(email)) IS NOT NULL AND ('{}'::text) IS NOT NULL AND (left_at IS NULL)"
        in texts[3]
    )
    assert "GROUP BY lower(email), '{}'::text HAVING count(*) > 1" in texts[3]
    alike = Reindex().plan(DB, inputs(), facts(replace(UNIQUE, nulls_too=True)), SCOPE)[0]
    assert isinstance(alike, Sql)
    assert "IS NOT NULL" not in sql_text(alike.statements[3]), "NULLS NOT DISTINCT: nulls are alike"


@pytest.mark.parametrize(("system", "expected"), [(False, Transaction.AUTOCOMMIT), (True, Transaction.ONE)])
def test_concurrently_where_it_can_be(expected: Transaction, *, system: bool) -> None:
    built = Reindex().plan(DB, inputs(concurrently=True), facts(replace(PLAIN, system=system)), SCOPE)[0]
    assert isinstance(built, Sql)
    assert built.transaction is expected
    assert ("CONCURRENTLY" in sql_text(built.statements[-1])) is not system


def test_what_was_not_built_fails() -> None:
    with pytest.raises(CheckFailed) as failed:
        Reindex().verify(None, DB, inputs(), Done(facts(PLAIN), {}))  # type: ignore[arg-type]
    assert failed.value.problems[0].code == "E693"
    out = Reindex().verify(None, DB, inputs(), Done(facts(replace(PLAIN, file=11)), {}))  # type: ignore[arg-type]
    assert out.evidence == EVIDENCE.url


def test_what_it_is() -> None:
    assert Reindex.name == "postgres.reindex"
    assert Reindex.repair
    assert Reindex.effect is Effect.CHANGES
    assert [one.name for one in Reindex().recovery(DB, inputs(), facts(replace(PLAIN, left=("x_ccnew",))), SCOPE)] == [
        "sweep_1_1"
    ]


def shown(asked: ReindexInputs) -> list[tuple[str, str]]:
    """What a dry-run shows before anybody could look at the indexes: names, and their last statements."""
    operations = Reindex().plan(DB, asked, Reindex().assume(DB, asked, SCOPE), SCOPE)
    sqls = [one for one in operations if isinstance(one, Sql)]
    return [(one.name, sql_text(one.statements[-1])) for one in sqls]


def test_a_dry_run_shows_what_is_done_with_each_index_before_it_is_known_which_they_are() -> None:
    late = {"indexes": "<steps.diagnose.broken_indexes>", "evidence": EVIDENCE}
    asked = ReindexInputs.model_validate(late, context=AHEAD)
    (searched, search), (built, build), (checked, check) = shown(asked)
    assert (searched, built, checked) == ("search_1", "reindex_1", "check_1")
    assert "FROM ONLY <its table> WHERE (<its keys>) IS NOT NULL GROUP BY <its keys>" in search
    assert build == 'REINDEX INDEX "<its schema>"."<each of steps.diagnose.broken_indexes>"'
    assert "'<each of steps.diagnose.broken_indexes>'::regclass" in check
    with pytest.raises(ValidationError):
        ReindexInputs.model_validate(late)


def test_a_dry_run_that_can_not_look_shows_all_that_may_be_asked_of_an_index() -> None:
    assert [name for name, _ in shown(inputs())] == [
        *("search_1", "search_2"),
        *("reindex_1", "check_1", "reindex_2", "check_2"),
    ]
