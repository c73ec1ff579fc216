"""The ground of the rotation: a service that writes without a pause, with the login that its file names.

What the rotation has to come to: the other login of the pair is in use, with one new password that stands in one file; the former
one is refused; and the service has seen no gap.
"""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

import psycopg

from tests.evidence.kills import SETTLES_IN_S
from tests.evidence.stacks import Stack
from tests.evidence.witness import picture, until
from tests.sweep.ground import Ground, ground
from tests.sweep.trials import Case, End

if TYPE_CHECKING:
    from docker import DockerClient

FIRST = "first-of-all"
LOGINS = ("civicq_a", "civicq_b")
OWNER = "civicq_owner"
PAUSE_S = 0.02


@dataclass
class Service:
    """Looks at its file before each write, as a restart would; ``faults``: writes and logins that failed."""

    made: Stack
    config: Path
    written: int = 0
    faults: list[str] = field(default_factory=list)
    ending: Event = field(default_factory=Event)
    thread: Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        known, session = "", None
        while not self.ending.is_set():
            try:
                given = self.config.read_text()
                if session is None or given != known:
                    if session is not None:
                        session.close()
                    session, known = logged_in(self.made, *given.split()), given
                session.execute("INSERT INTO served DEFAULT VALUES")
                self.written += 1
            except (OSError, psycopg.Error) as error:
                self.faults.append(str(error))
                session = None
            time.sleep(PAUSE_S)
        if session is not None:
            session.close()

    def stop(self) -> None:
        """It writes no more."""
        self.ending.set()
        self.thread.join(60)


@dataclass
class ServedGround(Ground):
    """The ground with a service that logs in by itself."""

    service: Service | None = None

    @property
    def config(self) -> Path:
        """The service's login: role and password, a line each."""
        return self.made.store.with_name("service.login")

    def cleared(self) -> None:
        """No service, no logins, no table of its own."""
        if self.service is not None:
            self.service.stop()
            self.service = None
        super().cleared()
        sql = self.made.sql
        sql("DROP TABLE IF EXISTS served")
        for role in (*LOGINS, OWNER):
            if sql(f"SELECT 1 FROM pg_roles WHERE rolname = '{role}'"):
                sql(f"DROP OWNED BY {role}")
                sql(f"DROP ROLE {role}")


def logged_in(made: Stack, role: str, password: str) -> psycopg.Connection[tuple[object, ...]]:
    """A session of the service."""
    at = psycopg.conninfo.make_conninfo(made.server.dsn(made.database), user=role, password=password)
    return psycopg.connect(at, autocommit=True, application_name="service", connect_timeout=60)


def _first_login(ground: ServedGround) -> list[str]:
    """The first of the pair is in use; the second was never made."""
    made = ground.made
    for statement in (
        f"CREATE ROLE {OWNER} NOLOGIN",
        f"CREATE ROLE {LOGINS[0]} LOGIN PASSWORD '{FIRST}' IN ROLE {OWNER}",
        f"ALTER ROLE {LOGINS[0]} SET role TO {OWNER}",
        "CREATE TABLE served (id serial PRIMARY KEY)",
        f"ALTER TABLE served OWNER TO {OWNER}",
    ):
        made.sql(statement)
    ground.config.write_text(f"{LOGINS[0]}\n{FIRST}\n")
    ground.service = Service(made, ground.config)
    return []


def _deployed(ground: ServedGround) -> None:
    """The person gives the service what the step says, in one rename."""
    created = ground.program.outputs("create")
    new = ground.config.with_name("service.new")
    new.write_text(f"{created['role']}\n{Path(created['file']).read_text()}")
    new.rename(ground.config)


def _rotated(ground: ServedGround) -> End:
    """Who can log in, with what, and where that stands; the service missed nothing."""
    made, service = ground.made, ground.service
    assert service is not None
    written, asked = service.written, "SELECT usename FROM pg_stat_activity WHERE application_name = 'service'"
    until(lambda: service.written > written + 5, SETTLES_IN_S, "the service goes on")
    until(lambda: len(made.sql(asked)) < 2, SETTLES_IN_S, "its former session has left")
    sessions = made.sql(asked)
    service.stop()
    role, password = ground.config.read_text().split()
    created = ground.program.outputs("create")
    places = [path for path in ground.program.state.rglob("*") if path.is_file() and _holds(path, password)]
    rows = made.sql("SELECT count(*) FROM served")[0][0]
    found: dict[str, object] = {
        "in use": (role, created["role"], created["former"]),
        "logins": made.sql("SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname ~ '^civicq_' ORDER BY 1"),
        "refused": [_refusal(made, LOGINS[0], FIRST), _refusal(made, role, FIRST)],
        "accepted": _refusal(made, role, password),
        "sessions": sessions,
        "faults": service.faults,
        "rows": rows == service.written,
        "stands in": [str(path.relative_to(ground.program.directory())) for path in places],
        "mode": [stat.S_IMODE(path.stat().st_mode) for path in places],
    }
    made.sql("DROP TABLE served")
    return {**found, "whole": picture(made.server, made.database) == ground.whole}


def _refusal(made: Stack, role: str, password: str) -> str:
    """Why a login is refused; '' where it is let in."""
    try:
        logged_in(made, role, password).close()
    except psycopg.OperationalError as error:
        return "not permitted" if "not permitted to log in" in str(error) else "wrong password"
    return ""


def _holds(path: Path, secret: str) -> bool:
    return secret.encode() in path.read_bytes()


@contextmanager
def served(client: DockerClient, *, there: bool) -> Iterator[ServedGround]:
    """CivicQ's ground with such a service."""
    with ground(client, there=there) as found:
        place = ServedGround(found.made, found.people, found.whole)
        try:
            yield place
        finally:
            if place.service is not None:
                place.service.stop()


CASES = (
    Case(
        "rotate-role",
        _first_login,
        _rotated,
        opened=lambda client: served(client, there=False),
        opened_there=lambda client: served(client, there=True),
        answer=("deploy",),
        person=_deployed,
    ),
)
