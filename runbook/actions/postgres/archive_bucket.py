"""Archiving into a bucket: what the server runs for each segment, with which file of keys, and whether its account can run it.

Owns the archive_command (:func:`bucket_command`), the server's access file (beside its data directory, mode 0600, its own), and the
look at the program's path. Promises: no key is in an argv, a setting or a log; a program that lies where the server's account can't
get is refused before anything is set.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass

from runbook.action import Look
from runbook.actions.postgres.archiving import MARK
from runbook.actions.postgres.wal import SEGMENT_BYTES
from runbook.actions.postgres.wal_source import PROGRAM, access_document
from runbook.errors import Problem
from runbook.host import LOCAL
from runbook.operation import Arg, Operation, Operations, Process, Write
from runbook.quoting import shell_word
from runbook.system import Store

_OTHERS_ENTER = 0o011
"""Execute bits of the group and of everybody: which groups an account is in is not looked at."""
_WRITABLE = """\
"$1" wal program > /dev/null || { echo "$(id -un) can't run $1" >&2; exit 1; }
exec "$1" wal readable --access "$2" --cluster "$3\""""


@dataclass(frozen=True, slots=True)
class BucketWriter:
    """Who writes into the bucket: the server's account on this machine, by ``program``, with the keys in ``access``."""

    store: Store
    program: str
    access: str
    owner: str

    def prepared(self) -> Operations:
        """The server's access file, anew each time: keys change."""
        document = access_document(self.store)
        return (Write(name="server_access", path=self.access, content=document, mode=0o600, owner=self.owner),)

    def probe(self, identifier: str) -> Operation:
        """Whether that account runs the program, gets at the bucket, and finds no other cluster's WAL in it."""
        return self._run("writable", "sh", "-c", _WRITABLE, "sh", self.program, self.access, identifier)

    def arrived(self, segment: Arg, segment_bytes: int) -> Process:
        """Exit code 0: the segment is there, and whole."""
        return self._run("in_archive", self.program, "wal", "has", "--access", self.access, segment)

    def _run(self, name: str, *argv: Arg) -> Process:
        return Process(name=name, argv=argv, user=self.owner, cwd="/", reads=True)


def access_beside(data: str) -> str:
    """The server's access file: beside the data directory, so that a swap of directories leaves it where it is."""
    return f"{data}.wal_archive.json"


def bucket_command(program: str, access: str, segment_bytes: int) -> str:
    """The archive_command, one line: 0 only where the bucket holds exactly this file; else 1, which the server tries again."""
    sized = "" if segment_bytes == SEGMENT_BYTES else f" --segment-bytes {segment_bytes}"
    words = " ".join(shell_word(word).replace("%", "%%") for word in (program, "wal", "push", "--access", access))
    return f'{MARK} {words}{sized} "%p" >&2 || exit 1'


def read_program(look: Look, given: str) -> str:
    """The program's path: as given, or this one's own."""
    return given or look.run(LOCAL, (PROGRAM, "wal", "program")).stdout.strip() or PROGRAM


def closed(look: Look, program: str, owner: str) -> list[Problem]:
    """What keeps the server's account from running the program, as far as modes tell: of its path, and of its interpreter's."""
    for path in _needed(look, program):
        for part in _parts(path):
            found = look.file(LOCAL, part)
            if found is None:
                return [_closed(f"{part} does not exist, and {program} needs {path}.")]
            if found.kind == "link" or found.owner == owner or found.mode & _OTHERS_ENTER:
                continue
            why = f"{part} is closed to {owner} (it belongs to {found.owner}, mode {found.mode:04o})"
            return [_closed(f"{why}, and {program} needs {path}.")]
    return []


def _closed(detail: str) -> Problem:
    fix = (
        "Install runbook where every account can run it (python3 -m venv /opt/runbook, with a Python that is no user's own), "
        "and give `program: /opt/runbook/bin/runbook`."
    )
    return Problem("E668", "the server's account can't run runbook", detail, fix)


def _needed(look: Look, program: str) -> Iterator[str]:
    """The program, what a link to it leads to, and the same of the interpreter in its first line."""
    yield program
    yield _real(look, program)
    first = (look.text(LOCAL, program) or "").partition("\n")[0]
    if first.startswith("#!/"):
        interpreter = first[2:].split()[0]
        yield interpreter
        yield _real(look, interpreter)


def _real(look: Look, path: str) -> str:
    ran = look.run(LOCAL, ("readlink", "-f", path))
    return ran.stdout.rstrip("\n") if ran.exit_code == 0 and ran.stdout.startswith("/") else path


def _parts(path: str) -> list[str]:
    """The folders above, outermost first, and the path itself."""
    parts = [path]
    while (above := posixpath.dirname(parts[-1])) not in ("/", "", parts[-1]):
        parts.append(above)
    return parts[::-1]
