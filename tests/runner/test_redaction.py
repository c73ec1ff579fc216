"""No secret that a run has revealed reaches its journal, whatever field it came in."""

from __future__ import annotations

from pathlib import Path

from runbook.operation import Json
from runbook.runner.ledger import masked
from runbook.secret import MASK, Redactor, Secret
from tests.actions.in_a_run import Rehearsal

CANARY = "canary-5f3a-correct-horse"
PLAN = """\
runbook: 1
name: leaky
title: A program that prints its secret
environment: {environment: here}
steps:
  - id: leak
    title: Print it
    uses: shell.run
    with: {argv: [sh, -c, "echo it is $TOKEN; echo $TOKEN >&2"], env: {TOKEN: {file: FILE}}}
    timeout: 5m
  - id: fail
    title: Fail with it
    uses: shell.run
    with: {argv: [sh, -c, "echo $TOKEN >&2; exit 3"], env: {TOKEN: {file: FILE}}}
    timeout: 5m
"""


def test_every_text_of_a_tree_is_filtered() -> None:
    tree: Json = {"a": [f"x {CANARY}", {CANARY: 1}], "b": None, "c": 1.5}
    redactor = Redactor((Secret(CANARY),))
    assert masked(tree, redactor) == {"a": [f"x {MASK}", {MASK: 1}], "b": None, "c": 1.5}


def test_a_secret_that_a_program_prints_is_in_no_file_of_the_run(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(CANARY)
    secret.chmod(0o600)
    state = tmp_path / "state"
    assert Rehearsal(PLAN.replace("FILE", str(secret)), state).apply() == 1
    files = [path for path in state.rglob("*") if path.is_file()]
    assert any(b"it is" in path.read_bytes() for path in files)
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []
