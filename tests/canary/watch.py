"""What others can see of a process while it lives: every command line, and every environment, of this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.canary.canaries import Canary, found

PAUSE_S = 0.01
ENGINE, CHILD = "CANARY_IN_ENGINE", "CANARY_IN_CHILD"
"""Variables that say which kinds a process is meant to have in its environment. The engine's says nothing for what inherited it."""
_ENGINES = (b"runbook.cli", b"broken.py")


@dataclass
class Watch:
    """Looks at all processes again and again; ``look`` does so once, now, to its end."""

    canaries: Sequence[Canary]
    leaks: set[tuple[str, str, str]] = field(default_factory=set)
    looks: int = 0
    _clean: set[tuple[bytes, bytes]] = field(default_factory=set)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Watch:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def look(self) -> set[str]:
        """Look once at everything. Gives the kinds that were seen where they are meant to be: the look has eyes."""
        seen: set[str] = set()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                seen |= self._process(entry)
        self.looks += 1
        return seen

    def _watch(self) -> None:
        while not self._over.wait(PAUSE_S):
            self.look()

    def _process(self, entry: Path) -> set[str]:
        words, environment = _shown(entry)
        if (words, environment) in self._clean:
            return set()
        there, shown = found(environment, self.canaries), found(words, self.canaries)
        if not there and not shown:
            self._clean.add((words, environment))
        program = words.replace(b"\0", b" ").decode(errors="replace")[:80]
        self.leaks |= {(kind, form, f"command line of {program}") for kind, form in shown}
        meant = set(_meant(environment, CHILD))
        if any(name in words for name in _ENGINES):
            meant |= set(_meant(environment, ENGINE))
        self.leaks |= {(kind, form, f"environment of {program}") for kind, form in there if kind not in meant}
        return meant & {kind for kind, _ in there}


def _shown(entry: Path) -> tuple[bytes, bytes]:
    """Command line and environment of one and the same program: it may become another between two reads."""
    words = _readable(entry / "cmdline")
    while True:
        environment, after = _readable(entry / "environ"), _readable(entry / "cmdline")
        if words == after:
            return words, environment
        words = after


def _readable(path: Path) -> bytes:
    """What stands there; nothing where the process is gone, or keeps it from us."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _meant(environment: bytes, mark: str) -> Iterable[str]:
    for variable in environment.split(b"\0"):
        name, _, value = variable.partition(b"=")
        if name == mark.encode():
            yield from value.decode().split(",")
