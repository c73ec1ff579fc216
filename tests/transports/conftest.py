"""A world in a directory of its own, and uses of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runbook.host import LOCAL
from runbook.operation import Connection, Fields, Statement, sql
from runbook.secret import FromFile, Redactor
from runbook.transports.outcome import Failed, Lost, Outcome, Progress, Succeeded, Use
from runbook.transports.world import World, boot_clock
from tests.fixtures.patience import Gate
from tests.fixtures.postgres import PostgresServer
from tests.transports.breaking import CuttingProxy


@dataclass
class Uses:
    """Makes uses; keeps what was noted and how far work was said to be."""

    notes: list[Fields] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)

    def __call__(
        self,
        use_id: str = "step/1/1/op",
        *,
        results: dict[str, Fields] | None = None,
        within_s: float | None = None,
        application: str = "runbook/r-1/step",
        note: Callable[[Fields], None] | None = None,
    ) -> Use:
        return Use(
            id=use_id,
            application=application,
            results=results or {},
            note=note or self.notes.append,
            progress=self.progress.append,
            deadline=None if within_s is None else boot_clock() + within_s,
        )


@pytest.fixture
def uses() -> Uses:
    return Uses()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """Where a script of this test stands until it may go on."""
    return Gate(tmp_path / "gate")


@pytest.fixture
def run_directory(tmp_path: Path) -> Path:
    """A run's directory, mode 0700."""
    path = tmp_path / "run"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def redactor() -> Redactor:
    return Redactor()


@pytest.fixture
def world(run_directory: Path, redactor: Redactor) -> Iterator[World]:
    made = World(run_directory, run="r-1", redactor=redactor)
    yield made
    made.close()


@pytest.fixture
def connect_to(postgres_server: PostgresServer, tmp_path: Path) -> Callable[..., Connection]:
    """`connection = connect_to(database)`: over TCP, with the password in a 0600 file."""
    password = tmp_path / "password"
    password.write_text(postgres_server.password + "\n")
    password.chmod(0o600)

    def make(database: str = "postgres", *, port: int = 0, user: str = "") -> Connection:
        return Connection(
            host=LOCAL,
            address=postgres_server.host,
            port=port or postgres_server.port,
            user=user or postgres_server.user,
            database=database,
            password=FromFile(str(password)),
            application="runbook/look",
        )

    return make


def statements(*texts: str) -> tuple[Statement, ...]:
    return tuple(sql(text) for text in texts)


def fields_of(outcome: Outcome) -> Fields:
    assert isinstance(outcome, Succeeded), outcome
    return outcome.fields


def problem_of(outcome: Outcome) -> str:
    assert isinstance(outcome, Failed | Lost), outcome
    return outcome.problem.render()


@pytest.fixture(params=["delivered", "not delivered"])
def proxy(request: pytest.FixtureRequest, postgres_server: PostgresServer) -> Iterator[tuple[CuttingProxy, bool]]:
    """A way to the server that is cut at COMMIT, and whether the server has got the COMMIT then."""
    deliver = request.param == "delivered"
    made = CuttingProxy(postgres_server.port, deliver=deliver)
    yield made, deliver
    made.close()
