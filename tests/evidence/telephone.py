"""People on call, with a telephone that speaks HTTP: a channel for the tests, and what it was told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class OnCall:
    """A channel: what it was told, and whether it takes anything."""

    url: str = ""
    told: list[str] = field(default_factory=list)
    deaf: bool = False


@contextmanager
def on_call() -> Iterator[OnCall]:
    """People with a telephone that speaks HTTP."""
    people = OnCall()

    class Telephone(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if not people.deaf:
                people.told.append(told)  # before the answer: whoever has it may look at once
            self.send_response(500 if people.deaf else 200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Telephone)
    people.url = f"json://127.0.0.1:{server.server_port}/"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield people
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
