"""A program in a container that prints its secrets: what is left in the container, in the engine's view of it, and in the run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.canary.canaries import found
from tests.canary.ends import house
from tests.canary.watch import CHILD
from tests.fixtures.containers import BASE, exec_in
from tests.fixtures.postgres import PostgresServer

if TYPE_CHECKING:
    from docker.models.containers import Container

pytestmark = pytest.mark.docker

KINDS = ("environment", "file", "key of several lines")
_ADDED = 1
"""As the engine says it of a file that was not in the image."""
SCRIPT = r"""
for value in "$FROM_ENV" "$FROM_FILE" "$KEY"; do
  printf '%s\n' "$value" "$value" >&2; printf '%s\n' "$value"
  printf 'you:%s' "$value" | base64 -w 0; echo; printf %s "$value" | od -An -tx1 | tr -d ' \n'; echo
done
for shell in sh bash; do $shell -xc ': "$FROM_ENV" "$FROM_FILE" "$KEY"'; done
mkfifo /tmp/hold; cat /tmp/hold
exit 3
"""


def test_no_secret_is_left_in_a_container(
    postgres_server: PostgresServer, run_container: Callable[..., Container]
) -> None:
    container = run_container(BASE, ["sleep", "infinity"])
    with house(postgres_server) as made:
        sources = made.root / "sources"
        plan = made.work / "plan.yaml"
        with_ = {
            "host": {"docker": container.name},
            "argv": ["sh", "-c", SCRIPT],
            "env": {
                "FROM_ENV": {"env": "CANARY_ENV"},
                "FROM_FILE": {"file": str(sources / "file")},
                "KEY": {"file": str(sources / "key")},
                CHILD: ",".join(KINDS),
            },
        }
        step = {"id": "print", "uses": "shell.run", "with": with_, "timeout": "1m"}
        inline = {"environment": "inside", "systems": {}}
        plan.write_text(json.dumps({"runbook": 1, "name": "inside", "environment": inline, "steps": [step]}))
        program = made.start("apply", plan, "--yes", **_engine())
        made.until(lambda: exec_in(container, ("test", "-p", "/tmp/hold"))[0] == 0, "the program's waiting")
        seen = made.watch.look()
        exec_in(container, ("sh", "-c", "echo > /tmp/hold"))
        ended = program.end()
        assert ended.code == 1, ended.said
        assert set(KINDS) <= seen, "the watch does not see into the container"
        container.reload()
        inside = _left(container)
        shown = json.dumps(container.attrs).encode() + container.logs()
        canaries = list(made.canaries.values())
        assert found(inside, canaries) == []
        assert found(shown, canaries) == []
        evidence = made.search()
    assert sorted(evidence.leaks) == []
    exec_in(container, ("sh", "-c", f"echo {canaries[0].words[0]} > /var/tmp/planted"))
    assert found(_left(container), canaries), "what is left in the container is not found"
    assert "•••" in ended.said


def _left(container: Container) -> bytes:
    """All files that are not the image's, and those of its file systems in memory."""
    changed = [str(one["Path"]) for one in container.diff() or () if one["Kind"] == _ADDED]
    assert "/tmp/hold" in changed
    return exec_in(container, ("tar", "-cf", "-", "/dev/shm", "/run", *changed))[1]


def _engine() -> dict[str, Any]:
    """How the program finds the Docker Engine."""
    return {name: os.environ[name] for name in ("DOCKER_HOST",) if name in os.environ}
