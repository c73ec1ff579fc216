"""Following: how far a server is → operations; and what it is told holds no password."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
from pydantic import ValidationError

from runbook.action import ContainerFacts, Look
from runbook.actions.postgres.follow import Follow, FollowFacts, FollowInputs
from runbook.actions.postgres.following import SETTINGS, Follower, is_standby, refuse_apart
from runbook.errors import Refused
from runbook.host import LOCAL, Compose, Docker, Host
from runbook.operation import Call, Process
from runbook.secret import FromEnv
from tests.actions.backups import database, scope

FOLLOW = Follow()
PRIMARY = database(key="new", address="db-b", port=5433, password=FromEnv("PGPASSWORD"))


def inputs(**more: object) -> FollowInputs:
    return FollowInputs.model_validate({"primary": PRIMARY, **more})


def facts(found: Follower, *, whole: bool = True, apart: str = "", standby: bool = False) -> FollowFacts:
    server = ("1", "/pg/data", "postgres", "/pg/bin", ("-p", "5433"))
    return FollowFacts(*server, whole=whole, apart=apart, standby=standby, found=found)


@pytest.mark.parametrize(
    ("found", "remaining"),
    [
        (Follower(runs=False, told=False, streams=False), ["settings", "start", "streaming"]),
        (Follower(runs=True, told=False, streams=False), ["stop", "settings", "start", "streaming"]),
        (Follower(runs=True, told=True, streams=False), ["streaming"]),
        (Follower(runs=True, told=True, streams=True), []),
    ],
)
def test_what_remains(found: Follower, remaining: list[str]) -> None:
    assert [one.name for one in FOLLOW.plan(database(), inputs(), facts(found), scope())] == remaining


@pytest.mark.parametrize(
    ("whole", "standby", "goes_on"),
    [(True, True, True), (True, False, False), (False, True, False), (False, False, False)],
)
def test_a_standby_that_it_started_and_that_was_killed_is_started_again(
    *, whole: bool, standby: bool, goes_on: bool
) -> None:
    """Only where the directory had nothing of its own at the first look, and ran as nothing else since."""
    killed = facts(
        Follower(runs=False, told=False, streams=False), whole=whole, apart="where it ends isn't known", standby=standby
    )
    if goes_on:
        assert [one.name for one in FOLLOW.plan(database(), inputs(), killed, scope())] == [
            "settings",
            "start",
            "streaming",
        ]
        return
    with pytest.raises(Refused, match="where it ends isn't known"):
        FOLLOW.plan(database(), inputs(), killed, scope())


def test_what_the_control_file_says_of_a_standby() -> None:
    states = ("in archive recovery", "shut down in recovery", "shut down", "in production", "in crash recovery")
    assert [is_standby({"Database cluster state": one}) for one in (*states, "")] == [True, True, *[False] * 4]


def test_what_it_is_told() -> None:
    assert inputs().conninfo == "host=db-b port=5433 user=civicq"
    more = inputs(address="10.0.0.2", port=6000, user="replicator", passfile="/srv/it's", sslmode="verify-full")
    assert more.conninfo == "host=10.0.0.2 port=6000 user=replicator passfile='/srv/it\\'s' sslmode=verify-full"
    with pytest.raises(ValidationError):
        inputs(slot="a'; x")


def test_what_it_is_told_survives_the_configuration_file_s_own_escapes() -> None:
    """There a backslash escapes too (GUC_scanstr), as ALTER SYSTEM writes it: both are doubled."""
    down = facts(Follower(runs=False, told=False, streams=False))
    settings = FOLLOW.plan(database(), inputs(passfile="/srv/it's"), down, scope())[0]
    assert isinstance(settings, Process)
    told = "host=db-b port=5433 user=civicq passfile=''/srv/it\\\\''s''"
    assert settings.argv[-2:] == (f"primary_conninfo = '{told}'", "primary_slot_name = ''")


def test_in_a_container_its_files_are_written_beside_it() -> None:
    down = facts(Follower(runs=False, told=False, streams=False))
    settings, start, _ = FOLLOW.plan(database(host=Docker("old")), inputs(), down, scope())
    assert isinstance(settings, Call) and settings.operation == "run"
    assert isinstance(start, Call) and start.operation == "start"
    settings, start, _ = FOLLOW.plan(database(), inputs(start=("systemctl", "start", "pg")), down, scope())
    assert isinstance(settings, Process) and settings.user == "postgres"
    assert isinstance(start, Process) and (start.argv, start.daemon) == (("systemctl", "start", "pg"), True)


def test_a_primary_in_a_container_is_told_by_its_name_which_stays() -> None:
    contained = database(key="new", host=Docker("db-b"))
    assert inputs(primary=contained).sender == ("db-b", 5432)
    assert inputs(primary=database(host=Compose("shop", "db"))).sender == ("db", 5432)
    assert inputs(primary=database(host=Docker("db-b"), address="10.0.0.2", port=5433)).sender == ("10.0.0.2", 5433)
    assert inputs(primary=contained, address="10.0.0.3", port=6000).sender == ("10.0.0.3", 6000)


@dataclass
class Containers:
    """A look at containers, by name, with their networks."""

    networks: Mapping[str, tuple[str, ...]]

    def container(self, host: Docker) -> ContainerFacts:
        return ContainerFacts("1", "pg", "", "", "running", "", "", "", 0, (), networks=self.networks[host.container])


@pytest.mark.parametrize(
    ("old", "networks", "refused"),
    [
        (Docker("a"), {"a": ("shop", "x"), "b": ("shop",)}, False),
        (Docker("a"), {"a": ("x",), "b": ("shop",)}, True),
        (Docker("a"), {"a": ("bridge",), "b": ("bridge",)}, True),
        (LOCAL, {"b": ("shop",)}, True),
    ],
)
def test_a_name_is_known_on_a_network_that_both_share(
    old: Host, networks: Mapping[str, tuple[str, ...]], *, refused: bool
) -> None:
    look, given = cast(Look, Containers(networks)), inputs(primary=database(key="new", host=Docker("b")))
    if refused:
        with pytest.raises(Refused, match="Give the step `address`"):
            refuse_apart(look, database(host=old), given)
    else:
        refuse_apart(look, database(host=old), given)
    refuse_apart(look, database(host=old), inputs(primary=database(host=Docker("b")), address="10.0.0.3"))


def test_the_settings_replace_what_was_told_before(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("15\n")
    conf = tmp_path / "postgresql.auto.conf"
    conf.write_text("# kept\nwork_mem = '8MB'\n primary_conninfo='host=old'\nprimary_slot_name = 'x'\n")
    for _ in range(2):
        argv = ["sh", "-c", SETTINGS, "sh", str(tmp_path), "primary_conninfo = 'host=new'", "primary_slot_name = ''"]
        subprocess.run(argv, check=True)
    wanted = "# kept\nwork_mem = '8MB'\nprimary_conninfo = 'host=new'\nprimary_slot_name = ''\n"
    assert conf.read_text() == wanted
    assert conf.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "postgresql.auto.conf.partial").exists()


def test_settings_that_can_not_be_read_are_not_thrown_away(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("15\n")
    (tmp_path / "postgresql.auto.conf").mkdir()  # grep fails with 2, whoever asks; 1 says that no line is left
    argv = ["sh", "-c", SETTINGS, "sh", str(tmp_path), "primary_conninfo = 'host=new'", "primary_slot_name = ''"]
    assert subprocess.run(argv, capture_output=True, check=False).returncode != 0
    assert (tmp_path / "postgresql.auto.conf").is_dir()
    assert list((tmp_path / "postgresql.auto.conf").iterdir()) == []


def test_settings_may_be_the_first(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("15\n")
    argv = ["sh", "-c", SETTINGS, "sh", str(tmp_path), "primary_conninfo = 'host=new'", "primary_slot_name = ''"]
    subprocess.run(argv, check=True, capture_output=True)
    assert (tmp_path / "postgresql.auto.conf").read_text() == "primary_conninfo = 'host=new'\nprimary_slot_name = ''\n"
