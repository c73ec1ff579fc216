"""Small plans for the tests of commands, written where they are needed."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

from runbook.operation import Json
from tests.fixtures.patience import PATIENCE_S

HEAD = """\
runbook: 1
name: {name}
title: A plan that is tried
environment: {{environment: here, live: {live}, systems: {{}}}}
steps:
"""


def plan(directory: Path, *steps: Mapping[str, Json], name: str = "small", live: bool = False) -> str:
    """A plan of these steps, one after another; gives its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.yaml"
    body = "".join(f"  - {json.dumps(step)}\n" for step in steps)
    path.write_text(HEAD.format(name=name, live=str(live).lower()) + body)
    return str(path)


def shell(step: str, script: str, *, timeout: str = "5m", **inputs: Json) -> dict[str, Json]:
    """A step that runs a shell script."""
    with_: dict[str, Json] = {"argv": ["sh", "-c", script], **inputs}
    return {"id": step, "title": f"Run {step}", "uses": "shell.run", "timeout": timeout, "with": with_}


def until_there(path: Path) -> str:
    """What a script says to wait until that file is there."""
    return f"until [ -e '{path}' ]; do sleep 0.05; done"


def wait_for(path: Path, text: str, *, within_s: float = PATIENCE_S) -> None:
    """Until a file holds that text."""
    end = time.monotonic() + within_s
    while not (path.exists() and text in path.read_text()):
        assert time.monotonic() < end, f"{path} has no {text!r} after {within_s} s"
        time.sleep(0.02)
