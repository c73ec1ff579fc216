"""A restore that fails leaves the writers stopped, and says so; when its cause is mended, `resume` finishes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial

import psycopg
import pytest

from tests.evidence.servers import InContainer
from tests.evidence.stacks import CIVICQ, DATA, KEEPER, Stack
from tests.evidence.witness import databases, oid_of, picture, rows_of, until
from tests.fixtures.containers import address

pytestmark = [pytest.mark.docker, pytest.mark.slow]

OWN = {"postgres", "template0", "template1"}
IDLE = "celery-beat"
CONTROL = "/usr/share/postgresql/15/extension/pgcrypto.control"
Obstacle = Callable[[Stack], AbstractContextManager[str]]


@contextmanager
def an_extension_is_missing(stack: Stack) -> Iterator[str]:
    """The server was set up anew, without a package that the dump needs."""
    assert isinstance(stack.server, InContainer)
    stack.server.run("mv", CONTROL, f"{CONTROL}.away")
    try:
        yield 'extension "pgcrypto" is not available'
    finally:
        stack.server.run("mv", f"{CONTROL}.away", CONTROL)


@contextmanager
def the_role_may_not_create(stack: Stack) -> Iterator[str]:
    """The user may look at everything, and may make no database."""
    user = stack.guide.user
    stack.sql("CREATE ROLE rescuer SUPERUSER", "postgres")
    stack.sql(f"GRANT pg_monitor, rescuer TO {user}", "postgres")
    stack.sql(f"ALTER ROLE {user} NOSUPERUSER NOCREATEDB", "postgres")
    try:
        yield "permission denied to create database"
    finally:
        stack.sql(f"SET ROLE rescuer; ALTER ROLE {user} SUPERUSER", "postgres")


@contextmanager
def the_disk_is_full(stack: Stack) -> Iterator[str]:
    """There is as much space as the live database and the dump let one expect, and the dump needs more."""
    assert isinstance(stack.server, InContainer)
    keeper = stack.project.containers[KEEPER]
    fill = f"cd {DATA} && dd if=/dev/zero of=filler bs=1M count=$(($(df -m --output=avail . | tail -1) - 40))"
    stack.server.run("sh", "-c", fill)
    try:
        yield "restore"
    finally:
        keeper.exec_run(["rm", "-f", f"{DATA}/filler"])
        until(partial(answers, stack), 180, "the server is up again")


def answers(stack: Stack) -> bool:
    """Whether the server answers, which a full disk may have ended, or may be about to end; what has ended is started."""
    assert isinstance(stack.server, InContainer)
    stack.server.container.start()
    stack.server.host = address(stack.server.container)
    try:
        return bool(stack.sql("SELECT 1"))
    except psycopg.OperationalError:
        return False


def extensive(stand: Callable[..., Stack]) -> Stack:
    """A database that needs an extension."""
    return stand(replace(CIVICQ, data=(*CIVICQ.data, "CREATE EXTENSION pgcrypto")), stopped=(IDLE,))


def on_this_machine(stand: Callable[..., Stack]) -> Stack:
    """A user that is an ordinary superuser, not the cluster's first."""
    return stand(CIVICQ, local=True, stopped=(IDLE,))


def on_a_small_disk(stand: Callable[..., Stack]) -> Stack:
    """A database that its dump makes look small."""
    filling = (
        "CREATE TABLE scans (id int, page text)",
        "ALTER TABLE scans ALTER page SET STORAGE EXTERNAL",
        "INSERT INTO scans SELECT n, repeat('blank ', 20000) FROM generate_series(1, 700) n",
    )
    settings = ("-c", "max_wal_size=32MB", "-c", "min_wal_size=32MB")
    guide = replace(CIVICQ, data=(*CIVICQ.data, *filling))
    return stand(guide, stopped=(IDLE,), settings=settings, disk="320m")


CASES = {
    "extension": (extensive, an_extension_is_missing, 1),
    "role": (on_this_machine, the_role_may_not_create, 1),
    "disk": (on_a_small_disk, the_disk_is_full, 1),
}


@pytest.mark.parametrize("case", CASES)
def test_the_writers_wait_until_it_is_mended(case: str, stand: Callable[..., Stack]) -> None:
    make, obstacle, code = CASES[case]
    made = make(stand)
    whole = picture(made.server, made.database)
    made.back_up()
    if case == "disk":
        made.sql("DROP TABLE scans")
        made.sql("CHECKPOINT")
    made.sql("DELETE FROM questions WHERE id % 3 = 0")
    damaged, live = rows_of(made.server, made.database), oid_of(made.server, made.database)
    services = made.states()
    writers = set(CIVICQ.writers) - {IDLE}

    with ExitStack() as until_mended:
        said = until_mended.enter_context(obstacle(made))
        failed = made.apply("restore-db")
        assert failed.code == code, failed.said
        assert said in failed.said
        assert made.running == set(CIVICQ.others), "the writers stay stopped"
        assert "stop_writers still holds" in failed.said
        shown = made.program.run("show", made.program.last)
        assert shown.code == 0, shown.said
        assert "stop_writers still holds" in shown.said
        if case != "disk":
            assert oid_of(made.server, made.database) == live
            assert rows_of(made.server, made.database) == damaged
            again = made.resume()
            assert again.code == code, "nothing was mended yet"
            assert made.running == set(CIVICQ.others)
    assert oid_of(made.server, made.database) == live
    assert rows_of(made.server, made.database) == damaged, "the live database is not touched"

    resumed = made.resume()
    assert resumed.code == 0, resumed.said
    assert picture(made.server, made.database) == whole
    assert made.running == set(CIVICQ.others) | writers
    after = made.states()
    touched = {service for service in after if after[service] != services[service]}
    assert touched - {CIVICQ.service} == writers
    kept = made.program.outputs("restore")["kept_as"]
    assert databases(made.server) == OWN | {made.database, kept}
