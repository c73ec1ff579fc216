"""A step that a person does, and says so; with a check, where the program can see for itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeAlias, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from runbook.action import Action, CheckFailed, Done, Effect, Inputs, Interrupted, Look, NoFacts, Outputs, Scope
from runbook.actions.postgres.assertion import Check
from runbook.errors import Problem
from runbook.host import LOCAL, Host, named_programs
from runbook.operation import Ask, Fields, Json, Operation, Operations, Process, Question, Scalar, Sql
from runbook.plan.model import InputSpec
from runbook.plan.shape import ScalarType
from runbook.plan.values import from_text, from_value
from runbook.system import HostField, Postgres

_BY = "by"


def _not_by(name: str) -> str:
    if name == _BY:
        raise ValueError("'by' is the name of the person who answers: call the field otherwise")
    return name


FieldName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$"), AfterValidator(_not_by)]


class Asked(BaseModel):
    """A field that the person fills in."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    type: ScalarType = Field(
        default="string", description="string, integer, number, boolean, datetime, duration, size, path"
    )
    help: str = Field(default="", description="What is meant, in words")
    choices: tuple[str | int | float | bool, ...] = Field(default=(), description="The only values that are taken")


class Program(BaseModel):
    """A program that only reads, and ends well if the person's work is done."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)
    argv: tuple[str, ...] = Field(min_length=1, description="Program and arguments; it must change nothing")
    host: HostField = Field(default=LOCAL, description="Where it runs")
    ok_codes: tuple[int, ...] = Field(default=(0,), min_length=1, description="Exit codes that mean: it is done")


class ManualInputs(Inputs):
    """What the person is told and asked."""

    instructions: str = Field(min_length=1, description="What to do, so that a tired person can follow it; Markdown")
    fields: dict[FieldName, Asked] = Field(
        default_factory=dict, description="Typed fields: `runbook confirm RUN STEP -i NAME=VALUE`"
    )
    verify: Program | Check | None = Field(
        default=None, description="A check after the person's word: {argv: [...]}, or a query with a bound"
    )
    database: Postgres | None = Field(default=None, description="The system that a query of `verify` asks")

    @model_validator(mode="after")
    def _askable(self) -> ManualInputs:
        if isinstance(self.verify, Check) != (self.database is not None):
            raise ValueError("a query in `verify` needs `database`, and nothing else does")
        return self


class Answered(Outputs):
    """What the person said."""

    answers: dict[str, str | int | float | bool] = Field(description="The fields' values, of their types")
    by: str = Field(description="Who answered")


class Manual(Action[None, ManualInputs, NoFacts, Answered]):
    """Have a person do something, and wait for their word.

    At a terminal the question is put there; else the run waits (exit 6) until `runbook confirm RUN STEP`. The fields are asked
    for, checked by type, and are the step's outputs (`{{ steps.ID.answers.NAME }}`). With `verify`, the program looks for itself
    once the person has answered: if it isn't so, the step fails, and a resume looks again.
    """

    effect = Effect.CHANGES
    interrupted = Interrupted.REPEATABLE
    example = """\
- id: new_server
  title: Order a server
  uses: manual
  with:
    instructions: |
      Order a server of the size in the inventory, in another region than the lost one.
      Put your SSH key on it, then give its address.
    fields:
      address: {help: Its IPv4 address}
      size: {type: string, choices: [small, large]}
    verify: {argv: [ssh-keyscan, -T, "5", db.example.org]}
  timeout: 1m
"""

    def programs_named(self, written: Mapping[str, Json]) -> tuple[tuple[Host, str], ...]:
        """The program of the check."""
        verify = written.get("verify")
        return named_programs(verify, "argv") if isinstance(verify, Mapping) else ()

    def observe(self, look: Look, system: None, inputs: ManualInputs, scope: Scope) -> NoFacts:
        """Nothing."""
        return NoFacts()

    def assume(self, system: None, inputs: ManualInputs, scope: Scope) -> NoFacts:
        """Nothing."""
        return NoFacts()

    def plan(self, system: None, inputs: ManualInputs, facts: NoFacts, scope: Scope) -> Operations:
        """The question, then the check."""
        questions = tuple(
            Question(name, field.type, field.help, tuple(_text(choice) for choice in field.choices))
            for name, field in inputs.fields.items()
        )
        ask = Ask(name="ask", instructions=inputs.instructions, questions=questions)
        return (ask, *_check(inputs, scope))

    def verify(self, look: Look, system: None, inputs: ManualInputs, done: Done[NoFacts]) -> Answered:
        """The answers, each of its type."""
        said = done.results["ask"]
        return Answered(answers=typed(inputs.fields, said), by=str(said[_BY]))


def typed(fields: dict[str, Asked], said: Fields) -> dict[str, str | int | float | bool]:
    """The answers by field, as values of the fields' types. Raises :class:`CheckFailed` that names each wrong one."""
    found: dict[str, str | int | float | bool] = {}
    wrong = []
    for name, field in fields.items():
        value = said.get(name)
        if value is None:
            wrong.append(f"{name}: no answer.")
            continue
        try:
            found[name] = _value(name, field, value)
        except ValueError as error:
            wrong.append(f"{name}: {error}" if str(error).endswith("?") else f"{name}: {error}.")
    if wrong:
        give = " ".join(f"-i {name}=…" for name in fields)
        raise CheckFailed(
            Problem("E673", "an answer can't be used", "\n".join(wrong), f"runbook confirm RUN STEP {give}")
        )
    return found


def _value(name: str, field: Asked, value: Scalar) -> str | int | float | bool:
    spec = InputSpec(name, field.type, choices=field.choices)
    found: Json = from_text(spec, value) if isinstance(value, str) else from_value(spec, value)
    return cast("str | int | float | bool", found)  # a field is of a scalar type


def _check(inputs: ManualInputs, scope: Scope) -> tuple[Operation, ...]:
    match inputs.verify, inputs.database:
        case Program() as program, _:
            return (Process(name="check", argv=program.argv, host=program.host, ok_codes=program.ok_codes, reads=True),)
        case Check() as check, Postgres() as database:
            connection = database.connection(application=scope.application)
            return (
                Sql(
                    name="check",
                    connection=connection,
                    statements=(check.statement(),),
                    expect=check.conditions(),
                    reads=True,
                ),
            )
    return ()


def _text(value: str | int | float | bool) -> str:  # noqa: FBT001 - a choice may be a truth value
    return str(value).lower() if isinstance(value, bool) else str(value)
