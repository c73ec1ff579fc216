"""Asking a web service whether it answers as it should."""

from __future__ import annotations

import json
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field, JsonValue

from runbook.action import Action, CheckFailed, Done, Effect, Inputs, Interrupted, Look, NoFacts, Outputs, Scope
from runbook.errors import Problem
from runbook.operation import Call, Condition, Document, Json, Operations, Service, Test, Wait
from runbook.system import DurationField, Web
from runbook.units import parse_duration

LONGEST_KEPT = 2_000
LONGEST_SHOWN = 200
_INTERVAL_S = 2.0


def _path(text: str) -> str:
    if not text.startswith("/") or any(character <= " " or character == "\x7f" for character in text):
        raise ValueError("expected a path that begins with / and has no spaces, like /api/health")
    return text


Path: TypeAlias = Annotated[str, AfterValidator(_path)]


class CheckInputs(Inputs):
    """What is asked, and what the answer has to be."""

    path: Path = Field(default="/", description="Path below the system's url, with its query")
    status: int = Field(default=200, ge=100, le=599, description="The status that the answer must have")
    body_contains: str = Field(default="", description="Text that the answer's first 64 KiB must contain")
    fields: dict[str, JsonValue] = Field(
        default_factory=dict, description="Fields that the answer, a JSON object, must have with these values"
    )
    within: DurationField = Field(
        default="0s", description="Ask again until status and text are right, for so long; 0s asks once"
    )


class Checked(Outputs):
    """The answer."""

    status: int = Field(description="The HTTP status")
    elapsed_s: float = Field(description="Seconds until the answer was read")
    body: str = Field(description="The first 2,000 characters of the body")


class Check(Action[Web, CheckInputs, NoFacts, Checked]):
    """Check that a web service answers: its status, a text in its body, fields of its JSON.

    One GET with the system's headers. A redirect is an answer and is not followed; no answer is a failure. The step's `retry`
    asks again, or `within` does so inside one attempt (`fields` are compared once, with the last answer).
    """

    effect = Effect.READS
    interrupted = Interrupted.REPEATABLE
    example = """\
- id: answers
  title: The service answers
  uses: http.check
  on: site
  with: {path: /api/health, status: 200, fields: {database: ok}}
  timeout: 5m
  retry: {attempts: 10, delay: 6s}
"""

    def observe(self, look: Look, system: Web, inputs: CheckInputs, scope: Scope) -> NoFacts:
        """Nothing: the request is the step's operation, so that it is shown."""
        return NoFacts()

    def assume(self, system: Web, inputs: CheckInputs, scope: Scope) -> NoFacts:
        """Nothing."""
        return NoFacts()

    def plan(self, system: Web, inputs: CheckInputs, facts: NoFacts, scope: Scope) -> Operations:
        """The request, once or until the answer is right."""
        until = _conditions(inputs)
        call = Call(
            name="ask",
            service=Service.HTTP,
            operation="GET",
            arguments=Document((("url", system.url.rstrip("/") + inputs.path), ("headers", _headers(system)))),
            expect=until,
            reads=True,
        )
        within_s = parse_duration(inputs.within)
        if not within_s:
            return (call,)
        # the call keeps its own expectation: without one, a status from 400 on is a failure even where it is wanted
        return (Wait(name="ask", read=call, until=until, interval_s=_INTERVAL_S, deadline_s=within_s),)

    def verify(self, look: Look, system: Web, inputs: CheckInputs, done: Done[NoFacts]) -> Checked:
        """The request was the check; what is left is to read the JSON."""
        answer = done.results["ask"]
        status, body = int(answer["status"] or 0), str(answer["body"])
        wrong = _wrong_fields(body, inputs.fields)
        if wrong:
            shown = f"It answered {status}: {body[:LONGEST_SHOWN]!r}"
            raise CheckFailed(
                Problem(
                    "E670",
                    "the web service's answer is not as expected",
                    "\n".join([f"GET {system.url.rstrip('/')}{inputs.path}", *wrong, shown]),
                    "Look at the service's log; then `runbook resume`.",
                )
            )
        return Checked(status=status, elapsed_s=float(answer["elapsed_s"] or 0.0), body=body[:LONGEST_KEPT])


def _conditions(inputs: CheckInputs) -> tuple[Condition, ...]:
    status = Condition("status", Test.EQUALS, inputs.status)
    if not inputs.body_contains:
        return (status,)
    return status, Condition("body", Test.CONTAINS, inputs.body_contains)


def _headers(system: Web) -> Document:
    return Document(tuple(system.headers.items()))


def _wrong_fields(body: str, wanted: dict[str, JsonValue]) -> list[str]:
    """What differs, a line each; a body that is no JSON object has none of the fields."""
    if not wanted:
        return []
    try:
        found: Json = json.loads(body)
    except (ValueError, RecursionError):
        return ["expected: a JSON object; found: no JSON"]
    if not isinstance(found, dict):
        return ["expected: a JSON object; found: other JSON"]
    missing = object()
    lines = []
    for name, value in wanted.items():
        there = found.get(name, missing)
        if not _same(there, value):
            shown = "no such field" if there is missing else json.dumps(there, ensure_ascii=False)[:LONGEST_SHOWN]
            lines.append(f"expected: {name} is {json.dumps(value, ensure_ascii=False)}; found: {shown}")
    return lines


def _same(found: object, wanted: object) -> bool:
    """Equal as JSON is: ``true`` is no 1, while 1 and 1.0 are one number."""
    return isinstance(found, bool) == isinstance(wanted, bool) and found == wanted
