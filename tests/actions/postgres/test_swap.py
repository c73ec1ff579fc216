"""Names and marks of databases → how far a restore is; and the operations of the swap."""

from __future__ import annotations

import itertools

import pytest

from runbook.action import Undecidable
from runbook.actions.postgres import swap
from runbook.actions.postgres.database import Properties, Seen
from runbook.actions.postgres.swap import Names, Standing, Three
from runbook.errors import Refused
from runbook.operation import Fields, Sql, Transaction
from runbook.paste import paste
from tests.actions.backups import database, scope

NAMES = Names("civicq", "rb_new", "civicq_old")
MARKS = swap.marks(scope(), "a.dump")
ORIGINAL, OTHER = 10, 20


def seen(oid: int, comment: str = "", *, invalid: bool = False) -> Seen:
    return Seen(oid=oid, comment=comment, open=True, invalid=invalid)


LIVE = {
    "-": None,
    "original": seen(ORIGINAL, "ours"),
    "other": seen(OTHER),
    "restored": seen(OTHER, f"ours [{MARKS.restored}]"),
}
NEW = {
    "-": None,
    "unmarked": seen(OTHER),
    "loaded": seen(OTHER, MARKS.loaded),
    "marked": seen(OTHER, MARKS.restored),
    "half dropped": seen(OTHER, MARKS.restored, invalid=True),
}
OLD = {"-": None, "kept": seen(ORIGINAL, f"{MARKS.kept}. ours"), "foreign": seen(30, "somebody's")}

# (was there a live database, live, new, old) → what remains; everything that isn't here is undecidable
TABLE = {
    (True, "original", "-", "-"): Standing.NOTHING,
    (True, "original", "unmarked", "-"): Standing.UNFINISHED,
    (True, "original", "half dropped", "-"): Standing.UNFINISHED,
    (True, "original", "loaded", "-"): Standing.LOADED,
    (True, "original", "marked", "-"): Standing.FINISHED,
    (True, "other", "-", "kept"): Standing.SWAPPED,
    (True, "restored", "-", "kept"): Standing.SWAPPED,
    (False, "-", "-", "-"): Standing.NOTHING,
    (False, "-", "unmarked", "-"): Standing.UNFINISHED,
    (False, "-", "half dropped", "-"): Standing.UNFINISHED,
    (False, "-", "loaded", "-"): Standing.LOADED,
    (False, "-", "marked", "-"): Standing.FINISHED,
    (False, "restored", "-", "-"): Standing.SWAPPED,
}


@pytest.mark.parametrize(("existed", "live", "new", "old"), list(itertools.product([True, False], LIVE, NEW, OLD)))
def test_every_combination_is_known_or_undecidable(existed: bool, live: str, new: str, old: str) -> None:
    three = Three(LIVE[live], NEW[new], OLD[old], ORIGINAL if existed else 0)
    expected = TABLE.get((existed, live, new, old))
    if expected is not None:
        assert swap.standing(three, NAMES, MARKS) is expected
        return
    with pytest.raises(Undecidable) as state:
        swap.standing(three, NAMES, MARKS)
    assert all(name in state.value.problem.detail for name in NAMES.all)


@pytest.mark.parametrize(
    ("ended", "new", "shown"),
    [
        ({"create": {"oid": OTHER}, "load": {}}, NEW["unmarked"], True),
        ({"roles": {}, "create": {"oid": OTHER}, "stage": {}, "load": {}}, NEW["unmarked"], True),
        ({"load": {}, "create": {"oid": OTHER}}, NEW["unmarked"], False),  # of a database that was there before
        ({"create": {"oid": ORIGINAL}, "load": {}}, NEW["unmarked"], False),
        ({"create": {"row_count": 1}, "load": {}}, NEW["unmarked"], False),
        ({"create": {"oid": OTHER}}, NEW["unmarked"], False),
        ({"load": {}}, NEW["unmarked"], False),
        ({"create": {"oid": OTHER}, "load": {}}, NEW["half dropped"], False),
        ({"create": {"oid": OTHER}, "load": {}}, None, False),
        ({}, NEW["unmarked"], False),
    ],
)
def test_records_show_a_load_only_into_this_very_database(
    ended: dict[str, Fields], new: Seen | None, shown: bool
) -> None:
    assert swap.load_shown(ended, new) is shown


def test_names_fit_and_carry_the_run() -> None:
    for live in ("civicq", "é" * 31, "x" * 63):
        made = swap.names(live, "", scope())
        assert made.live == live
        assert all(scope().tag in name for name in (made.new, made.old))
        assert all(len(name.encode()) <= swap.LONGEST_NAME for name in made.all)
    one, two = (swap.own_name(scope(step=step)) for step in ("copy[a]", "copy[b]"))
    assert one != two
    assert len(swap.own_name(scope(run="r" * 90, step="s" * 63))) <= 47


@pytest.mark.parametrize(
    ("live", "old"), [("", ""), ("x" * 64, ""), ("civicq", "y" * 64), ("civicq", "civicq"), ("a\0", "")]
)
def test_names_that_can_not_be_are_refused(live: str, old: str) -> None:
    with pytest.raises(Refused):
        swap.names(live, old, scope())


def test_the_swap_is_one_transaction_and_quotes_every_name() -> None:
    at = database().connection(application="x", database="postgres")
    odd = Names('a"; DROP', "rb_new", "o'ld")
    want = Properties(connection_limit=17, open=True, comment="it's")
    operation = swap.swapped(at, odd, MARKS, want, existed=True)
    assert isinstance(operation, Sql)
    assert operation.transaction is Transaction.ONE
    text = paste(operation)
    assert '"a""; DROP" RENAME TO "o\'ld"' in text.replace("'\\''", "'").replace("'\"'\"'", "'")
    assert "CONNECTION LIMIT 17" in text
    assert [statement.text.split()[0] for statement in operation.statements].count("ALTER") == 4


def test_without_a_former_database_nothing_is_set_aside() -> None:
    at = database().connection(application="x", database="postgres")
    operation = swap.swapped(at, NAMES, MARKS, Properties(comment="ours"), existed=False)
    assert isinstance(operation, Sql)
    assert "civicq_old" not in paste(operation)
    assert f"ours [{MARKS.restored}]" in paste(operation)


def test_an_older_server_has_no_forced_drop() -> None:
    at = database().connection(application="x", database="postgres")
    assert "FORCE" in paste(swap.drop(at, "rb_new", version=150018))
    older = paste(swap.drop(at, "rb_new", version=120022))
    assert "FORCE" not in older and "pg_terminate_backend" in older
    assert swap.drop(at, "rb_new", version=150018).owned


def test_the_maintenance_database_is_none_of_the_three() -> None:
    assert swap.maintenance(database(), "civicq", "x").database == "postgres"
    assert swap.maintenance(database(), "postgres", "x").database == "template1"
