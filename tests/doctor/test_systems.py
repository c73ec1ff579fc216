"""Systems that are asked at once: a store, what doesn't answer in time, what isn't there; and programs on this machine."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier

import pytest

from runbook.artifact import Format, Manifest, Piece
from runbook.doctor import systems as asked
from runbook.doctor.facts import Need, Seen, StoreFacts
from runbook.doctor.systems import Gatherer, at_once, needs_engine
from runbook.errors import Bug, Problem
from runbook.host import LOCAL, Docker, Ssh
from runbook.secret import FromEnv, FromFile
from runbook.system import Channel, ComposeProject, Machine, Postgres, Redis, Store, System, Web
from tests.fixtures.patience import LONGER_S, PATIENCE_S

MOMENT = datetime(2026, 2, 14, 12, tzinfo=UTC)


@pytest.fixture
def gatherer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gatherer]:
    """One that is patient with this machine; what doesn't answer here refuses at once."""
    monkeypatch.setattr(asked, "GIVEN_UP_AFTER_S", PATIENCE_S)
    made = Gatherer(within_s=PATIENCE_S)
    yield made
    made.close()


def ask(gatherer: Gatherer, *systems: System) -> list[Seen]:
    seen, _ = gatherer.ask({system.key: system for system in systems}, {}, changed=frozenset({"db"}))
    return list(seen)


def test_jobs_run_at_the_same_time_and_nobody_waits_for_the_last() -> None:
    gate = threading.Event()
    answered = Barrier(2)

    def answer(number: int) -> int:
        answered.wait(PATIENCE_S)  # the other one has begun too
        return number

    jobs = {"quick": lambda: answer(1), "late": lambda: int(gate.wait(600)), "other": lambda: answer(2)}
    for within_s in LONGER_S:
        found = at_once(jobs, within_s=within_s)
        if found["quick"] and found["other"]:
            break  # else the machine was too slow for them
        answered = Barrier(2)
    gate.set()
    assert found == {"quick": 1, "late": None, "other": 2}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_job_that_breaks_is_a_bug_of_ours() -> None:
    with pytest.raises(Bug, match="ended without an answer"):
        at_once({"broken": lambda: 1 // 0}, within_s=PATIENCE_S)


def backup(folder: Path, name: str, size: int, *, age_s: float) -> None:
    """A dump with its manifest, as old as that."""
    piece = Piece(path=name, bytes=size, sha256="0" * 64)
    made = Manifest(
        name=name, format=Format.CUSTOM, database="d", started_at=MOMENT, finished_at=MOMENT, pieces=(piece,)
    )
    (folder / name).write_bytes(b"x" * 10)
    manifest = folder / f"{name}.manifest.json"
    manifest.write_text(made.model_dump_json())
    os.utime(manifest, (time.time() - age_s,) * 2)


def test_a_store_tells_its_newest_backup(gatherer: Gatherer, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    backup(tmp_path, "old.dump", 100, age_s=500)
    backup(tmp_path, "new.dump", 4_000, age_s=5)
    (tmp_path / "foreign.sql").touch()
    (seen,) = ask(gatherer, Store(type="store", key="backups", url=f"file://{tmp_path}/"))
    assert (seen.problem, seen.says, seen.changed) == (None, str(tmp_path), False)
    assert isinstance(seen.detail, StoreFacts)
    assert (seen.detail.newest, seen.detail.newest_bytes, seen.detail.mode) == ("new.dump", 4_000, 0o700)
    assert (seen.detail.there, seen.detail.writable) == (True, True)
    assert seen.detail.free_bytes > 0


def test_a_store_that_is_not_there(gatherer: Gatherer, tmp_path: Path) -> None:
    (seen,) = ask(gatherer, Store(type="store", key="backups", url=f"file://{tmp_path}/none"))
    assert seen.detail == StoreFacts(there=False, writable=False)


def test_what_does_not_answer_says_so_with_a_remedy(gatherer: Gatherer) -> None:
    dead = 9  # the discard service: nobody has it
    systems: list[System] = [
        Postgres(type="postgres", key="db", address="127.0.0.1", port=dead, user="u", database="d"),
        Redis(type="redis", key="cache", address="127.0.0.1", port=dead),
        Web(type="web", key="site", url=f"http://127.0.0.1:{dead}"),
        Store(type="store", key="bucket", url="s3://b/p", endpoint=f"http://127.0.0.1:{dead}", region="x"),
        Store(type="store", key="other", url="gs://b/p"),
        Machine(type="host", key="far", at=Ssh("ops@db1")),
    ]
    seen = {one.system: one for one in ask(gatherer, *systems)}
    codes = {name: one.problem.code for name, one in seen.items() if one.problem}
    assert codes == {
        "db": "E311",
        "cache": "E957",
        "site": "E957",
        "bucket": "E345",
        "other": "E390",
        "far": "E390",
    }
    assert seen["db"].changed


def test_what_is_not_asked(gatherer: Gatherer) -> None:
    seen = ask(gatherer, Channel(type="channel", key="call", url=FromEnv("NOBODY")), Machine(type="host", key="here"))
    assert [one.problem for one in seen] == [None, None]
    assert seen[0].elapsed_s == 0
    assert seen[1].says.startswith("runs Linux")


def test_secrets_are_tried_and_never_told(gatherer: Gatherer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCTOR_PW", "correct-horse-battery")
    open_, shut = tmp_path / "open", tmp_path / "shut"
    for file in (open_, shut):
        file.write_text("correct-horse-battery")
        file.chmod(0o644 if file is open_ else 0o600)
    refs = (FromEnv("DOCTOR_PW"), FromEnv("DOCTOR_NONE"), FromFile(str(open_)), FromFile(str(shut)))
    systems = [Redis(type="redis", key=f"r{at}", password=ref) for at, ref in enumerate(refs)]
    found = gatherer.secrets(systems)
    assert [one.problem and one.problem.code for one in found] == [None, "E370", "E371", None]
    assert "correct-horse" not in json.dumps([str(one) for one in found])


def test_programs_of_this_machine(gatherer: Gatherer, tmp_path: Path) -> None:
    named = tmp_path / "bin with space"
    named.mkdir()
    tool = named / "pg_dump"
    tool.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 12.3'\n")
    tool.chmod(0o755)
    wanted = (Need(LOCAL, str(tool)), Need(LOCAL, "sh"), Need(LOCAL, "no-such-program"))
    _, found = gatherer.ask({}, {LOCAL: wanted}, changed=frozenset())
    programs = found[LOCAL]
    assert not isinstance(programs, Problem)
    assert (programs[str(tool)].path, programs[str(tool)].version) == (str(tool), "pg_dump (PostgreSQL) 12.3")
    assert programs["sh"].path.endswith("/sh")
    assert programs["no-such-program"].path == ""


def test_who_needs_an_engine() -> None:
    assert not needs_engine([Postgres(type="postgres", user="u", database="d"), Store(type="store", url="file:///x")])
    assert needs_engine([Redis(type="redis", host=Docker("cache"))])
    assert needs_engine([ComposeProject(type="compose", project="app")])
