"""What connections are called where others look for them: as the server shows it, and for one step alone."""

from __future__ import annotations

import psycopg
import pytest

from runbook import application
from tests.fixtures.postgres import PostgresServer

RUN = "20260214-120000-a-plan-with-a-long-name-4f3a"
STEPS = (
    "load",
    "copy_all_of_the_tables_of[orders]",
    "copy_all_of_the_tables_of[users]",
    "copy[ä]",
    "copy[ö]",
    "copy[a b]",
)


def test_steps_do_not_share_an_application_name() -> None:
    assert len({application.of_step(RUN, step) for step in STEPS}) == len(STEPS)


@pytest.mark.parametrize("step", STEPS)
def test_the_server_shows_the_application_name_as_it_was_given(postgres_server: PostgresServer, step: str) -> None:
    name = application.of_step(RUN, step)
    with psycopg.connect(postgres_server.dsn(), application_name=name) as connection:
        shown = connection.execute("SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()")
        assert shown.fetchone() == (name,)
