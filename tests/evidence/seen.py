"""Taking the evidence: a plan is shown, then run below a tracer, while others listen.

The witnesses: `strace` (each program that was executed, and by what), the log of the server (each statement), the Docker Engine's
events. A run that stops for a person is answered and resumed: what was shown is compared with all that ran.
"""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.evidence.kills import processes_about
from tests.evidence.lineage import own
from tests.evidence.program import ENDS_WITHIN_S, Program
from tests.evidence.servers import InContainer
from tests.evidence.shown import Said, Told, planned_steps, sessions, shown_steps
from tests.evidence.stacks import Stack
from tests.evidence.traces import FORKS, NAMING, STRACE, Executed, attributed, executed
from tests.evidence.witness import DockerWitness, until
from tests.fixtures.containers import ComposeProject

WAITS = 6
SOCKET = "supervisor.sock"
LEAVES_WITHIN_S = 180.0
WHOLE = "65536"
"""So many characters of an argument are recorded: a script and what it asks are compared to their last word."""
LOGGED = ("-c", "log_statement=all", "-c", "log_line_prefix=%c|%a|%d|", "-c", "log_min_messages=log")
_TRACED = f"trace=execve,{','.join(FORKS + NAMING)}"


@dataclass(frozen=True)
class Scene:
    """Where a plan is shown and run. ``server``: the service whose container has the server, or several, or ''.

    ``log``: all that the server, or both, have logged. ``answer`` is told of a run that waits for a person, and answers it.
    ``commands``: those of which a server's own settings had told it before (to archive, to restore). ``say`` lets the server log
    a statement that changes nothing: what stands before it in the log has arrived there.
    """

    program: Program
    project: ComposeProject
    environment: Path
    consent: tuple[str, ...]
    server: str
    log: Callable[[], bytes]
    answer: Callable[[], None] = lambda: None
    commands: tuple[str, ...] = ()
    say: Callable[[str], object] | None = None


def scene_of(made: Stack, log: Callable[[], bytes], answer: Callable[[], None] = lambda: None) -> Scene:
    """A stack as such a place."""
    server = made.guide.service if isinstance(made.server, InContainer) else ""
    commands = tuple(str(row[0]) for row in made.sql("SHOW archive_command"))

    def say(statement: str) -> None:
        made.server.found_again()
        made.sql(statement)

    return Scene(made.program, made.project, made.environment, made.consent, server, log, answer, commands, say)


@dataclass(frozen=True)
class Evidence:
    """What a dry-run showed of a plan, what its run wrote down, and what others saw of the run.

    ``programs``: without the first, which is the program itself. ``engine``: service, action, command. ``containers``: their names
    by service. ``beside``: containers that were made only to run something in them, by step and operation.
    ``named``: paths that the program itself has made, renamed or removed, outside its own state.
    """

    shown: Mapping[str, tuple[str, list[Told]]]
    events: Sequence[Mapping[str, Any]]
    programs: Sequence[Executed] = ()
    sessions: Sequence[Said] = ()
    engine: Sequence[tuple[str, str, str]] = ()
    containers: Mapping[str, str] = field(default_factory=dict)
    server: str = ""
    commands: tuple[str, ...] = ()
    beside: Sequence[tuple[str, str]] = ()
    named: Sequence[str] = ()

    @property
    def planned(self) -> Mapping[str, list[Told]]:
        """By step: what its run planned."""
        return planned_steps(self.events)

    @property
    def operations(self) -> list[Told]:
        """All that was planned and performed."""
        return [told for step in self.planned.values() for told in step]


def taken(scene: Scene, plan: Path, folder: Path, *words: str) -> Evidence:
    """Show the plan, run it to its end, and gather what everybody saw."""
    program = scene.program
    dry = program.run("plan", plan, "--env", scene.environment, "--json", *words)
    assert dry.code == 0, dry.said
    traces: list[Path] = []

    def run(*arguments: str | Path) -> int:
        traces.append(folder / f"trace{len(traces)}")
        return _traced(program, traces[-1], *arguments)

    since = len(_logged(scene))
    with DockerWitness(scene.project) as engine, DockerWitness(scene.project, "runbook.run") as beside:
        code = run("apply", plan, "--env", scene.environment, *scene.consent, *words)
        while code == WAITS:
            scene.answer()
            code = run("resume", program.last, *scene.consent)
    assert code == 0, (program.folder / "output").read_text()
    logged = _logged(scene)[since:].decode()
    return Evidence(
        shown_steps(dry.json),
        program.events(),
        [one for trace in traces for one in executed(trace)[1:]],
        sessions(logged),
        engine.events,
        {service: str(container.name) for service, container in scene.project.containers.items()},
        scene.server,
        scene.commands,
        beside.created(program.last),
        sorted({path for trace in traces for path in _named(trace) if not f"{path}/".startswith(f"{program.state}/")}),
    )


def _logged(scene: Scene) -> bytes:
    """The log with all that was said up to now: it reaches those who read it a moment later."""
    if scene.say is not None:
        mark = f"up_to_here_{uuid.uuid4().hex}"
        scene.say(f"SELECT 1 AS {mark}")
        until(lambda: mark.encode() in scene.log(), LEAVES_WITHIN_S, "what was said stands in the log")
    return scene.log()


def _named(trace: Path) -> Iterator[str]:
    """The paths that the program itself has made, renamed or removed. Its supervisor's socket is named from within its folder."""
    for program, call in attributed(trace):
        if call.name in NAMING and program is not None and own(program.argv):
            # the interpreter keeps what it compiled beside the program's files, where it may
            yield from (path for path in call.paths if path != SOCKET and "/__pycache__" not in path)


def _traced(program: Program, trace: Path, *arguments: str | Path) -> int:
    """Run a command below a tracer that is not its parent: a server that it starts lives on, and is traced no more."""
    program.under = (*STRACE, "-s", WHOLE, "-DDD", "-I", "waiting", "-e", _TRACED, "-o", str(trace))
    try:
        code = program.start(*arguments).wait(ENDS_WITHIN_S)
        until(
            lambda: not set(processes_about(program.directory())) - set(_tracers(trace)),
            LEAVES_WITHIN_S,
            "the run leaves",
        )
    finally:
        program.under = ()
        for pid in _tracers(trace):
            os.kill(pid, signal.SIGTERM)
        until(lambda: not processes_about(trace), LEAVES_WITHIN_S, "the tracer leaves")
    return code


def _tracers(trace: Path) -> list[int]:
    return [pid for pid, words in processes_about(trace).items() if words.startswith("strace ")]
