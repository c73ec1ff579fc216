"""Plans and environments that are not where they were looked for: what is meant instead."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runbook.cli import main
from tests.cli.terminal import Said, Terminal

PLAN = "runbook: 1\nname: look\nsystems: {site: web}\nsteps:\n- {id: look, uses: http.check, on: site, timeout: 1m}\n"
LAB = "environment: lab\nsystems: {site: {type: web, url: 'http://127.0.0.1:1'}}\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with ``plans/look.yaml`` and ``plans/environments/lab.yaml``."""
    folder = tmp_path / "plans"
    (folder / "environments").mkdir(parents=True)
    (folder / "look.yaml").write_text(PLAN)
    (folder / "environments" / "lab.yaml").write_text(LAB)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("command", ["plan", "apply", "validate"])
def test_a_plan_that_is_not_there(runbook: Terminal, command: str) -> None:
    for typed, fix in (
        ("plans/lok.yaml", "did you mean 'plans/look.yaml'?"),
        ("plans/look", "did you mean 'plans/look.yaml'?"),
        ("plans/restore.yaml", "check the path"),
        ("nowhere/x.yaml", "check the path"),
    ):
        said = runbook(command, typed)
        assert said.code == 2
        assert "error[E205]: there is no such plan" in said.err
        assert fix in said.err


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("command", ["plan", "apply", "validate"])
def test_a_folder_is_not_a_plan(runbook: Terminal, command: str) -> None:
    said = runbook(command, "plans")
    assert said.code == 2
    assert "error[E205]: a folder is not a plan" in said.err
    assert "plans/*.yaml" in said.err


def test_an_environment_that_is_not_there(runbook: Terminal, here: Path) -> None:
    said = runbook("plan", "plans/look.yaml", "--env", "lap")
    assert said.code == 3
    assert "looked for environments/lap.yaml beside plans/look.yaml" in said.err
    assert "did you mean 'lab'?" in said.err
    assert "→ known: lab\n" in runbook("plan", "plans/look.yaml", "--env", "production").err
    (here / "plans" / "environments" / "lab.yaml").unlink()
    assert "→ --env PATH\n" in runbook("plan", "plans/look.yaml", "--env", "production").err


@pytest.mark.usefixtures("here")
def test_a_sandbox_that_is_not_there_is_brought_up(runbook: Terminal) -> None:
    said = runbook("plan", "plans/look.yaml", "--env", "sandbox")
    assert said.code == 3
    assert "error[E162]: the sandbox is not there" in said.err
    assert "→ runbook sandbox up" in said.err
    (runbook.state / "sandbox").mkdir(parents=True)
    (runbook.state / "sandbox" / "environment.yaml").write_text(LAB.replace("lab", "sandbox"))
    assert "did you mean 'sandbox'?" in runbook("plan", "plans/look.yaml", "--env", "sandbx").err


@pytest.mark.parametrize("typed", [("--env", "sandbox"), ("--env", "{state}/sandbox/environment.yaml"), ()])
def test_an_environment_that_this_user_may_not_read(
    runbook: Terminal, here: Path, typed: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bool:
        if "sandbox" in path.parts:
            raise PermissionError(13, "Permission denied")
        return os.path.exists(path)  # noqa: PTH110

    monkeypatch.setattr(Path, "exists", refuse)  # root may read everything
    said = runbook("plan", "plans/look.yaml", *(each.format(state=runbook.state) for each in typed))
    assert said.code == 3
    assert "error[E100]: the file can't be read" in said.err
    assert "environment.yaml: Permission denied." in said.err


def test_inputs_that_do_not_fit_each_other_are_told_with_the_step(runbook: Terminal, tmp_path: Path) -> None:
    (tmp_path / "find.yaml").write_text(
        "runbook: 1\nname: find\ninputs: {since: {type: datetime}}\n"
        "environment: {environment: here, systems: {db: {type: postgres, host: local, user: a, database: a}}}\n"
        "systems: {db: postgres}\nsteps:\n- {id: find, uses: postgres.find_change, on: db, timeout: 1m,"
        " with: {since: '{{ inputs.since }}', until: '2026-01-01T00:00:00Z'}}\n"
    )
    said = runbook("apply", str(tmp_path / "find.yaml"), "-i", "since=2026-02-01T00:00:00Z")
    assert said.code != 0
    assert "step find: until has to be later than since" in said.out + said.err


@pytest.mark.usefixtures("here")
def test_an_environment_file_that_is_not_there(runbook: Terminal) -> None:
    said = runbook("plan", "plans/look.yaml", "--env", "nowhere/x.yaml")
    assert said.code == 3
    assert "error[E100]: the file can't be read" in said.err
    assert "nowhere/x.yaml" in said.err


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("command", ["plan", "apply", "validate", "graph", "rehearse"])
def test_a_plan_and_an_environment_are_told_apart(runbook: Terminal, command: str) -> None:
    typed = [command, "plans/environments/lab.yaml", *([] if command != "graph" else ["-o", "/dev/null"])]
    code = main.run(typed) if command == "graph" else runbook(*typed).code
    assert code == 3


@pytest.mark.usefixtures("here")
def test_what_is_taken_for_the_other_kind_of_file_is_one_mistake(runbook: Terminal) -> None:
    said = runbook("plan", "plans/environments/lab.yaml")
    assert (
        said.err.splitlines()[0] == "plans/environments/lab.yaml:1:1: error[E107]: this is an environment, not a plan"
    )
    assert "name the plan, and give this with --env plans/environments/lab.yaml" in said.err
    assert said.err.count("error[") == 1
    said = runbook("plan", "plans/look.yaml", "--env", "plans/look.yaml")
    assert said.err.splitlines()[0] == "plans/look.yaml:1:1: error[E107]: this is a plan, not an environment"
    assert said.err.count("error[") == 1


@pytest.mark.parametrize("name", ["-", "pipe", "/dev/stdin"])
def test_a_plan_comes_from_no_pipe(runbook: Terminal, here: Path, name: str) -> None:
    os.mkfifo(here / "pipe")
    said = runbook("plan", name)
    assert said.code == 2
    assert "error[E205]" in said.err
    assert "→ write it to a file, and name that\n" in said.err


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("option", "shown"), [("--env", "--env"), ("-e", "--env"), ("--state", "--state")])
def test_an_option_whose_value_is_empty_chooses_nothing(runbook: Terminal, option: str, shown: str) -> None:
    said = runbook("plan", "plans/look.yaml", *(["--env", "lab"] if option == "--state" else []), option, "")
    if option == "--state":  # the fixture names a directory after it
        said = Said(main.run(["runs", "--state", ""]), "", runbook.capture.readouterr().err)
    assert said.code == 2
    assert said.err.splitlines()[0] == f"error[E215]: {shown} has no value"


@pytest.mark.usefixtures("here")
def test_an_environment_without_a_plan_is_looked_for_in_a_folder_that_is_named(runbook: Terminal, here: Path) -> None:
    said = runbook("doctor", "--env", "lap")
    assert said.code == 3
    assert f"looked for environments/lap.yaml in {here}/plans, and in the folders above" in said.err
