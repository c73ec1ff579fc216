"""The web server: what it says when the database is well, empty, or gone."""

from __future__ import annotations

import json
import os
import signal
from urllib.error import HTTPError
from urllib.request import urlopen

from runbook.sandbox.data import fill
from runbook.sandbox.stack import Stack


def get(stack: Stack, path: str) -> tuple[int, dict[str, object]]:
    try:
        with urlopen(stack.status().part("web").address + path, timeout=60) as answer:
            return answer.status, json.load(answer)
    except HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


def test_healthy(shared: Stack) -> None:
    assert get(shared, "/api/health") == (200, {"status": "ok", "documents": 500})


def test_another_path(shared: Stack) -> None:
    assert get(shared, "/")[0] == 404


def test_not_healthy_without_tables_and_without_a_database(stack: Stack) -> None:
    stack.up(lambda line: None)
    code, body = get(stack, "/api/health")
    assert (code, body["status"]) == (503, "unavailable")
    assert "documents" in str(body["reason"])
    fill(stack.login(), documents=10, users=5)
    assert get(stack, "/api/health") == (200, {"status": "ok", "documents": 10})
    postgres = stack.status().part("postgres").pid
    assert postgres is not None
    os.kill(postgres, signal.SIGKILL)
    assert get(stack, "/api/health")[0] == 503
    stack.up(lambda line: None)
    assert get(stack, "/api/health")[0] == 200
