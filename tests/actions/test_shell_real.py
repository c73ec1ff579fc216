"""shell.run with real programs under the run's supervisor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runbook.action import Done
from runbook.actions.shell import Exited, Run, RunInputs
from runbook.operation import Fields
from tests.actions.harness import Stage, StepFailed


def run(stage: Stage, **written: Any) -> Exited:
    """Go through a step; what closes it may ask the probe."""
    inputs = RunInputs.model_validate(written)
    scope = stage.scope()
    results: dict[str, Fields] = {}
    for operation in Run().plan(None, inputs, Run().observe(stage.look, None, inputs, scope), scope):
        stage.perform(operation, results, scope)
    facts = Run().observe(stage.look, None, inputs, replace(scope, resumed=True))
    return Run().verify(stage.look, None, inputs, Done(facts, results))


def test_outputs(stage: Stage) -> None:
    ended = run(stage, argv=["printf", "%s|", "a b", "$HOME", "*"])
    assert (ended.exit_code, ended.stdout) == (0, "a b|$HOME|*|")
    assert ended.log


def test_input_environment_and_codes(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBOOK_TEST_TOKEN", "a token of some length")
    ended = run(
        stage,
        script='cat; echo "$LEVEL ${#TOKEN}"; exit 3',
        shell=True,
        stdin="from the plan\n",
        env={"LEVEL": 7, "TOKEN": {"env": "RUNBOOK_TEST_TOKEN"}},
        ok_codes=[3],
    )
    assert (ended.exit_code, ended.stdout) == (3, "from the plan\n7 22\n")


def test_a_script_stops_at_its_first_failure(stage: Stage, tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="no such thing"):
        run(stage, script=f"echo no such thing >&2; false; touch {tmp_path}/after", shell=True)
    with pytest.raises(StepFailed):
        run(stage, script=f'touch "$UNSET_BY_ALL"; touch {tmp_path}/after', shell=True)
    assert not (tmp_path / "after").exists()


def test_a_probe_says_what_a_resume_finds_done(stage: Stage, tmp_path: Path) -> None:
    made = tmp_path / "made"
    written = {"argv": ["touch", str(made)], "probe": ["test", "-e", str(made)]}
    run(stage, **written)
    inputs = RunInputs.model_validate(written)
    resumed = replace(stage.scope(), resumed=True)
    assert Run().plan(None, inputs, Run().observe(stage.look, None, inputs, resumed), resumed) == ()
