"""The program itself, typed as a person types: exit codes, and what `runbook show` says after each command."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal
from tests.outcomes.program import HEAD, REFUSED, TYPED

GOLDEN = Path(__file__).parent / "golden_program"


@pytest.mark.parametrize("name", TYPED)
def test_what_is_typed_ends_as_it_has_to_and_show_says_it(name: str, runbook: Terminal, tmp_path: Path) -> None:
    case = TYPED[name]
    plan = tmp_path / "repair.yaml"
    plan.write_text(HEAD + case.plan.replace("{there}", str(tmp_path)))
    pages = ""
    for command, code in case.typed:
        if command.startswith("touch "):
            (tmp_path / command.removeprefix("touch ")).touch()
            continue
        words = [str(plan) if word == "PLAN" else "last" if word == "RUN" else word for word in command.split()]
        assert runbook(*words).code == code, command
        pages += f"# runbook {command}: exit code {code}\n{_plain(runbook('show').out, tmp_path)}\n"
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(pages, encoding="utf-8")
    assert pages == golden.read_text(encoding="utf-8")


def test_json_says_what_each_command_would_do(runbook: Terminal, tmp_path: Path) -> None:
    plan = tmp_path / "repair.yaml"
    plan.write_text(HEAD + TYPED["held"].plan.replace("{there}", str(tmp_path)))
    assert runbook("apply", str(plan)).code == 1
    run = runbook.run().name
    told = runbook("show", "--json").json
    ways = told["ways"]
    assert isinstance(ways, list)
    shown = [way for way in ways if isinstance(way, dict)]
    assert [(way["kind"], way["step"], way["command"]) for way in shown] == [
        ("resume", None, f"runbook resume {run}"),
        ("skip", "work", f"runbook resume {run} --skip work --reason …"),
        ("abandon", None, f"runbook abandon {run} --reason …"),
    ]
    assert shown[0]["does"] == ["takes stop again, tries work again, releases stop (start), begins after"]
    assert told["open_holds"] == ["stop"]
    runbook("abandon", "last", "--reason", "enough")
    assert runbook("show", "--json").json["ways"] == []


def test_a_plan_that_can_not_be_meant_runs_nothing(runbook: Terminal, tmp_path: Path) -> None:
    plan = tmp_path / "repair.yaml"
    plan.write_text(HEAD + REFUSED)
    for command in ("validate", "apply"):
        told = runbook(command, str(plan))
        assert (told.code, "E147" in told.err + told.out) == (3, True)
    assert not (runbook.state / "runs").exists()


def _plain(page: str, there: Path) -> str:
    """The page without what is another one each time: the run's id, instants, durations, the directory, the user."""
    page = re.sub(r"\d{8}-\d{6}-repair-[0-9a-f]{4}", "RUN", page.replace(str(there), "/there"))
    page = re.sub(r"begun \S+ by \S+", "begun THEN by USER", page)
    page = re.sub(r"; by \S+\)", "; by USER)", page)
    return re.sub(r"\b\d+\.\d+s\b", "0.0s", page)
