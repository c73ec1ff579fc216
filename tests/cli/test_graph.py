"""Plans as pictures, by the command."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from runbook.cli.main import run
from runbook.cli.shipped import shipped_plan

IMAGE = Path(__file__).parents[2] / "docs" / "images" / "restore-db.svg"


@pytest.mark.parametrize(
    ("form", "start"), [("mermaid", "flowchart TD\n"), ("dot", 'digraph "restore-db" {'), ("svg", "<svg xmlns")]
)
def test_each_form_is_printed(form: str, start: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["graph", str(shipped_plan("restore-db")), "--format", form]) == 0
    assert capsys.readouterr().out.startswith(start)


def test_the_picture_of_the_readme_is_the_plan_s(tmp_path: Path) -> None:
    drawn = tmp_path / "restore-db.svg"
    assert run(["graph", str(shipped_plan("restore-db")), "--format", "svg", "-o", str(drawn)]) == 0
    ET.parse(drawn)
    again = "runbook graph plans/restore-db.yaml --format svg -o docs/images/restore-db.svg"
    assert drawn.read_text() == IMAGE.read_text(), f"draw it again: {again}"


def test_a_plan_with_an_unknown_action_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(shipped_plan("backup-db").read_text().replace("uses: postgres.dump", "uses: postgres.dumb"))
    assert run(["graph", str(plan)]) == 3
    assert "unknown action" in capsys.readouterr().err
