"""The codes of what the checks find, each with its constant summary.

Owns E220 to E223 (a step and its action; E224 and E225, of its inputs, are found when a run begins), E390 where it is found
before the run, and the rules' DR001 to DR009. Faults of the same kind as the loader's have the loader's codes. Promises: as in
``plan/codes.py``, one code means one kind of thing for ever.
"""

from __future__ import annotations

from runbook.errors import Place, Problem, Severity

SUMMARIES = {
    "E220": "unknown action '{name}'",
    "E221": "step '{name}' releases nothing",
    "E222": "unquoted value in a shell script",
    "E223": "a value may be read as an option",
    "E390": "not built yet",
    "DR001": "a destructive step without a verified backup before it",
    "DR002": "a restore with no verification after it",
    "DR003": "a hold that nothing releases",
    "DR004": "no timeout on a step that can hang",
    "DR005": "a repair before evidence is kept",
    "DR006": "the RTO is below the critical path",
    "DR007": "the RPO is below the backup interval plus its duration",
    "DR008": "the plan's review is overdue",
    "DR009": "a destructive program would be repeated blindly",
}


def fault(code: str, detail: str = "", *, fix: str = "", where: Place | None = None, name: str = "") -> Problem:
    """A fault of that code, which makes the plan invalid; ``name`` fills the summary's gap."""
    return _made(code, Severity.ERROR, detail, fix, where, name)


def warning(code: str, detail: str, *, fix: str, where: Place | None) -> Problem:
    """A thing that makes a bad procedure: reported, and a fault where warnings are to be (``--strict``)."""
    return _made(code, Severity.WARNING, detail, fix, where, "")


def note(code: str, detail: str, *, fix: str, where: Place | None) -> Problem:
    """A thing to know."""
    return _made(code, Severity.NOTE, detail, fix, where, "")


def _made(code: str, severity: Severity, detail: str, fix: str, where: Place | None, name: str) -> Problem:
    return Problem(code, SUMMARIES[code].replace("{name}", name), detail, fix, where, severity)
