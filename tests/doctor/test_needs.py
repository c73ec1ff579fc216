"""Needs: which programs a plan's steps call, and where."""

from __future__ import annotations

from runbook.catalogue import CATALOGUE
from runbook.doctor.facts import Need
from runbook.doctor.needs import changed, needs, usual
from runbook.host import LOCAL, Docker
from runbook.plan.environment import Environment, load_environment
from runbook.plan.file import FrozenReader
from runbook.plan.load import load_plan
from runbook.plan.model import Plan

HEAD = """\
runbook: 1
name: tried
title: Tried
systems: {db: postgres, backups: store}
steps:
"""
DUMP = "- {id: dump, title: Dump, uses: postgres.dump, on: db, with: {to: backups}, timeout: 1h}\n"
STOP = "- {id: stop, title: Stop, uses: postgres.stop, on: db, timeout: 1m}\n"
ADOPT = "- {id: adopt, title: Adopt, uses: backup.adopt, on: backups, with: {name: a, database: d}, timeout: 1h}\n"
VERIFY = (
    '- {id: prove, title: Prove, uses: postgres.verify_dump, on: db, with: {artifact: "{{ steps.dump.artifact }}"}, '
    "timeout: 1h}\n"
)
CONTAINER = Docker("pg")


def plan(*steps: str, head: str = HEAD) -> Plan:
    return load_plan("p.yaml", FrozenReader({"p.yaml": (head + "".join(f"  {step}" for step in steps)).encode()}))


def environment(db: str = "host: {docker: pg}") -> Environment:
    text = f"""\
environment: e
systems:
  db: {{type: postgres, {db}, user: u, database: d}}
  backups: {{type: store, url: "file:///backups"}}
"""
    return load_environment("e.yaml", FrozenReader({"e.yaml": text.encode()}))


def test_a_client_is_needed_where_the_database_is() -> None:
    assert needs(plan(DUMP), environment(), CATALOGUE) == (
        Need(CONTAINER, "pg_dump", ("db",), ("dump",)),
        Need(CONTAINER, "pg_dumpall", ("db",), ("dump",)),
    )
    here = environment("address: db.internal, binaries: /opt/pg/bin/")
    assert [need.asked for need in needs(plan(DUMP), here, CATALOGUE)] == [
        "/opt/pg/bin/pg_dump",
        "/opt/pg/bin/pg_dumpall",
    ]


def test_steps_that_call_the_same_are_gathered() -> None:
    (restore,) = [need for need in needs(plan(DUMP, VERIFY), environment(), CATALOGUE) if need.name == "pg_restore"]
    assert restore == Need(CONTAINER, "pg_restore", ("db",), ("prove",))
    twice = needs(plan(STOP, STOP.replace("id: stop", "id: again")), environment("address: a"), CATALOGUE)
    assert twice == (Need(LOCAL, "pg_ctl", ("db",), ("stop", "again")),)


def test_a_servers_own_programs_come_with_its_container() -> None:
    assert needs(plan(STOP), environment(), CATALOGUE) == ()


def test_without_a_database_a_client_is_needed_here() -> None:
    assert needs(plan(ADOPT), environment(), CATALOGUE) == (Need(LOCAL, "pg_restore", (), ("adopt",)),)


def test_what_removes_wal_is_needed_only_with_an_archive() -> None:
    prune = (
        '- {id: prune, title: Prune, uses: backup.prune, on: backups, with: {proven: "{{ steps.dump.artifact }}", keep_last: 3}, '
        "timeout: 1h}\n"
    )
    called = {need.name for need in needs(plan(DUMP, prune), environment(), CATALOGUE)}
    assert called == {"pg_dump", "pg_dumpall"}
    of_wal = prune.replace("keep_last: 3", "keep_last: 3, wal_of: db")
    assert Need(CONTAINER, "pg_archivecleanup", ("db",), ("prune",)) in needs(
        plan(DUMP, of_wal), environment(), CATALOGUE
    )


def test_the_authors_programs_are_needed_where_they_run() -> None:
    step = "- {id: run, title: Run, uses: shell.run, with: {host: {docker: web}, argv: [manage, x], probe: [ask]}, timeout: 1m}\n"
    assert needs(plan(step), environment(), CATALOGUE) == (
        Need(Docker("web"), "manage", steps=("run",)),
        Need(Docker("web"), "ask", steps=("run",)),
    )
    late = step.replace("manage", "'{{ run.id }}'").replace(", probe: [ask]", "")
    assert needs(plan(late), environment(), CATALOGUE) == ()


def test_what_is_usual() -> None:
    assert [need.asked for need in usual(())] == ["pg_dump", "pg_restore", "psql", "pg_basebackup"]
    assert all(need.host == LOCAL and not need.steps for need in usual(()))
    assert {(need.host, need.systems) for need in usual(environment().systems.values())} == {(CONTAINER, ("db",))}


def test_the_systems_that_are_written_to() -> None:
    systems = environment().systems
    assert changed(plan(DUMP), systems, CATALOGUE) == {"db", "backups"}
    asks = "- {id: ask, title: Ask, uses: postgres.assert, on: db, with: {checks: [{query: SELECT 1, at_least: 1}]}, timeout: 1m}\n"
    assert changed(plan(asks), systems, CATALOGUE) == frozenset()
