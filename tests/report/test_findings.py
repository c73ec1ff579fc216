"""The four forms of what validation found."""

from __future__ import annotations

import json

from runbook.errors import Place, Problem, Severity
from runbook.report.findings import Findings, Strictness, as_github, as_json, as_sarif, summary

FAULT = Problem(
    "E102", "unknown key 'comand'", "100% wrong,\nin two lines", "did you mean 'command'?", Place("a,b.yaml", 12, 9, 6)
)
WARNING = Problem("DR004", "no timeout", "It hangs.", "add one", Place("plan.yaml", 3, 1), Severity.WARNING)
NOTE = Problem("E390", "not built yet", severity=Severity.NOTE)


def findings(*problems: Problem, strictness: Strictness = Strictness.ERRORS) -> Findings:
    """These problems of two plans."""
    return Findings(("a.yaml", "b.yaml"), problems, strictness)


def test_the_summary_counts() -> None:
    assert summary(findings(FAULT, WARNING, WARNING)) == "3 problems: 1 error, 2 warnings"
    assert summary(findings(WARNING)) == "1 problem: 1 warning"
    assert summary(findings(FAULT, NOTE)) == "1 problem: 1 error; 1 note"
    assert summary(findings()) == "nothing to find fault with in 2 plans"
    assert summary(findings(NOTE, NOTE)) == "nothing to find fault with in 2 plans; 2 notes"


def test_what_counts() -> None:
    assert findings(WARNING, NOTE).valid
    assert not findings(FAULT).valid
    assert not findings(WARNING, strictness=Strictness.WARNINGS).valid
    assert findings(NOTE, strictness=Strictness.WARNINGS).valid


def test_json_is_the_contract() -> None:
    assert as_json(findings(FAULT, NOTE)) == {
        "valid": False,
        "problems": [
            {
                "code": "E102",
                "severity": "error",
                "file": "a,b.yaml",
                "line": 12,
                "column": 9,
                "summary": "unknown key 'comand'",
                "detail": "100% wrong,\nin two lines",
                "fix": "did you mean 'command'?",
            },
            {
                "code": "E390",
                "severity": "note",
                "file": None,
                "line": None,
                "column": None,
                "summary": "not built yet",
                "detail": "",
                "fix": "",
            },
        ],
    }


def test_a_forge_is_told_in_one_line_each() -> None:
    assert as_github(findings(FAULT, WARNING, NOTE)).splitlines() == [
        "::error file=a%2Cb.yaml,line=12,col=9,title=E102::unknown key 'comand'%0A100%25 wrong,%0Ain two lines%0A→ did you mean "
        "'command'?",
        "::warning file=plan.yaml,line=3,col=1,title=DR004::no timeout%0AIt hangs.%0A→ add one",
        "::notice title=E390::not built yet",
    ]


def test_sarif_names_each_rule_once_and_each_place() -> None:
    log = json.loads(json.dumps(as_sarif(findings(FAULT, WARNING, WARNING, NOTE), "1.2.3")))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    assert run["tool"]["driver"]["version"] == "1.2.3"
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["E102", "DR004", "E390"]
    assert [result["level"] for result in run["results"]] == ["error", "warning", "warning", "note"]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place == {
        "artifactLocation": {"uri": "a,b.yaml"},
        "region": {"startLine": 12, "startColumn": 9, "endColumn": 15},
    }
    assert "locations" not in run["results"][3]
