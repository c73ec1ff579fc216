"""Programs and people in whole runs: probes, questions that wait, checks after an answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from runbook.errors import ExitCode
from runbook.operation import Json
from runbook.runner.setting import Reply
from tests.actions.in_a_run import Rehearsal

HEAD = "runbook: 1\nname: try\nenvironment: {environment: test, systems: {}}\nsteps:\n"


def rehearsal(tmp_path: Path, *steps: Mapping[str, Json], replies: Mapping[str, Reply] | None = None) -> Rehearsal:
    """A run of these steps, in their order."""
    body = "".join(f"  - {json.dumps(step)}\n" for step in steps)
    return Rehearsal(HEAD + body, tmp_path / "state", replies or {})


def shell(step: str, **inputs: Json) -> dict[str, Json]:
    """A step that runs a program."""
    return {"id": step, "title": step, "uses": "shell.run", "timeout": "5m", "with": inputs}


def test_a_program_with_a_probe_succeeds_once_the_probe_says_so(tmp_path: Path) -> None:
    made = str(tmp_path / "made")
    run = rehearsal(tmp_path, shell("make", argv=["touch", made], probe=["test", "-e", made]))
    assert run.apply() is ExitCode.DONE
    assert run.planned["make"] == [["run"]]
    assert run.outputs("make")["exit_code"] == 0


def test_a_program_that_did_not_do_what_its_probe_asks_for_fails(tmp_path: Path) -> None:
    made = tmp_path / "made"
    run = rehearsal(tmp_path, shell("make", argv=["true"], probe=["test", "-e", str(made)]))
    assert run.apply() is ExitCode.FAILED
    assert "still left to change" in run.problem("make")
    made.touch()  # by hand
    assert run.resume() is ExitCode.DONE
    assert run.outputs("make") == {"exit_code": None, "stdout": "", "log": ""}


def test_a_manual_step_waits_and_its_check_follows(tmp_path: Path) -> None:
    made = tmp_path / "made"
    manual: dict[str, Json] = {
        "id": "order",
        "title": "Order a server",
        "uses": "manual",
        "timeout": "5m",
        "with": {
            "instructions": "Order it.",
            "fields": {"count": {"type": "integer"}},
            "verify": {"argv": ["test", "-e", str(made)]},
        },
    }
    run = rehearsal(tmp_path, manual, shell("use", argv=["echo", "{{ steps.order.answers.count + 1 }}"]))
    assert run.apply() is ExitCode.WAITING
    assert run.asked[0].instructions == "Order it."
    assert run.asked[0].questions == ({"name": "count", "type": "integer", "help": "", "choices": []},)

    run.replies = {"order": Reply(by="ada", fields={"count": "4"})}
    assert run.resume() is ExitCode.FAILED, "the check sees that it isn't there"
    run.replies = {}
    made.touch()
    assert run.resume() is ExitCode.DONE, "the answer is remembered"
    assert run.outputs("order") == {"answers": {"count": 4}, "by": "ada"}
    assert run.outputs("use")["stdout"] == "5\n"


@pytest.mark.parametrize("by", ["grace", "ada"])
def test_an_approval_takes_the_word_of_those_who_were_named(tmp_path: Path, by: str) -> None:
    approval: dict[str, Json] = {
        "id": "agreed",
        "title": "Agree",
        "uses": "approval",
        "timeout": "5m",
        "with": {"subject": "Lose the last hour", "approvers": ["ada"]},
    }
    run = rehearsal(tmp_path, approval)
    assert run.apply() is ExitCode.WAITING
    run.replies = {"agreed": Reply(by=by)}
    if by == "grace":
        assert run.resume() is ExitCode.WAITING
        return
    assert run.resume() is ExitCode.DONE
    assert run.outputs("agreed") == {"by": "ada", "subject": run.asked[0].subject}
