"""What turning on archiving plans: a table from the server's settings and state to operations. No server."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from runbook.action import Scope
from runbook.actions.postgres.archiver import Archiver
from runbook.actions.postgres.archiving import Setting, command_for
from runbook.actions.postgres.archiving_step import ArchivingFacts, ConfigureArchivingInputs
from runbook.actions.postgres.configure_archiving import ConfigureArchiving
from runbook.actions.postgres.instance import Manner
from runbook.operation import Process, Sql, changes, digest
from runbook.system import Postgres

WAL, ACTION = "/backups/wal", ConfigureArchiving()
SCOPE = Scope("r", "archive", datetime(2026, 2, 14, tzinfo=UTC), "/run", "here", False, {})
DB = Postgres(type="postgres", user="postgres", database="app", archive=f"file://{WAL}")
INPUTS = ConfigureArchivingInputs()
RIGHT = {
    "wal_level": "replica",
    "max_wal_senders": "10",
    "archive_mode": "on",
    "archive_library": "",
    "archive_command": command_for(WAL),
    "archive_timeout": "300",
}
PROOF = ["switch_wal", "archived", "counted", "without_failure"]
RESTART = ["stop_server", "start_server", "answers"]
RELOAD = ["reload", "in_effect"]
QUIET = Archiver("/pgdata", "7", asked_at="2026-02-14T12:00:00Z", loaded_at="2026-02-14T11:00:00Z")
PROVEN = replace(QUIET, last="0000000100000000000000AA", archived_at="2026-02-14T12:00:05Z", held=True)


def facts(archiver: Archiver = QUIET, *, answers: bool = True, runs: bool = True, **changed: str) -> ArchivingFacts:
    """A server on which all is right but the settings ``changed``."""
    settings = tuple(Setting(name, value, "default", None, None) for name, value in (RIGHT | changed).items())
    return ArchivingFacts(
        system_identifier="7",
        directory=WAL,
        data_directory="/pgdata",
        owner="postgres",
        manner=Manner("/pgdata", "postgres", "/usr/lib/postgresql/15/bin"),
        before=settings,
        asked_at="2026-02-14T12:00:00Z",
        segment_bytes=16 * 1024 * 1024,
        program="",
        answers=answers,
        runs=runs,
        exists=True,
        settings=settings,
        archiver=archiver,
        notes=(),
    )


def planned(found: ArchivingFacts) -> list[str]:
    return [one.name for one in ACTION.plan(DB, INPUTS, found, SCOPE)]


@pytest.mark.parametrize(
    ("found", "names"),
    [
        (facts(PROVEN), []),
        (facts(), ["writable", *PROOF]),
        (replace(facts(), exists=False), ["make_archive", "writable", *PROOF]),
        (facts(PROVEN, archive_timeout="0"), ["writable", "set_archive_timeout", *RELOAD, *PROOF]),
        (facts(archive_command="cp %p /backups/wal/%f"), ["writable", "set_archive_command", *RELOAD, *PROOF]),
        (facts(archive_mode="off"), ["remember", "writable", "set_archive_mode", *RESTART, *PROOF]),
        (
            facts(archive_mode="off", wal_level="minimal", max_wal_senders="0", archive_timeout="0"),
            [
                *("remember", "writable", "set_wal_level", "set_max_wal_senders", "set_archive_mode"),
                *("set_archive_timeout", *RESTART, *PROOF),
            ],
        ),
        (facts(answers=False, runs=True), [*RESTART, *PROOF]),
        (facts(answers=False, runs=False), [*RESTART[1:], *PROOF]),
    ],
)
def test_what_is_left_to_do(found: ArchivingFacts, names: list[str]) -> None:
    assert planned(found) == names


@pytest.mark.parametrize(
    ("seen", "proven"),
    [
        (PROVEN, True),
        (QUIET, False),
        (replace(PROVEN, held=False), False),  # the server says so, and it is not there, or not whole
        (replace(PROVEN, failing=True), False),
        (replace(PROVEN, archived_at="2026-02-14T11:59:59Z"), False),  # before this step began
        (replace(PROVEN, loaded_at="2026-02-14T12:00:06Z"), False),  # by the settings before
    ],
)
def test_what_counts_as_a_proof(seen: Archiver, proven: bool) -> None:
    assert facts(seen).proven is proven
    assert (planned(facts(seen)) == []) is proven


def test_files_and_what_counts_are_told_apart() -> None:
    def with_file(value: str, file: str) -> ArchivingFacts:
        changed = tuple(
            Setting(one.name, value, "configuration file", file, file) if one.name == "archive_mode" else one
            for one in facts().settings
        )
        return replace(facts(PROVEN), settings=changed)

    assert planned(with_file("off", "on")) == ["remember", "writable", *RESTART, *PROOF], (
        "set, and not started anew yet"
    )
    assert planned(with_file("on", "off")) == ["writable", "set_archive_mode", *RELOAD, *PROOF], (
        "the next start ends it"
    )
    assert planned(with_file("on", "on")) == []


def test_what_a_resume_plans_is_among_what_was_approved() -> None:
    """After any operation the remaining ones are the same ones, to the digest."""
    first = facts(archive_mode="off", archive_timeout="0")
    approved = {digest(one) for one in ACTION.plan(DB, INPUTS, first, SCOPE)}
    later = (
        facts(archive_mode="off"),
        facts(archive_timeout="0", archive_mode="off"),
        facts(answers=False, runs=False),
        facts(answers=False),
        facts(),
    )
    for found in later:
        assert {digest(one) for one in ACTION.plan(DB, INPUTS, found, SCOPE) if changes(one)} <= approved


def test_each_setting_is_a_statement_of_its_own() -> None:
    """ALTER SYSTEM takes no transaction block, and a value is a literal, whatever is in it."""
    for one in ACTION.plan(DB, INPUTS, facts(archive_command="", archive_mode="off"), SCOPE):
        if isinstance(one, Sql) and one.name.startswith("set_"):
            assert len(one.statements) == 1 and one.transaction == "autocommit"
            assert "{value}" in one.statements[0].text


def test_the_probe_knows_the_cluster_in_both_byte_orders() -> None:
    probe = next(one for one in ACTION.plan(DB, INPUTS, facts(), SCOPE) if one.name == "writable")
    assert isinstance(probe, Process) and probe.reads and probe.user == "postgres"
    assert probe.argv[-2:] == ("0700000000000000", "0000000000000007")


def test_the_way_back_gives_only_back_what_was_changed() -> None:
    def auto(**values: str | None) -> tuple[Setting, ...]:
        return tuple(replace(one, auto=values.get(one.name)) for one in facts().settings)

    def back(before: tuple[Setting, ...], now: tuple[Setting, ...]) -> list[str]:
        found = replace(facts(), before=before, settings=now)
        return [one.name for one in ACTION.undo(DB, INPUTS, found, SCOPE)]

    none = auto()
    assert back(none, none) == []
    assert back(none, auto(archive_timeout="300")) == ["restore_archive_timeout", "reload"]
    assert back(none, auto(archive_mode="on")) == ["restore_archive_mode", *RESTART]
    assert back(auto(archive_command="x"), auto(archive_command="y")) == ["restore_archive_command", "reload"]


def test_all_is_shown_without_a_look() -> None:
    names = [one.name for one in ACTION.plan(DB, INPUTS, ACTION.assume(DB, INPUTS, SCOPE), SCOPE)]
    assert {"make_archive", "set_wal_level", "set_archive_command", "set_archive_timeout", "stop_server"} <= set(names)


@pytest.mark.parametrize("timeout", ["0s", "500ms", "soon"])
def test_a_timeout_is_at_least_a_second(timeout: str) -> None:
    with pytest.raises(ValidationError):
        ConfigureArchivingInputs(archive_timeout=timeout)
