"""What is frozen with a run: read again byte by byte, changes outside named, changes inside refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbook.cli.opening import open_order
from runbook.errors import JournalFault
from runbook.journal.layout import RunDir, make_run
from runbook.runner.execution import Order
from runbook.runner.frozen import edited, freeze, thaw

INNER = "runbook: 1\nname: inner\ntitle: Inner\nsteps: [{id: a, title: A, uses: shell.run, with: {argv: ['true']}}]\n"
PLAN = """\
runbook: 1
name: outer
title: Outer
environment: {environment: here}
steps:
  - id: part
    title: A part
    uses: ./inner.yaml
"""


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Order, RunDir, Path]:
    plans = tmp_path / "plans"
    plans.mkdir()
    (plans / "outer.yaml").write_text(PLAN)
    (plans / "inner.yaml").write_text(INNER)
    monkeypatch.chdir(tmp_path)
    order = open_order(plans / "outer.yaml", env="", given={}, state=tmp_path / "state")
    run = make_run(tmp_path / "state", "20260214-120000-outer-4f3a")
    freeze(run, order.plan, order.environment, root=order.root)
    return order, run, plans


def test_a_run_is_thawed_as_it_was_frozen(begun: tuple[Order, RunDir, Path]) -> None:
    order, run, plans = begun
    (plans / "inner.yaml").unlink()
    frozen = thaw(run)
    assert frozen.plan.digest == order.plan.digest
    assert [step.id for step in frozen.plan.steps] == [step.id for step in order.plan.steps]
    assert frozen.environment.name == "here"


def test_what_was_edited_since_is_named(begun: tuple[Order, RunDir, Path]) -> None:
    _, run, plans = begun
    assert edited(run) == ()
    (plans / "inner.yaml").write_text(INNER.replace("'true'", "'false'"))
    assert edited(run) == ("plans/inner.yaml",)
    (plans / "outer.yaml").unlink()
    assert edited(run) == ("plans/outer.yaml", "plans/inner.yaml")


def test_a_frozen_file_that_was_changed_is_refused(begun: tuple[Order, RunDir, Path]) -> None:
    _, run, _ = begun
    inner = next(run.frozen.glob("*inner.yaml"))
    inner.write_text(inner.read_text() + "# more\n")
    with pytest.raises(JournalFault, match="a frozen file of the run was changed"):
        thaw(run)


def test_a_run_that_ended_before_anything_was_frozen_has_nothing_edited(tmp_path: Path) -> None:
    run = make_run(tmp_path / "state", "20260214-120000-cut-4f3a")
    assert edited(run) == (), "what is wrong with it is for the resume to say"
