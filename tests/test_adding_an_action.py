"""The page on adding an action, followed to the letter in a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```python file=(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _run(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTEST_XDIST_WORKER", None)
    command = [sys.executable, "-P", *arguments]
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=600, check=False)


def test_the_page_holds_word_for_word(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    ignore = shutil.ignore_patterns("__pycache__", ".*_cache")
    for folder in ("runbook", "tests", "plans"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", copy)
    text = (ROOT / "docs" / "adding-an-action.md").read_text()
    files = BLOCK.findall(text)
    assert [name for name, _ in files] == ["runbook/actions/maintenance.py", "tests/actions/test_maintenance.py"]
    for name, content in files:
        assert not (copy / name).exists()
        (copy / name).write_text(content)

    tested = _run(
        copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests/actions/test_maintenance.py"
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "4 passed" in tested.stdout

    shown = _run(copy, "-m", "runbook.cli", "actions", "maintenance.begin")
    assert shown.returncode == 0, shown.stderr
    assert "The file that the web server shows while it exists" in shown.stdout

    plan = copy / "notice.yaml"
    plan.write_text(re.findall(r"^```yaml file=notice.yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[-1])
    valid = _run(copy, "-m", "runbook.cli", "validate", "--strict", str(plan))
    assert valid.returncode == 0, valid.stdout + valid.stderr


def test_the_page_needs_no_other_file(tmp_path: Path) -> None:
    """Nothing lists the actions: the catalogue finds them by where they stand."""
    listed = subprocess.run(
        ["git", "grep", "-lE", r"notify\.Notify|actions\.notify|actions import notify", "--", "runbook"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert listed.stdout == ""
