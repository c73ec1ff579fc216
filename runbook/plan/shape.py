"""The shape of a plan file: every key that may stand in one, and what may stand beside it.

Owns the pydantic models of the written form; the JSON Schema for editors comes from them. Promises: an unknown key is
refused, nothing is coerced, and validation messages never hold values. Meaning (do the names exist?) is checked by the
loader.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from runbook.errors import suggest
from runbook.plan.names import check_identifier, check_plan_name
from runbook.plan.patterns import check_pattern
from runbook.system import SYSTEMS
from runbook.units import parse_duration

MOST_ATTEMPTS = 1000


def _duration(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("expected a duration like 30s, 5m, 1h30m or 2d")  # noqa: TRY004 - pydantic's kind of refusal
    parse_duration(value)
    return value


def _timeout(text: str) -> str:
    if parse_duration(text) == 0:
        raise ValueError("expected more than no time at all")
    return text


def _one_line(text: str) -> str:
    """What stands on a line of its own in every list: a line break in it would begin a line that nobody said."""
    return " ".join(text.split())


def _system_type(text: str) -> str:
    if text not in SYSTEMS:
        raise ValueError(f"expected one of {', '.join(SYSTEMS)}" + _hint(text, list(SYSTEMS)))
    return text


def _hint(word: str, known: list[str]) -> str:
    near = suggest(word, known)
    return f"; {near}" if near else ""


def _version(value: object) -> object:
    if type(value) is not int or value != 1:
        raise ValueError("this version of runbook reads format 1")
    return value


def _day(text: str) -> str:
    try:
        date.fromisoformat(text)
    except ValueError:
        raise ValueError("expected a date like 2026-12-31") from None
    return text


_CRON_FIELD = r"(?:\*|[0-9A-Za-z]+(?:-[0-9A-Za-z]+)?)(?:/[0-9]+)?"
_CRON = re.compile(rf"(?:{_CRON_FIELD}(?:,{_CRON_FIELD})*)(?:\s+(?:{_CRON_FIELD}(?:,{_CRON_FIELD})*)){{4}}")


def _schedule(text: str) -> str:
    if text not in ("@hourly", "@daily", "@weekly", "@monthly", "@yearly") and not _CRON.fullmatch(text):
        raise ValueError("expected five cron fields like 0 2 * * *, or @hourly, @daily, @weekly, @monthly, @yearly")
    return text


def _condition(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def _foreach(value: object) -> object:
    if not isinstance(value, str) and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
        raise ValueError("expected a list of texts, or one {{ expression }} that gives it")
    return value


def _contact(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Identifier: TypeAlias = Annotated[
    str, AfterValidator(check_identifier), WithJsonSchema({"type": "string", "pattern": r"^[a-z][a-z0-9_]{0,62}$"})
]
PlanName: TypeAlias = Annotated[
    str, AfterValidator(check_plan_name), WithJsonSchema({"type": "string", "pattern": r"^[a-z][a-z0-9_-]{0,62}$"})
]
OneLine: TypeAlias = Annotated[str, AfterValidator(_one_line)]
Duration: TypeAlias = Annotated[str, BeforeValidator(_duration)]
Timeout: TypeAlias = Annotated[Duration, AfterValidator(_timeout)]
SystemType: TypeAlias = Annotated[
    str, AfterValidator(_system_type), WithJsonSchema({"type": "string", "enum": list(SYSTEMS)})
]
Condition: TypeAlias = Annotated[
    str, BeforeValidator(_condition), WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "boolean"}]})
]
Names: TypeAlias = Annotated[
    list[str],
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
ScalarType: TypeAlias = Literal["string", "integer", "number", "boolean", "datetime", "duration", "size", "path"]
InputType: TypeAlias = Literal["string", "integer", "number", "boolean", "datetime", "duration", "size", "path", "list"]


class Shape(BaseModel):
    """Base of the written forms: strict, closed, silent about values."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, defer_build=True, hide_input_in_errors=True, populate_by_name=False
    )


class InputShape(Shape):
    """A declared input."""

    type: InputType = Field(description="What it holds")
    of: ScalarType = Field(default="string", description="The elements' type, for a list")
    help: str = Field(default="", description="One line for whoever has to give it")
    default: object = Field(default=None, description="The value if none is given")
    choices: list[object] = Field(default_factory=list, description="The only values allowed")
    pattern: Annotated[str, AfterValidator(check_pattern)] = Field(
        default="", description="A regular expression that a text must match whole; no look-around, no backreferences"
    )
    optional: bool = Field(default=False, description="May be absent, and is null then")


class RetryShape(Shape):
    """How often a step is tried after a definite failure."""

    attempts: int = Field(ge=1, le=MOST_ATTEMPTS, description="Attempts in all; 1 = no retry")
    delay: Duration = Field(default="0s", description="Pause before the next attempt")
    backoff: Literal["constant", "doubling"] = Field(default="constant", description="How the pause grows")


class TargetShape(Shape):
    """Objectives of one component."""

    rto: Duration | None = Field(default=None, description="Longest time until the service is back")
    rpo: Duration | None = Field(default=None, description="Longest span of data that may be lost")


class ObjectivesShape(TargetShape):
    """Objectives of the whole procedure, and of its components."""

    components: dict[Identifier, TargetShape] = Field(default_factory=dict, description="Objectives by component")


class ContactShape(Shape):
    """A person or a team."""

    name: str = ""
    role: str = ""
    phone: str = ""
    email: str = ""
    chat: str = ""
    hours: str = ""


Contact: TypeAlias = Annotated[ContactShape, BeforeValidator(_contact)]


class EscalationShape(Shape):
    """One level of escalation: whom to tell when nobody has reacted for a while."""

    to: Names = Field(description="Contacts, or systems of type channel")
    after: Duration = Field(default="0s", description="Time without a reaction before this level is told")
    severity: str = Field(default="", description="The severity that it is for; empty = every one")
    say: str = Field(default="", description="What to tell them")


class NotifyShape(Shape):
    """Which channels hear of what: names of systems of type channel."""

    started: Names = Field(default_factory=list)
    waiting: Names = Field(default_factory=list)
    succeeded: Names = Field(default_factory=list)
    failed: Names = Field(default_factory=list)
    finished: Names = Field(default_factory=list, description="However the run ended")


class StepShape(Shape):
    """One use of an action, or of another plan."""

    id: Identifier = Field(description="Its name in the plan and in templates")
    title: OneLine = Field(default="", description="One line that a reader understands")
    description: str = Field(default="", description="Markdown")
    uses: str = Field(min_length=1, description="An action (postgres.restore) or another plan (./restore-db.yaml)")
    on: str = Field(default="", description="The system that it acts on")
    with_: dict[str, object] = Field(default_factory=dict, alias="with", description="The action's inputs; templates")
    systems: dict[str, str] = Field(default_factory=dict, description="For an included plan: {theirs: ours}")
    needs: list[str] | None = Field(default=None, description="Steps that come before; default: the one above")
    when: Condition = Field(default="", description="An expression; the step is skipped where it is false")
    timeout: Timeout | None = Field(default=None, description="For one attempt: operations and verification")
    retry: RetryShape | None = Field(default=None, description="After a definite failure")
    confirm: str = Field(default="", description="What a person has to agree to before the step")
    releases: str = Field(default="", description="The step whose effect ends here, which makes that one a hold")
    on_failure: Literal["stop", "continue"] = Field(default="stop", description="What its failure means for the run")
    phase: Literal["detect", "isolate", "restore", "verify", "resume"] | None = Field(
        default=None, description="The part of the incident"
    )
    foreach: Annotated[list[str] | str, BeforeValidator(_foreach)] | None = Field(
        default=None, description="Unique texts known before the run, or an input that is a list; one step for each"
    )

    @property
    def includes(self) -> bool:
        """Whether it includes another plan."""
        return self.uses.startswith((".", "/")) or self.uses.endswith((".yaml", ".yml"))


class PlanShape(Shape):
    """A plan file."""

    runbook: Annotated[int, BeforeValidator(_version), WithJsonSchema({"const": 1})] = Field(
        description="The format's version: 1"
    )
    name: PlanName = Field(description="Short name")
    title: OneLine = Field(default="", description="One line")
    description: str = Field(default="", description="When to use it, what it costs, who is called; Markdown")
    scenario: str = Field(default="", description="The disaster that it is for")
    objectives: ObjectivesShape = Field(default_factory=ObjectivesShape, description="Recovery objectives")
    inputs: dict[Identifier, InputShape] = Field(default_factory=dict, description="What has to be given")
    systems: dict[Identifier, SystemType] = Field(default_factory=dict, description="What it acts on: names and types")
    steps: list[StepShape] = Field(min_length=1, description="What is done")
    on_failure_steps: list[StepShape] = Field(default_factory=list, description="What is done after a failure")
    finally_: list[StepShape] = Field(default_factory=list, alias="finally", description="What is done at the end")
    outputs: dict[Identifier, object] = Field(
        default_factory=dict, description="What it gives when included; templates"
    )
    environment: dict[str, object] | None = Field(default=None, description="An inline environment")
    schedule: Annotated[str, AfterValidator(_schedule)] | None = Field(default=None, description="Cron fields")
    notify: NotifyShape = Field(default_factory=NotifyShape, description="Channels that hear of its runs")
    contacts: dict[Identifier, Contact] = Field(default_factory=dict, description="Who is called")
    escalation: list[EscalationShape] = Field(default_factory=list, description="Who is called next")
    review_by: Annotated[str, AfterValidator(_day)] | None = Field(default=None, description="Date of the next review")


class EnvironmentShape(Shape):
    """An environment file; each system is checked by its own model."""

    environment: PlanName = Field(description="Its name")
    live: bool = Field(default=False, description="Destructive steps ask for --confirm; a drill refuses it")
    extends: str = Field(default="", description="Another environment whose systems are inherited")
    inputs: dict[str, object] = Field(default_factory=dict, description="Defaults for the plans' inputs")
    systems: dict[Identifier, dict[str, object]] = Field(default_factory=dict, description="The real things, by name")
