"""What a command loads before it does anything: an operator at three in the morning waits for no library in vain."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ALWAYS_LATE = {"boto3", "botocore", "docker", "psycopg", "networkx", "apprise", "httpx"}
LATE_FOR_HELP = ALWAYS_LATE | {"pydantic", "rich", "ruamel", "jinja2"}

PROBE = """
import json, sys
from runbook.cli.main import main
sys.argv = ["runbook", *json.loads(sys.argv[1])]
code = None
try:
    code = main()
except SystemExit as ended:
    code = ended.code
print()
print(json.dumps({"code": code, "loaded": sorted({name.split(".")[0] for name in sys.modules})}))
"""

PLAN = """
runbook: 1
name: look
title: Look at the database
systems: {db: postgres}
steps:
  - id: check
    title: The database answers
    uses: postgres.assert
    on: db
    with: {checks: [{query: SELECT 1, at_least: 1}]}
    timeout: 1m
"""


def loaded_by(*arguments: str) -> set[str]:
    """The top-level modules in memory once a command has ended well."""
    argv = [sys.executable, "-c", PROBE, json.dumps(arguments)]
    ended = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr
    seen = json.loads(ended.stdout.splitlines()[-1])
    assert seen["code"] in (0, None), ended.stdout + ended.stderr
    return set(seen["loaded"])


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("apply", "--help")], ids=" ".join)
def test_help_loads_no_heavy_library(arguments: tuple[str, ...]) -> None:
    loaded = loaded_by(*arguments)
    assert "runbook" in loaded
    assert loaded & LATE_FOR_HELP == set()


def test_validate_reaches_for_no_client_library(tmp_path: Path) -> None:
    plan = tmp_path / "hello.yaml"
    plan.write_text(PLAN.lstrip())
    loaded = loaded_by("validate", str(plan))
    assert {"runbook", "pydantic"} <= loaded
    assert loaded & ALWAYS_LATE == set()
