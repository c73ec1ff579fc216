"""The engine's end of the line to its supervisor: bytes, in and out.

Owns the socket. Promises: nobody is waited for who has been stopped (SIGSTOP), whether one connects, sends or listens; one that is
merely busy is waited for.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path

from runbook.transports.supervisor import processes
from runbook.transports.supervisor.records import supervisor_of

SOCKET = "supervisor.sock"
CHUNK = 1 << 15
LOOKS_EVERY_S = 10.0
"""While nothing moves: how often it is looked whether the other side has been stopped. Twice in a row, and it is given up."""
LONGEST_SOCKET_NAME = 100
PAUSE_S = 0.05
_HUNG_UP = getattr(select, "POLLRDHUP", 0)  # POLLHUP and POLLERR are told in any case


class Stopped(Exception):
    """The supervisor stands still until somebody lets it go on. ``pid`` is its process id."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"the process {pid} is stopped")
        self.pid = pid


class Line:
    """A connection to the supervisor of a run. ``pid``: who listens at its other end, as the kernel says; 0: it doesn't."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self.pid = _peer(connection)

    @classmethod
    def to(cls, run_dir: Path) -> Line | None:
        """A line to the supervisor of ``run_dir``, or None if nobody listens. Raises :class:`Stopped`."""
        connection = _connected(run_dir)
        return None if connection is None else cls(connection)

    def send(self, data: bytes) -> None:
        """All of it. Raises OSError, and :class:`Stopped` where the other side takes no more of it."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._socket.send(rest, socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                self._wait(select.POLLOUT)

    def receive(self) -> bytes:
        """What has come, as soon as something has; nothing: the other side has hung up. Raises OSError and :class:`Stopped`."""
        self._wait(select.POLLIN)
        return self._socket.recv(CHUNK)

    @property
    def connected(self) -> bool:
        """Whether the other side still holds the line, as the kernel knows it: nothing is sent, nobody is waited for."""
        line = select.poll()
        line.register(self._socket, _HUNG_UP)
        return not line.poll(0)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _wait(self, event: int) -> None:
        line = select.poll()
        line.register(self._socket, event)
        stopped = False
        while not line.poll(LOOKS_EVERY_S * 1000):
            was, stopped = stopped, processes.stopped(self.pid)
            if was and stopped:
                raise Stopped(self.pid)


def _peer(connection: socket.socket) -> int:
    if sys.platform != "linux":
        return 0
    pid, _uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(pid)


def _connected(run_dir: Path) -> socket.socket | None:
    """A connection; a path too long for a socket's name goes through ``/proc/self/fd``.

    Who accepts nobody for a while has others waiting already: it is looked whether it has been stopped.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder, made = -1, False
    try:
        name = os.fspath(run_dir / SOCKET)
        if len(os.fsencode(name)) > LONGEST_SOCKET_NAME:
            folder = os.open(run_dir, os.O_RDONLY | os.O_DIRECTORY)
            name = f"/proc/self/fd/{folder}/{SOCKET}"
        made = _accepted(connection, name, run_dir)
    except OSError:
        return None
    finally:
        if folder >= 0:
            os.close(folder)
        if not made:
            connection.close()
    return connection if made else None


def _accepted(connection: socket.socket, name: str, run_dir: Path) -> bool:
    """Whether it is connected within two looks. Raises OSError where nobody listens, and :class:`Stopped`."""
    deadline = time.monotonic() + 2 * LOOKS_EVERY_S
    connection.settimeout(0)
    while time.monotonic() < deadline:
        with suppress(BlockingIOError):
            connection.connect(name)
            connection.settimeout(None)
            return True
        time.sleep(PAUSE_S)
    pid = supervisor_of(run_dir)
    if processes.stopped(pid):
        raise Stopped(pid)
    return False
