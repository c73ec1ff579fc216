"""The environment file: valid for the program's own models, true, and without a secret."""

from __future__ import annotations

from pathlib import Path

from ruamel.yaml import YAML

from runbook.cli.opening import environment_at, read_plan
from runbook.cli.shipped import shipped_plan
from runbook.plan.environment import check_fits
from runbook.sandbox.stack import Stack
from runbook.system import SYSTEMS, Postgres, Store


def test_every_system_is_one_that_an_environment_may_name(shared: Stack) -> None:
    body = YAML(typ="safe").load(shared.status().environment.read_text())
    assert (body["environment"], body["live"]) == ("sandbox", False)
    assert body["inputs"] == {"writers": [], "probe": "SELECT count(*) FROM documents"}
    systems = {name: SYSTEMS[fields["type"]].model_validate(fields) for name, fields in body["systems"].items()}
    assert list(systems) == ["db", "cache", "app", "site", "backups", "bases", "evidence", "objects"]
    db, backups = systems["db"], systems["backups"]
    assert isinstance(db, Postgres)
    assert isinstance(backups, Store)
    assert (Path(db.binaries) / "pg_dump").is_file()
    assert (Path(db.data_directory) / "PG_VERSION").read_text() == "18\n"
    assert db.port == int(shared.status().part("postgres").address.rpartition(":")[2])
    assert db.archive == f"file://{shared.layout.archive}"
    assert Path(backups.directory).is_dir()


def test_the_shipped_plans_fit_it(shared: Stack) -> None:
    environment = environment_at(shared.status().environment)
    names = (
        *("backup-db", "verify-backup", "restore-db", "restore-rows", "prune-backups", "database-corruption"),
        *("base-backup", "enable-archiving", "check-archive", "find-change", "restore-db-pitr", "prune-base-backups"),
    )
    assert {name: check_fits(read_plan(shipped_plan(name)), environment) for name in names} == {
        name: [] for name in names
    }


def test_only_its_owner_may_read_it(shared: Stack) -> None:
    assert shared.status().environment.stat().st_mode & 0o777 == 0o600
