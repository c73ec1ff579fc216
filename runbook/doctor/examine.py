"""The examination: every judge on the same facts.

Owns the order. Pure.
"""

from __future__ import annotations

from runbook.doctor import answers, clock, permissions, space, tools, versions
from runbook.doctor.facts import Facts
from runbook.doctor.finding import Diagnosis, Group

JUDGES = {
    Group.VERSIONS: versions.judge,
    Group.TOOLS: tools.judge,
    Group.SPACE: space.judge,
    Group.PERMISSIONS: permissions.judge,
    Group.CLOCK: clock.judge,
    Group.SYSTEMS: answers.judge,
}


def examine(facts: Facts) -> Diagnosis:
    """What is to be said of these facts."""
    return Diagnosis(tuple(finding for group in Group for finding in JUDGES[group](facts)))
