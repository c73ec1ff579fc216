"""A name server of the tests' own: it answers, says that there is no such name, or says nothing at all."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

PORT = 53
HEADER = struct.Struct(">HHHHHH")
RESPONSE, RECURSION, NO_SUCH_NAME = 0x8000, 0x0480, 3
IPV4 = 1


class Answers(StrEnum):
    """What whoever asks gets."""

    ADDRESS = "this machine's address"
    NO_SUCH_NAME = "NXDOMAIN"
    NOTHING = "silence"


class NameServer:
    """A resolver on an address of this machine's own (127.0.0.0/8). Needs root. ``mode`` may change at any time."""

    def __init__(self) -> None:
        self._mode = Answers.ADDRESS
        self._told: list[Path] = []
        self.asked = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for number in range(1, 250):
            self.address = f"127.66.53.{number}"
            with contextlib.suppress(OSError):
                self._socket.bind((self.address, PORT))
                break
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    @property
    def mode(self) -> Answers:
        """What whoever asks gets."""
        return self._mode

    @mode.setter
    def mode(self, mode: Answers) -> None:
        self._mode = mode
        for path in self._told:
            self._tell(path)

    def configuration(self, path: Path) -> Path:
        """What has to stand in /etc/resolv.conf. One that says nothing is waited for a second; one that answers may take longer."""
        path.touch()
        path.chmod(0o644)
        self._tell(path)
        self._told.append(path)
        return path

    def _tell(self, path: Path) -> None:
        """In its place, each time of the same length: whoever reads it meanwhile finds a whole one."""
        waits_s = 1 if self._mode is Answers.NOTHING else 30
        with path.open("r+b", buffering=0) as file:
            file.write(f"nameserver {self.address}\noptions timeout:{waits_s:02} attempts:1\n".encode())

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                question, whose = self._socket.recvfrom(4096)
                if not question:  # it was closed
                    return
                self.asked += 1
                if self.mode is not Answers.NOTHING:
                    self._socket.sendto(self._answer(question), whose)

    def _answer(self, question: bytes) -> bytes:
        number = HEADER.unpack_from(question)[0]
        end = question.index(b"\0", HEADER.size) + 1
        kind = struct.unpack_from(">H", question, end)[0]
        asked = question[HEADER.size : end + 4]
        if self.mode is Answers.NO_SUCH_NAME:
            return HEADER.pack(number, RESPONSE | RECURSION | NO_SUCH_NAME, 1, 0, 0, 0) + asked
        found = struct.pack(">HHHIH", 0xC00C, IPV4, 1, 0, 4) + socket.inet_aton("127.0.0.1") if kind == IPV4 else b""
        return HEADER.pack(number, RESPONSE | RECURSION, 1, bool(found), 0, 0) + asked + found
