"""The line to the engine: newline-delimited JSON over a unix socket, never waited for.

Promises: an engine that does not read (stopped, or gone) never holds the supervisor up; progress is left out then, and
ends are kept until they can be said or the engine is gone.
"""

from __future__ import annotations

import json
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .wire import AskWire, KillWire, LockWire, StartWire

    Request = StartWire | LockWire | KillWire | AskWire

CHUNK = 1 << 15
_DECODER = json.JSONDecoder()


class EngineLine:
    """One engine's connection."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)  # noqa: FBT003 - positional only
        self._connection = connection
        self._in = b""
        self._out = b""

    def fileno(self) -> int:
        """Its descriptor."""
        return self._connection.fileno()

    @property
    def behind(self) -> bool:
        """Whether something could not be sent yet."""
        return bool(self._out)

    def read(self) -> list[Request] | None:
        """The requests that have come; None: the engine is gone."""
        try:
            data = self._connection.recv(CHUNK)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        try:
            if not self._in and data.find(b"\n") == len(data) - 1:
                return [_DECODER.decode(data.decode())]
            *lines, self._in = (self._in + data).split(b"\n")
            return [_DECODER.decode(line.decode()) for line in lines]
        except ValueError:
            return None  # whoever says such things is no engine

    def send(self, line: bytes) -> None:
        """Send a line, or keep it until there is room."""
        self._out += line
        self.flush()

    def flush(self) -> None:
        """Send what there is room for."""
        try:
            while self._out:
                self._out = self._out[self._connection.send(self._out) :]
        except BlockingIOError:
            pass  # the loop wakes when there is room
        except OSError:
            self._out = b""  # it is gone; the next read says so

    def close(self) -> None:
        """Hang up."""
        self._connection.close()
