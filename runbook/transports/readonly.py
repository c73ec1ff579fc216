"""The list of programs that an observer may run: each only reads, with the options that keep it so.

Owns :func:`only_reads`. Pure. Promises: what isn't on the list is refused; a program is known by its file's name, so it may be
called by a path.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_VERSION = frozenset({"--version", "-V"})
_VERSIONED = _words(
    "pg_dump pg_dumpall pg_restore psql pg_basebackup pg_verifybackup pg_receivewal pg_ctl postgres initdb pg_waldump "
    "pg_archivecleanup "
    "redis-server redis-cli valkey-server valkey-cli gpg age tar zstd gzip xz lz4 openssl aws rclone restic pgbackrest "
    "barman ssh docker docker-compose python3 bash sync"
)
_ANY = _words("stat ls df du readlink realpath id uname sha256sum wc getent pg_controldata pg_isready")
"""Programs that only read whatever their options are."""
_FORMS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "pg_restore": (("--list",), ("-l",), ("--file=-",)),
    "pg_ctl": (("status",),),
    "pg_verifybackup": (("",),),
    "pg_waldump": (("",),),
    "redis-check-rdb": (("",),),
    "valkey-check-rdb": (("",),),
    "test": (("",),),
    "mountpoint": (("",),),
    "tar": (("--list",), ("-tf",), ("-tzf",)),
    "zstd": (("--list",), ("-l",), ("--test",), ("-t",)),
    "gzip": (("--list",), ("-l",), ("--test",), ("-t",)),
    "docker": (("version",), ("info",)),
    "docker-compose": (("version",),),
    "pgbackrest": (("info",), ("version",)),
    "head": (("-c",),),
}
"""First arguments that make a program a reader; an empty one stands for anything."""
_WRITING: Mapping[str, tuple[str, ...]] = {
    "pg_restore": ("-f", "--file", "-d", "--dbname", "-h", "--host"),
    "tar": ("--to-command", "--checkpoint-action", "-I", "--use-compress-program", "--use-compress", "--index-file"),
    "pg_waldump": ("--save-fullpage",),
    "redis-cli": (),
}
"""Options that would make a listed form write, run or connect."""
_EXACTLY: Mapping[str, frozenset[tuple[str, ...]]] = {
    "runbook": frozenset({("wal", "program")}),
    "pg_basebackup": frozenset({("--pgdata=/dev/null/none", "--format=plain", "--compress=client-zstd")}),
}
"""Calls that are allowed to the letter. pg_basebackup refuses its one itself, with words that tell how it was built."""
_STANDARD_OUTPUT = frozenset({"--file=-"})
"""Values of writing options that write to nobody but the observer."""
_REDIS_READS = _words("PING INFO LASTSAVE DBSIZE TIME ROLE EXISTS TYPE TTL STRLEN LLEN HLEN SCARD ZCARD")
_REDIS_OPTIONS_WITH_VALUE = frozenset({"-h", "-p", "-s", "-n", "-t", "--user"})
_REDIS_OPTIONS = frozenset({"--no-auth-warning", "--raw", "--no-raw", "-2", "-3", "--json"})


def only_reads(argv: Sequence[str]) -> bool:
    """Whether this command is on the list of those that only read."""
    if not argv:
        return False
    program, arguments = posixpath.basename(argv[0]), list(argv[1:])
    if program in _VERSIONED and len(arguments) == 1 and arguments[0] in _VERSION:
        return True
    if program in _ANY or tuple(arguments) in _EXACTLY.get(program, frozenset()):
        return True
    if program in ("redis-cli", "valkey-cli"):
        return _redis_reads(arguments)
    forms = _FORMS.get(program, ())
    starts = any(form[0] in ("", arguments[0] if arguments else None) for form in forms)
    return starts and not any(_writes(program, one) for one in arguments)


def _writes(program: str, argument: str) -> bool:
    """Whether an argument is one of the program's writing options, attached values (``-fX``, ``--file=X``) included."""
    return argument not in _STANDARD_OUTPUT and any(
        argument == option or argument.startswith(f"{option}=" if option.startswith("--") else option)
        for option in _WRITING.get(program, ())
    )


def _redis_reads(arguments: list[str]) -> bool:
    """One command of the read-only ones, with options that only say where to ask."""
    rest = iter(arguments)
    for argument in rest:
        if argument in _REDIS_OPTIONS_WITH_VALUE:
            next(rest, None)
        elif argument not in _REDIS_OPTIONS:
            words = [argument.upper(), *(word.upper() for word in rest)]
            return words[0] in _REDIS_READS or words[:2] == ["CONFIG", "GET"]
    return False
