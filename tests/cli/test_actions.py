"""``runbook actions`` and ``runbook schema``: what they print, and what they say of a wrong word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runbook.catalogue import CATALOGUE
from runbook.cli import schema
from runbook.cli.main import run


def test_the_list_names_every_action(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["actions"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(CATALOGUE)


def test_one_action_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["actions", "postgres.dump"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("postgres.dump (creates)\n")
    assert "\nexample:\n  - id: dump\n" in said


def test_json_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["actions", "--json"]) == 0
    assert [action["name"] for action in json.loads(capsys.readouterr().out)] == list(CATALOGUE)
    assert run(["actions", "postgres.dump", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["on"] == "postgres"


def test_a_wrong_name_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["actions", "postgres.dmup"]) == 2
    assert "did you mean 'postgres.dump'?" in capsys.readouterr().err


def test_the_schemas_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema", "plan"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "A runbook plan"
    assert run(["schema", "environment"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "A runbook environment"
    assert run(["schema"]) == 2
    assert run(["schema", "plan", "--check"]) == 2


def test_stale_files_are_named_and_written_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert schema.write(tmp_path) == 0
    assert schema.check(tmp_path) == 0
    (tmp_path / "plan.json").write_text("{}\n")
    assert schema.check(tmp_path) == 1
    assert (
        capsys.readouterr().err
        == f"{tmp_path.name}/plan.json is not what the models say. Next: runbook schema --write\n"
    )
    assert schema.write(tmp_path) == 0
    assert schema.check(tmp_path) == 0
