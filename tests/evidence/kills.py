"""One trial: a restore is killed at some instant, resumed, and looked at from outside."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psycopg

from tests.evidence.program import Program
from tests.evidence.servers import InContainer
from tests.evidence.stacks import Stack
from tests.evidence.witness import (
    Picture,
    children_of,
    databases,
    descendants,
    oid_of,
    picture,
    rows_of,
    start_time,
    until,
)

OWN = {"postgres", "template0", "template1"}
SETTLES_IN_S = 60.0
RESUMED_WITHIN_S = 600.0


class Victim(StrEnum):
    """What is killed. ``EVERYTHING``: engine, supervisor and children; in a container their far side too, or not."""

    ENGINE = "engine"
    EVERYTHING = "everything"
    ALL_BUT_THE_FAR_SIDE = "all but the far side"


@dataclass(frozen=True)
class Seen:
    """What a trial found: the step that was going on, how many children lived then, and how many ends were adopted."""

    at_s: float
    step: str
    children: int
    adopted: int
    resumed: bool


@dataclass
class Trials:
    """Trials on one stack, one after the other. ``whole`` is the database as its backup has it."""

    stack: Stack
    whole: Picture
    writers: set[str]
    clean_s: float

    @classmethod
    def on(cls, stack: Stack) -> Trials:
        """Back the stack up, and restore it once undisturbed: that tells how long it takes."""
        writers = stack.running
        whole = picture(stack.server, stack.database)
        stack.back_up()
        trials = cls(stack, whole, writers, clean_s=0.0)
        began = trials.begun(stack.program.start("apply", *stack.arguments("restore-db")))
        assert began.wait(RESUMED_WITHIN_S) == 0, (stack.program.folder / "output").read_text()
        trials.clean_s = trials.stack.program.finished()["duration_s"]
        return trials

    @staticmethod
    def instants(seed: int, count: int) -> Iterator[float]:
        """Moments of a restore as parts of the whole, spread over all of it: one at random in each of ``count`` equal parts."""
        chance = random.Random(seed)
        for part in range(count):
            yield (part + chance.random()) / count

    def begun(self, process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        """Wait until the run has its journal."""
        program = self.stack.program
        until(
            lambda: process.poll() is not None or any(e["event"] == "step.started" for e in self._events()),
            SETTLES_IN_S,
            f"the run begins: {(program.folder / 'output').read_text()[-2000:]}",
        )
        return process

    def trial(self, victim: Victim, part: float) -> Seen:
        """Kill after that part of a restore, resume, and check everything; an AssertionError says what did not hold."""
        stack, program, at_s = self.stack, self.stack.program, part * self.clean_s
        damaged, live, before = self._damage()

        engine = self.begun(program.start("apply", *stack.arguments("restore-db")))
        time.sleep(at_s)
        run = program.directory()
        step, children = self._going_on(), children_of(run)
        kill(victim, engine, run, stack)
        if victim is Victim.ENGINE:
            self._go_on(children, run)
        # A child of PostgreSQL's first process that it does not know, and that a signal ended, makes it restart: where it is
        # the first process of a container, whatever lost its parent there is such a child.
        until(self._answers, SETTLES_IN_S, "the server answers")
        ended = any(event["event"] == "run.finished" for event in program.events())
        if not ended:
            self._resume(damaged)
        else:
            self.clean_s = min(self.clean_s, program.finished()["duration_s"])  # it was quicker than the first one
        self._right(damaged, live, before)
        adopted = sum(1 for event in program.events() if event.get("adopted"))
        return Seen(at_s, step, len(children), adopted, resumed=not ended)

    def trial_at(self, point: str, number: int) -> bool:
        """Let engine or supervisor be killed at a place of its code, resume, and check everything; False: it was not reached.

        ``point`` is a crash point, or ``strace``: then the kernel kills the engine as it enters that ``fdatasync``.
        """
        stack, program = self.stack, self.stack.program
        damaged, live, before = self._damage()
        if point == "strace":
            program.under = ("strace", "-qq", "-o", "/dev/null", "-e", f"inject=fdatasync:signal=KILL:when={number}")
        else:
            program.extra["RUNBOOK_CRASH"] = f"{point}:{number}"
        try:
            code = program.start("apply", *stack.arguments("restore-db")).wait(RESUMED_WITHIN_S)
        finally:
            program.under = ()
            program.extra.pop("RUNBOOK_CRASH", None)
        if not program.runs or not program.events():
            runs = program.state / "runs"
            until(lambda: not processes_about(runs), SETTLES_IN_S, "a supervisor without a run leaves, with its locks")
            applied = program.run("apply", *stack.arguments("restore-db"), within_s=RESUMED_WITHIN_S)
            assert applied.code == 0, applied.said
        elif not any(one["event"] == "run.finished" and one["status"] == "succeeded" for one in program.events()):
            self._resume(damaged)
        self._right(damaged, live, before)
        return code != 0

    def _damage(self) -> tuple[object, int, dict[str, tuple[str, str]]]:
        """A database that lost rows, as it is now: its rows, its number, and the services."""
        stack = self.stack
        self.tidy()
        stack.sql("DELETE FROM questions WHERE id % 3 = 0")
        stack.sql("CREATE TABLE damage AS SELECT now() AS at")
        return rows_of(stack.server, stack.database), oid_of(stack.server, stack.database), stack.states()

    def _resume(self, damaged: object) -> None:
        stack, program = self.stack, self.stack.program
        self._live_or_restored(damaged)
        words = (program.last, "--confirm", stack.database, "--yes")
        resumed = program.run("resume", *words, within_s=RESUMED_WITHIN_S)
        assert resumed.code == 0, resumed.said

    def _answers(self) -> bool:
        try:
            return bool(self.stack.sql("SELECT 1", "postgres"))
        except psycopg.OperationalError:
            return False

    def _live_or_restored(self, damaged: object) -> None:
        """Whoever may connect finds the database as it was, or as it shall be; for the moment of the swap nobody may.

        A server that starts itself anew (see :meth:`trial`) may answer once more before it cuts everybody off.
        """
        deadline = time.monotonic() + SETTLES_IN_S
        while True:
            try:
                assert rows_of(self.stack.server, self.stack.database) in (damaged, self.whole.rows)
            except psycopg.OperationalError as error:
                if "is not currently accepting connections" in str(error):
                    return
                assert time.monotonic() < deadline, error
                time.sleep(0.2)
            else:
                return

    def tidy(self) -> None:
        """Away with what was kept beside the live database, and with earlier runs."""
        self.stack.tidy()
        runs = self.stack.program.state / "runs"
        if runs.exists():
            until(lambda: not processes_about(runs), SETTLES_IN_S, "supervisors of earlier runs leave")
            shutil.rmtree(runs)

    def _events(self) -> list[dict[str, object]]:
        return self.stack.program.events() if self.stack.program.runs else []

    def _going_on(self) -> str:
        events = [e for e in self._events() if e["event"] in ("step.started", "operation.started")]
        return f"{events[-1]['step']}.{events[-1].get('operation', '')}".rstrip(".") if events else ""

    def _go_on(self, children: dict[int, str], run: Path) -> None:
        """The children don't notice: each lives on, or has ended by itself, and the supervisor says so.

        Of a pipeline one may have ended a moment before the others: its end is recorded with theirs.
        """
        time.sleep(0.1)
        record = run / "supervisor.jsonl"
        until(
            lambda: set(children_of(run)) == set(children) or '"why":"exited"' in record.read_text().splitlines()[-1],
            SETTLES_IN_S,
            "the children live on, or have ended by themselves",
        )
        assert '"why":"killed"' not in record.read_text()

    def _right(self, damaged: object, live: int, before: dict[str, tuple[str, str]]) -> None:
        """The database is the dump's, the former one is kept as it was, the services are back, and nothing else is left."""
        stack, program = self.stack, self.stack.program
        assert picture(stack.server, stack.database) == self.whole
        kept = str(program.outputs("restore")["kept_as"])
        assert databases(stack.server) == OWN | {stack.database, kept}
        assert oid_of(stack.server, kept) == live
        assert rows_of(stack.server, kept) == damaged
        assert stack.running == self.writers
        after = stack.states()
        stopped = set(stack.guide.writers) & self.writers
        assert {service for service in after if after[service] != before[service]} == stopped
        assert not list(stack.store.rglob("*.partial*"))
        until(lambda: not processes_about(program.directory()), SETTLES_IN_S, "nothing of the run lives any more")
        if isinstance(stack.server, InContainer):
            server = stack.server
            until(lambda: not server.pids(), SETTLES_IN_S, f"nothing is left in the container: {server.pids()}")
            assert server.files() == [], f"in the container: {server.files()}"


def processes_about(place: Path) -> dict[int, str]:
    """Living processes whose arguments name that folder or a run in it: supervisors, clients of containers, programs."""
    names = [str(place), place.name] if place.parent.name == "runs" else [str(place)]
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            if state not in "ZX" and any(name in command for name in names):
                found[int(entry.name)] = command
    return found


def under_way(program: Program, operation: str) -> bool:
    """Whether its newest run has begun that operation; one that leaves a server behind counts once its processes are recorded.

    Killed in the instant before, a resume can't tell them from the server, waits as long as the step may take, and says so.
    """
    events = program.events() if program.runs else []
    begun = next((e for e in events if e["event"] == "operation.started" and e["operation"] == operation), None)
    if begun is None or not (begun["form"] or {}).get("daemon"):
        return begun is not None
    recorded = f'"event":"pids","id":{json.dumps(begun["id"])}'
    return recorded in (program.directory() / "supervisor.jsonl").read_text()


def over(program: Program) -> bool:
    """Whether its newest run has come to a good end: the kill came too late then, and there is nothing to resume."""
    return any(event["event"] == "run.finished" and event["status"] == "succeeded" for event in program.events())


def kill(victim: Victim, engine: subprocess.Popen[bytes], run: Path, stack: Stack | None = None) -> None:
    """SIGKILL. Everything: the engine first, so that it starts nothing more, then whatever belongs to the run, until none lives.

    Without a stack everything is on this machine. What was killed is gone when it returns: one that is still dying would be taken
    for a server that was spared.
    """
    engine.kill()
    engine.wait(60)
    if victim is Victim.ENGINE:
        return
    server = stack.server if stack else None
    far = isinstance(server, InContainer)
    killed: dict[int, int | None] = {}
    while True:
        doomed = {pid for found in processes_about(run) for pid in descendants(found)} if not far else set(near(run))
        doomed |= set(children_of(run))
        if victim is Victim.EVERYTHING and isinstance(server, InContainer):
            doomed |= set(server.pids())
        if not doomed:
            break
        for pid in doomed:
            killed[pid] = start_time(pid)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    lives = [(pid, started) for pid, started in killed.items() if started is not None]
    until(
        lambda: not any(start_time(pid) == started for pid, started in lives), SETTLES_IN_S, f"the killed die: {lives}"
    )


def near(run: Path) -> Iterator[int]:
    """Processes of the run on this machine, not those in a container, which carry the run's name as well."""
    own = Path("/proc/self/ns/pid").readlink()
    for pid in processes_about(run):
        with suppress(OSError):
            if Path(f"/proc/{pid}/ns/pid").readlink() == own:
                yield pid
