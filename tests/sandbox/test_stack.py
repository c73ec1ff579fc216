"""The whole stack: real servers, started, killed, repaired, ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from runbook.errors import ExitCode
from runbook.sandbox import state
from runbook.sandbox.binaries import find
from runbook.sandbox.data import fill
from runbook.sandbox.error import SandboxError
from runbook.sandbox.process import identify, wait_until
from runbook.sandbox.stack import Stack
from tests.fixtures.patience import PATIENCE_S

NAMES = ("s3", "valkey", "postgres", "web")


def quiet(line: str) -> None:
    """Nobody listens."""


def processes_of(stack: Stack) -> list[str]:
    """The command lines that name the sandbox's directories."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                works_in = str((entry / "cwd").readlink())
            except OSError:
                continue
            if any(str(place) in line + works_in for place in (stack.layout.directory, stack.layout.servers)):
                found.append(line)
    return found


def test_up_starts_every_server_and_a_second_up_changes_nothing(stack: Stack) -> None:
    said: list[str] = []
    first = stack.up(said.append)
    assert [part.name for part in first.parts] == list(NAMES)
    assert first.running
    assert all(part.version and part.address and part.since for part in first.parts)
    assert first.part("postgres").version.startswith("18.")
    assert [line for line in said if line.startswith("starting")] == [f"starting {name}" for name in NAMES]
    again: list[str] = []
    assert stack.up(again.append).parts == first.parts == stack.status().parts
    assert not [line for line in again if line.startswith("starting")]


def test_down_leaves_no_process_and_keeps_data_and_ports(stack: Stack) -> None:
    before = stack.up(quiet)
    fill(stack.login(), documents=300, users=20)
    with stack.login("postgres").connect() as connection:
        known = connection.execute("SELECT system_identifier::text FROM pg_control_system()").fetchone()
    assert processes_of(stack)
    said: list[str] = []
    ended = stack.down(said.append)
    assert {(one.part, one.pid) for one in ended} == {(part.name, part.pid) for part in before.parts}
    assert {one.signal for one in ended} == {signal.SIGTERM, signal.SIGINT}  # nobody had to be killed
    assert all(any(f"process {part.pid}" in line for line in said) for part in before.parts)
    assert processes_of(stack) == []
    assert not any(part.running for part in stack.status().parts)
    assert stack.down(quiet) == ()

    after = stack.up(quiet)
    assert [part.address for part in after.parts] == [part.address for part in before.parts]
    with stack.login("postgres").connect() as connection:
        assert connection.execute("SELECT system_identifier::text FROM pg_control_system()").fetchone() == known
        assert connection.execute("SELECT count(*) FROM documents").fetchone() == (300,)


def test_a_server_that_was_killed_is_started_again_and_the_others_are_left_alone(stack: Stack) -> None:
    before = stack.up(quiet)
    fill(stack.login(), documents=100, users=10)
    for name in NAMES:
        victim = before.part(name).pid
        assert victim is not None
        os.kill(victim, signal.SIGKILL)
        assert wait_until(lambda name=name: not stack.status().part(name).running, within_s=PATIENCE_S)  # type: ignore[misc]
        assert not stack.status().running
        after = stack.up(quiet)
        assert after.running
        assert after.part(name).pid != victim
        for other in NAMES:  # the killed one's port may have been taken meanwhile, by a server of somebody else's
            if other != name:
                assert (after.part(other).pid, after.part(other).address) == (
                    before.part(other).pid,
                    before.part(other).address,
                )
        before = after
    assert fill(stack.login()).documents == 100


def test_up_right_after_a_kill_repairs_too(stack: Stack) -> None:
    before = stack.up(quiet)
    for _ in range(4):  # the dying process may still be seen as alive: either way the stack has to come up
        victim = stack.status().part("postgres").pid
        assert victim is not None
        os.kill(victim, signal.SIGKILL)
        after = stack.up(quiet)
        assert after.running
        assert after.part("postgres").pid != victim
        assert after.part("postgres").address == before.part("postgres").address


def test_two_ups_at_once_start_one_stack(stack: Stack) -> None:
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(lambda _: Stack(stack.layout.directory).up(quiet), range(2))
    assert first.parts == second.parts
    assert len([line for line in processes_of(stack) if "mini" in line]) == 1


def test_a_process_that_the_state_lost_is_found_by_its_own_record(stack: Stack) -> None:
    before = stack.up(quiet)
    body = json.loads(stack.layout.state.read_text())
    stack.layout.state.write_text(json.dumps(body | {"processes": {}}))
    assert stack.status().parts == before.parts
    assert len(stack.down(quiet)) == len(NAMES)
    assert processes_of(stack) == []


def test_down_spares_a_process_that_has_a_recorded_pid_by_chance(stack: Stack) -> None:
    stack.up(quiet)
    stack.down(quiet)
    with subprocess.Popen(["sleep", "600"]) as bystander:
        real = identify(bystander.pid)
        assert real is not None
        other = type(real)(real.pid, real.started_ticks - 1, real.boot)
        state.save(stack.layout.state, state.load(stack.layout.state).with_process("valkey", other))
        assert stack.down(quiet) == ()
        assert identify(bystander.pid) == real
        bystander.kill()


def test_down_ends_a_restarted_postgres_and_a_side_cluster(stack: Stack) -> None:
    before = stack.up(quiet)
    account = stack.layout.account
    programs = find(stack.layout.binaries, account).postgres
    home = stack.layout.home("postgres")

    def as_servers(*argv: str) -> None:
        subprocess.run(
            (str(programs / argv[0]), *argv[1:]),
            check=True,
            cwd=home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=account.uid,
            group=account.gid,
            extra_groups=account.groups,
            timeout=300,
        )

    as_servers("pg_ctl", "-D", str(home / "data"), "-l", str(home / "restart.log"), "-w", "restart")
    now = stack.status().part("postgres")
    assert now.running
    assert now.pid != before.part("postgres").pid
    as_servers("initdb", "-D", str(home / "side"), "-E", "UTF8", "--no-sync")
    options = f"-c listen_addresses= -k {stack.layout.sockets}"
    as_servers("pg_ctl", "-D", str(home / "side"), "-l", str(home / "side.log"), "-o", options, "-w", "start")
    ended = stack.down(quiet)
    assert [one.part for one in ended].count("postgres") == 2
    assert processes_of(stack) == []


def test_a_half_made_cluster_is_made_anew(stack: Stack) -> None:
    stack.layout.make()
    half = stack.layout.home("postgres") / "data.making"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    stack.up(quiet)
    assert not half.exists()
    assert fill(stack.login(), documents=10, users=5).documents == 10


def test_no_new_cluster_is_made_where_one_was_set_aside(stack: Stack) -> None:
    stack.up(quiet)
    stack.down(quiet)
    home = stack.layout.home("postgres")
    (home / "data").rename(home / "data.before")
    with pytest.raises(SandboxError) as caught:
        stack.up(quiet)
    assert "data.before" in str(caught.value)
    assert "runbook resume" in str(caught.value)
    assert not (home / "data").exists()
    (home / "data.before").rename(home / "data")
    assert stack.up(quiet).running


def test_no_secret_in_an_argv_a_log_or_a_file_for_others(shared: Stack) -> None:
    secrets = [file.read_text().strip() for file in (shared.layout.directory / "secrets").iterdir()]
    assert len(secrets) == 5
    assert all(len(secret) == 64 for secret in secrets)
    told = b"".join(path.read_bytes() for path in (shared.layout.directory / "logs").iterdir())
    told += shared.layout.state.read_bytes() + shared.layout.environment.read_bytes()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                told += (entry / "cmdline").read_bytes()
            except OSError:
                continue
    assert b"weed" in told
    assert [secret for secret in secrets if secret.encode() in told] == []


def test_servers_never_run_as_root_and_listen_on_this_machine_only(shared: Stack) -> None:
    listening = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A":
            listening[fields[9]] = fields[1].split(":")[0]
    wide = [line.split()[9] for line in Path("/proc/net/tcp6").read_text().splitlines()[1:] if line.split()[3] == "0A"]
    for part in shared.status().parts:
        if part.name != "web":
            assert Path(f"/proc/{part.pid}").stat().st_uid != 0
        inodes = set()
        for handle in Path(f"/proc/{part.pid}/fd").iterdir():
            target = ""
            with suppress(OSError):  # closed meanwhile
                target = str(handle.readlink())
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
        assert inodes & listening.keys(), part.name
        assert {listening[inode] for inode in inodes & listening.keys()} == {"0100007F"}
        assert not inodes & set(wide)


def test_status_and_down_where_there_is_nothing(stack: Stack) -> None:
    assert [(part.address, part.running) for part in stack.status().parts] == [("", False)] * 4
    said: list[str] = []
    assert stack.down(said.append) == ()
    assert said == ["nothing runs: there is no sandbox here"]
    assert not stack.layout.directory.exists()


def test_remove_leaves_nothing_behind(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "sandbox")
    stack.up(quiet)
    servers, sockets = stack.layout.servers, stack.layout.sockets
    stack.remove(quiet)
    assert not stack.layout.directory.exists()
    assert not servers.exists()
    assert not sockets.exists()
    assert processes_of(stack) == []


def test_a_server_that_does_not_start_shows_its_log(stack: Stack) -> None:
    stack.up(quiet)
    stack.down(quiet)
    (stack.layout.home("postgres") / "data/postgresql.conf").write_text("no_such_setting = on\n")
    with pytest.raises(SandboxError) as caught:
        stack.up(quiet)
    assert caught.value.exit_code is ExitCode.FAILED
    assert "no_such_setting" in str(caught.value)
    assert "runbook sandbox" in caught.value.problems[0].fix
