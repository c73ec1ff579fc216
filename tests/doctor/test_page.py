"""The page: the bad first with what, why and what mends it; the sum last; the same for a program."""

from __future__ import annotations

from runbook.doctor import page
from runbook.doctor.examine import JUDGES, examine
from runbook.doctor.finding import SUMMARIES, Code, Diagnosis, Group, Mark, fails, good, look
from tests.doctor.given import healthy

DIAGNOSIS = Diagnosis(
    (
        good(Group.VERSIONS, "Python 3.13.5", "CVE-2025-4517 and its kin are mended"),
        fails(
            Code.HOLE,
            Group.VERSIONS,
            "Jinja2 3.1.5",
            "is older than 3.1.6",
            why="A template gets out of the sandbox.",
            fix="pip install 'jinja2>=3.1.6'",
        ),
        look(
            Code.PERMISSION,
            Group.PERMISSIONS,
            "/srv/.runbook",
            "has mode 0755, not 0700",
            why="Others can read journals.\nAnd logs.",
            fix="chmod 0700 /srv/.runbook",
        ),
        good(Group.SYSTEMS, "db (postgres)", "answers in 12 ms"),
    )
)
GOLDEN = """\
✗ versions     Jinja2 3.1.5: is older than 3.1.6  [E950]
               A template gets out of the sandbox.
               → pip install 'jinja2>=3.1.6'
! permissions  /srv/.runbook: has mode 0755, not 0700  [E955]
               Others can read journals.
               And logs.
               → chmod 0700 /srv/.runbook
✓ versions     Python 3.13.5: CVE-2025-4517 and its kin are mended
✓ systems      db (postgres): answers in 12 ms
= 1 will fail, 1 to look at, 2 good
"""


def test_the_page() -> None:
    assert "".join(f"{line}\n" for line in page.as_lines(DIAGNOSIS)) == GOLDEN
    assert [line.tone for line in page.as_lines(DIAGNOSIS)][0::3] == ["bad", "ask", "plain", "bad"]


def test_the_json() -> None:
    said = page.as_json(DIAGNOSIS)
    assert list(said) == ["ready", "checks"]
    assert said["ready"] is False
    assert isinstance(said["checks"], list)
    assert said["checks"][1] == {
        "mark": "fails",
        "group": "versions",
        "subject": "Jinja2 3.1.5",
        "code": "E950",
        "summary": "a version with a known hole",
        "detail": "is older than 3.1.6",
        "why": "A template gets out of the sandbox.",
        "fix": "pip install 'jinja2>=3.1.6'",
    }
    assert said["checks"][0]["code"] is None  # type: ignore[index,call-overload]


def test_the_sum() -> None:
    assert page.summary(Diagnosis(DIAGNOSIS.findings[:1])) == "nothing to find fault with in 1 check"
    assert page.summary(Diagnosis(DIAGNOSIS.findings[2:])) == "1 to look at, 1 good"


def test_a_machine_in_good_health_is_ready() -> None:
    diagnosis = examine(healthy())
    assert diagnosis.ready
    assert not diagnosis.marked(Mark.LOOK)
    assert {finding.group for finding in diagnosis.findings} == set(Group)
    assert list(JUDGES) == list(Group)


def test_every_code_has_a_summary_of_its_own() -> None:
    assert set(SUMMARIES) == set(Code)
    assert len(set(SUMMARIES.values())) == len(Code)
