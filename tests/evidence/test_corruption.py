"""Damaged files, on both kinds of stack: kept as they are, found, mended as a person says, and the services back."""

from __future__ import annotations

import os
import signal
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psycopg
import pytest

from tests.evidence.damage import JUNK, ended_with_the_test, spoil
from tests.evidence.kills import near
from tests.evidence.servers import InContainer
from tests.evidence.stacks import CIVICQ, CONTRACT_LUCIDITY, Guide, Stack
from tests.evidence.witness import databases, picture, until

pytestmark = [pytest.mark.docker, pytest.mark.slow]

WAITS = 6
BEGINS_WITHIN_S = 300.0


@pytest.fixture
def standing(stand: Callable[..., Stack]) -> Iterator[Callable[..., Stack]]:
    """`made = standing(GUIDE, local=…)`: a stack with a store for evidence."""
    with ExitStack() as left:

        def make(guide: Guide, **options: object) -> Stack:
            made = left.enter_context(ended_with_the_test(stand(guide, **options)))
            place = made.store.parent / "evidence"
            place.mkdir()
            text = made.environment.read_text()
            line = next(one for one in text.splitlines() if one.startswith("  evidence:"))
            made.environment.write_text(text.replace(line, f'  evidence: {{type: store, url: "file://{place}"}}'))
            return made

        yield make


def answered(made: Stack, way: str) -> None:
    """The person decides, and the run goes on to its end."""
    said = made.program.run("confirm", made.program.last, "decide", "-i", f"way={way}")
    assert said.code == 0, said.said
    resumed = made.resume()
    assert resumed.code == 0, resumed.said
    made.server.found_again()


def by_index(made: Stack) -> int:
    """How many questions there are, as the index tells."""
    with made.server.connect(made.database) as session:
        session.execute("SET enable_seqscan = off")
        found = session.execute("SELECT count(*) FROM questions WHERE asked > '2000-01-01'").fetchone()
        assert found is not None
        return int(found[0])


def kept_bytes(made: Stack) -> bytes:
    """All that the evidence holds of the cluster's own files."""
    path = Path(str(made.program.outputs("keep")["path"]))
    if path.is_dir():
        return b"".join(file.read_bytes() for file in path.glob("base/*/*") if file.is_file())
    with tarfile.open(path) as tar:
        members = [one for one in tar.getmembers() if one.isfile() and one.name.startswith("data/base/")]
        return b"".join(opened.read() for one in members if (opened := tar.extractfile(one)))


@pytest.mark.parametrize("local", [False, True], ids=["container", "here"])
def test_a_broken_index_is_built_anew(standing: Callable[..., Stack], *, local: bool) -> None:
    idle = "celery-beat"
    made = standing(CIVICQ, local=local, stopped=(idle,))
    services, before = made.running, picture(made.server, made.database)
    spoil(made, "questions_asked_idx", 2)
    with pytest.raises(psycopg.Error, match="invalid page"):
        by_index(made)

    ran = made.apply("database-corruption")
    made.server.found_again()
    assert ran.code == WAITS, ran.said
    assert "index public.questions_asked_idx: invalid page in block 2" in ran.said, "the person sees what was found"
    assert "Recommended: reindex" in ran.said
    assert made.running == services - set(CIVICQ.writers)
    assert JUNK in kept_bytes(made), "the evidence has the damage itself"

    answered(made, "reindex")
    assert made.running == services, "those that ran run again; the one that stood still stands still"
    assert made.program.outputs("again")["healthy"]
    assert by_index(made) == 9000
    made.sql("DROP EXTENSION amcheck")
    assert picture(made.server, made.database) == before


@pytest.mark.parametrize(("guide", "local"), [(CONTRACT_LUCIDITY, False), (CIVICQ, True)], ids=["container", "here"])
def test_a_broken_table_is_restored(standing: Callable[..., Stack], guide: Guide, *, local: bool) -> None:
    made = standing(guide, local=local)
    before, services = picture(made.server, made.database), made.running
    made.back_up()
    spoil(made, guide.probe, 3)

    ran = made.apply("database-corruption")
    made.server.found_again()
    assert ran.code == WAITS, ran.said
    assert f"table public.{guide.probe}: invalid page in block 3" in ran.said
    assert "Recommended: restore" in ran.said

    answered(made, "restore")
    assert picture(made.server, made.database) == before
    assert made.running == services
    kept = made.program.outputs("restore")["kept_as"]
    assert kept in databases(made.server), "and the damaged database is still there"


def test_nothing_is_damaged_and_nothing_is_done(standing: Callable[..., Stack]) -> None:
    made = standing(CIVICQ)
    before = picture(made.server, made.database)
    ran = made.apply("database-corruption")
    made.server.found_again()
    assert ran.code == WAITS, ran.said
    assert "No damage was found." in ran.said
    answered(made, "leave")
    made.sql("DROP EXTENSION amcheck")
    assert picture(made.server, made.database) == before


@pytest.mark.parametrize(
    ("moment", "local"),
    [("stop_server", True), ("copy", False), ("copy", True), ("start_server", False), ("look", False)],
)
def test_killed_and_resumed(standing: Callable[..., Stack], moment: str, *, local: bool) -> None:
    """Engine and supervisor, as an operation begins: the writers stay stopped, and a resume finishes the copy or goes on."""
    made = standing(CIVICQ, local=local)
    services = made.running
    program = made.program
    engine = program.start("apply", *made.arguments("database-corruption"))

    def begins() -> bool:
        found = program.events() if program.state.exists() and program.runs else []
        return any(e["event"] == "operation.started" and e["operation"] == moment for e in found)

    until(lambda: begins() or engine.poll() is not None, BEGINS_WITHIN_S, f"{moment} begins")
    engine.kill()
    engine.wait(60)
    for pid in near(program.directory()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    resumed = made.resume()
    made.server.found_again()
    assert resumed.code == WAITS, resumed.said
    assert made.running == services - set(CIVICQ.writers)
    place = made.store.parent / "evidence"
    assert not [path for path in place.iterdir() if path.name.endswith(".partial")]
    answered(made, "leave")
    assert made.running == services


def test_a_writer_that_was_forgotten(standing: Callable[..., Stack]) -> None:
    """Its session is named, the server goes on, and nothing was copied; once it is stopped too, the run goes on."""
    made = standing(CIVICQ)
    assert isinstance(made.server, InContainer)
    with made.server.connect(made.database) as session:
        session.execute("SET application_name = 'reports'")
        session.execute("SELECT pg_sleep(2.1)")
        ran = made.apply("database-corruption")
        assert ran.code == 4, ran.said
        assert "others are connected to the server" in ran.said
        assert "reports as civicq in civicq" in ran.said
        session.execute("SELECT 1")
    resumed = made.resume()
    made.server.found_again()
    assert resumed.code == WAITS, resumed.said
    answered(made, "leave")


def test_without_a_place_for_the_copy_nothing_is_stopped(standing: Callable[..., Stack]) -> None:
    made = standing(CIVICQ)
    services = made.states()
    place = made.store.parent / "evidence"
    place.rmdir()
    dry = made.program.run("plan", made.plan("database-corruption"), "--env", made.environment)
    assert "the store's directory is not there" in dry.said
    ran = made.apply("database-corruption")
    assert ran.code == 4, ran.said
    assert made.states() == services


def test_what_a_copy_would_lack_is_refused_before_anything_is_stopped(standing: Callable[..., Stack]) -> None:
    """And without that look the copy itself finds it: then what was stopped stays so, and a person is told."""
    made = standing(CIVICQ)
    assert isinstance(made.server, InContainer)
    services = made.running
    made.server.run("install", "-d", "-o", "postgres", "/var/lib/postgresql/other")
    made.sql("CREATE TABLESPACE other LOCATION '/var/lib/postgresql/other'")
    ran = made.apply("database-corruption")
    assert ran.code == 4, ran.said
    assert "The tablespaces other lie outside of the data directory" in ran.said
    assert made.running == services

    shipped = made.plan("database-corruption").read_text()
    plan = made.program.folder / "without-a-look.yaml"
    plan.write_text(shipped[: shipped.index("  - id: room")] + shipped[shipped.index("  - id: stop_writers") :])
    ran = made.apply(plan)
    assert ran.code == 1, ran.said
    assert "it lies elsewhere, and is not in the copy" in ran.said
    assert "stop_server still holds" in ran.said
    assert made.running == services - set(CIVICQ.writers)
    assert made.states()[CIVICQ.service][0] == "exited"
