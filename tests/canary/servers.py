"""Servers that say what they were told: a web service that is also a bucket, a secrets manager and a channel; and a Redis.

Each is a server of this process on a port of its own. Every answer holds the secrets that came with the request, in several forms,
as a bad server's error page would; what came is remembered, so that a test can say that the secret was used.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import socketserver
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

HANGS_AT_MOST_S = 60.0
_LISTING = (
    '<?xml version="1.0"?><ListBucketResult><Name>canaries</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated>'
    "</ListBucketResult>"
)


@dataclass
class Memory:
    """What servers were told, and what they hold for others."""

    told: list[str] = field(default_factory=list)
    vault: dict[str, str] = field(default_factory=dict)
    agreeable: bool = True
    released: threading.Event = field(default_factory=threading.Event)

    def heard(self, word: str) -> bool:
        """Whether a request brought it."""
        return any(word in text for text in self.told)


def said_back(texts: list[str]) -> str:
    """These texts as a careless server shows them."""
    lines = []
    for text in texts:
        encoded = base64.b64encode(b"you:" + text.encode()).decode()
        lines += [text, json.dumps(text), repr(text), encoded, text.encode().hex()]
    return "\n".join(lines)


class _Web(BaseHTTPRequestHandler):
    """The web service."""

    protocol_version = "HTTP/1.1"
    memory: Memory

    def do_GET(self) -> None:
        """A page, a listing, or an error with everything in it."""
        self._hear("")
        if self.path.startswith("/canaries"):
            return self._bucket()
        if self.path.startswith("/hang"):
            return self._hang()
        # so much before the secret that a message which shows the first 200 characters ends inside it
        body = "x" * 185 + said_back(self._secrets())
        return self._answer(200 if self.memory.agreeable and not self.path.startswith("/fail") else 500, body)

    def do_POST(self) -> None:
        """A secret from the manager, or a message for the channel."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self._hear(body)
        if "secretsmanager" in (self.headers.get("X-Amz-Target") or ""):
            name = json.loads(body)["SecretId"]
            return self._answer(200, json.dumps({"Name": name, "SecretString": self.memory.vault[name]}))
        return self._answer(200 if self.memory.agreeable else 500, said_back([self.path, unquote(self.path)]))

    def _hear(self, body: str) -> None:
        values = [_plain(value) for value in self.headers.values()]
        self.memory.told += [self.path, unquote(self.path), body, *values]

    def _secrets(self) -> list[str]:
        return [_plain(self.headers[name]) for name in ("X-Token", "Authorization") if self.headers[name]]

    def _bucket(self) -> None:
        if self.memory.agreeable:
            return self._answer(200, _LISTING)
        said = html.escape(said_back([_plain(self.headers["Authorization"] or "")]), quote=False)
        return self._answer(403, f"<Error><Code>SignatureDoesNotMatch</Code><Message>{said}</Message></Error>")

    def _hang(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(said_back(self._secrets()).encode())
        self.wfile.flush()
        self.memory.released.wait(HANGS_AT_MOST_S)
        self.close_connection = True

    def _answer(self, status: int, body: str) -> None:
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base has it
        """Not a word."""


def _plain(header: str) -> str:
    """A header's text: bytes beyond ASCII are UTF-8, which the library reads as Latin-1."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeDecodeError:
        return header


class _Redis(socketserver.StreamRequestHandler):
    """AUTH and PING."""

    memory: Memory

    def handle(self) -> None:
        """Until it hangs up."""
        while line := self.rfile.readline():
            if line.startswith(b"$") and (size := int(line[1:])):
                text = self.rfile.read(size + 2)[:-2].decode()
                self.memory.told.append(text)
                if text != "AUTH":
                    self.wfile.write(
                        b"+OK\r\n" if self.memory.agreeable else f"-WRONGPASS {text!r} {text}\r\n".encode()
                    )
            elif line.startswith(b"PING"):
                self.wfile.write(b"+PONG\r\n")


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@dataclass
class Servers:
    """Both, on ports of their own. To be closed."""

    memory: Memory = field(default_factory=Memory)

    def __post_init__(self) -> None:
        web = type("Web", (_Web,), {"memory": self.memory})
        redis = type("Redis", (_Redis,), {"memory": self.memory})
        self._servers = (ThreadingHTTPServer(("127.0.0.1", 0), web), _Server(("127.0.0.1", 0), redis))
        for server in self._servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.web, self.redis = (int(server.server_address[1]) for server in self._servers)

    def close(self) -> None:
        """End them, and who waits on them."""
        self.memory.released.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()


def fingerprint(text: str) -> str:
    """What a child leaves to show that it had a secret, without leaving the secret."""
    return hashlib.sha256(text.encode()).hexdigest()
