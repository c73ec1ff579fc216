"""The page of a diagnosis: for a person at three in the morning, and for a program.

Owns the two forms. Pure. Promises: what will fail comes first, each with what, why and what mends it; the last line is the sum; the
JSON holds every finding, good ones too.
"""

from __future__ import annotations

from collections.abc import Iterator

from runbook.doctor.finding import SUMMARIES, Diagnosis, Finding, Group, Mark
from runbook.operation import Json
from runbook.report.line import Line

_SIGNS = {Mark.FAILS: ("✗", "bad"), Mark.LOOK: ("!", "ask"), Mark.GOOD: ("✓", "good")}
_WIDTH = max(len(group.value) for group in Group)
_INDENT = " " * (_WIDTH + 2)


def as_lines(diagnosis: Diagnosis) -> Iterator[Line]:
    """The findings, worst first, by group; what is good in a line a subject; then the sum."""
    for mark in (Mark.FAILS, Mark.LOOK):
        for finding in diagnosis.marked(mark):
            yield from _trouble(finding)
    for finding in diagnosis.marked(Mark.GOOD):
        yield _line(finding)
    yield Line("=", summary(diagnosis), "good" if diagnosis.ready else "bad")


def summary(diagnosis: Diagnosis) -> str:
    """``2 will fail, 1 to look at, 14 good``."""
    count = {mark: len(diagnosis.marked(mark)) for mark in Mark}
    if not count[Mark.FAILS] and not count[Mark.LOOK]:
        return f"nothing to find fault with in {count[Mark.GOOD]} check{'' if count[Mark.GOOD] == 1 else 's'}"
    parts = [f"{count[Mark.FAILS]} will fail", f"{count[Mark.LOOK]} to look at", f"{count[Mark.GOOD]} good"]
    return ", ".join(part for part in parts if not part.startswith("0 "))


def as_json(diagnosis: Diagnosis) -> dict[str, Json]:
    """``ready`` (nothing will fail) and ``checks``: each with its mark, group, subject, code, summary, detail, why and fix."""
    return {"ready": diagnosis.ready, "checks": [_check(finding) for finding in diagnosis.findings]}


def _trouble(finding: Finding) -> Iterator[Line]:
    yield _line(finding)
    for part in finding.why.splitlines():
        yield Line(" ", f"{_INDENT}{part}")
    for part in finding.fix.splitlines():
        yield Line(" ", f"{_INDENT}→ {part}")


def _line(finding: Finding) -> Line:
    sign, tone = _SIGNS[finding.mark]
    code = f"  [{finding.code}]" if finding.code else ""
    return Line(sign, f"{finding.group:<{_WIDTH}}  {finding.subject}: {finding.says}{code}", tone)


def _check(finding: Finding) -> dict[str, Json]:
    return {
        "mark": finding.mark.value,
        "group": finding.group.value,
        "subject": finding.subject,
        "code": finding.code.value if finding.code else None,
        "summary": SUMMARIES[finding.code] if finding.code else "",
        "detail": finding.says,
        "why": finding.why,
        "fix": finding.fix,
    }
