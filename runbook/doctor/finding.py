"""Findings: what the doctor says of one thing, and how much it matters.

Owns :class:`Finding`, its three marks, and the codes E950 to E958 with their constant summaries. Pure. Promises: what isn't good
has a code, says why it matters, and says what mends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Mark(StrEnum):
    """How much a finding matters, worst first."""

    FAILS = "fails"
    LOOK = "look"
    GOOD = "good"


class Group(StrEnum):
    """What a finding is about, in the order in which groups are shown."""

    VERSIONS = "versions"
    TOOLS = "tools"
    SPACE = "space"
    PERMISSIONS = "permissions"
    CLOCK = "clock"
    SYSTEMS = "systems"


class Code(StrEnum):
    """One kind of trouble each, for ever."""

    HOLE = "E950"
    AGE = "E951"
    MISSING = "E952"
    OLDER = "E953"
    SPACE = "E954"
    PERMISSION = "E955"
    CLOCK = "E956"
    UNREACHED = "E957"
    UNTOLD = "E958"


SUMMARIES = {
    Code.HOLE: "a version with a known hole",
    Code.AGE: "a version that is too old",
    Code.MISSING: "a program is missing",
    Code.OLDER: "a client program is older than its server",
    Code.SPACE: "space is short",
    Code.PERMISSION: "a permission is wrong",
    Code.CLOCK: "a clock is wrong",
    Code.UNREACHED: "a system does not answer",
    Code.UNTOLD: "this could not be looked at",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing. ``subject`` names it, ``says`` is what was found, ``why`` says why it matters, ``fix`` what mends it."""

    mark: Mark
    group: Group
    subject: str
    says: str
    code: Code | None = None
    why: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings, in the order of their groups."""

    findings: tuple[Finding, ...]

    def marked(self, mark: Mark) -> Sequence[Finding]:
        """The findings with that mark."""
        return [finding for finding in self.findings if finding.mark is mark]

    @property
    def ready(self) -> bool:
        """Whether nothing was found that will fail."""
        return not self.marked(Mark.FAILS)


def good(group: Group, subject: str, says: str) -> Finding:
    """Nothing to find fault with."""
    return Finding(Mark.GOOD, group, subject, says)


def look(code: Code, group: Group, subject: str, says: str, *, why: str, fix: str) -> Finding:
    """Something that a person should look at before it is needed."""
    return Finding(Mark.LOOK, group, subject, says, code, why, fix)


def fails(code: Code, group: Group, subject: str, says: str, *, why: str, fix: str) -> Finding:
    """Something that will fail, or that runbook's own rules forbid."""
    return Finding(Mark.FAILS, group, subject, says, code, why, fix)


def marked(mark: Mark, code: Code, group: Group, subject: str, says: str, *, why: str, fix: str) -> Finding:
    """The same with a mark that the judge has chosen."""
    return Finding(mark, group, subject, says, code, why, fix)
