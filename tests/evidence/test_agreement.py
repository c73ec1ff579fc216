"""What the comparison of shown, run and witnessed accepts, and what it does not: one disturbance after the other of a small run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.evidence.agreement import all_witnesses_agree
from tests.evidence.seen import Evidence
from tests.evidence.shown import Said, Told
from tests.evidence.traces import Executed

COUNT = Told("process", "sh -c 'wc -l < \"$1\"' sh /srv/list", reads=True)
COPY = Told("process", "cp /srv/list /srv/kept", reads=False)
TABLE = Told("sql", "psql dbname=shop -v ON_ERROR_STOP=1 -c 'CREATE TABLE kept (n int)'", reads=False)
STOP = Told("call", "docker stop shop_backend_1", reads=False)
FAR = Told("process", "docker exec shop_db_1 pg_dump --schema-only shop", reads=True)
RUN = [COUNT, COPY, TABLE, STOP, FAR]
ENGINE = Executed(("/opt/runbook/bin/runbook", "apply"))
SUPERVISOR = Executed(("python3", "-I", "/opt/runbook/transports/supervisor/boot.py"), ENGINE)
SHELL = Executed(("sh", "-c", 'wc -l < "$1"', "sh", "/srv/list"), SUPERVISOR)
PROGRAMS = (SUPERVISOR, SHELL, Executed(("wc", "-l"), SHELL), Executed(("cp", "/srv/list", "/srv/kept"), SUPERVISOR))
SESSION = Said("runbook/r/make", ("SET statement_timeout = 0", "CREATE TABLE kept (n int)"))
WORKER = "sh -c … runbook-worker run 1 2 -- "
ENGINE_DID = (
    *(("backend", "kill", ""), ("backend", "die", ""), ("backend", "stop", "")),
    *(("db", "exec_create", f"{WORKER}pg_dump --schema-only shop"), ("db", "exec_start", ""), ("db", "exec_die", "")),
)


def form(told: Told) -> dict[str, str]:
    return {"is": told.kind, "text": told.text}


def digest(told: Told) -> str:
    text = json.dumps(form(told), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def events(operations: Sequence[Told]) -> list[dict[str, Any]]:
    """The journal of a run of one step that planned and performed these."""
    planned = [
        {"name": f"o{n}", "digest": digest(one), "kind": one.kind, "text": one.text, "reads": one.reads}
        for n, one in enumerate(operations)
    ]
    begun = [
        {"event": "operation.started", "step": "make", "operation": f"o{n}", "form": None if one.reads else form(one)}
        for n, one in enumerate(operations)
    ]
    return [{"event": "step.planned", "step": "make", "operations": planned}, *begun]


def evidence(known: str = "exact", *, shown: Sequence[Told] = RUN, ran: Sequence[Told] = RUN) -> Evidence:
    return Evidence(
        shown={"make": (known, list(shown))},
        events=events(ran),
        programs=PROGRAMS,
        sessions=(SESSION,),
        engine=ENGINE_DID,
        containers={"backend": "shop_backend_1", "db": "shop_db_1"},
        server="db",
        commands=("test ! -e /wal/%f && cp %p /wal/%f",),
    )


LATER = "after:before"
WRITE = Told("write", "# write /etc/crontab (mode 0644): * * * * * root true", reads=False)
LOOK = Told("sql", "psql dbname=shop -c 'SELECT 1'", reads=True)


@pytest.mark.parametrize("known", ["exact", LATER])
def test_a_run_that_is_what_was_shown(known: str) -> None:
    all_witnesses_agree(evidence(known))


def test_what_a_placeholder_stood_for() -> None:
    shown = [COUNT, Told("process", "cp <steps.before.path> /srv/kept", reads=False), *RUN[2:]]
    all_witnesses_agree(evidence(LATER, shown=shown))
    with pytest.raises(AssertionError, match="make"):
        all_witnesses_agree(evidence("exact", shown=shown))


def test_a_look_that_became_needless_may_have_been_shown_where_that_was_not_known_yet() -> None:
    all_witnesses_agree(evidence(LATER, shown=[LOOK, *RUN]))
    with pytest.raises(AssertionError, match="make"):
        all_witnesses_agree(evidence("exact", shown=[LOOK, *RUN]))


@pytest.mark.parametrize("known", ["exact", LATER])
@pytest.mark.parametrize(
    ("shown", "ran"),
    [
        pytest.param(RUN, [*RUN, WRITE], id="a change that was not shown"),
        pytest.param(RUN, [*RUN, LOOK], id="a look that was not shown"),
        pytest.param(RUN, [COUNT, COPY, COPY, TABLE, STOP, FAR], id="a change that ran twice"),
        pytest.param([*RUN, WRITE], RUN, id="a change that was shown and never ran"),
        pytest.param([COUNT, TABLE, COPY, STOP, FAR], RUN, id="another order"),
        pytest.param([COUNT, replace(COPY, reads=True), *RUN[2:]], RUN, id="a change that was said to be a look"),
        pytest.param([COUNT, replace(COPY, text="cp /srv/list /srv/x"), *RUN[2:]], RUN, id="another target"),
    ],
)
def test_what_ran_is_not_what_was_shown(known: str, shown: list[Told], ran: list[Told]) -> None:
    with pytest.raises(AssertionError, match="make: ran"):
        all_witnesses_agree(evidence(known, shown=shown, ran=ran))


def test_a_step_that_nobody_was_shown() -> None:
    seen = evidence()
    with pytest.raises(AssertionError, match="shown"):
        all_witnesses_agree(replace(seen, shown={}))
    with pytest.raises(AssertionError, match="shown"):
        all_witnesses_agree(replace(seen, shown={**seen.shown, "more": ("exact", [])}))


def test_what_was_begun_is_what_was_planned() -> None:
    seen = evidence()
    with pytest.raises(AssertionError, match="o4"):
        all_witnesses_agree(replace(seen, events=seen.events[:-1]))
    other = [dict(one, form=form(WRITE)) if one.get("operation") == "o1" else dict(one) for one in seen.events]
    with pytest.raises(AssertionError, match="o1"):
        all_witnesses_agree(replace(seen, events=other))


SERVER = Executed(("/usr/lib/postgresql/15/bin/postgres", "-D", "/pg", "-c", "restore_command=cp /wal/%f %p"))


def of_the_server(*script: str) -> tuple[Executed, ...]:
    """Commands that a server runs by a shell."""
    return tuple(Executed(("sh", "-c", one), SERVER) for one in script)


def test_a_server_runs_the_commands_of_its_settings() -> None:
    archived, fetched = of_the_server("test ! -e /wal/0A && cp pg_wal/0A /wal/0A", "cp /wal/0B pg_wal/RECOVERYXLOG")
    programs = (*PROGRAMS, archived, Executed(("cp", "pg_wal/0A", "/wal/0A"), archived), fetched)
    all_witnesses_agree(replace(evidence(), programs=programs))


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(Executed(("rm", "-rf", "/srv"), SUPERVISOR), id="a program of no line"),
        pytest.param(Executed(("wc", "-l"), SUPERVISOR), id="one that only another line's script names"),
        pytest.param(Executed(("rm", "/srv/list"), SHELL), id="one that its shell's script does not name"),
        pytest.param(Executed(("cp", "/srv/list", "/srv/kept", "/srv/x"), SUPERVISOR), id="one argument more"),
        pytest.param(SERVER, id="a server that nobody started"),
        pytest.param(of_the_server("cp pg_wal/0A /elsewhere/0A")[0], id="a server's command of no setting"),
        pytest.param(Executed(("rm", "-rf", "/pg"), SERVER), id="a server's program without a shell"),
    ],
)
def test_a_process_that_nobody_was_told_of(program: Executed) -> None:
    with pytest.raises(AssertionError, match="nobody was told of"):
        all_witnesses_agree(replace(evidence(), programs=(*PROGRAMS, program)))


def test_a_line_whose_program_no_witness_saw() -> None:
    with pytest.raises(AssertionError, match="this did not run: cp"):
        all_witnesses_agree(replace(evidence(), programs=PROGRAMS[:-1]))


@pytest.mark.parametrize(
    "session",
    [
        pytest.param(Said("runbook/r/make", ("DROP TABLE kept",)), id="alone"),
        pytest.param(Said("runbook/r/make", (*SESSION.statements, "DROP TABLE kept")), id="behind a told one"),
        pytest.param(SESSION, id="a second time"),
        pytest.param(Said("psql", ("DROP TABLE kept",)), id="by another name"),
    ],
)
def test_a_statement_that_nobody_was_told_of(session: Said) -> None:
    with pytest.raises(AssertionError, match=r"not told|nobody was told"):
        all_witnesses_agree(replace(evidence(), sessions=(SESSION, session)))


def test_a_statement_that_the_server_never_got() -> None:
    with pytest.raises(AssertionError, match="told, and not seen"):
        all_witnesses_agree(replace(evidence(), sessions=()))


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (("backend", "stop", ""), "done"),
        (("db", "restart", ""), "done"),
        (("db", "exec_create", f"{WORKER}pg_dump --schema-only other"), "nobody was told of"),
        (("db", "exec_create", "dropdb shop"), "dropdb"),
        (("db", "exec_create", "rm -rf /var/lib/postgresql/data"), "rm -rf"),
        (("backend", "exec_create", "cat /etc/passwd"), "backend"),
        (("backend", "extract-to-dir", ""), "done"),
        (("db", "archive-path", ""), "done"),
        (("db", "kill", ""), "died"),
        (("db", "destroy", ""), "done"),
    ],
)
def test_an_event_of_a_container_that_nobody_was_told_of(event: tuple[str, str, str], words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        all_witnesses_agree(replace(evidence(), engine=(*ENGINE_DID, event)))


def test_a_container_that_is_made_only_to_run_something_in_it() -> None:
    beside = Told("call", "docker run --rm --network none --volumes-from shop_db_1 shop sh -c 'mv /a /b'", reads=False)
    seen = evidence(shown=[*RUN, beside], ran=[*RUN, beside])
    all_witnesses_agree(replace(seen, beside=[("make", "o5")]))
    with pytest.raises(AssertionError, match="containers were made"):
        all_witnesses_agree(seen)
    with pytest.raises(AssertionError, match="containers were made"):
        all_witnesses_agree(replace(evidence(), beside=[("make", "o5")]))


def test_a_file_that_the_program_itself_makes() -> None:
    all_witnesses_agree(replace(evidence(), named=["/srv/kept", "/srv/kept.partial", "/srv/kept/part"]))
    for path in ("/srv/keptsake", "/srv", "/etc/crontab"):
        with pytest.raises(AssertionError, match="nobody was told of /"):
            all_witnesses_agree(replace(evidence(), named=[path]))


@pytest.mark.parametrize("action", ["stop", "exec_create"])
def test_a_call_that_the_engine_never_got(action: str) -> None:
    left = [event for event in ENGINE_DID if event[1] != action]
    with pytest.raises(AssertionError, match=r"done|this did not run"):
        all_witnesses_agree(replace(evidence(), engine=left))
