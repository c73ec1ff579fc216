"""A way to an S3 service that answers wrongly when it is told to: errors of the service, and bodies that are not whole."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

NOT_FORWARDED = frozenset({"connection", "transfer-encoding", "keep-alive"})
SLOW = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
BROKEN = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"


class Fault(StrEnum):
    """What comes of one request."""

    SLOW_DOWN = "503 SlowDown"
    ERROR = "500 InternalError"
    RESET = "the connection is reset in the middle of the body"
    UNANSWERED = "the service has done it, and the connection is reset before its answer"
    SHORTER = "an object that was cut off"
    OTHER = "an object that was replaced"


class Gateway:
    """Passes requests on. ``faults`` are what comes of the next ones with that method, first things first."""

    def __init__(self, endpoint: str) -> None:
        self.faults: dict[str, list[Fault]] = {"GET": [], "PUT": []}
        self.asked: list[str] = []
        target = urlsplit(endpoint).netloc
        handler = type("Handler", (_Handler,), {"gateway": self, "target": target})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    gateway: Gateway
    target: str

    def handle_request(self) -> None:
        """One request, with the next fault that waits for its method."""
        self.gateway.asked.append(self.command)
        waiting = self.gateway.faults.get(self.command, [])
        self.pass_on(self.target, waiting.pop(0) if waiting else None)

    def do_GET(self) -> None:
        self.handle_request()

    def do_HEAD(self) -> None:
        self.handle_request()

    def do_PUT(self) -> None:
        self.handle_request()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def pass_on(self, target: str, fault: Fault | None) -> None:
        """Ask the service, unless it is the service that fails; answer as the fault says."""
        given = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if fault in (Fault.SLOW_DOWN, Fault.ERROR):
            status, said = (503, SLOW) if fault is Fault.SLOW_DOWN else (500, BROKEN)
            self._answer(status, [("Content-Type", "application/xml")], said, told=len(said))
            return
        asked = http.client.HTTPConnection(target, timeout=30)
        try:
            asked.request(self.command, self.path, given or None, dict(self.headers.items()))
            answer = asked.getresponse()
            body = answer.read()
            length = len(body) or int(answer.headers.get("Content-Length") or 0)
            headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in NOT_FORWARDED]
        finally:
            asked.close()
        headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
        half = body[: len(body) // 2]
        match fault:
            case Fault.UNANSWERED:
                self._reset()
            case Fault.RESET:
                self._answer(answer.status, headers, half, told=length)
                self._reset()
            case Fault.SHORTER:
                self._answer(answer.status, headers, half, told=len(half))
            case Fault.OTHER:
                self._answer(answer.status, headers, bytes(byte ^ 1 for byte in body), told=length)
            case _:
                self._answer(answer.status, headers, body, told=length)

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, *, told: int) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(told))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def _reset(self) -> None:
        """RST instead of FIN: what lies unread on the way is lost too."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_WR)
        self.close_connection = True
