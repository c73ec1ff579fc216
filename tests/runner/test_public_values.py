"""A password that is a public word as well: a resume goes on with what was said, not with a mask in its place."""

from __future__ import annotations

from pathlib import Path

from tests.actions.in_a_run import Rehearsal
from tests.fixtures.postgres import PostgresServer

WORD = "civicq_production"
PLAN = """\
runbook: 1
name: word
title: A name that is a password too
inputs:
  name: {type: string, default: WORD}
environment:
  environment: here
  systems:
    db: {type: postgres, address: 127.0.0.1, port: PORT, user: WORD, database: postgres, password: {file: SECRET}}
systems: {db: postgres}
steps:
  - id: look
    title: Look
    uses: postgres.assert
    on: db
    with: {checks: [{query: SELECT 1, at_least: 1}]}
    timeout: 5m
  - id: work
    title: Work
    uses: shell.run
    with: {argv: [sh, -c, 'test -e "$1" && echo "$0" > "$2"', "{{ inputs.name }}", READY, OUT]}
    timeout: 5m
"""


def test_a_resume_reads_the_inputs_as_they_were_given(postgres_server: PostgresServer, tmp_path: Path) -> None:
    secret, ready, out = tmp_path / "secret", tmp_path / "ready", tmp_path / "out"
    secret.write_text(WORD)
    secret.chmod(0o600)
    postgres_server.sql(f"CREATE ROLE {WORD} SUPERUSER LOGIN PASSWORD '{WORD}'")
    try:
        told = {"WORD": WORD, "PORT": postgres_server.port, "SECRET": secret, "READY": ready, "OUT": out}
        plan = PLAN
        for mark, value in told.items():
            plan = plan.replace(mark, str(value))
        rehearsal = Rehearsal(plan, tmp_path / "state")
        assert rehearsal.apply() == 1
        ready.touch()
        assert rehearsal.resume() == 0
        assert out.read_text().strip() == WORD
    finally:
        postgres_server.sql(f"DROP ROLE {WORD}")
