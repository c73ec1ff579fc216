"""The search has power: what is left on purpose is found, in each form, whole or in part, in files and in processes."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.canary.canaries import PART, WORD, Canary, channel, found, made, minted, several_lines
from tests.canary.ends import house
from tests.canary.house import ODD, House, fresh
from tests.canary.plans import CHILD
from tests.canary.watch import CHILD as MARK
from tests.canary.watch import ENGINE, Watch
from tests.fixtures.postgres import PostgresServer


@pytest.fixture
def empty(postgres_server: PostgresServer) -> Iterator[House]:
    """A house in which nothing has run."""
    with house(postgres_server) as standing:
        yield standing


@pytest.mark.parametrize(
    "place", ["state/runs/a/journal.jsonl", "state/runs/a/logs/x.log", "store/x", "out.1", "core", "../tmp/y"]
)
def test_what_is_left_in_a_file_is_found(place: str, empty: House) -> None:
    path = empty.work / place
    path.parent.mkdir(parents=True, exist_ok=True)
    for kind, canary in list(empty.canaries.items()):
        path.write_text(f"before {canary.value} after")
        assert kind in {leak[0] for leak in empty.search().leaks}


def test_a_minted_secret_is_found_outside_its_escrow_and_a_file_that_others_may_read_is_told(empty: House) -> None:
    escrow = empty.work / "state/runs/a/escrow"
    escrow.mkdir(parents=True, mode=0o700)
    (escrow / "new").write_text("correcthorsebatterystaple0123456789")
    (escrow / "new").chmod(0o600)
    for folder in (escrow.parent, escrow.parents[1], escrow.parents[2]):
        folder.chmod(0o700)
    quiet = empty.search()
    assert (quiet.leaks, quiet.open_to_others) == (frozenset(), ())
    log = escrow.parent / "log"
    log.write_text("and correcthorseba is a part of it")
    log.chmod(0o640)
    loud = empty.search()
    assert {leak[0] for leak in loud.leaks} == {"minted"}
    assert loud.open_to_others == ("work/state/runs/a/log",)


@pytest.mark.parametrize("shift", range(3))
def test_each_form_that_the_careless_program_prints_is_found(shift: int) -> None:
    spec = importlib.util.spec_from_file_location("careless", CHILD)
    assert spec is not None and spec.loader is not None
    careless = importlib.util.module_from_spec(spec)
    argv, sys.argv = sys.argv, ["child.py", "", "-", "0"]
    try:
        with pytest.raises(SystemExit):
            spec.loader.exec_module(careless)
    finally:
        sys.argv = argv
    for canary in (*fresh(1).values(), minted("a" * 30 + "b" * 30)):
        for form in careless.forms("-" * shift + canary.value):
            assert found(form.encode(), [canary]), form


def test_part_of_a_secret_is_found() -> None:
    for canary in (*(made(kind, between) for kind, between in ODD.items()), channel(1), several_lines()):
        begun = canary.value.index(canary.words[0]) + PART
        assert found(canary.value[:begun].encode(), [canary])
        assert found(canary.value[canary.value.index(canary.words[-1]) + WORD - PART :].encode(), [canary])
        assert not found(b"nothing of it, nor of " + os.urandom(2000), [canary])


@pytest.mark.parametrize(
    ("words", "environment", "leaks"),
    [
        (("VALUE",), {}, {"command line"}),
        ((), {"X": "VALUE"}, {"environment"}),
        ((), {"X": "VALUE", MARK: "other"}, {"environment"}),
        ((), {"X": "VALUE", ENGINE: "mine"}, {"environment"}),
        ((), {"X": "VALUE", MARK: "other,mine"}, set()),
        (("runbook.cli",), {"X": "VALUE", ENGINE: "mine"}, set()),
    ],
)
def test_what_a_process_shows_is_seen(words: tuple[str, ...], environment: dict[str, str], leaks: set[str]) -> None:
    canary = made("mine", " ")
    waiting = ["sh", "-c", "read line", "sh", *(word.replace("VALUE", canary.value) for word in words)]
    filled = {name: value.replace("VALUE", canary.value) for name, value in environment.items()}
    with subprocess.Popen(waiting, stdin=subprocess.PIPE, env={"PATH": os.environ["PATH"], **filled}) as process:
        watch = Watch((canary, Canary("unseen", "x", ("never-to-be-seen",))))
        while not (seen := watch.look()) and not watch.leaks:
            assert process.poll() is None  # it has begun, and may not show its words yet
        assert process.stdin is not None
        process.stdin.close()
    assert {place.split(" of ")[0] for _, _, place in watch.leaks} == leaks
    assert seen == (set() if leaks else {"mine"})


def test_a_process_that_becomes_another_program_is_told_as_what_it_became(monkeypatch: pytest.MonkeyPatch) -> None:
    canary = made("mine", " ")
    environment = f"X={canary.value}\0{ENGINE}=mine\0".encode()
    reads = iter((b"", environment, b"python\0-m\0runbook.cli\0", environment, b"python\0-m\0runbook.cli\0"))
    monkeypatch.setattr("tests.canary.watch._readable", lambda path: next(reads))
    watch = Watch((canary,))
    assert watch._process(Path("1")) == {"mine"}
    assert watch.leaks == set()


def test_the_watch_goes_round_by_itself(tmp_path: Path) -> None:
    with Watch(()) as watch:
        begun = watch.looks
        while watch.looks < begun + 2:
            watch.look()
    assert watch.leaks == set()
