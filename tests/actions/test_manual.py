"""manual: what a person is asked, what of their answer is taken, and the check that follows it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from runbook.action import CheckFailed, Done, Look, NoFacts
from runbook.actions.manual import Answered, Manual, ManualInputs
from runbook.operation import Ask, Operations, Process, Question, Scalar, Sql
from runbook.paste import paste
from tests.actions.backups import database, scope

FIELDS = {
    "address": {"help": "Its IPv4 address"},
    "count": {"type": "integer"},
    "ready": {"type": "boolean"},
    "size": {"choices": ["small", "large"]},
    "since": {"type": "datetime"},
}
ANSWERS: dict[str, Scalar] = {
    "address": "203.0.113.7",
    "count": "4",
    "ready": "true",
    "size": "large",
    "since": "2026-02-14T13:00:00+01:00",
    "by": "ada",
}


def inputs(**written: object) -> ManualInputs:
    """Inputs as a plan writes them, with a system in place of its name."""
    return ManualInputs.model_validate({"instructions": "Order a server.", **written})


def planned(**written: object) -> Operations:
    """The operations of a step with these inputs."""
    return Manual().plan(None, inputs(**written), NoFacts(), scope())


def test_a_bare_instruction_asks_for_a_word() -> None:
    assert planned() == (Ask(name="ask", instructions="Order a server."),)
    assert paste(planned()[0]) == "# ask: Order a server."


def test_fields_become_questions() -> None:
    [ask] = planned(fields={"size": FIELDS["size"], "ready": {"type": "boolean", "choices": [True]}})
    assert isinstance(ask, Ask)
    assert ask.questions == (
        Question("size", "string", "", ("small", "large")),
        Question("ready", "boolean", "", ("true",)),
    )


def test_a_program_checks_what_was_said() -> None:
    _, check = planned(verify={"argv": ["test", "-d", "/srv"], "host": {"docker": "app"}, "ok_codes": [0, 2]})
    assert isinstance(check, Process)
    assert check.reads
    assert paste(check).endswith("app test -d /srv")
    assert check.ok_codes == (0, 2)


def test_a_query_checks_what_was_said() -> None:
    _, check = planned(verify={"query": "SELECT count(*) FROM users;", "at_least": 1}, database=database())
    assert isinstance(check, Sql)
    assert check.reads
    assert paste(check).endswith("# expected: value is at least 1")


def test_answers_are_of_their_types(look: Look) -> None:
    found = Manual().verify(look, None, inputs(fields=FIELDS), Done(NoFacts(), {"ask": ANSWERS}))
    since = "2026-02-14T12:00:00Z"
    answers = {"address": "203.0.113.7", "count": 4, "ready": True, "size": "large", "since": since}
    assert found == Answered(answers=answers, by="ada")
    assert found.model_dump(mode="json")["answers"] == answers


def test_answers_that_are_typed_already(look: Look) -> None:
    said = {"ask": {**ANSWERS, "count": 4, "ready": False}}
    found = Manual().verify(look, None, inputs(fields=FIELDS), Done(NoFacts(), said))
    assert (found.answers["count"], found.answers["ready"]) == (4, False)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"count": "four"}, "count: expected a whole number"),
        ({"count": 4.5}, "count: expected a whole number"),
        ({"ready": "perhaps"}, "ready: expected true or false"),
        ({"size": "huge"}, "size: expected one of small, large"),
        ({"since": "2026-02-14"}, "since: a time needs a zone"),
        ({"address": None}, "address: no answer"),
    ],
)
def test_an_answer_that_cannot_be_used_is_named(look: Look, wrong: dict[str, Scalar], why: str) -> None:
    with pytest.raises(CheckFailed) as raised:
        Manual().verify(look, None, inputs(fields=FIELDS), Done(NoFacts(), {"ask": {**ANSWERS, **wrong}}))
    assert why in raised.value.problems[0].detail
    assert "runbook confirm RUN STEP -i address=" in raised.value.problems[0].fix


@pytest.mark.parametrize(
    "written",
    [
        {"instructions": ""},
        {"fields": {"by": {}}},
        {"fields": {"Size": {}}},
        {"fields": {"size": {"type": "colour"}}},
        {"verify": {"argv": []}},
        {"verify": {"query": "SELECT 1"}},
        {"verify": {"query": "SELECT 1", "equals": 1}},
        {"verify": {"argv": ["true"]}, "database": database()},
        {"database": database()},
    ],
)
def test_wrong_inputs(written: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        inputs(**written)
