"""A step that waits until enough people have agreed to a thing that is named."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from runbook.action import Action, Done, Effect, Inputs, Interrupted, Look, Outputs, Scope, current
from runbook.operation import Ask, Operations


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) != len(names) or not all(name.strip() for name in names):
        raise ValueError("expected names, each once")
    return names


Names: TypeAlias = Annotated[tuple[str, ...], AfterValidator(_once)]


class ApprovalInputs(Inputs):
    """Who has to agree to what."""

    subject: str = Field(min_length=1, description="What is agreed to, in words; its hash is what the journal records")
    approvers: Names = Field(default=(), description="Users whose word counts; empty: anybody's")
    needed: int | None = Field(
        default=None, ge=1, le=20, description="How many of them; default: all of `approvers`, else one"
    )

    @model_validator(mode="after")
    def _enough(self) -> ApprovalInputs:
        if self.approvers and self.needed is not None and self.needed > len(self.approvers):
            raise ValueError("needed is more than there are approvers")
        return self

    @property
    def count(self) -> int:
        """How many different people have to agree."""
        return self.needed or len(self.approvers) or 1


@dataclass(frozen=True, slots=True)
class ApprovalFacts:
    """What is agreed to, as the journal records it."""

    subject: str = current()


class Approved(Outputs):
    """Who agreed to what."""

    by: str = Field(description="The people who agreed, with commas between them")
    subject: str = Field(description="What they agreed to: the run, and the SHA-256 of environment and subject")


class Approval(Action[None, ApprovalInputs, ApprovalFacts, Approved]):
    """Wait until enough people have agreed (`runbook approve RUN STEP`).

    An approver is the operating system's user, recorded with the machine; what they say of themselves (`--as`) is recorded as a
    claim, and an approval by whoever applied the run is shown as one. The approval is of this run in this environment and of
    this very text: with another text, earlier approvals don't count.
    """

    effect = Effect.READS
    interrupted = Interrupted.REPEATABLE
    example = """\
- id: agreed
  title: Two of three agree to lose the newest hour
  uses: approval
  with:
    subject: Restore the backup of 14 February, 11:00; what was written later is lost.
    approvers: [ada, grace, margaret]
    needed: 2
  timeout: 1m
"""

    def observe(self, look: Look, system: None, inputs: ApprovalInputs, scope: Scope) -> ApprovalFacts:
        """Nothing of the world: run, environment and text make the subject."""
        return ApprovalFacts(_subject(inputs, scope))

    def assume(self, system: None, inputs: ApprovalInputs, scope: Scope) -> ApprovalFacts:
        """Nothing of the world: run, environment and text make the subject."""
        return ApprovalFacts(_subject(inputs, scope))

    def plan(self, system: None, inputs: ApprovalInputs, facts: ApprovalFacts, scope: Scope) -> Operations:
        """The question."""
        whose = f" of {', '.join(inputs.approvers)}" if inputs.approvers else ""
        return (
            Ask(
                name="ask",
                instructions=f"{inputs.subject}\n\nNeeds the approval of {inputs.count}{whose}.",
                approvals=inputs.count,
                approvers=inputs.approvers,
                subject=facts.subject,
            ),
        )

    def verify(self, look: Look, system: None, inputs: ApprovalInputs, done: Done[ApprovalFacts]) -> Approved:
        """The answer names them."""
        return Approved(by=str(done.results["ask"]["by"]), subject=done.facts.subject)


def _subject(inputs: ApprovalInputs, scope: Scope) -> str:
    """The run's id stays readable beside the hash, so that the same plan in another run differs in it alone."""
    text = json.dumps([scope.environment, inputs.subject], ensure_ascii=False, separators=(",", ":"))
    return f"{scope.run}/{hashlib.sha256(text.encode()).hexdigest()}"
