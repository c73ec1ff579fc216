"""A password that is a public word as well: a resume goes on with what was said, not with a mask in its place."""

from __future__ import annotations

from pathlib import Path

from runbook.secret import SHORTEST_REDACTED
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


def _resumed(server: PostgresServer, place: Path, *, role: str, word: str) -> str:
    """Run it until its work fails, and again; what the work wrote. The role's password is the word."""
    secret, ready, out = place / "secret", place / "ready", place / "out"
    secret.write_text(word)
    secret.chmod(0o600)
    server.sql(f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD '{word}'")
    try:
        told = {"WORD": role, "PORT": server.port, "SECRET": secret, "READY": ready, "OUT": out}
        plan = PLAN
        for mark, value in told.items():
            plan = plan.replace(mark, str(value))
        rehearsal = Rehearsal(plan, place / "state")
        assert rehearsal.apply() == 1
        ready.touch()
        assert rehearsal.resume() == 0
        return out.read_text().strip()
    finally:
        server.sql(f"DROP ROLE {role}")


def test_a_resume_reads_the_inputs_as_they_were_given(postgres_server: PostgresServer, tmp_path: Path) -> None:
    assert _resumed(postgres_server, tmp_path, role=WORD, word=WORD) == WORD


def test_a_resume_knows_its_target_by_a_path_that_holds_the_password(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """As ``postgresql`` is a part of ``/var/lib/postgresql``."""
    word = postgres_server.data_dir.parent.name
    assert len(word) >= SHORTEST_REDACTED
    assert _resumed(postgres_server, tmp_path, role="keeper", word=word) == "keeper"
