"""Secrets: read from their places, refused where others could read them, minted once."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from runbook.operation import Generate
from runbook.secret import MASK, FromCommand, FromEnv, FromEscrow, FromFile, Redactor, SecretRef
from runbook.transports import secrets
from runbook.transports.outcome import Succeeded
from runbook.transports.secrets import SecretStore
from runbook.transports.trouble import Trouble
from runbook.transports.world import World
from tests.fixtures.patience import eventually
from tests.transports.conftest import Uses
from tests.transports.supervisor.conftest import alive, written

VALUE = "correct-horse-battery"


@pytest.fixture
def store(run_directory: Path, redactor: Redactor) -> SecretStore:
    return SecretStore(run_directory, redactor)


def refused(store: SecretStore, ref: SecretRef) -> str:
    with pytest.raises(Trouble) as caught:
        store.reveal(ref)
    return caught.value.problem.render()


def test_each_place_gives_its_value_and_the_redactor_knows_it(
    store: SecretStore, redactor: Redactor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S", VALUE + "-1")
    (tmp_path / "s").write_text(VALUE + "-2\n")
    (tmp_path / "s").chmod(0o400)
    found = [
        store.reveal(FromEnv("S")),
        store.reveal(FromFile(str(tmp_path / "s"))),
        store.reveal(FromCommand(("printf", f"{VALUE}-3\n"))),
    ]
    assert [one.reveal() for one in found] == [f"{VALUE}-{n}" for n in (1, 2, 3)]
    assert redactor(f"a {VALUE}-1 b {VALUE}-2 c {VALUE}-3") == f"a {MASK} b {MASK} c {MASK}"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o660])
def test_a_file_that_others_may_read_is_refused_with_the_remedy(mode: int, store: SecretStore, tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text(VALUE)
    path.chmod(mode)
    said = refused(store, FromFile(str(path)))
    assert f"mode {mode:04o}" in said
    assert f"chmod 0600 {path}" in said
    assert VALUE not in said


def test_a_command_that_does_not_end_is_ended_with_all_that_it_started(
    store: SecretStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "COMMAND_TIMEOUT_S", 1.0)
    pid = tmp_path / "pid"
    for script in ("sh -c 'echo $$ >$0; exec sleep 600' {pid} | cat", "sleep 600 & echo $! >{pid}"):
        said = refused(store, FromCommand(("sh", "-c", script.replace("{pid}", str(pid)))))
        assert "did not end within 1 s" in said
        if written(pid):  # it had the time for that
            eventually(lambda: not alive(int(pid.read_text())))


def test_a_command_that_prints_without_end_is_ended_at_once(store: SecretStore) -> None:
    began = time.monotonic()
    assert "printed too much" in refused(store, FromCommand(("yes",)))
    assert time.monotonic() - began < secrets.COMMAND_TIMEOUT_S


@pytest.mark.root
def test_a_file_of_another_user_is_refused(store: SecretStore, tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text(VALUE)
    path.chmod(0o600)
    os.chown(path, 1234, 1234)
    assert "belongs to user 1234" in refused(store, FromFile(str(path)))


def test_what_is_missing_or_odd_is_refused_without_showing_it(store: SecretStore, tmp_path: Path) -> None:
    assert "NOT_THERE is not set" in refused(store, FromEnv("NOT_THERE"))
    assert "No such file" in refused(store, FromFile(str(tmp_path / "x")))
    assert f"{Path.cwd()}/nowhere/x: No such file" in refused(store, FromFile("nowhere/x"))
    assert "not a regular file" in refused(store, FromFile(str(tmp_path)))
    assert "exit code 3" in refused(store, FromCommand(("sh", "-c", f"echo {VALUE}; echo {VALUE} >&2; exit 3")))
    assert VALUE not in refused(store, FromCommand(("sh", "-c", f"echo {VALUE}; echo {VALUE} >&2; exit 3")))
    assert "gave nothing" in refused(store, FromCommand(("true",)))
    assert "`no-such-program`: " in refused(store, FromCommand(("no-such-program",)))
    for name in ("../x", "", ".hidden"):
        assert "can't be the name" in refused(store, FromEscrow(name))


def test_a_minted_secret_is_kept_and_never_shown(
    world: World, uses: Uses, run_directory: Path, redactor: Redactor
) -> None:
    operation = Generate(name="g", escrow="new", length=40)
    first = world.perform(operation, uses())
    path = run_directory / "escrow" / "new"
    value = path.read_text()
    assert first == Succeeded({"escrow": "new", "created": True})
    assert len(value) == 40
    assert value.isalnum()
    assert path.stat().st_mode & 0o7777 == 0o600
    assert path.parent.stat().st_mode & 0o7777 == 0o700
    assert redactor(value) == MASK
    assert world.perform(operation, uses()) == Succeeded({"escrow": "new", "created": False})
    assert path.read_text() == value


def test_a_command_does_not_see_the_engines_secrets(store: SecretStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    assert (
        store.reveal(FromCommand(("sh", "-c", "echo ${AWS_SECRET_ACCESS_KEY:-nothing-here}"))).reveal()
        == "nothing-here"
    )


def test_what_costs_nothing_to_read_is_masked_before_its_first_use(
    store: SecretStore, run_directory: Path, redactor: Redactor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S", VALUE + "-1")
    asked, open_to_others, mine = tmp_path / "asked", tmp_path / "open", tmp_path / "mine"
    for path, mode in ((open_to_others, 0o644), (mine, 0o600)):
        path.write_text(f"{VALUE}-{path.name}")
        path.chmod(mode)
    store.generate("minted", 30)
    minted = (run_directory / "escrow" / "minted").read_text()
    fresh = Redactor()
    refs = (FromEnv("S"), FromEnv("NOT_THERE"), FromFile(str(mine)), FromFile(str(open_to_others)))
    SecretStore(run_directory, fresh).watch_for((*refs, FromCommand(("touch", str(asked)))))
    said = f"{VALUE}-1 {VALUE}-mine {VALUE}-open {minted}"
    assert fresh(said) == f"{MASK} {MASK} {VALUE}-open {MASK}"
    assert not asked.exists()


def test_a_variable_that_is_no_text_is_refused(store: SecretStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S", os.fsdecode(b"correct-\xff-horse"))
    assert "did not give UTF-8 text" in refused(store, FromEnv("S"))
