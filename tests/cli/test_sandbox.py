"""The stack by its commands."""

from __future__ import annotations

import httpx
import pytest

from runbook.sandbox.stack import Stack
from tests.cli.terminal import Terminal


def test_a_sandbox_that_never_was_is_said_to_be_none(runbook: Terminal) -> None:
    told = runbook("sandbox", "status")
    assert told.code == 0
    assert "postgres  never started" in told.out
    assert "→ runbook sandbox up" in told.out
    assert runbook("sandbox", "status", "--json").json["running"] is False
    assert runbook("sandbox", "down").out == "· nothing runs: there is no sandbox here\n"


def test_up_status_and_down(runbook: Terminal) -> None:
    try:
        up = runbook("sandbox", "up")
        assert up.code == 0, up.err
        assert "20000 documents of 5000 users are in the database" in up.out
        assert "runbook sandbox down" in up.out

        status = runbook("sandbox", "status", "--json").json
        parts = status["parts"]
        assert status["running"] is True
        assert isinstance(parts, list)
        addresses = {str(part["name"]): str(part["address"]) for part in parts if isinstance(part, dict)}
        assert list(addresses) == ["s3", "valkey", "postgres", "web"]
        assert httpx.get(f"{addresses['web']}/api/health").json() == {"status": "ok", "documents": 20000}

        assert runbook("sandbox", "down").code == 0
        stopped = runbook("sandbox", "status")
        assert stopped.out.count("(stopped)") == 4
        with pytest.raises(httpx.ConnectError):
            httpx.get(addresses["web"])
    finally:
        removed = runbook("sandbox", "down", "--delete-data")
    assert removed.code == 0
    assert not Stack(runbook.state / "sandbox").layout.directory.exists()
