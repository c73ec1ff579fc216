"""Documentation runs: every YAML block in it is a plan or an environment that loads, and plans keep the rules' errors away."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runbook.catalogue import CATALOGUE
from runbook.check.faults import faults
from runbook.errors import Severity
from runbook.plan.environment import load_environment
from runbook.plan.file import FrozenReader
from runbook.plan.load import load_plan

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
BLOCKS = [
    pytest.param(match[1], id=f"{page.relative_to(ROOT)}:{page.read_text()[: match.start()].count(chr(10)) + 1}")
    for page in PAGES
    for match in BLOCK.finditer(page.read_text())
]


@pytest.mark.parametrize("text", BLOCKS)
def test_every_yaml_block_loads(text: str) -> None:
    reader = FrozenReader({"block.yaml": text.encode()})
    if text.startswith("environment:"):
        assert load_environment("block.yaml", reader).systems
        return
    plan = load_plan("block.yaml", reader)
    assert plan.steps
    assert [p for p in faults(plan, CATALOGUE, None) if p.severity is Severity.ERROR] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert missing == []


def test_the_map_names_every_room() -> None:
    """docs/architecture.md names every module and folder directly below runbook/."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    rooms = [p for p in (ROOT / "runbook").iterdir() if not p.name.startswith(("_", "py.typed"))]
    names = [f"{room.name}/" if room.is_dir() else room.name for room in rooms]
    assert [name for name in sorted(names) if name not in text and name != "shipped/"] == []
