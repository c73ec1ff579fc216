"""A step that waits in a container, and what it leaves there."""

from __future__ import annotations

import subprocess

from tests.evidence.witness import until
from tests.runner.killed_program import PATIENCE_S, Program, eventually
from tests.trouble.night import WITHIN_S

LEDGER, GO = "/var/ledger", "/var/go"


def marks(box: str) -> list[str]:
    """What was done in the container, how often."""
    read = subprocess.run(["docker", "exec", box, "cat", LEDGER], capture_output=True, text=True, check=False)
    return read.stdout.split()


def go(box: str) -> None:
    """Let the step in the container go on."""
    subprocess.run(["docker", "exec", box, "touch", GO], check=True)


def begun(program: Program, box: str) -> None:
    """A plan whose first step waits in the container."""
    inside = {"docker": box}
    waits = f"echo a >> {LEDGER}; until [ -e {GO} ]; do sleep 0.05; done; echo over >> {LEDGER}"
    first = {"id": "a", "title": "Run a", "uses": "shell.run", "timeout": "5m"}
    path = program.write(
        {**first, "with": {"argv": ["sh", "-c", waits], "host": inside}},  # type: ignore[dict-item]
        program.step("b"),
    )
    program.start("apply", path)
    until(lambda: marks(box) == ["a"], WITHIN_S, "the step runs in the container")
    eventually(program.recorded)


def ended(program: Program) -> tuple[int, str]:
    """How the program ended that was begun last, and what it said."""
    out, told = program.running[-1].communicate(timeout=PATIENCE_S)
    assert "Traceback" not in out + told
    assert "bug in runbook" not in out + told
    return program.running[-1].returncode, out + told


def resume(program: Program) -> tuple[int, str]:
    """Go on with its run, to its end."""
    program.start("resume")
    return ended(program)
