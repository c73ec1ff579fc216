"""What was shown is what runs: dry-run, journal, executed programs, the server's log and the engine's events agree."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise, takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.evidence.program import ROOT, Ran
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
from tests.evidence.stacks import CIVICQ, InContainer, Stack, stack
from tests.evidence.traces import STRACE, programs
from tests.evidence.witness import DockerWitness

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = [pytest.mark.docker, pytest.mark.slow]

LOGGED = ("-c", "log_statement=all", "-c", "log_line_prefix=%p|%a|%d|", "-c", "log_min_messages=log")
AROUND = ("SET statement_timeout", "SET idle_in_transaction_session_timeout", "SELECT pg_current_xact_id", "SELECT 1")
"""What is sent beside an operation's own statements: limits, the transaction's id before COMMIT, a look at the connection."""
OBSERVERS = ("--version", "-V", "--list")
FAR_OBSERVERS = ("id", "stat", "test", "readlink", "df", "od", "cat", "find")
FAR_CHANGERS = ("sync", "mkdir", "rm", "mv", "chmod", "chown")

SMALL = """\
runbook: 1
name: small
systems: {db: postgres, app: compose}
steps:
  - {id: ask, uses: postgres.query, on: db, with: {query: "SELECT count(*) AS users FROM users"}, timeout: 1m}
  - id: run
    uses: shell.run
    with: {argv: [sh, -c, "echo $1 > FOLDER/said", "--", "{{ systems.db.database }}"], interrupted: repeat}
    timeout: 1m
  - id: write
    uses: shell.run
    with: {argv: [sh, -c, "echo $1 > FOLDER/counted", "--", "{{ steps.ask.row.users }} users"], interrupted: repeat}
    timeout: 1m
  - id: sort
    uses: shell.run
    when: "steps.ask.row.users >= 0"
    with: {argv: [sh, -c, "echo $1 >> FOLDER/counted", "--", "{{ steps.ask.row.users + 1 }}"]}
    timeout: 1m
  - {id: stop, uses: compose.stop, on: app, with: {services: [backend]}, timeout: 1m}
  - {id: rotate, uses: postgres.rotate_password, on: db, with: {role: reader, escrow: reader}, timeout: 1m}
  - {id: start, uses: compose.start, on: app, releases: stop, timeout: 3m}
"""


class Evidence:
    """A plan that was shown and then run, with everything that others saw of the run."""

    def __init__(self, made: Stack, plan: Path, folder: Path, *more: str) -> None:
        program = made.program
        self.made = made
        dry = program.run("plan", plan, "--env", made.environment, "--json", *more)
        assert dry.code == 0, dry.said
        self.shown = shown_steps(dry.json)
        trace, since = folder / "trace", len(log_of(made))
        program.under = (*STRACE, "-e", "trace=execve", "-o", str(trace))
        try:
            with DockerWitness(made.project) as engine:
                self.ran: Ran = made.apply(plan, *more)
        finally:
            program.under = ()
        assert self.ran.code == 0, self.ran.said
        self.events = program.events()
        self.planned = planned_steps(self.events)
        self.programs = [argv_of(argv) for argv in programs(trace)[1:]]
        self.sessions = [
            one for one in sessions(log_of(made)[since:].decode()) if one.application.startswith("runbook/")
        ]
        self.engine = engine.events

    @property
    def operations(self) -> list[Told]:
        """All that was planned and performed."""
        return [told for step in self.planned.values() for told in step]


def log_of(made: Stack) -> bytes:
    """The server's log up to now."""
    return made.server.container.logs() if isinstance(made.server, InContainer) else made.server.log.read_bytes()


@pytest.fixture(scope="module", params=["here", "there"])
def logged(request: pytest.FixtureRequest, docker_client: DockerClient) -> Iterator[Stack]:
    """Stacks whose server tells every statement."""
    local = request.param == "here"
    with stack(docker_client, CIVICQ, local=local, stopped=("celery-beat",), settings=LOGGED, archive=True) as made:
        made.sql("CREATE ROLE reader LOGIN PASSWORD 'old'")
        made.back_up()
        yield made


@pytest.fixture(params=["backup-db", "verify-backup", "restore-db", "base-backup", "check-archive", "small"])
def evidence(request: pytest.FixtureRequest, logged: Stack, tmp_path: Path) -> Iterator[Evidence]:
    """Each plan in turn."""
    if request.param == "small":
        path = tmp_path / "small.yaml"
        path.write_text(SMALL.replace("FOLDER", str(tmp_path)))
    else:
        path = ROOT / "plans" / f"{request.param}.yaml"
    yield Evidence(logged, path, tmp_path)
    logged.tidy()


def test_all_witnesses_agree(evidence: Evidence) -> None:
    the_run_is_what_was_shown(evidence)
    what_was_planned_was_performed(evidence)
    the_programs_are_those(evidence)
    the_statements_are_those(evidence)
    the_engine_did_that(evidence)


def the_run_is_what_was_shown(evidence: Evidence) -> None:
    assert set(evidence.shown) == set(evidence.planned)
    for step, (known, shown) in evidence.shown.items():
        ran = evidence.planned[step]
        if known == "exact":
            assert ran == shown, step
        else:
            assert shown, f"{step} was not shown"
            assert covered(shown, ran), f"{step}: more than was shown, or something else"


def what_was_planned_was_performed(evidence: Evidence) -> None:
    planned = digests_planned(evidence.events)
    begun = {(e["step"], e["operation"]) for e in evidence.events if e["event"] == "operation.started"}
    assert begun == set(planned)
    for operation, digest in digests_performed(evidence.events):
        assert planned[operation] == digest, operation


def the_programs_are_those(evidence: Evidence) -> None:
    """Every program that ran is a part of a line, or only observes; every line that runs programs here did."""
    lines = {told.text: told for told in evidence.operations if told.kind in ("process", "pipeline", "session")}
    ran: Counter[str] = Counter()
    for argv in evidence.programs:
        if own(argv):
            continue
        mine = [text for text, told in lines.items() if holds(told.words, argv)]
        known = mine or observes(argv) or child_of_another(argv) or of_a_script(argv, lines.values())
        assert known, f"nobody was told of {argv}"
        ran.update(mine)
    for text, told in lines.items():
        if "docker exec" not in text and not text.startswith("sha256sum "):  # those the supervisor hashes itself
            pipes = 0 if told.kind == "process" else text.count(" | ")  # a script's own are inside it
            assert ran[text] >= pipes + 1, f"this did not run: {text}"


def own(argv: list[str]) -> bool:
    """The program itself: its engine, its supervisor, its client of containers."""
    return "/runbook/transports/" in " ".join(argv[:6]) or argv[0].endswith("/runbook")


def observes(argv: list[str]) -> bool:
    """A look of an observer: the version of a program, the contents of an archive, where a link leads."""
    return len(argv) > 1 and (argv[1] in OBSERVERS or argv[:2] == ["readlink", "-f"])


def of_a_script(argv: list[str], told: Iterable[Told]) -> bool:
    """What a script that was shown names as a command."""
    scripts = [after for one in told for before, after in pairwise(one.words) if before == "-c"]
    name = re.compile(rf"(?<![\w/.-]){re.escape(Path(argv[0]).name)}(?![\w/.-])")
    return any(name.search(script) for script in scripts)


def child_of_another(argv: list[str]) -> bool:
    """What pg_dumpall and xargs run in their turn."""
    return argv[:2] == ["sha256sum", "--"] or (argv[:2] == ["sh", "-c"] and argv[2].endswith("-V"))


def the_statements_are_those(evidence: Evidence) -> None:
    """Every session that may change something is an operation's, statement by statement, and each such operation had its own."""
    wanted = Counter(tuple(told.statements) for told in evidence.operations if told.kind == "sql" and not told.reads)
    held = " ".join(flat(told.text) for told in evidence.operations if told.kind == "session")
    rotated = sum(told.kind == "set_password" for told in evidence.operations)
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
        elif statements and statements[0].startswith("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"):
            for one in statements:
                assert one in held.replace("\\n", " "), f"nobody was told of {one}"
        elif statements:
            found[statements] += 1
    assert found == wanted
    assert rotated == 0
    clients = [
        told for told in evidence.operations if "pg_" in told.text and told.kind in ("process", "pipeline", "session")
    ]
    assert bool(tools) <= bool(clients)


def the_engine_did_that(evidence: Evidence) -> None:
    """Containers were stopped and started as the lines say; what ran in the server's container is a line's, or observes."""
    lines = [told for told in evidence.operations if told.kind == "call" and told.text.startswith("docker ")]
    told = Counter((line.words[1], line.words[-1]) for line in lines if not line.reads)
    names = {service: str(container.name) for service, container in evidence.made.project.containers.items()}
    done = Counter(
        (action, names[service]) for service, action, _ in evidence.engine if action in ("stop", "start", "restart")
    )
    assert done == told
    places = [word for line in evidence.operations if line.kind in ("make_directory", "remove") for word in line.words]
    far = {
        " ".join(argv_of(takewhile(inside, words[words.index(names[CIVICQ.service]) + 1 :])))
        for told in evidence.operations
        for words in map(words_of, told.lines)
        if told.kind in ("process", "pipeline", "session") and "exec" in words and "psql" not in words
    }
    ran: set[str] = set()
    for service, action, words in evidence.engine:
        if action != "exec_create":
            continue
        assert service == CIVICQ.service
        # the worker's own script comes first, and tells of itself
        _, worker, given = words.rpartition(" runbook-worker ")
        if worker and given.startswith("run "):
            ran.add(" ".join(argv_of(given.partition(" -- ")[2].split(" "))))
        elif not worker:
            program, *arguments = placeless(words).split(" ")
            assert program in FAR_OBSERVERS + FAR_CHANGERS or observes([program, *arguments]), words
            changes = program in FAR_CHANGERS or "-delete" in arguments
            assert not changes or any(place in arguments for place in [*places, "/tmp"]), words
    assert far == ran


def inside(word: str) -> bool:
    """Whether a word of a line is still an argument: not a pipe, a redirection, a comment."""
    return word not in ("|", ">", "<", "#", "&&")
