"""``python -m runbook.transports.docker_exec [--user U] [--workdir D] -- CONTAINER ARGV...``: a process in a container.

The local child that a supervisor runs for a container: carries standard input there and both streams back, over one hijacked
connection of the Docker Engine that ``DOCKER_HOST`` names (``unix://``, ``tcp://`` without TLS, ``ssh://``). Standard library
only: the docker SDK costs 0.1 s of CPU at each start, and loses bytes that arrive with the answer's headers. Promises: bytes
pass unchanged (no TTY); an input that ends is ended there too, while output still flows; a slow reader slows the container
down; the exit code is the process's, or 125 with a message if it can't be known. Its death ends nothing in the container.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

CHUNK = 1 << 18
HEADER = struct.Struct(">BxxxL")
"""A frame's head: one byte for the stream (1 out, 2 err), three of nothing, the length; see the Engine API, "attach"."""
CANNOT = 125
BROKEN_PIPE = 141
"""As a shell shows a process that SIGPIPE ended: whoever read our output closed it."""
TIMEOUT_S = 60.0
SETTLES_IN_S = 20.0
"""How long the Engine may take, after it says that the process runs no more, until it knows the exit code."""
LONGEST_PAUSE_S = 0.5
DEFAULT_HOST = "unix:///var/run/docker.sock"


class CouldNotExec(Exception):
    """The process could not be run there, or how it ended can't be known; the text says why."""


@dataclass(frozen=True, slots=True)
class Exec:
    """What is to run, where and as whom."""

    container: str
    argv: tuple[str, ...]
    user: str = ""
    workdir: str = ""


def exec_argv(wanted: Exec) -> tuple[str, ...]:
    """The local command that runs it; needs ``DOCKER_HOST`` (and, for ``ssh://``, ``PATH`` and ``HOME``) from its environment."""
    user = ("--user", wanted.user) if wanted.user else ()
    workdir = ("--workdir", wanted.workdir) if wanted.workdir else ()
    return (sys.executable, "-I", "-S", __file__, *user, *workdir, "--", wanted.container, *wanted.argv)


class Frames:
    """Takes the multiplexed stream apart and writes each part to its descriptor, blocking: that is the back pressure."""

    def __init__(self, targets: dict[int, int]) -> None:
        self._targets = targets
        self._head = b""
        self._left = 0
        self._target: int | None = None

    def feed(self, data: bytes) -> None:
        """Some bytes of the stream, however they were cut. BrokenPipeError: nobody reads the output any more."""
        view = memoryview(data)
        while view:
            if self._left:
                part = view[: self._left]
                view = view[len(part) :]
                self._left -= len(part)
                while part and self._target is not None:
                    part = part[os.write(self._target, part) :]
            else:
                missing = HEADER.size - len(self._head)
                self._head += bytes(view[:missing])
                view = view[missing:]
                if len(self._head) == HEADER.size:
                    stream, self._left = HEADER.unpack(self._head)
                    self._target = self._targets.get(stream)
                    self._head = b""

    @property
    def whole(self) -> bool:
        """Whether the stream may end here."""
        return not self._left and not self._head


class DockerEngine:
    """The HTTP side of a Docker Engine, as far as an exec needs it."""

    def __init__(self, host: str) -> None:
        self._host = host

    def run(self, wanted: Exec) -> int:
        """Run it, with our own three streams; its exit code. Raises :class:`CouldNotExec`."""
        created = self._call(
            "POST",
            f"/containers/{quote(wanted.container, safe='')}/exec",
            {
                "AttachStdin": True,
                "AttachStdout": True,
                "AttachStderr": True,
                "Cmd": list(wanted.argv),
                "User": wanted.user,
                "WorkingDir": wanted.workdir,
            },
        )
        exec_id = str(created["Id"])
        connection, first = self._hijack(f"/exec/{exec_id}/start", {"Detach": False, "Tty": False})
        threading.Thread(target=_feed, args=(connection,), daemon=True).start()
        frames = Frames({1: 1, 2: 2})
        try:
            frames.feed(first)
            while data := connection.recv(CHUNK):
                frames.feed(data)
        except BrokenPipeError:
            return BROKEN_PIPE
        except OSError as error:
            raise CouldNotExec(f"the connection to the Docker Engine broke: {error}") from None
        if not frames.whole:
            raise CouldNotExec("the connection to the Docker Engine ended in the middle of the output")
        return self._exit_code(exec_id, wanted.container)

    def collect(
        self, wanted: Exec, *, longest: int, within_s: float | None = None, environment: tuple[str, ...] = ()
    ) -> tuple[int, bytes, bytes]:
        """Run it without input; its exit code and what it wrote, at most ``longest`` bytes in all. Raises :class:`CouldNotExec`.

        ``within_s``: how long it may say nothing (seconds; None: for ever). For short commands in this process. The SDK's stream
        would do, but for the bytes that it loses.
        """
        body: dict[str, object] = {
            "AttachStdout": True,
            "AttachStderr": True,
            "Cmd": list(wanted.argv),
            "User": wanted.user,
            "WorkingDir": wanted.workdir,
            "Env": list(environment),
        }
        created = self._call("POST", f"/containers/{quote(wanted.container, safe='')}/exec", body)
        exec_id = str(created["Id"])
        connection, data = self._hijack(f"/exec/{exec_id}/start", {"Detach": False, "Tty": False})
        connection.settimeout(within_s)
        try:
            with connection:
                while more := connection.recv(CHUNK):
                    data += more
                    if len(data) > longest + HEADER.size * CHUNK:
                        raise CouldNotExec(f"`{wanted.argv[0]}` printed more than {longest} bytes")
        except OSError as error:
            raise CouldNotExec(f"the connection to the Docker Engine broke: {error}") from None
        out, err = _apart(data)
        if len(out) + len(err) > longest:
            raise CouldNotExec(f"`{wanted.argv[0]}` printed more than {longest} bytes")
        return self._exit_code(exec_id, wanted.container), out, err

    def _exit_code(self, exec_id: str, container: str) -> int:
        """The process may close its streams and work on: the supervisor's deadline bounds that. A dead one tells soon."""
        pause, deadline = 0.01, None
        while True:
            seen = self._call("GET", f"/exec/{exec_id}/json", None)
            code = seen.get("ExitCode")
            if not seen.get("Running"):
                if isinstance(code, int):
                    return code
                deadline = deadline or time.monotonic() + SETTLES_IN_S
                if time.monotonic() > deadline:
                    raise CouldNotExec(f"container {container}: the process's end was not seen")
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    def _call(self, method: str, path: str, body: dict[str, object] | None) -> dict[str, object]:
        client = http.client.HTTPConnection("docker", timeout=TIMEOUT_S)
        client.sock = self._connect()
        try:
            text = None if body is None else json.dumps(body)
            client.request(method, path, text, {"Content-Type": "application/json", "Connection": "close"})
            answer = client.getresponse()
            said = json.loads(answer.read() or b"{}")
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise CouldNotExec(f"the Docker Engine at {self._host} does not answer: {error}") from None
        finally:
            client.close()
        if answer.status >= 400 or not isinstance(said, dict):
            raise CouldNotExec(str(said.get("message", said) if isinstance(said, dict) else said))
        return said

    def _hijack(self, path: str, body: dict[str, object]) -> tuple[socket.socket, bytes]:
        """A connection that is a raw stream from now on, and what has come of it already: what runs there may first want input."""
        connection = self._connect()
        text = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n"
        )
        data = b""
        try:
            connection.sendall(head.encode() + b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n" + text)
            while b"\r\n\r\n" not in data:
                more = connection.recv(CHUNK)
                if not more:
                    raise CouldNotExec(f"the Docker Engine at {self._host} hung up")
                data += more
        except OSError as error:  # it may have begun it all the same
            raise CouldNotExec(f"the Docker Engine at {self._host} was lost: {error}") from None
        answer, _, rest = data.partition(b"\r\n\r\n")
        if answer.split(b" ", 2)[1:2] not in ([b"101"], [b"200"]):
            raise CouldNotExec(rest.decode("utf-8", "replace").strip() or answer.decode("ascii", "replace"))
        connection.settimeout(None)
        return connection, rest

    def _connect(self) -> socket.socket:
        address = urlsplit(self._host)
        try:
            if address.scheme == "unix":
                connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                connection.settimeout(TIMEOUT_S)
                connection.connect(address.path)
                return connection
            if address.scheme in ("tcp", "http") and not os.environ.get("DOCKER_TLS_VERIFY"):
                return socket.create_connection((address.hostname or "localhost", address.port or 2375), TIMEOUT_S)
            if address.scheme == "ssh":
                return _over_ssh(self._host)
        except OSError as error:
            raise CouldNotExec(
                f"the Docker Engine at {self._host} can't be reached: {error.strerror or error}"
            ) from None
        raise CouldNotExec(f"DOCKER_HOST {self._host}: expected unix://, ssh://, or tcp:// without TLS")


def _apart(data: bytes) -> tuple[bytes, bytes]:
    """The two streams of a whole multiplexed one."""
    streams = {1: bytearray(), 2: bytearray()}
    at = 0
    while at < len(data):
        if at + HEADER.size > len(data):
            raise CouldNotExec("the connection to the Docker Engine ended in the middle of the output")
        stream, length = HEADER.unpack_from(data, at)
        at += HEADER.size
        if at + length > len(data):
            raise CouldNotExec("the connection to the Docker Engine ended in the middle of the output")
        streams.setdefault(stream, bytearray()).extend(data[at : at + length])
        at += length
    return bytes(streams[1]), bytes(streams[2])


def _over_ssh(host: str) -> socket.socket:
    """A stream to the Engine of another machine, through its own docker client."""
    address = urlsplit(host)
    port = ("-p", str(address.port)) if address.port else ()
    user = f"{address.username}@" if address.username else ""
    ours, theirs = socket.socketpair()
    argv = ["ssh", "-T", *port, "--", f"{user}{address.hostname}", "docker", "system", "dial-stdio"]
    with theirs:
        subprocess.Popen(argv, stdin=theirs.fileno(), stdout=theirs.fileno())
    ours.settimeout(TIMEOUT_S)
    return ours


def _feed(connection: socket.socket) -> None:
    """Our standard input, to its end, and then the word that it has ended."""
    try:
        while data := os.read(0, CHUNK):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # it reads no more; its exit code says what that means


def main(arguments: list[str]) -> int:
    """The exit code of what ran there."""
    parser = argparse.ArgumentParser(prog="docker_exec", description="Run one process in a container.")
    parser.add_argument("--user", default="")
    parser.add_argument("--workdir", default="")
    parser.add_argument("container")
    parser.add_argument("argv", nargs=argparse.REMAINDER)
    given = parser.parse_args(arguments)
    wanted = Exec(given.container, tuple(given.argv), given.user, given.workdir)
    try:
        return DockerEngine(os.environ.get("DOCKER_HOST") or DEFAULT_HOST).run(wanted)
    except CouldNotExec as error:
        sys.stderr.write(f"runbook: {wanted.container}: {error}\n")
        return CANNOT


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # a thread may still wait for input that nobody needs any more
