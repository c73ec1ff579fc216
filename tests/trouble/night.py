"""A database whose loading can be held open in the middle, the program beside it, and what has to be so after each trouble.

Nothing here waits for an instant: while the file `gate` is there no row gets into `users`, in whichever database it is loaded.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg

from tests.evidence.kills import processes_about
from tests.evidence.program import ENDS_WITHIN_S, Program, Ran
from tests.evidence.witness import until
from tests.faults.house import COUNTS, DATABASE, RESTORE, ROLE, SECRET, TABLES, House
from tests.fixtures.postgres import PostgresServer

WITHIN_S = 60.0
DONE, FAILED, REFUSED, WAITS, JOURNAL, INTERRUPTED = 0, 1, 4, 6, 7, 130
CONSENT = ("--confirm", DATABASE, "--yes")
LOADING = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname LIKE 'rb\\_%' AND query LIKE 'COPY public.users%'"

GATE = """\
CREATE FUNCTION gate(int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
WHILE (pg_catalog.pg_stat_file('FILE', true)).size IS NOT NULL LOOP PERFORM pg_catalog.pg_sleep(0.02); END LOOP;
RETURN true; END $$;
ALTER TABLE users ADD CONSTRAINT gated CHECK (public.gate(id))"""


@dataclass
class Night(House):
    """The house of the guides with a gate in its table `users`. ``port``: by which way the program reaches the server."""

    under: tuple[str, ...] = ()
    address: str = "127.0.0.1"
    port: int = 0

    @property
    def program(self) -> Program:
        """The program, in what it is run under."""
        return replace(super().program, under=self.under)

    @property
    def gate(self) -> Path:
        """While it is there, loading waits."""
        return self.server.data_dir.parent / "gate"

    def shut(self) -> None:
        """Nothing is loaded from here on."""
        self.gate.touch()

    def open(self) -> None:
        """Loading goes on."""
        self.gate.unlink(missing_ok=True)

    def environment(self) -> Path:
        """The house's, with this way to the server."""
        path = super().environment()
        direct = f"address: 127.0.0.1, port: {self.server.port},"
        text = path.read_text()
        assert direct in text
        path.write_text(text.replace(direct, f"address: {self.address}, port: {self.port or self.server.port},"))
        return path

    def begin(self, plan: str, *more: str) -> subprocess.Popen[bytes]:
        """Start a plan's text."""
        path = self.folder / "plan.yaml"
        path.write_text(plan)
        (self.folder / "output").write_bytes(b"")
        return self.program.start("apply", path, "--env", self.environment(), *CONSENT, *more)

    def end(self, engine: subprocess.Popen[bytes]) -> Ran:
        """Wait for its end; what it said."""
        code = engine.wait(ENDS_WITHIN_S)
        said = self.said
        assert "Traceback" not in said, said
        assert "This is a bug in runbook" not in said, said
        return Ran(code, said, "")

    def reached(self, engine: subprocess.Popen[bytes], step: str) -> None:
        """Wait until a step has begun."""

        def begun() -> bool:
            events = self.program.events() if self.program.runs else []
            return any(event["event"] == "step.started" and event["step"] == step for event in events)

        until(lambda: begun() or engine.poll() is not None, WITHIN_S, f"{step} begins")
        assert begun(), f"it has ended before:\n{self.said}"

    def loading(self, engine: subprocess.Popen[bytes]) -> None:
        """Wait until the load stands before the gate."""
        until(lambda: self.server.sql(LOADING) == [(True,)] or engine.poll() is not None, WITHIN_S, "the load waits")
        assert engine.poll() is None, f"it has ended before:\n{self.said}"

    @property
    def said(self) -> str:
        """What the program that was begun has said so far."""
        return (self.folder / "output").read_text()

    @contextmanager
    def restoring(self) -> Iterator[subprocess.Popen[bytes]]:
        """A restore that is held in the middle of its load; the gate is open afterwards."""
        self.shut()
        engine = self.begin(RESTORE)
        try:
            self.loading(engine)
            yield engine
        finally:
            self.open()

    @property
    def answers(self) -> bool:
        """Whether the server takes connections."""
        try:
            return bool(self.server.sql("SELECT 1"))
        except psycopg.OperationalError:
            return False

    def resume(self, *more: str) -> Ran:
        """Go on with the newest run."""
        return self.program.run("resume", self.program.last, *CONSENT, *more)

    def stands(self) -> dict[str, Any]:
        """What `show --json` says of the newest run."""
        shown: dict[str, Any] = self.program.run("show", self.program.last, "--json").json
        return shown

    def tells(self, ran: Ran, *sentences: str, status: str) -> dict[str, str]:
        """The run's last lines say these sentences and which command goes on, and `show --json` the status; the steps."""
        shown = self.stands()
        goes_on = f"runbook resume {self.program.last}"
        assert shown["status"] == status, ran.said
        assert any(line.startswith(goes_on) for line in shown["next"]), shown["next"]
        for sentence in (*sentences, goes_on):
            assert sentence in ran.said, f"{sentence!r} is not in:\n{ran.said}"
        return {step["id"]: step["status"] for step in shown["steps"]}

    def untouched(self, oid: int) -> None:
        """The live database is that one, with all its rows."""
        assert self.oid() == oid
        assert self.rows() == COUNTS

    def restored(self, former: int) -> None:
        """As after a restore that nothing disturbed: swapped, the former one kept, nothing else left anywhere."""
        kept = str(self.program.outputs("restore")["kept_as"])
        assert self.rows() == COUNTS
        assert self.oid(kept) == former != self.oid()
        assert self.databases() == {DATABASE, kept}
        self.nothing_left()

    def nothing_left(self) -> None:
        """No process, no backend, no half file of the run."""
        run = self.program.directory()
        until(lambda: not processes_about(run), WITHIN_S, "nothing of the run lives any more")
        ours = f"SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'runbook/{run.name}/%'"
        until(lambda: self.server.sql(ours) == [(0,)], WITHIN_S, "no backend of the run is left")
        assert not list(self.store.rglob("*.partial*"))


def stand(server: PostgresServer, folder: Path, *, backup: Path | None = None) -> Night:
    """The database with its gate, owned by the role, and a store: empty, or with a backup that was made earlier."""
    server.sql(
        f"DO $$ BEGIN CREATE ROLE {ROLE} SUPERUSER LOGIN PASSWORD '{SECRET}'; "
        f"EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    )
    made = Night(server, folder)
    made.gate.unlink(missing_ok=True)
    server.sql(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")
    for statement in (*TABLES, GATE.replace("FILE", str(made.gate))):
        server.sql(statement, DATABASE)
    if backup is None:
        made.store.mkdir(mode=0o700)
    else:
        shutil.copytree(backup, made.store)
    return made
