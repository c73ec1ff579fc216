"""A way to a server that can be cut: at a message of a conversation, or altogether, and later be whole again."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

CHUNK = 65536
ANSWERS_WITHIN_S = 30.0


@dataclass(frozen=True)
class Cut:
    """Where: at the bytes ``at``, in a conversation in which ``after`` was said before. ``delivered``: the server gets them, and
    answers; else nobody does, and its side stays open as behind a lost network. ``altogether``: from then on the way is lost for
    every conversation, until it is mended.
    """

    after: bytes
    at: bytes
    delivered: bool
    altogether: bool = False


class Way:
    """A proxy for ``target``: a port of this machine, or the path of a Unix socket (then it listens at ``at``)."""

    def __init__(self, target: int | Path, *, at: Path | None = None, cut: Cut | None = None) -> None:
        self._target = target
        self._cut = cut
        self._whole = True
        self._lock = threading.Lock()
        self._lines: list[socket.socket] = []
        self.cuts = 0
        if at is None:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.port = int(self._listener.getsockname()[1])
        else:
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.bind(str(at))
            self._listener.listen(64)
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.lose()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def lose(self) -> None:
        """Every connection ends now, and a new one ends at once."""
        with self._lock:
            self._whole = False
            for line in self._lines:
                _end(line)

    def mend(self) -> None:
        """From here on nothing is cut."""
        with self._lock:
            self._whole, self._cut, self._lines = True, None, []

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                server = self._reach() if self._whole else None
                if server is None:
                    client.close()
                    continue
                self._lines += [client, server]
            muted, answered = threading.Event(), threading.Event()
            there = (client, server, muted, answered)
            threading.Thread(target=self._speak, args=there, daemon=True).start()
            threading.Thread(target=_answer, args=there, daemon=True).start()

    def _reach(self) -> socket.socket | None:
        family, address = (
            (socket.AF_INET, ("127.0.0.1", self._target))
            if isinstance(self._target, int)
            else (socket.AF_UNIX, str(self._target))
        )
        server = socket.socket(family, socket.SOCK_STREAM)
        try:
            server.connect(address)
        except OSError:
            server.close()
            return None
        return server

    def _speak(
        self, client: socket.socket, server: socket.socket, muted: threading.Event, answered: threading.Event
    ) -> None:
        said = False
        with contextlib.suppress(OSError):
            while data := client.recv(CHUNK):
                cut = self._cut
                said = said or (cut is not None and cut.after in data)
                if cut is not None and said and cut.at in data:
                    muted.set()
                    if cut.delivered:
                        server.sendall(data)
                        answered.wait(ANSWERS_WITHIN_S)
                    if cut.altogether:
                        self.lose()
                    self.cuts += 1
                    _end(client)
                    return
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)


def _answer(client: socket.socket, server: socket.socket, muted: threading.Event, answered: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while data := server.recv(CHUNK):
            if muted.is_set():
                answered.set()
            else:
                client.sendall(data)
        client.shutdown(socket.SHUT_WR)


def _end(line: socket.socket) -> None:
    with contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
