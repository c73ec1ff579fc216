"""What actions say that they call is what their operations call: held against the list that each example plans."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from runbook.action import Scope
from runbook.artifact import Artifact, Format, Manifest, Piece
from runbook.catalogue import CATALOGUE
from runbook.doctor.programs import PROGRAMS, known, package
from runbook.operation import Arg, Json, Operation, Pipeline, Process, Session, Wait
from runbook.plan.environment import load_environment
from runbook.plan.file import FrozenReader
from runbook.plan.load import examine_plan
from runbook.plan.model import Step
from runbook.runner.prepare import bind_inputs
from tests.report.test_actions import plan_with

ENVIRONMENT = """\
environment: tried
systems:
  db: {type: postgres, host: HOST, user: u, database: d, archive: "file:///wal", data_directory: /data}
  primary: {type: postgres, address: a, user: u, database: d, data_directory: /data, binaries: /b}
  standby: {type: postgres, address: b, user: u, database: d, data_directory: /data, binaries: /b}
  app: {type: compose, project: p}
  site: {type: web, url: "http://localhost"}
  backups: {type: store, url: "file:///backups"}
  bases: {type: store, url: "file:///bases"}
  evidence: {type: store, url: "file:///evidence"}
  on_call: {type: channel, url: {env: URL}}
"""
HOSTS = {"here": "local", "container": "{docker: pg}"}
MOMENT = datetime(2026, 2, 14, 12, tzinfo=UTC)
TOOLS = {"sh", "env", "find", "sort", "grep", "tar", "tail", "gzip", "sync", "awk", "dd", "ls", "rm"} | {
    *("mv", "cp", "cat", "test", "mkdir"),
}
"""What every host has."""
OWN = {"shell.run": {"python"}, "manual": {"ssh-keyscan"}}
"""Programs that the example's author names."""
RESTED = {
    "pg_checksums": "only an observer calls it",
    "pg_controldata": "with a cluster at rest only, or by an observer",
    "pg_verifybackup": "for a backup that was taken without packing, or unpacked",
    "pg_ctl": "a server in a container is stopped and started with that",
    "pg_archivecleanup": "only with wal_of",
    "psql": "only for plain SQL",
    "docker": "only for a container that stands still",
    "zstd": "as the backup is packed",
    "postgres": "only where a server is mended by itself",
    "pg_waldump": "only where segments are missing",
}
"""Programs that an action needs in some cases and that the example's list may lack, with the reason."""
UNPLANNED = {"postgres.drop_beside": "it releases what another step made, and calls nothing"}
_WORDS = {"postgres", "docker"}
"""Also names of databases, users and hosts: not looked for in scripts."""
_NAMES = re.compile(r"(?<![\w.-])(" + "|".join(sorted({*PROGRAMS} - _WORDS, key=len, reverse=True)) + r")(?![\w.-])")


def artifact(form: Format, name: str, store: str) -> Artifact:
    """A backup of that kind, as a step would have chosen it."""
    piece = Piece(path=name, bytes=10, sha256="0" * 64)
    manifest = Manifest(
        name=name,
        format=form,
        database="d",
        started_at=MOMENT,
        finished_at=MOMENT,
        pieces=(piece,),
        system_identifier="1",
    )
    return Artifact(
        store=store,
        url=f"file:///{store}/{name}",
        name=name,
        format=form,
        database="d",
        bytes=10,
        sha256="0" * 64,
        finished_at=MOMENT,
        manifest=manifest,
    )


DUMP = artifact(Format.CUSTOM, "d.dump", "backups")
BASE = artifact(Format.BASE_BACKUP, "base.tar.zst", "backups")
COLD = artifact(Format.COLD_COPY, "cold", "evidence")
ARTIFACTS = {"postgres.can_reach": BASE, "postgres.restore_to_time": BASE, "postgres.check_cold_copy": COLD}
VALUES: dict[str, Json] = {"bytes": 10, "data_directory": "/data", "broken_indexes": [], "missing": {"users": 1}}


def filled(value: Json, step: Step) -> Json:
    """The example's inputs with something in the place of each template."""
    match value:
        case str() if "{{" in value:
            if "artifact" in value:
                return ARTIFACTS.get(step.uses, DUMP).model_dump(mode="json")
            return next((given for name, given in VALUES.items() if f".{name} " in value), "x")
        case dict():
            return {key: filled(one, step) for key, one in value.items()}
        case list() | tuple():
            return [filled(one, step) for one in value]
        case _:
            return value


def argvs(operation: Operation) -> Iterator[tuple[Arg, ...]]:
    """Every argument list that an operation runs."""
    match operation:
        case Process():
            yield operation.argv
        case Pipeline():
            yield from (stage.argv for stage in operation.stages)
        case Session():
            for inner in operation.body:
                yield from argvs(inner)
        case Wait():
            yield from argvs(operation.read)


def called(name: str, host: str) -> set[str]:
    """The programs that the example's operations call, those that a shell script calls included."""
    action = CATALOGUE[name]
    text = ENVIRONMENT.replace("HOST", HOSTS[host])
    environment = load_environment("e.yaml", FrozenReader({"e.yaml": text.encode()}))
    plan, problems = examine_plan("plan.yaml", FrozenReader({"plan.yaml": plan_with(action.example).encode()}))
    assert plan is not None, problems
    step = plan.steps[-1]
    with_ = {key: filled(value, step) for key, value in step.with_.items()}
    inputs = bind_inputs(action, step, with_, environment.systems)
    scope = Scope("plan", "step", MOMENT, "/run", "tried", live=False, systems=environment.systems)
    system = environment.systems.get(step.on)
    operations = action.plan(system, inputs, action.assume(system, inputs, scope), scope)
    found: set[str] = set()
    for operation in operations:
        for argv in argvs(operation):
            words = [str(word) for word in argv]
            found.add(words[0].rpartition("/")[2])
            if words[0].rpartition("/")[2] in ("sh", "bash"):
                found |= set(_NAMES.findall(" ".join(words[1:])))
    return found - TOOLS - {"runbook"}


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("name", sorted({*CATALOGUE} - {*UNPLANNED}))
def test_an_action_needs_what_its_operations_call(name: str, host: str) -> None:
    needs, calls = set(CATALOGUE[name].needs_programs), called(name, host) - OWN.get(name, set())
    assert calls - needs == set(), "add them to `needs_programs`"
    assert needs - calls - {*RESTED} == set(), "it calls these no more, or say in which cases it does"


def test_what_is_left_out_calls_nothing() -> None:
    assert {name: CATALOGUE[name].needs_programs for name in UNPLANNED} == dict.fromkeys(UNPLANNED, ())


def test_the_example_of_an_author_names_its_programs() -> None:
    assert all(called(name, "here") == programs for name, programs in OWN.items())


def test_every_program_that_an_action_needs_is_known() -> None:
    needed = {program for action in CATALOGUE.values() for program in action.needs_programs}
    assert needed - {*PROGRAMS} == set()
    assert {*PROGRAMS} - needed == set(), "and none that nobody needs"


@pytest.mark.parametrize(
    ("program", "major", "named"),
    [
        ("pg_dump", 15, "postgresql-client-15"),
        ("pg_dump", None, "postgresql-client"),
        ("pg_rewind", 17, "postgresql-17"),
        ("zstd", 15, "zstd"),
        ("python", None, ""),
    ],
)
def test_the_package_of_a_program(program: str, major: int | None, named: str) -> None:
    assert package(program, major) == named
    assert known(program).package or not named
