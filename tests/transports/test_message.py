"""Messages: delivered, or a failure that doesn't show the channel."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from runbook.operation import Message
from runbook.secret import FromEnv
from runbook.transports.outcome import Failed, Succeeded
from runbook.transports.world import World
from tests.transports.conftest import Uses

KEY = "channel-key-4711"


class Inbox(BaseHTTPRequestHandler):
    seen: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.seen.append(self.rfile.read(int(self.headers["content-length"])).decode())
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return


def test_a_message_arrives(world: World, uses: Uses, monkeypatch: pytest.MonkeyPatch) -> None:
    server = HTTPServer(("127.0.0.1", 0), Inbox)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("CHANNEL", f"json://127.0.0.1:{server.server_port}/{KEY}")
    try:
        outcome = world.perform(Message(name="m", channel=FromEnv("CHANNEL"), title="Restored", body="42 rows"), uses())
    finally:
        server.shutdown()
        server.server_close()
    assert isinstance(outcome, Succeeded)
    assert "42 rows" in Inbox.seen[0]


@pytest.mark.parametrize("url", [f"json://127.0.0.1:1/{KEY}", f"no such {KEY}"])
def test_a_failure_does_not_show_the_channel(
    url: str, world: World, uses: Uses, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome = world.perform(Message(name="m", channel=url, title="T", body="b"), uses())
    assert isinstance(outcome, Failed)
    assert KEY not in outcome.problem.render() + caplog.text + "".join(capfd.readouterr())
