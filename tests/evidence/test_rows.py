"""Deleted rows come back on both guides' stacks, by the plan that ships: what was written since stays, and nothing else changes."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tests.evidence.stacks import CIVICQ, CONTRACT_LUCIDITY, Stack
from tests.evidence.witness import databases

pytestmark = [pytest.mark.docker, pytest.mark.slow]

OWN = {"postgres", "template0", "template1"}


def accident(made: Stack, *statements: str) -> str:
    """The moment of the accident, which then happens."""
    moment = datetime.now(UTC).isoformat()
    time.sleep(0.01)
    for statement in statements:
        made.sql(statement)
    return moment


def given(**inputs: str) -> list[str]:
    """Inputs as an operator writes them."""
    return [word for name, value in inputs.items() for word in ("-i", f"{name}={value}")]


def whole(made: Stack, table: str, condition: str) -> object:
    """A hash of these rows."""
    return made.sql(f"SELECT count(*), md5(string_agg(t::text, ';' ORDER BY id)) FROM {table} t WHERE {condition}")


def test_users_and_their_questions_on_civicq(stand: Callable[..., Stack]) -> None:
    made = stand(CIVICQ)
    before = {table: whole(made, table, "id <= 9000") for table in ("users", "questions")}
    made.back_up()
    made.sql("INSERT INTO users (email) VALUES ('new@example.org')")
    made.sql(
        "INSERT INTO questions (user_id, body) SELECT id, 'Since then?' FROM users WHERE email = 'new@example.org'"
    )
    moment = accident(made, "DELETE FROM users WHERE id % 5 = 0 AND id <= 3000")
    running = made.states()

    alone = made.apply("restore-rows", *given(accident=moment, tables="users", bring_back="false"))
    assert alone.code == 0, alone.said
    assert made.program.outputs("preview")["followers"] == ["public.questions"], "the deletion reached it too"

    ran = made.apply("restore-rows", *given(accident=moment, tables="questions,users"))
    assert ran.code == 0, ran.said
    assert made.program.outputs("merge")["rows"] == {"public.users": 600, "public.questions": 1800}
    assert made.sql("SELECT count(*) FROM questions WHERE body = 'Since then?'") == [(1,)]
    made.sql("DELETE FROM users WHERE email = 'new@example.org'")
    assert {table: whole(made, table, "true") for table in before} == before
    assert databases(made.server) == OWN | {made.database}
    assert made.states() == running, "no service was stopped"


def test_documents_with_a_trigger_on_contract_lucidity(stand: Callable[..., Stack]) -> None:
    made = stand(CONTRACT_LUCIDITY)
    before = whole(made, "documents", "true")
    made.back_up()
    moment = accident(made, "DELETE FROM audit.events WHERE document_id <= 50", "DELETE FROM documents WHERE id <= 50")
    events = made.sql("SELECT count(*) FROM audit.events")

    undecided = made.apply("restore-rows", *given(accident=moment, tables="documents"))
    assert undecided.code != 0
    assert "E683" in undecided.said
    assert "noted on public.documents" in undecided.said
    keyless = made.apply("restore-rows", *given(accident=moment, tables="audit.events"))
    assert keyless.code != 0
    assert "E682" in keyless.said
    assert databases(made.server) == OWN | {made.database}, "the copy goes at every end"

    ran = made.apply("restore-rows", *given(accident=moment, tables="documents", triggers="skip"))
    assert ran.code == 0, ran.said
    assert made.program.outputs("merge")["rows"] == {"public.documents": 50}
    assert whole(made, "documents", "true") == before
    assert made.sql("SELECT count(*) FROM audit.events") == events
    made.sql("UPDATE documents SET state = 'void' WHERE id = 1")
    assert made.sql("SELECT count(*) FROM audit.events WHERE document_id = 1") == [(1,)], "the trigger is on again"
