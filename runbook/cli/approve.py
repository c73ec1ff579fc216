"""``runbook approve``: one person's approval of what a step waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runbook.cli import options

if TYPE_CHECKING:
    from runbook.engine.events import StepApproved, StepWaiting
    from runbook.engine.step_run import StepRun


@click.command()
@options.run()
@click.argument("step")
@click.option("--as", "claimed", default="", metavar="NAME", help="Who approves; recorded as a claim.")
@options.state
@options.color
def command(run: str, step: str, claimed: str, state: str, no_color: bool) -> None:
    """Approve what STEP of RUN waits for: its text and hash are shown, and recorded with your name."""
    from runbook.cli.screen import Screen
    from runbook.cli.who import machine, operator
    from runbook.cli.word import open_word
    from runbook.engine.events import StepApproved
    from runbook.engine.transitions import Status
    from runbook.report.approvals import approver
    from runbook.report.story import Line

    with open_word(options.state_directory(state), run) as word:
        found = word.step(step, Status.WAITING)
        if found.question is None or found.question.kind != "approval":
            raise word.not_now(f"{step} waits for an answer, not for approvals.")
        question = found.question
        approval = StepApproved(step, operator(), question.subject, claimed, host=machine())
        _refuse_stranger(question, approval)
        _refuse_twice(word.run.run, found, approval)
        screen = Screen.of(no_color=no_color)
        screen.lines([Line("▸", text) for text in question.instructions.strip().splitlines() if text.strip()])
        word.say(approval)
        given = len(_valid(word.state.step(step), question))
        by = approver(approval, applied_by=word.state.header.operator)
        who = f"approved by {by}, {given} of {question.needs}"
        word.close(screen, Line("✓", f"{step}: {who}; {question.subject.rpartition('/')[2][:16]}", "good"))


def _name(approval: StepApproved) -> str:
    return approval.claimed or approval.by


def _refuse_stranger(question: StepWaiting, approval: StepApproved) -> None:
    from runbook.errors import Problem, Refused

    if not question.approvers or {approval.by, approval.claimed} & set(question.approvers):
        return
    detail = f"You are {approval.by}. Approvals of {question.step} count from: {', '.join(question.approvers)}."
    raise Refused(Problem("E413", "this approval would not count", detail, "one of them runs it, or says --as NAME"))


def _refuse_twice(run: str, found: StepRun, approval: StepApproved) -> None:
    from runbook.errors import Problem, Refused
    from runbook.quoting import shell_word

    for earlier in _valid(found, found.question):
        if earlier.by == approval.by or _name(earlier) == _name(approval):
            detail = (
                f"{_name(earlier)} (user {earlier.by}) has approved it. Another person has to, with their own user."
            )
            step = shell_word(found.question.step) if found.question else ""
            again = f"somebody else, as themselves: runbook approve {run} {step}"
            raise Refused(Problem("E414", "an approver approves once", detail, again))


def _valid(found: StepRun, question: StepWaiting | None) -> list[StepApproved]:
    return [one for one in found.approvals if question is not None and one.subject == question.subject]
