"""What is refused before a run begins."""

from __future__ import annotations

from pathlib import Path

from tests.cli.terminal import Terminal

PLAN = """\
runbook: 1
name: back
title: Choose late
inputs: {{accident: {{type: datetime, help: When it was}}}}
systems: {{backups: store}}
environment: {{environment: here, systems: {{backups: {{type: store, url: "file://{store}"}}}}}}
steps:
  - {{id: stop, title: Stop, uses: shell.run, with: {{argv: [touch, "{store}/stopped"]}}, timeout: 1m}}
  - {{id: pick, title: Pick, uses: backup.select, on: backups, with: {{before: "{{{{ inputs.accident }}}}"}}, timeout: 1m}}
"""


def test_an_accident_in_the_future_is_refused_before_anything_is_stopped(runbook: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "back.yaml"
    path.write_text(PLAN.format(store=tmp_path))
    told = runbook("apply", str(path), "-i", "accident=2999-02-14T12:00:00+01:00")
    assert told.code == 4
    assert "error[E672]: the moment is in the future" in told.err
    assert "accident is 2999-02-14T11:00:00Z; the run's beginning, by this machine's clock, is 20" in told.err
    assert "-i accident=…" in told.err
    assert not (tmp_path / "stopped").exists()
    assert not list(runbook.state.glob("runs/*")), "there is no run to abandon"
    shown = runbook("plan", str(path), "-i", "accident=2999-02-14T12:00:00+01:00")
    assert shown.code == 4
    assert "would stop here:" in shown.out and "E672" in shown.out
