"""What a dry-run showed of a plan, what its run wrote down and others saw, and the questions whether all of that is the same.

The witnesses: `strace` (each program that was executed), the log of the server (each statement), the Docker Engine's events. A run
that stops for a person is answered and resumed: what was shown is compared with all that ran.
"""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from pathlib import Path

from tests.evidence.kills import processes_about
from tests.evidence.program import ENDS_WITHIN_S, Program
from tests.evidence.shown import (
    Told,
    argv_of,
    covered,
    digests_performed,
    digests_planned,
    flat,
    holds,
    placeless,
    planned_steps,
    sessions,
    shown_steps,
    words_of,
)
from tests.evidence.stacks import InContainer, Stack
from tests.evidence.traces import STRACE, programs
from tests.evidence.witness import DockerWitness, until
from tests.fixtures.containers import ComposeProject

WAITS = 6
LEAVES_WITHIN_S = 30.0
LOGGED = ("-c", "log_statement=all", "-c", "log_line_prefix=%c|%a|%d|", "-c", "log_min_messages=log")
AROUND = ("SET statement_timeout", "SET idle_in_transaction_session_timeout", "SELECT pg_current_xact_id", "SELECT 1")
"""What is sent beside an operation's own statements: limits, the transaction's id before COMMIT, a look at the connection."""
OBSERVERS = ("--version", "-V", "--list")
GOES_ON = "SELECT set_config('rb.after',"
"""With this the script of a diagnosis, which is shown whole, tells its statement from where to go on."""
PACKS = ["--pgdata=/dev/null/none", "--format=plain", "--compress=client-zstd"]
"""With these pg_basebackup refuses its arguments before it opens anything: its words tell whether it can pack."""
FAR_OBSERVERS = ("id", "stat", "test", "readlink", "df", "od", "cat", "head", "du", "find", "sync")
FAR_CHANGERS = ("mkdir", "rm", "mv", "chmod", "chown")


@dataclass(frozen=True)
class Scene:
    """Where a plan is shown and run. ``server``: the service whose container has the server, or ''.

    ``log``: all that the server, or both, have logged. ``answer`` is told of a run that waits for a person, and answers it.
    """

    program: Program
    project: ComposeProject
    environment: Path
    consent: tuple[str, ...]
    server: str
    log: Callable[[], bytes]
    answer: Callable[[], None] = lambda: None


def scene_of(made: Stack, log: Callable[[], bytes], answer: Callable[[], None] = lambda: None) -> Scene:
    """A stack as such a place."""
    server = made.guide.service if isinstance(made.server, InContainer) else ""
    return Scene(made.program, made.project, made.environment, made.consent, server, log, answer)


class Evidence:
    """A plan that was shown and then run, with everything that others saw of the run."""

    def __init__(self, scene: Scene, plan: Path, folder: Path, *words: str) -> None:
        self.scene = scene
        program = scene.program
        dry = program.run("plan", plan, "--env", scene.environment, "--json", *words)
        assert dry.code == 0, dry.said
        self.shown = shown_steps(dry.json)
        self._traces: list[Path] = []
        since = len(scene.log())
        with DockerWitness(scene.project) as engine:
            code = self._traced(folder, "apply", plan, "--env", scene.environment, *scene.consent, *words)
            while code == WAITS:
                scene.answer()
                code = self._traced(folder, "resume", program.last, *scene.consent)
        assert code == 0, (program.folder / "output").read_text()
        self.events = program.events()
        self.planned = planned_steps(self.events)
        self.programs = [argv_of(argv) for trace in self._traces for argv in programs(trace)[1:]]
        logged = scene.log()[since:].decode()
        self.sessions = [one for one in sessions(logged) if one.application.startswith("runbook/")]
        self.engine = engine.events

    def _traced(self, folder: Path, *arguments: str | Path) -> int:
        """Run a command below a tracer that is not its parent: a server that it starts lives on, and is traced no more."""
        program = self.scene.program
        trace = folder / f"trace{len(self._traces)}"
        self._traces.append(trace)
        program.under = (*STRACE, "-DDD", "-I", "waiting", "-e", "trace=execve", "-o", str(trace))
        try:
            code = program.start(*arguments).wait(ENDS_WITHIN_S)
            until(lambda: not processes_about(program.directory()), LEAVES_WITHIN_S, "the run's processes leave")
        finally:
            program.under = ()
            tracers = [pid for pid, words in processes_about(trace).items() if words.startswith("strace ")]
            for pid in tracers:
                os.kill(pid, signal.SIGTERM)
            until(lambda: not processes_about(trace), LEAVES_WITHIN_S, "the tracer leaves")
        return code

    @property
    def operations(self) -> list[Told]:
        """All that was planned and performed."""
        return [told for step in self.planned.values() for told in step]


def all_witnesses_agree(evidence: Evidence) -> None:
    """An AssertionError names the first that nobody was told of."""
    the_run_is_what_was_shown(evidence)
    what_was_planned_was_performed(evidence)
    the_programs_are_those(evidence)
    the_statements_are_those(evidence)
    the_engine_did_that(evidence)


def the_run_is_what_was_shown(evidence: Evidence) -> None:
    skipped = {
        event["step"] for event in evidence.events if event["event"] == "step.skipped"
    }  # as a person's answer has it
    assert set(evidence.shown) - skipped == set(evidence.planned), (
        f"shown {[*evidence.shown]}, ran {[*evidence.planned]}"
    )
    for step, (known, shown) in evidence.shown.items():
        if step in skipped:
            continue
        ran = evidence.planned[step]
        if known == "exact":
            assert ran == shown, f"{step}: {apart(shown, ran)}"
        else:
            # what an earlier step brings into being is not known before: of that, a further look may go unshown, never a change
            changes = [told for told in ran if not told.reads]
            assert covered(shown, changes), f"{step}: more than was shown, or something else: {apart(shown, changes)}"


def apart(shown: Sequence[Told], ran: Sequence[Told]) -> str:
    """Where the two part, for the one who reads the failure."""
    here = next((one for one in ran if one not in shown), None)
    there = next((one for one in shown if one not in ran), None)
    return f"ran {here}, shown {there}"


def what_was_planned_was_performed(evidence: Evidence) -> None:
    planned = digests_planned(evidence.events)
    begun = {(e["step"], e["operation"]) for e in evidence.events if e["event"] == "operation.started"}
    by_a_person = {
        (event["step"], one["name"])
        for event in evidence.events
        if event["event"] == "step.planned"
        for one in event["operations"]
        if one["kind"] == "ask"
    }
    assert begun == set(planned) - by_a_person, begun ^ set(planned)
    for operation, digest in digests_performed(evidence.events):
        assert planned[operation] == digest, operation


def the_programs_are_those(evidence: Evidence) -> None:
    """Every program that ran is a part of a line, or only observes; every line that runs programs here did."""
    lines = {told.text: told for told in evidence.operations if told.kind in ("process", "pipeline", "session", "wait")}
    ran: Counter[str] = Counter()
    for argv in evidence.programs:
        if own(argv):
            continue
        whole = (
            argv[:-1] if argv[-1].startswith("--log=") else argv
        )  # the script that starts a server adds it, and says so
        mine = [text for text, told in lines.items() if holds(told.words, argv) or holds(told.words, whole)]
        known = mine or observes(argv) or child_of_another(argv) or of_a_script(argv, lines.values())
        assert known, f"nobody was told of {argv}"
        ran.update(mine)
    for text, told in lines.items():
        # the supervisor hashes those itself; a session is the program's own, and the server's log has it
        hidden = "docker exec" in text or text.startswith("sha256sum ") or of_psql(told)
        if not hidden and told.kind != "wait":  # a wait may be a look of the program's own
            pipes = 0 if told.kind == "process" else text.count(" | ")  # a script's own are inside it
            assert ran[text] >= pipes + 1, f"this did not run: {text}"


def of_psql(told: Told) -> bool:
    """A session that is held with psql's words only."""
    return told.kind == "session" and all(" psql " in line or line.lstrip().startswith("#") for line in told.lines)


def own(argv: list[str]) -> bool:
    """The program itself: its engine, its supervisor, its client of containers."""
    return "/runbook/transports/" in " ".join(argv[:6]) or argv[0].endswith("/runbook")


def observes(argv: list[str]) -> bool:
    """A look of an observer: a program's version, the contents of an archive or of WAL, where a link leads, a cluster's state."""
    if argv[:2] == ["readlink", "-f"] or argv[1:] == PACKS:
        return True
    reads = argv[0].endswith(("/pg_controldata", "/pg_waldump")) and not any("save" in one for one in argv)
    return reads or (len(argv) > 1 and argv[1] in OBSERVERS)


def of_a_script(argv: list[str], told: Iterable[Told]) -> bool:
    """What a script that was shown names as a command."""
    scripts = [after for one in told for before, after in pairwise(one.words) if before == "-c"]
    name = re.compile(rf"(?<![\w/.-]){re.escape(Path(argv[0]).name)}(?![\w/.-])")
    return any(name.search(script) for script in scripts)


def child_of_another(argv: list[str]) -> bool:
    """What pg_dumpall and xargs run in their turn."""
    if argv[0].endswith("/pg_ctl") and argv[1:2] == ["status"]:  # a wait's script asks so; it only looks
        return True
    return argv[:2] == ["sha256sum", "--"] or (argv[:2] == ["sh", "-c"] and argv[2].endswith("-V"))


def the_statements_are_those(evidence: Evidence) -> None:
    """Every session that may change something is an operation's, statement by statement, and each such operation had its own."""
    wanted = Counter(
        tuple(one for one in told.statements if not one.startswith(AROUND))
        for told in evidence.operations
        if told.kind == "sql" and not told.reads
    )
    held = " ".join(flat(told.text) for told in evidence.operations if told.kind == "session")
    rotated = sum(told.kind == "set_password" for told in evidence.operations)
    given = {
        flat(word)
        for told in evidence.operations
        if told.kind in ("process", "pipeline") and "psql" in told.text
        for word in told.words
    }
    found: Counter[tuple[str, ...]] = Counter()
    tools = 0
    for session in evidence.sessions:
        statements = tuple(placeless(one) for one in session.statements if not one.startswith(AROUND))
        if session.of_a_tool:
            tools += 1
        elif session.reads_only:
            continue
        elif any(" PASSWORD 'SCRAM-SHA-256$" in one for one in statements):
            rotated -= 1
        elif statements and statements[0].startswith("BEGIN ISOLATION LEVEL REPEATABLE READ"):
            for one in statements:
                assert one in held.replace("\\n", " "), f"nobody was told of {one}"
        elif statements in wanted:
            found[statements] += 1
        elif statements and all(one in given or one.startswith(GOES_ON) for one in statements):
            continue  # psql's own, as its line gives them
        elif statements and all(one in held.replace("\\n", " ") for one in statements):
            continue  # a session that is held over several lines
        elif statements:
            found[statements] += 1
    assert found == wanted, f"not told: {found - wanted}; told, and not seen: {wanted - found}"
    assert rotated == 0
    clients = [
        told for told in evidence.operations if "pg_" in told.text and told.kind in ("process", "pipeline", "session")
    ]
    assert bool(tools) <= bool(clients)


def the_engine_did_that(evidence: Evidence) -> None:
    """Containers were stopped and started as the lines say; what ran in the server's container is a line's, or observes."""
    lines = [told for told in evidence.operations if told.kind == "call" and told.text.startswith("docker ")]
    names = {service: str(container.name) for service, container in evidence.scene.project.containers.items()}
    wanted = Counter(
        (line.words[1], next(word for word in line.words if word in names.values()))
        for line in lines
        if not line.reads and line.words[1] != "run"
    )
    done = Counter(
        (action, names[service]) for service, action, _ in evidence.engine if action in ("stop", "start", "restart")
    )
    assert done == wanted, f"done {done}, told {wanted}"
    places = [word for line in evidence.operations if line.kind in ("make_directory", "remove") for word in line.words]
    far: dict[str, Told] = {}
    for told in evidence.operations:
        for words in map(words_of, told.lines if told.kind in ("process", "pipeline", "session", "wait") else ()):
            at = words.index(names[evidence.scene.server]) + 1 if "exec" in words else 0
            # psql of a session or a wait stands for the program's own connection, and the server's log has it
            if at and (words[at] != "psql" or told.kind in ("process", "pipeline")):
                far[" ".join(argv_of(takewhile(inside, words[at:])))] = told
    ran: set[str] = set()
    for service, action, command in evidence.engine:
        if action != "exec_create":
            continue
        assert service == evidence.scene.server
        # the worker's own script comes first, and tells of itself
        _, worker, given = command.rpartition(" runbook-worker ")
        if worker and given.startswith("run "):
            ran.add(" ".join(argv_of(given.partition(" -- ")[2].split(" "))))
        elif not worker:
            program, *arguments = placeless(command).split(" ")
            assert program in FAR_OBSERVERS + FAR_CHANGERS or observes([program, *arguments]), command
            changes = program in FAR_CHANGERS or "-delete" in arguments
            assert not changes or any(place in arguments for place in [*places, "/tmp"]), command
    for line in ran:
        assert line in far or any(alike(known, line) for known in far), f"nobody was told of {line}"
    for line, told in far.items():
        assert line in ran or told.kind == "wait", f"this did not run: {line}"


def alike(told: str, ran: str) -> bool:
    """Whether it is what was told, with something in the place of a placeholder."""
    return covered([Told("", told, reads=True)], [Told("", ran, reads=True)])


def inside(word: str) -> bool:
    """Whether a word of a line is still an argument: not a pipe, a redirection, a comment."""
    return word not in ("|", ">", "<", "#", "&&")
