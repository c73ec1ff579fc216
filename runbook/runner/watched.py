"""The secrets that a plan and its environment name: watched for from the run's beginning, before any of them is used."""

from __future__ import annotations

from collections.abc import Iterator

from runbook.plan.environment import Environment
from runbook.plan.model import Plan
from runbook.secret import SecretRef
from runbook.system import secrets_in


def named_secrets(plan: Plan, environment: Environment) -> Iterator[SecretRef]:
    """Every reference in the environment's systems and below the steps' ``with``. The same one may come twice."""
    for system in environment.systems.values():
        yield from secrets_in(system)
    for step in plan.steps:
        yield from secrets_in(list(step.with_.values()))  # ``with`` itself is no reference: {file: …} may be an input
