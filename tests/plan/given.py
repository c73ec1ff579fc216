"""What the tests of plans are given: whole files, and plans that differ from a valid one in one thing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from runbook.errors import Problem, RunbookError
from runbook.plan.environment import Environment, load_environment
from runbook.plan.file import FrozenReader
from runbook.plan.load import load_plan
from runbook.plan.model import Plan

HEAD = "runbook: 1\nname: tried\n"
ENVIRONMENT = """\
environment: lab
inputs: {tables: [users, orders]}
systems:
  db: {type: postgres, user: admin, database: shop, password: {env: DB_PASSWORD}}
  backups: {type: store, url: "file:///srv/backups"}
"""

RESTORE = """\
runbook: 1
name: restore-db
title: Restore the shop's database
scenario: database-corruption
objectives: {rto: 4h, rpo: 36h, components: {db: {rto: 1h}}}
inputs:
  backup: {type: string, default: newest, help: "A file name in the store, or newest"}
  tables: {type: list, of: string}
systems: {db: postgres, backups: store}
steps:
  - id: pick
    title: Choose the backup
    uses: backup.select
    on: backups
    with: {pattern: "*.dump", name: "{{ inputs.backup }}"}
    timeout: 1m
  - id: stop_writers
    uses: shell.run
    with: {argv: [systemctl, stop, shop]}
    needs: []
  - id: restore
    uses: postgres.restore
    on: db
    with: {artifact: "{{ steps.pick.artifact }}", jobs: 2}
    needs: [stop_writers]
    timeout: 2h
    confirm: The present database is kept under another name.
    phase: restore
  - id: count
    uses: postgres.assert
    on: db
    foreach: "{{ inputs.tables }}"
    with: {checks: [{query: "SELECT count(*) FROM {{ item }}", at_least: 1}]}
    retry: {attempts: 3, delay: 2s, backoff: doubling}
  - id: start_writers
    uses: shell.run
    releases: stop_writers
    with: {argv: [systemctl, start, shop]}
finally:
  - id: tell
    uses: shell.run
    with: {argv: [logger, done]}
outputs: {artifact: "{{ steps.pick.artifact }}"}
"""


def steps(text: str, *, head: str = "") -> str:
    """A plan with these steps; ``head`` are keys before them."""
    lines = "".join(f"  {line}\n" for line in text.strip("\n").splitlines())
    return f"{HEAD}{head}steps:\n{lines}"


def plan(text: str, **others: str) -> Plan:
    """The plan in ``text``; ``others`` are files beside it, ``name`` standing for ``name.yaml``."""
    return load_plan(
        "plan.yaml", reader({"plan.yaml": text, **{f"{name}.yaml": body for name, body in others.items()}})
    )


def environment(text: str = ENVIRONMENT, **others: str) -> Environment:
    """The environment in ``text``."""
    files = {"lab.yaml": text, **{f"{name}.yaml": body for name, body in others.items()}}
    return load_environment("lab.yaml", reader(files))


def reader(files: Mapping[str, str | bytes]) -> FrozenReader:
    """A reader of these files."""
    return FrozenReader({name: body if isinstance(body, bytes) else body.encode() for name, body in files.items()})


def problems(action: Callable[[], object]) -> tuple[Problem, ...]:
    """The problems that ``action`` raises; none if it raises none."""
    try:
        action()
    except RunbookError as fault:
        return fault.problems
    return ()


def codes(action: Callable[[], object]) -> list[str]:
    """The codes of the problems that ``action`` raises, in order."""
    return [problem.code for problem in problems(action)]
