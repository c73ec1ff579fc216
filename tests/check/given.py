"""What the tests of the checks are given: plans of a few steps, read by the real loader, and the real actions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from runbook.action import Action
from runbook.catalogue import CATALOGUE
from runbook.check.faults import faults
from runbook.check.rules import rules
from runbook.errors import Problem
from runbook.plan.environment import load_environment
from runbook.plan.file import FrozenReader
from runbook.plan.load import load_plan
from runbook.plan.model import Plan

TODAY = date(2026, 2, 14)
HEAD = """\
runbook: 1
name: tried
inputs:
  text: {type: string}
  count: {type: integer}
  file: {type: path}
  mode: {type: string, choices: [fast, slow]}
  name: {type: string, pattern: "[a-z]+"}
systems: {db: postgres, side: postgres, app: compose, site: web, backups: store}
"""


def plan_of(steps: str, *, head: str = HEAD, more: dict[str, str] | None = None) -> Plan:
    """The plan with these steps, written without indentation; ``more`` are files that it includes."""
    files = {name: text.encode() for name, text in (more or {}).items()}
    return load_plan("plan.yaml", FrozenReader({"plan.yaml": f"{head}steps:\n{steps}".encode(), **files}))


def faults_of(
    steps: str, *, head: str = HEAD, environment: str = "", more: dict[str, str] | None = None
) -> list[Problem]:
    """What is wrong with these steps, in that environment if there is one."""
    found = load_environment("lab.yaml", FrozenReader({"lab.yaml": environment.encode()})) if environment else None
    return faults(plan_of(steps, head=head, more=more), CATALOGUE, found)


def rules_of(
    steps: str,
    *,
    head: str = HEAD,
    more: dict[str, str] | None = None,
    actions: Mapping[str, Action[Any, Any, Any, Any]] | None = None,
) -> list[Problem]:
    """What the rules find in these steps; ``actions`` are there beside the real ones."""
    catalogue = {**CATALOGUE, **(actions or {})} if actions else CATALOGUE
    return rules(plan_of(steps, head=head, more=more), catalogue, today=TODAY)


def codes(problems: list[Problem]) -> list[str]:
    """The codes, in order."""
    return [problem.code for problem in problems]
