"""Fault 35: retention by files' times. As the guides have it; then what `prune-backups` and `prune-base-backups` do there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.evidence.program import PLANS
from tests.evidence.servers import InContainer
from tests.evidence.stacks import CIVICQ, Stack, stack
from tests.evidence.witness import until
from tests.faults.house import House
from tests.faults.test_archiving import WITHIN_S, Yard, make

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["make"]

DONE, REFUSED = 0, 4
GUIDE_A = 'find "$STORE" -name "*.dump" -mtime +30 -delete'
NOW = datetime.now(UTC)


def dated(dump: Path, days: float) -> Path:
    """The backup, and all that it says of itself, as if it were so many days old; its file's time stays."""
    manifest = dump.with_name(f"{dump.name}.manifest.json")
    body: dict[str, Any] = json.loads(manifest.read_text())
    for key in ("started_at", "finished_at"):
        body[key] = (NOW - timedelta(days=days)).isoformat()
    manifest.write_text(json.dumps(body))
    return dump


def copied(first: Path, *ages: float) -> list[Path]:
    """The backup as if it had been made so many days ago, each time under a name of its own; itself it goes."""
    store, found = first.parent, []
    for number, days in enumerate(ages):
        name = f"made{number}.dump"
        for part in list(store.glob(f"{first.name}*")):
            other = part.with_name(part.name.replace(first.name, name))
            shutil.copytree(part, other) if part.is_dir() else shutil.copyfile(part, other)
        manifest = store / f"{name}.manifest.json"
        manifest.write_text(manifest.read_text().replace(first.name, name))
        found.append(dated(store / name, days))
    for part in list(store.glob(f"{first.name}*")):
        shutil.rmtree(part) if part.is_dir() else part.unlink()
    return found


def aged(path: Path, days: float) -> None:
    """The file's time."""
    at = time.time() - days * 86_400
    os.utime(path, (at, at))


def prune(house: House, *more: str) -> Any:
    return house.program.run("apply", PLANS / "prune-backups.yaml", "--env", house.environment(), *more)


def dumps(house: House) -> set[str]:
    return {path.name for path in house.store.glob("*.dump")}


def test_fault_35_the_last_good_backup_goes_when_its_day_comes(house: House) -> None:
    """The nightly dump has failed for a month; each night left its empty file, and retention went on."""
    good = dated(house.back_up(), 40)
    copy = good.read_bytes()
    aged(good, 40)
    for night in range(30):
        aged_file = house.store / f"night{night:02}.dump"
        aged_file.write_bytes(b"")
        aged(aged_file, night)
    assert house.guide(GUIDE_A).returncode == 0
    assert not good.exists()
    assert all(path.stat().st_size == 0 for path in house.store.glob("*.dump"))  # nothing is left to come back from

    good.write_bytes(copy)
    aged(good, 40)
    before = dumps(house)
    ran = prune(house, "-i", "daily=1", "-i", "weekly=0", "-i", "monthly=0", "-i", "max_delete=1")
    assert ran.code == DONE, ran.said
    assert dumps(house) == before
    assert prune(house).code == DONE
    good.write_bytes(copy[: len(copy) // 2])  # and where not even that one is whole, nothing is touched
    assert prune(house).code != DONE
    assert dumps(house) == before


def test_fault_35_a_file_that_was_copied_has_another_time_than_the_backup(house: House) -> None:
    """Old backups that were copied back from elsewhere are new files, and a new one that rsync brought may be an old file."""
    old, middle, new = copied(house.back_up(), 400, 45, 0.1)
    new_bytes = new.read_bytes()
    aged(new, 90)  # as the clock of the machine was that it came from
    assert house.guide(GUIDE_A).returncode == 0
    assert dumps(house) == {old.name, middle.name}
    new.write_bytes(new_bytes)

    inputs = ("-i", "daily=1", "-i", "weekly=1", "-i", "monthly=1")
    shown = house.program.run("plan", PLANS / "prune-backups.yaml", "--env", house.environment(), *inputs)
    assert shown.code == DONE, shown.said
    assert old.name in shown.stdout
    assert dumps(house) == {old.name, middle.name, new.name}
    ran = prune(house, *inputs)
    assert ran.code == DONE, ran.said
    assert dumps(house) == {middle.name, new.name}  # two stay, whatever the rules say
    assert [one.partition(" ")[0] for one in house.program.outputs("prune")["removed"]] == [old.name]
    assert sorted(path.name for path in house.store.iterdir() if path.name.startswith(old.name)) == []


@pytest.mark.parametrize("passage", [15, 35, 65])
def test_fault_35_killed_while_it_removes_and_resumed(house: House, passage: int) -> None:
    """It dies at that one of its journal's syncs: early, in the middle, and late among the files that it puts away."""
    made = copied(house.back_up(), *(31 * age + 1 for age in range(30)))
    kept = {path.name for path in made[:3]}
    rules = ("-i", "daily=0", "-i", "weekly=0", "-i", "monthly=3", "-i", "max_delete=1")
    killed = house.program
    killed.extra["RUNBOOK_CRASH"] = f"journal.after_sync:{passage}"
    running = killed.start("apply", PLANS / "prune-backups.yaml", "--env", house.environment(), *rules)
    assert running.wait(WITHIN_S) == -signal.SIGKILL
    assert 0 < put_away(house) < len(list(house.store.iterdir()))
    assert kept < dumps(house)
    resumed = house.program.run("resume", house.program.last)
    assert resumed.code == DONE, resumed.said
    assert dumps(house) == kept
    assert list(house.store.glob(".*")) == []
    assert {path.name.partition(".dump")[0] for path in house.store.iterdir()} == {"made0", "made1", "made2"}
    assert len(house.program.outputs("prune")["removed"]) == 27


def put_away(house: House) -> int:
    return sum(1 for _ in house.store.glob(".*.trash/*"))


def test_fault_35_wal_stays_as_far_back_as_the_oldest_base_backup(make: Any) -> None:
    """Base backups that have expired while their WAL is kept, or the other way round, lead nowhere."""
    yard: Yard = make(
        wal_level="replica", archive_mode="on", archive_command="test ! -e ARCHIVE/%f && cp %p ARCHIVE/%f"
    )
    for _ in range(3):
        time.sleep(1)  # a base backup is named by its second
        assert yard.apply("base-backup").code == DONE
        name = yard.closed()
        until(lambda: yard.archived(name), WITHIN_S, "it is archived")  # noqa: B023 - called at once
    before = sorted(path.name for path in yard.archive.glob("[0-9A-F]" * 24))
    ran = yard.apply("prune-base-backups", "-i", "weekly=0")
    assert ran.code == DONE, ran.said
    outputs = yard.program.outputs("prune")
    left = sorted(path.name for path in yard.archive.glob("[0-9A-F]" * 24))
    assert len(list(yard.folder.glob("bases/*.manifest.json"))) == 2
    assert left == [name for name in before if name >= outputs["wal_before"]]
    assert len(before) - len(left) == outputs["wal_files"] > 0
    checked = yard.apply("check-archive")
    assert "E793" not in checked.said and "E674" not in checked.said, checked.said
    assert yard.apply("prune-base-backups", "-i", "weekly=0").code == DONE
    assert left == sorted(path.name for path in yard.archive.glob("[0-9A-F]" * 24))


@pytest.mark.docker
@pytest.mark.slow
def test_fault_35_on_the_guides_stack(civicq: Stack) -> None:
    assert isinstance(civicq.server, InContainer)
    made = [dated(civicq.back_up(), 40 * age) for age in range(3)]
    ran = civicq.apply("prune-backups", "--confirm", "backups", "-i", "daily=1", "-i", "weekly=1", "-i", "monthly=1")
    assert ran.code == DONE, ran.said
    assert [path.exists() for path in made] == [True, True, False]


@pytest.mark.docker
@pytest.mark.slow
def test_fault_35_wal_in_a_container(docker_client: DockerClient) -> None:
    with stack(docker_client, CIVICQ, archive=True) as made:
        assert isinstance(made.server, InContainer)
        for _ in range(3):
            assert made.apply("base-backup").code == DONE
            made.sql("SELECT pg_current_xact_id()")
            closed = made.sql("SELECT pg_walfile_name(pg_switch_wal())")[0][0]
            archived = f"SELECT last_archived_wal >= '{closed}' FROM pg_stat_archiver"
            until(lambda: made.sql(archived) == [(True,)], WITHIN_S, "it is archived")  # noqa: B023 - called at once
            time.sleep(1)  # a base backup is named by its second
        ran = made.apply("prune-base-backups", "--confirm", "bases", "-i", "weekly=0")
        assert ran.code == DONE, ran.said
        outputs = made.program.outputs("prune")
        assert outputs["wal_files"] > 0
        left = made.server.run("ls", made.wal).decode().split()
        assert outputs["wal_before"] in left
        assert min(name for name in left if len(name) == 24) == outputs["wal_before"]
        assert len(list(made.bases.glob("*.tar.zst"))) == 2
