"""A web service as the one behind the restored database: it answers its health check, or it is broken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class _Answers(BaseHTTPRequestHandler):
    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Nobody reads it."""


class _Health(_Answers):
    def do_GET(self) -> None:
        self.answer(200 if self.path == "/api/health" else 404, b'{"status": "ok"}')


class _Broken(_Answers):
    def do_GET(self) -> None:
        self.answer(500, b'{"detail": "Internal Server Error"}')


@contextmanager
def _served(by: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), by)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def site() -> AbstractContextManager[str]:
    """The URL of a service whose /api/health gives 200."""
    return _served(_Health)


def broken_site() -> AbstractContextManager[str]:
    """The URL of a service that answers everything with 500."""
    return _served(_Broken)
