"""Continuous archiving to a directory: the command that the server runs for each segment, and the settings round it.

Owns :func:`command_for`, the table of settings (:func:`wanted_settings`) and what an ``archive_command`` that is there already
means (:func:`purpose_of`). Pure. Promises of the command: a file in the archive is never overwritten; one that is there with the
same bytes is a success, another one a failure; a file has its name only when all its bytes are on the disk; whatever goes wrong,
it returns 1, which the server counts as a failure and tries again (above 125 the archiver would end, uncounted).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from runbook.quoting import shell_word

MARK = ": runbook;"
"""How our commands begin: for the shell it does nothing."""

_COMMAND = (
    'f=@/%f; rm -f @/.%f.??????; [ -e "$f" ] || { t=$(mktemp @/.%f.XXXXXX) && cp "%p" "$t" && sync "$t" && '
    '{ ln "$t" "$f" 2>/dev/null || mv -n "$t" "$f"; }; rm -f "$t"; }; '
    'cmp "%p" "$f" >&2 && sync "$f" @ || exit 1'
)
_TOOLS = re.compile(r"\b(pgbackrest|barman[\w-]*|wal-[ge]|pghoard|pg_probackup|omnipitr[\w-]*)\b")
_IDLE = re.compile(r"\s*(/usr)?(/bin/)?(true|:|exit 0)?\s*;?\s*|\(disabled\)")
_SPAN = re.compile(r"(\d+)\s*(ms|s|min|h|d)?")
_SECONDS = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400}


class Purpose(StrEnum):
    """What an archive_command that is there does: nothing, ours, a copy to the same place, a tool's, a copy elsewhere."""

    IDLE = "idle"
    OURS = "ours"
    HERE = "here"
    TOOL = "tool"
    ELSEWHERE = "elsewhere"


def command_for(directory: str) -> str:
    """The archive_command for a directory, one line. POSIX shell, and ``cmp cp ln mktemp mv rm sync`` of any coreutils.

    The copy gets its name by a hard link, which fails where the name is taken; a file system without links gets
    ``mv -n`` instead. Whichever it was, the bytes are compared in the end. What an earlier try for the same file left when it was
    killed, half a copy or a whole one's second name, goes first.
    """
    return f"{MARK} {_COMMAND.replace('@', shell_word(directory).replace('%', '%%'))}"


def purpose_of(command: str, directory: str) -> Purpose:
    """What a command that the server has means for an archive in ``directory``."""
    if command == command_for(directory):
        return Purpose.OURS
    if _IDLE.fullmatch(command):
        return Purpose.IDLE
    if _TOOLS.search(command):
        return Purpose.TOOL
    named = re.search(rf"(?<![\w:/.-]){re.escape(directory.replace('%', '%%'))}(?![\w.-])", command)
    return Purpose.HERE if named else Purpose.ELSEWHERE


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting as the server has it. Texts as in ``pg_settings.reset_val`` and ``pg_file_settings``.

    ``file``: what the files say now, None if nothing; ``auto``: what ALTER SYSTEM has written, None if nothing.
    """

    name: str
    value: str
    source: str
    file: str | None
    auto: str | None

    @property
    def next(self) -> str:
        """What it will be when the files are read again, or the server is started anew."""
        return self.value if self.file is None or self.fixed else self.file

    @property
    def fixed(self) -> bool:
        """Whether the files can't change it: the server was started with it."""
        return self.source in ("command line", "environment variable", "override")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a setting has to be: ``value`` is set where ``fits`` says no. ``restart``: it counts from the next start on."""

    name: str
    value: str
    fits: Callable[[str], bool]
    restart: bool = False


def wanted_settings(command: str, timeout_s: int) -> tuple[Wanted, ...]:
    """What archiving with that command needs, in the order in which it is set."""
    return (
        Wanted("wal_level", "replica", lambda value: value != "minimal", restart=True),
        # under wal_level minimal it has to be 0; a base backup needs at least one
        Wanted("max_wal_senders", "10", lambda value: value != "0", restart=True),
        Wanted("archive_mode", "on", lambda value: value in ("on", "always", "true", "yes", "1"), restart=True),
        Wanted("archive_library", "", lambda value: value == ""),
        Wanted("archive_command", command, lambda value: value == command),
        Wanted("archive_timeout", str(timeout_s), lambda value: 0 < seconds_of(value) <= timeout_s),
    )


def seconds_of(text: str) -> float:
    """A span as configuration files have it (``300``, ``5min``), in seconds; 0 for what isn't one."""
    found = _SPAN.fullmatch(text.strip())
    return int(found[1]) * _SECONDS[found[2] or "s"] if found else 0
