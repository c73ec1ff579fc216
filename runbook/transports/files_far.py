"""The file operations inside containers, by the POSIX programs that are there.

Owns the argv lists. Promises as ``files.py``, as far as these programs can keep them: ``mv -n`` looks before it renames, so
between two runs that rename to the same name at the same instant the later one is refused by the check after it.
"""

from __future__ import annotations

import io
import posixpath
import tarfile
from collections.abc import Sequence

from runbook.action import Ran
from runbook.host import Compose, Docker, Host
from runbook.operation import Fields, MakeDirectory, Remove, Rename, Write
from runbook.paste import on_host
from runbook.quoting import shell_word
from runbook.transports.bound import Bound
from runbook.transports.commands import Commands
from runbook.transports.docker import DockerEngine
from runbook.transports.durable import PARTIAL
from runbook.transports.files import check_removal, mount_points, target_exists, unsafe, written
from runbook.transports.trouble import Trouble, trouble, unreachable


class FarFiles:
    """File operations in one container."""

    def __init__(self, host: Docker | Compose, commands: Commands, engine: DockerEngine, bound: Bound) -> None:
        self._host = host
        self._commands = commands
        self._engine = engine
        self._bound = bound

    def make_directory(self, operation: MakeDirectory) -> Fields:
        """Make it and its parents."""
        if self._ok("test", "-d", operation.path):
            return {"created": False}
        self._do("a directory could not be made", "mkdir", "-p", "-m", f"{operation.mode:04o}", "--", operation.path)
        if operation.owner:
            self._do("a directory could not be made", "chown", operation.owner, "--", operation.path)
        self._sync(posixpath.dirname(operation.path))
        return {"created": True}

    def write(self, operation: Write, data: bytes) -> Fields:
        """Copy it in under a ``.partial`` name, sync, rename."""
        from docker.errors import DockerException
        from requests.exceptions import RequestException

        folder, name = posixpath.split(operation.path)
        partial = operation.path + PARTIAL
        try:
            taken = self._engine.one(self._host).put_archive(folder, _archive(name + PARTIAL, data, operation.mode))
        except (DockerException, RequestException) as error:
            detail = f"{self._host}:{partial}: {error}"
            raise trouble("E320", "a file could not be written", detail, self._look_at(folder)) from None
        if not taken:
            detail = f"{self._host} did not take {partial}."
            raise trouble("E320", "a file could not be written", detail, self._look_at(folder))
        if operation.owner:
            self._do("a file could not be written", "chown", operation.owner, "--", partial)
        self._sync(partial)
        self._do("a file could not be written", "mv", "-fT", "--", partial, operation.path)
        self._sync(folder)
        return written(data)

    def rename(self, operation: Rename) -> Fields:
        """Rename without replacing."""
        if self._there(operation.target):
            raise target_exists(operation.target)
        self._do("a rename failed", "mv", "-nT", "--", operation.source, operation.target)
        if self._there(operation.source):
            raise target_exists(operation.target)
        for folder in sorted({posixpath.dirname(operation.source), posixpath.dirname(operation.target)}):
            self._sync(folder)
        return {}

    def remove(self, operation: Remove) -> Fields:
        """Remove a file or a tree that carries the run's name."""
        path = str(check_removal(operation))
        if not self._there(path):
            return {"removed": False}
        parent = posixpath.dirname(path)
        real = self._do("a removal failed", "readlink", "-f", "--", parent).stdout.removesuffix("\n")
        if real != parent:
            raise unsafe(path, f"a folder above it is a symbolic link (it is {real})")
        mounted = self._mounted(path)
        if mounted:
            raise unsafe(path, f"something is mounted at {mounted[0]}")
        self._do("a removal failed", "find", path, "-xdev", "-depth", "-delete")
        self._sync(parent)
        return {"removed": True}

    def _there(self, path: str) -> bool:
        return self._ok("test", "-e", path) or self._ok("test", "-L", path)

    def _mounted(self, path: str) -> list[str]:
        """Mount points at or below ``path``. Not by device numbers: an overlay gives its files and folders several (proc(5))."""
        table = self._do("a removal failed", "cat", "/proc/self/mountinfo").stdout
        return [str(point) for point in mount_points(table) if point.is_relative_to(path)]

    def _sync(self, path: str) -> None:
        self._do("a file could not be written", "sync", path)

    def _ok(self, *argv: str) -> bool:
        ran = self._run(argv)
        if ran.exit_code > 1:
            raise unreachable(
                "E305",
                "a command gave no answer",
                f"`{argv[0]}` on {self._host}: {ran.stderr or ran.stdout}",
                "run it there by hand: does it answer?",
            )
        return ran.exit_code == 0

    def _do(self, summary: str, *argv: str) -> Ran:
        ran = self._run(argv)
        if ran.exit_code:
            raise _said_no(summary, self._host, argv, ran)
        return ran

    def _look_at(self, folder: str) -> str:
        return on_host(self._host, f"df -h {shell_word(folder)}")

    def _run(self, argv: Sequence[str]) -> Ran:
        return self._commands.run(self._host, argv, self._bound)


def _said_no(summary: str, host: Host, argv: Sequence[str], ran: Ran) -> Trouble:
    said = (ran.stderr or ran.stdout).strip()
    about = next((word for word in reversed(argv) if word.startswith("/")), "/")
    fix = on_host(host, f"ls -la {shell_word(posixpath.dirname(about))}")
    return trouble("E320", summary, f"{host}: `{argv[0]}` ended with exit code {ran.exit_code}: {said}", fix)


def _archive(name: str, data: bytes, mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(data), mode
        archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
