"""Secrets are made once; a verifier is what PostgreSQL itself would store."""

from __future__ import annotations

from pathlib import Path

from runbook.sandbox.credentials import mint, read, scram_verifier
from runbook.sandbox.stack import Stack


def test_a_secret_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "one"
    made = mint(path)
    assert len(made.reveal()) == 64
    assert mint(path) == made == read(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert mint(tmp_path / "other") != made


def test_postgres_took_the_verifier_as_one(shared: Stack) -> None:
    # That `docs` can log in at all is shown by every other test: its password was only ever given as a verifier.
    with shared.login("postgres").connect() as connection:
        row = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'docs'").fetchone()
    assert row is not None
    assert row[0].startswith("SCRAM-SHA-256$4096:")
    secret = read(shared.layout.secret("docs"))
    assert scram_verifier(secret) != scram_verifier(secret)  # salted
