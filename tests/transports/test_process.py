"""Processes and pipelines under a real supervisor: results, bounds, secrets, users, and what a kill means."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path

import pytest

from runbook.errors import Bug
from runbook.host import LOCAL, Ssh
from runbook.operation import Hashing, Pipeline, Process, Ref, SecretFile, Stage
from runbook.secret import MASK, FromEnv
from runbook.transports.outcome import Failed, Lost, Outcome, Progress, Succeeded
from runbook.transports.supervisor.client import Supervisor
from runbook.transports.supervisor.processes import look
from runbook.transports.world import World
from tests.fixtures.patience import LONGER_S, PATIENCE_S, Gate, meanwhile
from tests.transports.conftest import Uses, problem_of

CANARY = "canary-7f3a9c-secret"


def failed(outcome: Outcome) -> str:
    assert isinstance(outcome, Failed), outcome
    return outcome.problem.render()


def test_a_process_gives_its_code_its_words_and_a_log(world: World, uses: Uses, run_directory: Path) -> None:
    operation = Process(name="p", argv=("sh", "-c", "cat; echo err >&2; exit 3"), stdin="in\n", ok_codes=(0, 3))
    outcome = world.perform(operation, uses("copy[a b]/1/1/p"))
    assert isinstance(outcome, Succeeded)
    log = outcome.fields["log"]
    assert outcome.fields == {"exit_code": 3, "stdout": "in\n", "stderr": "err\n", "log": log}
    assert log == "logs/copy[a_b].1.1.p.log"
    assert sorted((run_directory / str(log)).read_text().splitlines()) == ["err", "in"]


def test_another_code_is_a_failure_that_shows_the_last_words(world: World, uses: Uses) -> None:
    operation = Process(name="p", argv=("sh", "-c", "echo 'no space \x1b[2J' >&2; exit 4"))
    said = failed(world.perform(operation, uses()))
    assert "exit code 4" in said
    assert "no space \\x1b[2J" in said
    assert "less " in said


def test_a_program_that_is_not_there_was_never_started(world: World, uses: Uses) -> None:
    assert "not found in PATH" in failed(world.perform(Process(name="p", argv=("no-such-program",)), uses()))


@pytest.mark.parametrize("argument", ["x; touch CANARY", "$(touch CANARY)", "`touch CANARY`", "a\nb", "--", "*", ""])
def test_arguments_are_passed_literally(argument: str, world: World, uses: Uses, tmp_path: Path) -> None:
    operation = Process(name="p", argv=("printf", "%s", argument), cwd=str(tmp_path))
    outcome = world.perform(operation, uses())
    assert isinstance(outcome, Succeeded)
    assert outcome.fields["stdout"] == argument
    assert not (tmp_path / "CANARY").exists()


def test_a_late_value_fills_an_argument_and_cannot_become_an_option(world: World, uses: Uses) -> None:
    operation = Process(name="p", argv=("echo", Ref("a", "f")))
    good = world.perform(operation, uses(results={"a": {"f": 5}}))
    assert isinstance(good, Succeeded)
    assert good.fields["stdout"] == "5\n"
    assert "read as an option" in failed(world.perform(operation, uses("s/1/1/q", results={"a": {"f": "-rf"}})))


def test_the_environment_is_an_allowlist(world: World, uses: Uses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    outcome = world.perform(Process(name="p", argv=("env",), env=(("OWN", "yes"),)), uses())
    assert isinstance(outcome, Succeeded)
    names = {line.partition("=")[0] for line in str(outcome.fields["stdout"]).splitlines()}
    assert {"PATH", "LC_ALL", "OWN"} <= names
    assert "AWS_SECRET_ACCESS_KEY" not in names


def test_a_secret_is_in_no_argv_no_result_and_no_log(
    world: World, uses: Uses, run_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", CANARY)
    gate = Gate(tmp_path / "gate")
    seen: set[bytes] = set()
    done, spotted = threading.Event(), threading.Event()

    def watch() -> None:
        while not done.is_set():
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(line := entry.read_bytes())
                except OSError:
                    continue
                if b"stat -Lc" in line:
                    spotted.set()
            time.sleep(0.001)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    script = f'stat -Lc %a "$SERVICE"; cat "$SERVICE"; echo "$PASSWORD" >&2; {gate.wait}'
    operation = Process(
        name="p",
        argv=("sh", "-c", script),
        env=(("PASSWORD", FromEnv("CANARY")), ("SERVICE", SecretFile(("password=", FromEnv("CANARY"), "\n")))),
    )
    try:
        with meanwhile(spotted.is_set, gate.open):
            outcome = world.perform(operation, uses())
    finally:
        done.set()
        watcher.join()
    assert isinstance(outcome, Succeeded)
    assert outcome.fields["stdout"] == f"600\npassword={MASK}\n"
    assert outcome.fields["stderr"] == f"{MASK}\n"
    assert any(b"stat -Lc" in line for line in seen)
    assert not any(CANARY.encode() in line for line in seen)
    kept = b"".join(path.read_bytes() for path in run_directory.rglob("*") if path.is_file())
    assert CANARY.encode() not in kept


@pytest.mark.parametrize(("reads", "kind"), [(True, Failed), (False, Lost)])
def test_a_timeout_is_unknown_unless_it_only_read(reads: bool, kind: type[Outcome], world: World, uses: Uses) -> None:
    for number, within_s in enumerate(LONGER_S):
        sleeper = Process(name="p", argv=("sleep", "600"), reads=reads)
        outcome = world.perform(sleeper, uses(f"step/1/{number}/op", within_s=within_s))
        if "over before it began" not in problem_of(outcome):
            break
    assert isinstance(outcome, kind)
    assert "did not end in time" in problem_of(outcome)


@pytest.mark.parametrize(("reads", "kind"), [(True, Failed), (False, Lost)])
def test_so_is_a_kill_by_somebody_else(reads: bool, kind: type[Outcome], world: World, uses: Uses) -> None:
    assert isinstance(world.perform(Process(name="p", argv=("sh", "-c", "kill -9 $$"), reads=reads), uses()), kind)


def test_a_stop_ends_the_whole_tree(world: World, uses: Uses, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    script = f"sh -c 'echo $$ > {file}; exec sleep 600' & wait"
    with meanwhile(lambda: file.exists() and file.read_text(), lambda: world.stop("step", 2.0)):
        outcome = world.perform(Process(name="p", argv=("sh", "-c", script)), uses())
    assert isinstance(outcome, Lost)
    pid = int(file.read_text())
    facts = look(pid)
    assert facts is None or not facts.lives, "ended; whether somebody has waited for it is not the program's affair"


def test_a_stop_on_the_way_to_the_start_ends_it(
    world: World, uses: Uses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supervisor takes its time to come up. A stop that comes meanwhile finds nothing to end yet, and is kept."""
    slow = world.supervisor

    def stopped_meanwhile() -> Supervisor:
        found = slow()
        world.stop("step", 1.0)
        return found

    monkeypatch.setattr(world._processes, "_supervisor", stopped_meanwhile)
    outcome = world.perform(Process(name="p", argv=("sleep", "600")), uses(within_s=PATIENCE_S))
    assert isinstance(outcome, Lost)
    assert "ended on request" in outcome.problem.detail


def test_a_stop_before_the_start_starts_nothing(world: World, uses: Uses, tmp_path: Path) -> None:
    world.stop("step", 1.0)
    outcome = world.perform(Process(name="p", argv=("touch", str(tmp_path / "x"))), uses())
    assert isinstance(outcome, Failed)
    assert not (tmp_path / "x").exists()


def test_ssh_is_refused_before_anything_runs(world: World, uses: Uses) -> None:
    said = failed(world.perform(Process(name="p", argv=("ls",), host=Ssh("ops@db1")), uses()))
    assert "E390" in said
    assert "not built yet" in said


@pytest.mark.root
def test_a_user_is_taken_on(world: World, uses: Uses) -> None:
    outcome = world.perform(
        Process(name="p", argv=("sh", "-c", "id -u; id -g; id -G; echo $HOME"), user="nobody"), uses()
    )
    assert isinstance(outcome, Succeeded)
    assert outcome.fields["stdout"] == "65534\n65534\n65534\n/nonexistent\n"
    numbered = world.perform(Process(name="p", argv=("id", "-u"), user="1234:1234"), uses("s/1/1/q"))
    assert isinstance(numbered, Succeeded)
    assert numbered.fields["stdout"] == "1234\n"
    assert "no such user" in failed(world.perform(Process(name="p", argv=("id",), user="nobody-here"), uses("s/1/1/r")))


def test_a_pipeline_hashes_counts_and_tells_how_far_it_is(world: World, uses: Uses, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "in").write_bytes(data)
    operation = Pipeline(
        name="p",
        source=str(tmp_path / "in"),
        stages=(Stage(argv=("gzip", "-c")), Stage(argv=("sh", "-c", "sleep 0.6; exec gunzip -c"))),
        sink=str(tmp_path / "out.partial"),
        expect_sha256=hashlib.sha256(data).hexdigest(),
        total_bytes=len(data),
    )
    outcome = world.perform(operation, uses())
    assert isinstance(outcome, Succeeded), outcome
    assert (outcome.fields["bytes"], outcome.fields["exit_codes"]) == (len(data), "0 0")
    assert (tmp_path / "out.partial").read_bytes() == data
    assert all(isinstance(one, Progress) and one.total == len(data) for one in uses.progress)


def test_a_wrong_checksum_is_a_failure_with_both_sums(world: World, uses: Uses, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"abc")
    operation = Pipeline(
        name="p", source=str(tmp_path / "in"), hashing=Hashing.SOURCE, expect_sha256="00" * 32, reads=True
    )
    said = failed(world.perform(operation, uses()))
    assert hashlib.sha256(b"abc").hexdigest() in said
    assert f"{tmp_path}/in\n" in said, "which file it is"
    assert "00" * 32 in said


def test_files_that_changed_are_named_and_the_program_that_found_them_is_not_blamed(
    world: World, uses: Uses, tmp_path: Path
) -> None:
    sums = []
    for name in ("a", "b", "gone"):
        (tmp_path / name).write_text(name)
        sums.append(f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n")
    (tmp_path / "sums").write_text("".join(sums))
    argv = ("sha256sum", "--check", "--strict", "--quiet", "--", str(tmp_path / "sums"))
    operation = Process(name="p", argv=argv, cwd=str(tmp_path), reads=True)
    assert isinstance(world.perform(operation, uses("s/1/1/whole")), Succeeded)
    (tmp_path / "b").write_text("B")
    (tmp_path / "gone").unlink()
    outcome = world.perform(operation, uses("s/1/1/changed"))
    assert isinstance(outcome, Failed)
    assert outcome.problem.code == "E303"
    assert outcome.problem.detail.splitlines() == [f"in {tmp_path}:", "b: FAILED", "gone: FAILED open or read"]
    assert "choose another one" in outcome.problem.fix


def test_any_stage_that_fails_fails_the_pipeline(world: World, uses: Uses, tmp_path: Path) -> None:
    operation = Pipeline(
        name="p",
        stages=(Stage(argv=("sh", "-c", "echo part; exit 2")), Stage(argv=("cat",))),
        sink=str(tmp_path / "o.partial"),
    )
    said = failed(world.perform(operation, uses()))
    assert "exit code 2" in said


def test_a_sink_without_its_partial_name_is_a_bug(world: World, uses: Uses, tmp_path: Path) -> None:
    with pytest.raises(Bug):
        world.perform(Pipeline(name="p", stages=(Stage(argv=("true",)),), sink=str(tmp_path / "final")), uses())


def test_a_daemon_may_stay(world: World, uses: Uses, tmp_path: Path) -> None:
    script = f"setsid sleep 600 >/dev/null 2>&1 </dev/null & echo $! > {tmp_path}/pid"
    outcome = world.perform(Process(name="p", argv=("sh", "-c", script), daemon=True, host=LOCAL), uses())
    assert isinstance(outcome, Succeeded)
    pid = int((tmp_path / "pid").read_text())
    os.kill(pid, 9)
