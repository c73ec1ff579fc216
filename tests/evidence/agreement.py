"""The questions whether what a dry-run showed of a plan, what its run wrote down, and what others saw, is all the same. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import takewhile

from runbook.transports.supervisor.worker import users_argv
from tests.evidence.lineage import Explained, observes, own, told_commands, unexplained
from tests.evidence.seen import Evidence
from tests.evidence.shown import (
    Told,
    alike,
    argv_of,
    digests_performed,
    digests_planned,
    flat,
    matches,
    placeless,
    words_of,
)

AROUND = ("SET statement_timeout", "SET idle_in_transaction_session_timeout", "SELECT pg_current_xact_id", "SELECT 1")
"""What is sent beside an operation's own statements: limits, the transaction's id before COMMIT, a look at the connection."""
GOES_ON = "SELECT set_config('rb.after',"
"""With this the script of a diagnosis, which is shown whole, tells its statement from where to go on."""
HOLDS = (
    *("SET idle_session_timeout", "SET tcp_keepalives_"),
    *("SELECT pg_try_advisory_lock", "SELECT pg_advisory_unlock_all()", "SELECT pg_backend_pid()"),
    *("SELECT a.pid, a.application_name,", "SELECT pid, application_name,"),
)
"""What the session says that holds a cluster for the run: whom it excludes, and nothing that stays."""
INSIDE = ("exec_create", "exec_start", "exec_die", "exec_detach")
FOLLOWS = ("kill", "die")
"""What follows from a stop or a restart."""
_COPIED = re.compile(r"\bdocker cp ([^\s:]+):")
_OWNER = re.compile(r"--user \"\$\(docker run --rm --volumes-from (\S+) --entrypoint stat ")
"""As whom a one-off container runs: the engine is asked whose a file of the stopped one is."""
_WRITTEN = re.compile(r" on docker:(\S+) \(mode")
FAR_OBSERVERS = ("id", "stat", "test", "readlink", "df", "od", "cat", "head", "du", "find", "sync", "sha256sum")
FAR_CHANGERS = ("mkdir", "rm", "mv", "chmod", "chown")


def all_witnesses_agree(evidence: Evidence) -> None:
    """An AssertionError names the first that nobody was told of."""
    the_run_is_what_was_shown(evidence)
    what_was_planned_was_performed(evidence)
    the_programs_are_those(evidence)
    the_statements_are_those(evidence)
    the_engine_did_that(evidence)
    the_files_are_those(evidence)


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
            assert matches(shown, ran), f"{step}: {apart(shown, ran)}"


def apart(shown: Sequence[Told], ran: Sequence[Told]) -> str:
    """Where the two part, for the one who reads the failure."""
    here = next(
        (one for one in ran if not any(alike(told, one) for told in shown)), "the same ones, in another order or number"
    )
    there = next((told for told in shown if not any(alike(told, one) for one in ran)), "")
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
    """Every program that ran is a part of a line, or of what a line runs, or only observes; every line that runs programs did."""
    lines = {told.text: told for told in evidence.operations if told.kind in ("process", "pipeline", "session", "wait")}
    explained = Explained(lines, (*evidence.commands, *told_commands(evidence.operations)))
    nobodys = unexplained(evidence.programs, explained)
    assert not nobodys, f"nobody was told of {nobodys[0]}"
    ran = Counter(text for one in evidence.programs if not own(one.argv) for text in explained.lines_of(one))
    for text, told in lines.items():
        # the supervisor hashes those itself; a session is the program's own, and the server's log has it
        hidden = "docker exec" in text or text.startswith("sha256sum ") or of_psql(told)
        if not hidden and told.kind != "wait":  # a wait may be a look of the program's own
            pipes = 0 if told.kind == "process" else text.count(" | ")  # a script's own are inside it
            assert ran[text] >= pipes + 1, f"this did not run: {text}"


def of_psql(told: Told) -> bool:
    """A session that is held with psql's words only."""
    return told.kind == "session" and all(" psql " in line or line.lstrip().startswith("#") for line in told.lines)


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
        if session.application.endswith("/"):
            assert all(one.startswith(HOLDS) for one in statements), f"this is no lock: {session.statements}"
            continue
        if not session.application.startswith("runbook/"):  # an observer, before there is a step
            assert session.reads_only or not statements, f"nobody was told of {session.statements}"
            continue
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
    kinds = ("process", "pipeline", "session", "call")
    clients = [told for told in evidence.operations if "pg_" in told.text and told.kind in kinds]
    assert bool(tools) <= bool(clients)


def the_files_are_those(evidence: Evidence) -> None:
    """What the program itself has made, renamed or removed outside its own state has its name in a line that changes something."""
    places = {word for told in evidence.operations if not told.reads for word in told.words if "/" in word}
    for path in map(placeless, evidence.named):
        assert any(path == place or path.startswith((f"{place}.", f"{place}/")) for place in places), (
            f"nobody was told of {path}"
        )


def the_engine_did_that(evidence: Evidence) -> None:
    """Containers were stopped and started, read and written as the lines say; what ran inside is a line's, or observes."""
    containers_are_as_told(evidence)
    what_ran_inside_was_told(evidence)


def containers_are_as_told(evidence: Evidence) -> None:
    """Nothing happened to a container but what the lines say, and what follows from that."""
    names = evidence.containers
    wanted: Counter[tuple[str, str]] = Counter()
    for line in evidence.operations:
        if line.kind == "call" and line.text.startswith("docker ") and not line.reads and line.words[1] != "run":
            wanted[next(word for word in line.words if word in names.values()), line.words[1]] += 1
        for name in (*_COPIED.findall(line.text), *_OWNER.findall(line.text)):
            wanted[name, "archive-path"] += 1
        if line.kind == "write" and (into := _WRITTEN.search(line.text)):
            wanted[into[1], "extract-to-dir"] += 1
    done = Counter((names[service], action) for service, action, _ in evidence.engine if action not in INSIDE + FOLLOWS)
    assert done == wanted, f"done {done}, told {wanted}"
    alone = {
        (event["step"], one["name"])
        for event in evidence.events
        if event["event"] == "step.planned"
        for one in event["operations"]
        if " docker run --rm --network " in f" {one['text']}"  # where a secret is read from may stand before it
    }
    assert set(evidence.beside) == alone, f"containers were made for {set(evidence.beside)}, told {alone}"
    ended = {name for name, action in done if action in ("stop", "restart")}
    died = {names[service] for service, action, _ in evidence.engine if action in FOLLOWS}
    assert died == ended, f"died {died}, stopped {ended}"


def what_ran_inside_was_told(evidence: Evidence) -> None:
    """Each program in the server's container is a line's, or observes; each line's program ran."""
    servers = {evidence.containers[service] for service in evidence.server.split()}
    places = [word for line in evidence.operations if line.kind in ("make_directory", "remove") for word in line.words]
    far: dict[str, Told] = {}
    for told in evidence.operations:
        for words in map(words_of, told.lines if told.kind in ("process", "pipeline", "session", "wait") else ()):
            at = 1 + next(map(words.index, servers & set(words))) if "exec" in words else 0
            # psql of a session or a wait stands for the program's own connection, and the server's log has it
            if at and (words[at] != "psql" or told.kind in ("process", "pipeline")):
                far[" ".join(argv_of(takewhile(inside, words[at:])))] = told
    ran: set[str] = set()
    for service, action, command in evidence.engine:
        if action != "exec_create":
            continue
        assert service in evidence.server.split(), f"nobody was told of {command} in {service}"
        # the worker's own script comes first, and tells of itself
        _, worker, given = command.rpartition(" runbook-worker ")
        if worker and given.startswith("run "):
            ran.add(" ".join(argv_of(given.partition(" -- ")[2].split(" "))))
        elif not worker and command != " ".join(users_argv()):  # a resume asks who keeps records there
            program, *arguments = placeless(command).split(" ")
            assert program in FAR_OBSERVERS + FAR_CHANGERS or observes([program, *arguments]), command
            changes = program in FAR_CHANGERS or "-delete" in arguments
            assert not changes or any(place in arguments for place in [*places, "/tmp"]), command
    for line in ran:
        assert line in far or any(alike(_line(known), _line(line)) for known in far), f"nobody was told of {line}"
    for line, told in far.items():
        assert line in ran or told.kind == "wait", f"this did not run: {line}"


def inside(word: str) -> bool:
    """Whether a word of a line is still an argument: not a pipe, a redirection, a comment."""
    return word not in ("|", ">", "<", "#", "&&")


def _line(text: str) -> Told:
    return Told("", text, reads=True)
