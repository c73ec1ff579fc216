"""``runbook rehearse``, as it is typed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from runbook.cli.shipped import shipped_plan
from tests.cli.terminal import Terminal
from tests.cli.test_running import Typist

RESTORE = str(shipped_plan("restore-db"))


def test_a_plan_that_ships_is_rehearsed(runbook: Terminal) -> None:
    said = runbook("rehearse", RESTORE, "--env", "civicq-production")
    assert said.code == 0, said.err
    assert "A resume would ask nobody how a step ended." in said.out
    assert "does not hold with these inputs" in said.out, "the optional step"
    assert not (runbook.state / "runs").exists(), "a rehearsal is no run"


def test_json_is_one_object(runbook: Terminal) -> None:
    said = runbook("rehearse", RESTORE, "--env", "civicq-production", "--json", "--most", "3")
    assert said.json["held"] is True
    assert said.json["environment"] == "civicq-production"


def test_faults_of_the_plan_come_first(runbook: Terminal, tmp_path: Path) -> None:
    (tmp_path / "environments").mkdir()
    (tmp_path / "environments" / "lab.yaml").write_text("environment: lab\nsystems: {}\n")
    plan = tmp_path / "plan.yaml"
    plan.write_text("runbook: 1\nname: p\ntitle: T\nsteps:\n  - {id: a, uses: shell.runn}\n")
    said = runbook("rehearse", str(plan), "--env", "lab")
    assert said.code == 3
    assert "shell.runn" in said.err


def test_an_interrupt_ends_it(runbook: Terminal, tmp_path: Path) -> None:
    steps = "".join(f"  - {{id: s{n}, uses: shell.run, with: {{argv: [id]}}, timeout: 1m}}\n" for n in range(150))
    plan = tmp_path / "plan.yaml"
    plan.write_text(f"runbook: 1\nname: p\ntitle: T\nsteps:\n{steps}")
    env = tmp_path / "lab.yaml"
    env.write_text("environment: lab\nsystems: {}\n")
    typist = Typist("rehearse", str(plan), "--env", str(env), "--state", str(runbook.state))
    typist.until(b" rehearsed")
    os.kill(typist.pid, signal.SIGINT)
    assert typist.ended() == 130
    assert b"Traceback" not in typist.seen
