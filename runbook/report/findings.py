"""What validation found, in the forms in which it is wanted: for a person, for a program, for a forge, for a scanner.

Owns the four formats of ``runbook validate``. Promises: each holds every problem with its code, its place and its remedy; the
JSON keys are the contract's; nothing is shown that the problems don't hold.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from runbook.errors import Place, Problem, Severity
from runbook.operation import Json

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_GITHUB = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


class Strictness(StrEnum):
    """Whether warnings make a plan invalid."""

    ERRORS = "errors"
    WARNINGS = "warnings"


@dataclass(frozen=True, slots=True)
class Findings:
    """The problems of some plans, in the order in which they are shown. ``plans`` are the files' names as given."""

    plans: tuple[str, ...]
    problems: tuple[Problem, ...]
    strictness: Strictness = Strictness.ERRORS

    @property
    def valid(self) -> bool:
        """Whether nothing was found that counts."""
        counts = {Severity.ERROR} if self.strictness is Strictness.ERRORS else {Severity.ERROR, Severity.WARNING}
        return not any(problem.severity in counts for problem in self.problems)


def summary(findings: Findings) -> str:
    """``3 problems: 1 error, 2 warnings``."""
    seen = Counter(problem.severity for problem in findings.problems)
    notes = f"; {_count(seen[Severity.NOTE], 'note')}" if seen[Severity.NOTE] else ""
    parts = [_count(seen[each], each.value) for each in (Severity.ERROR, Severity.WARNING) if seen[each]]
    total = seen[Severity.ERROR] + seen[Severity.WARNING]
    if not parts:
        return f"nothing to find fault with in {_count(len(findings.plans), 'plan')}{notes}"
    return f"{_count(total, 'problem')}: {', '.join(parts)}{notes}"


def as_json(findings: Findings) -> dict[str, Json]:
    """The contract's object."""
    return {"valid": findings.valid, "problems": [_problem_json(problem) for problem in findings.problems]}


def as_github(findings: Findings) -> str:
    """Workflow commands, one a line: a forge shows them beside the lines that they are about."""
    return "\n".join(map(_annotation, findings.problems))


def as_sarif(findings: Findings, version: str) -> dict[str, Json]:
    """A SARIF 2.1.0 log, for code scanning. ``version`` is runbook's."""
    rules: dict[str, Json] = {
        problem.code: {"id": problem.code, "shortDescription": {"text": problem.summary}}
        for problem in findings.problems
    }
    run: dict[str, Json] = {
        "tool": {"driver": {"name": "runbook", "version": version, "rules": list(rules.values())}},
        "columnKind": "unicodeCodePoints",
        "results": [_result(problem) for problem in findings.problems],
    }
    return {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _problem_json(problem: Problem) -> dict[str, Json]:
    where = problem.where
    return {
        "code": problem.code,
        "severity": problem.severity.value,
        "file": where.file if where else None,
        "line": where.line if where else None,
        "column": where.column if where else None,
        "summary": problem.summary,
        "detail": problem.detail,
        "fix": problem.fix,
    }


def _message(problem: Problem) -> str:
    return "\n".join(part for part in (problem.summary, problem.detail, problem.fix and f"→ {problem.fix}") if part)


def _annotation(problem: Problem) -> str:
    kind = _GITHUB[problem.severity]
    properties = {"title": problem.code}
    if problem.where:
        where = problem.where
        properties = {"file": where.file, "line": str(where.line), "col": str(where.column), **properties}
    shown = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    return f"::{kind} {shown}::{_data(_message(problem))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _result(problem: Problem) -> dict[str, Json]:
    result: dict[str, Json] = {
        "ruleId": problem.code,
        "level": problem.severity.value,
        "message": {"text": _message(problem)},
    }
    return result | {"locations": [_location(problem.where)]} if problem.where else result


def _location(where: Place) -> dict[str, Json]:
    region: dict[str, Json] = {
        "startLine": where.line,
        "startColumn": where.column,
        "endColumn": where.column + max(1, where.width),
    }
    return {"physicalLocation": {"artifactLocation": {"uri": where.file}, "region": region}}
