"""An input that turns out wrong in the middle of a run: what a resume can't mend is not sent to a resume."""

from __future__ import annotations

from pathlib import Path

from tests.cli.terminal import Terminal
from tests.cli.written import plan, shell

INPUTS = "inputs:\n  codes: {type: list, of: string, help: Exit codes that are good, default: [bad]}\n"


def test_a_wrong_input_names_the_way_out_and_offers_no_resume(runbook: Terminal, tmp_path: Path) -> None:
    path = Path(plan(tmp_path, shell("a", "exit 0"), shell("b", "exit 0", ok_codes="{{ inputs.codes }}")))
    path.write_text(path.read_text().replace("steps:\n", INPUTS + "steps:\n"))
    told = runbook("apply", str(path))
    name = runbook.run().name
    assert told.code == 1
    assert "E224: an input of the step is wrong" in told.out
    assert "the run keeps the plan and the inputs that it began with" in told.out
    way_out = f"→ runbook abandon {name} --reason …; then runbook apply {path} -i codes=VALUE"
    for page in (told, runbook("show")):
        assert way_out in page.out
        assert "runbook resume" not in page.out
        assert f"→ runbook abandon {name} --reason …   (a resume can't mend it: apply anew)" in page.out.splitlines()
    again = runbook("resume")
    assert (again.code, way_out in again.out) == (1, True)
    assert runbook("abandon", "last", "--reason", "a wrong input").code == 0
    assert runbook("apply", str(path), "-i", 'codes=["0"]').code == 0


def test_a_failure_beside_it_can_still_be_tried_again(runbook: Terminal, tmp_path: Path) -> None:
    wrong = shell("b", "exit 0", ok_codes="{{ inputs.codes }}") | {"needs": []}
    until_b_failed = f"until grep -q '\"step.failed\"' {runbook.state}/runs/*/journal.jsonl; do sleep 0.05; done"
    path = Path(plan(tmp_path, shell("a", f"{until_b_failed}; exit 1"), wrong))
    path.write_text(path.read_text().replace("steps:\n", INPUTS + "steps:\n"))
    told = runbook("apply", str(path))
    assert "✗ 1/2 Run a" in told.out and "✗ 2/2 Run b" in told.out
    assert f"→ runbook resume {runbook.run().name}" in told.out
