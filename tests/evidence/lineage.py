"""Who is responsible for a program that was executed: a line that was told, what that line runs in its turn, a server, an observer.

Each executed program is explained by itself, or by the one that executed it: nothing counts only because its name stands in
some line. Promises: what has no such reason is named by :func:`unexplained`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.evidence.shown import Told, argv_of, holds
from tests.evidence.traces import Executed

LOOKS = ("readlink", "du", "sha256sum")
"""Programs that can do nothing but look."""
OBSERVERS = ("--version", "-V", "--list")
PACKS = ["--pgdata=/dev/null/none", "--format=plain", "--compress=client-zstd"]
"""With these pg_basebackup refuses its arguments before it opens anything: its words tell whether it can pack."""
SHELLS = ("sh", "bash", "dash")
RUNNERS = ("find", "xargs", "env", "runuser", "setpriv")
_COMMAND = re.compile(r"^(?:archive_command|restore_command|archive_cleanup_command|recovery_end_command)\s*=\s*(.*)$")
_VALUES = re.compile(r"%[fpr]")


@dataclass(frozen=True)
class Explained:
    """``lines``: by text, those that run programs; ``commands``: what servers were told to run, with %f and %p in them."""

    lines: dict[str, Told]
    commands: tuple[str, ...]

    def lines_of(self, program: Executed) -> list[str]:
        """The lines in which the program stands with exactly its arguments."""
        argv = argv_of(program.argv)
        # the script that starts a server adds it, and says so
        whole = argv[:-1] if argv[-1].startswith("--log=") else argv
        return [text for text, told in self.lines.items() if holds(told.words, argv) or holds(told.words, whole)]

    def by(self, program: Executed) -> bool:
        """Whether somebody answers for it."""
        if own(program.argv):
            return True
        if within_a_server(program):
            return self._of_a_server(program)
        if self.lines_of(program) or observes(argv_of(program.argv)):
            return True
        return program.by is not None and not own(program.by.argv) and run_by(program) and self.by(program.by)

    def _of_a_server(self, program: Executed) -> bool:
        """A server runs the commands of its settings by a shell, and nothing else."""
        assert program.by is not None
        if not is_server(program.by.argv):
            return run_by(program) and self._of_a_server(program.by)
        shell, *script = argv_of(program.argv)
        told = (*self.commands, *commands_in(argv_of(program.by.argv)))
        return is_shell(shell) and script[:1] == ["-c"] and any(pattern(one).fullmatch(script[1]) for one in told)


def unexplained(programs: Iterable[Executed], explained: Explained) -> list[list[str]]:
    """The programs for which nobody answers."""
    return [argv_of(one.argv) for one in programs if not explained.by(one)]


def own(argv: Sequence[str]) -> bool:
    """The program itself: its engine, its supervisor, its client of containers."""
    return "/runbook/transports/" in " ".join(argv[:6]) or argv[0].endswith("/runbook")


def observes(argv: list[str]) -> bool:
    """A look of an observer: a program's version, the contents of an archive or of WAL, a link, a size, a cluster's state."""
    if argv[0] in LOOKS or argv[1:] == PACKS:
        return True
    reads = argv[0].endswith(("/pg_controldata", "/pg_waldump")) and not any("save" in one for one in argv)
    return reads or (len(argv) > 1 and argv[1] in OBSERVERS)


def is_shell(program: str) -> bool:
    """A shell, by its name."""
    return Path(program).name in SHELLS


def is_server(argv: Sequence[str]) -> bool:
    """A PostgreSQL server that goes on: not one that only tells of itself, or that answers one session."""
    return Path(argv[0]).name == "postgres" and not {"--single", "-V", "--version", "-C"} & set(argv[1:])


def within_a_server(program: Executed) -> bool:
    """Whether a server runs it, or what a server ran does."""
    return any(is_server(one.argv) for one in program.line)


def run_by(program: Executed) -> bool:
    """Whether its parent names it, in a script or its words; or is a program of PostgreSQL's that is known to run it."""
    assert program.by is not None
    argv, parent = argv_of(program.argv), argv_of(program.by.argv)
    if is_shell(parent[0]):
        if parent[1:2] == ["-c"]:
            return named(argv[0], parent[2]) or argv[0] in parent[3:]
        return argv[0] in parent[1:]
    match Path(parent[0]).name:
        case "pg_ctl":
            return (argv == ["sh", "-c", argv[-1]] and argv[-1].endswith("-V")) or argv == started_by(parent)
        case "pg_dumpall":
            return argv[:2] == ["sh", "-c"] and argv[2].endswith("-V")
        case "pg_verifybackup":
            return argv[:2] == ["sh", "-c"] and argv[2].startswith(f'"{Path(parent[0]).with_name("pg_waldump")}" ')
        case name:
            return name in RUNNERS and argv[0] in parent[1:]


def started_by(pg_ctl: list[str]) -> list[str]:
    """The shell by which `pg_ctl start` executes the server, as far as pg_ctl's own words decide it; [] for another pg_ctl."""
    if "start" not in pg_ctl[1:]:
        return []

    def given(name: str) -> str:
        return next((word.removeprefix(f"--{name}=") for word in pg_ctl if word.startswith(f"--{name}=")), "")

    server = f"{Path(pg_ctl[0]).parent}/postgres"
    words = f'exec "{server}" -D "{given("pgdata")}" {given("options")} < "/dev/null" >> "{given("log")}" 2>&1'
    return ["/bin/sh", "-c", words]


def named(program: str, script: str) -> bool:
    """Whether a script names the program as a word of its own."""
    return re.search(rf"(?<![\w/.-]){re.escape(Path(program).name)}(?![\w/.-])", script) is not None or (
        program in re.split(r"[\s\"']+", script)
    )


def commands_in(words: Iterable[str]) -> tuple[str, ...]:
    """The commands that a server's settings name, in its own arguments or in a line."""
    return tuple(found[1].strip("'") for word in words if (found := _COMMAND.match(word)))


def told_commands(told: Iterable[Told]) -> tuple[str, ...]:
    """Those that lines set by ALTER SYSTEM, or write into a file."""
    texts = [word for one in told for word in one.words]
    found = [
        command
        for text in texts
        for name, command in re.findall(r"(archive_command|restore_command)\s*(?:=|TO)\s*'((?:[^']|'')*)'", text)
    ]
    return tuple(one.replace("''", "'") for one in found)


def pattern(command: str) -> re.Pattern[str]:
    """The command as the server runs it: %f a file's name, %p a path, %% a per cent sign."""
    parts = [part.replace("%%", "%") for part in _VALUES.split(command)]
    return re.compile(r"[\w./-]+".join(map(re.escape, parts)))
