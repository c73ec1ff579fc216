"""What `strace` saw: the calls by which a process and all its children may change something, and the programs that they ran.

The lines are those of ``strace -f -y -s 4096 -qq``: a pid, the call, its arguments, its result. A call that was interrupted by
another thread's is put together again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OPENING = ("open", "openat", "openat2", "creat")
MAKING = (
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "unlink", "unlinkat", "rmdir"),
    *("mkdir", "mkdirat", "mknod", "mknodat", "truncate", "chmod", "fchmodat", "chown", "lchown", "fchownat"),
    *("utimensat", "utime", "utimes", "setxattr", "lsetxattr", "removexattr", "mount", "umount2", "swapon", "chroot"),
)
FORKS = ("clone", "clone3", "fork", "vfork")
NAMING = (
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"),
    *("unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "mknod", "mknodat"),
)
"""The calls by which a name comes into being, or goes."""
STRACE = ("strace", "-f", "-y", "-s", "4096", "-qq", "-e", "signal=none")
_WRITES = re.compile(r"\bO_(WRONLY|RDWR|CREAT|TRUNC|APPEND|TMPFILE)\b")
_LINE = re.compile(r"^(?P<pid>\d+) +(?P<rest>.*)$")
_CALL = re.compile(r"^(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>.*)$")
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_WORDS = re.compile(r'(?:"(?:[^"\\]|\\.)*"(?:\.\.\.)?(?:, )?)*')
_FOLDER = re.compile(r"^(?:AT_FDCWD|\d+)<([^>]*)>")


@dataclass(frozen=True)
class Call:
    """A call of the system: which process made it, its arguments as strace shows them, and its result."""

    pid: int
    name: str
    arguments: str
    result: str

    @property
    def failed(self) -> bool:
        """It changed nothing."""
        return self.result.startswith("-1")

    @property
    def texts(self) -> list[str]:
        """Its arguments that are texts, unescaped as far as ASCII goes."""
        return [_unescaped(text) for text in _TEXT.findall(self.arguments)]

    @property
    def paths(self) -> list[str]:
        """The paths in its arguments, made whole by the folder that it gave."""
        folder = _FOLDER.match(self.arguments)
        base = folder[1] if folder else ""
        return [path if path.startswith("/") or not base else f"{base}/{path}" for path in self.texts]

    @property
    def changes(self) -> bool:
        """Whether it may have changed a file system."""
        if self.failed:
            return False
        return bool(_WRITES.search(self.arguments)) if self.name in OPENING else self.name in MAKING


def calls(trace: Path) -> Iterator[Call]:
    """The calls of a trace, in its order."""
    unfinished: dict[int, str] = {}
    for line in trace.read_text(errors="replace").splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        pid, rest = int(found["pid"]), found["rest"]
        if rest.endswith("<unfinished ...>"):
            unfinished[pid] = rest.removesuffix("<unfinished ...>").rstrip()
            continue
        if rest.startswith("<... "):
            rest = unfinished.pop(pid, "") + rest.partition("resumed>")[2]
        call = _CALL.match(rest)
        if call is not None:
            yield Call(pid, call["name"], call["arguments"], call["result"])


@dataclass(frozen=True)
class Executed:
    """A program that was executed; ``by``: what its process, or the one that it was forked of, had executed before."""

    argv: tuple[str, ...]
    by: Executed | None = None

    @property
    def line(self) -> tuple[Executed, ...]:
        """All from which it descends, the nearest first."""
        return (self.by, *self.by.line) if self.by else ()


def executed(trace: Path) -> list[Executed]:
    """The programs that were executed, in order. The trace has to have the calls of ``FORKS`` too."""
    return [program for program, call in attributed(trace) if program is not None and call.name == "execve"]


def attributed(trace: Path) -> Iterator[tuple[Executed | None, Call]]:
    """Each call that succeeded, in order, with the program that made it; `execve` with the one that it began."""
    seen = [call for call in calls(trace) if not call.failed]
    # a child's own lines may stand before the line in which its parent's call returned
    parents = {int(call.result): call.pid for call in seen if call.name in FORKS and call.result.isdecimal()}
    last: dict[int, Executed] = {}
    for call in seen:
        pid: int | None = call.pid
        while pid is not None and pid not in last:
            pid = parents.get(pid)
        before = last[pid] if pid is not None else None
        if call.name == "execve":
            words = _WORDS.match(call.arguments.partition(", [")[2])
            argv = tuple(_unescaped(text) for text in _TEXT.findall(words[0] if words else ""))
            before = last[call.pid] = Executed(argv, before)
        yield before, call


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: {"n": "\n", "t": "\t"}.get(found[1], found[1]), text)
