"""approval: how many have to agree, and to what exactly."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from runbook.action import Done, Look, Scope
from runbook.actions.approval import Approval, ApprovalInputs, Approved
from runbook.operation import Ask
from tests.actions.backups import scope

SCOPE = scope()


def ask(where: Scope = SCOPE, /, **written: object) -> Ask:
    """The question of a step with these inputs."""
    inputs = ApprovalInputs.model_validate({"subject": "Lose the last hour", **written})
    [operation] = Approval().plan(None, inputs, Approval().assume(None, inputs, where), where)
    assert isinstance(operation, Ask)
    return operation


@pytest.mark.parametrize(
    ("written", "needed"),
    [
        ({}, 1),
        ({"needed": 3}, 3),
        ({"approvers": ["ada", "grace"]}, 2),
        ({"approvers": ["ada", "grace"], "needed": 1}, 1),
    ],
)
def test_how_many_have_to_agree(written: dict[str, object], needed: int) -> None:
    assert ask(SCOPE, **written).approvals == needed


def test_the_text_and_the_people_are_shown() -> None:
    question = ask(approvers=["ada", "grace"], needed=1)
    assert question.instructions == "Lose the last hour\n\nNeeds the approval of 1 of ada, grace."
    assert question.approvers == ("ada", "grace")


def test_an_approval_is_of_this_run_environment_and_text() -> None:
    subjects = {
        ask().subject,
        ask(subject="Lose the last day").subject,
        ask(replace(SCOPE, run="20260215-120000-test-0000")).subject,
        ask(replace(SCOPE, environment="production")).subject,
    }
    assert len(subjects) == 4
    assert ask().subject == ask(replace(SCOPE, resumed=True)).subject
    assert ask().subject.startswith(f"{SCOPE.run}/")


def test_outputs(look: Look) -> None:
    inputs = ApprovalInputs(subject="Lose the last hour")
    facts = Approval().observe(look, None, inputs, SCOPE)
    done = Approval().verify(look, None, inputs, Done(facts, {"ask": {"by": "ada, grace"}}))
    assert done == Approved(by="ada, grace", subject=ask().subject)


@pytest.mark.parametrize(
    "written",
    [
        {"subject": ""},
        {"needed": 0},
        {"approvers": ["ada"], "needed": 2},
        {"approvers": ["ada", "ada"]},
        {"approvers": [" "]},
    ],
)
def test_wrong_inputs(written: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ApprovalInputs.model_validate({"subject": "x", **written})
