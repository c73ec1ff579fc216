"""The document service's web server: one page that says whether the service works.

Run as ``python -m runbook.sandbox.web PORT SETTINGS``. Promises: ``GET /api/health`` asks the database each time, on a
connection of its own, and answers 200 with the number of documents or 503; it never keeps a connection, so it isn't in
the way of a database that is renamed; everything is bounded to 3 s.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from runbook.sandbox.credentials import read
from runbook.sandbox.ports import LOOPBACK

_SECONDS = 3


def count_documents(settings: Path) -> int:
    """How many documents the database has now; psycopg's errors pass through."""
    import psycopg

    place = json.loads(settings.read_text(encoding="utf-8"))
    password = read(Path(place.pop("password_file")))
    with psycopg.connect(
        **place,
        password=password.reveal(),
        connect_timeout=_SECONDS,
        application_name="docs-web",
        options=f"-c statement_timeout={_SECONDS}s",
    ) as connection:
        row = connection.execute("SELECT count(*) FROM documents").fetchone()
    return int(row[0]) if row else 0


class Health(BaseHTTPRequestHandler):
    """Answers ``GET /api/health``; everything else is 404."""

    server_version = "docs"
    sys_version = ""
    timeout = _SECONDS
    settings: Path

    def do_GET(self) -> None:
        """One answer, as JSON."""
        import psycopg

        if self.path.partition("?")[0] != "/api/health":
            self._answer(404, {"status": "not found"})
            return
        try:
            documents = count_documents(self.settings)
        except (psycopg.Error, OSError) as fault:
            self._answer(503, {"status": "unavailable", "reason": str(fault).strip().splitlines()[0]})
        else:
            self._answer(200, {"status": "ok", "documents": documents})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the base class gives it
        """Requests aren't logged: health checks would fill the disk."""

    def _answer(self, status: int, body: dict[str, str | int]) -> None:
        data = json.dumps(body).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main(port: int, settings: Path) -> None:
    """Serve until a signal ends the process."""
    import psycopg  # noqa: F401 - loaded before the port opens, so that the first request isn't the slow one

    Health.settings = settings
    ThreadingHTTPServer((LOOPBACK, port), Health).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
