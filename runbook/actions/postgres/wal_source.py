"""Where a cluster's WAL is archived, as a recovery needs it: a directory on the server's host, or a bucket.

Owns the closed union :data:`Archive` and :func:`archive_of`, which finds the bucket's endpoint and keys in the environment.
Promises: whatever the archive is, it answers the same questions: which files it holds, a history's text, how the server gets a
segment (``restore_command``, and what has to run beside it), what shows that one has arrived, how a promoted cluster's histories
get in.

Out of a bucket, segments are fetched by a process on this machine (``runbook wal feed``) into a spool beside the side cluster. Keys
are in a file of the run's own directory, which operations name by its path.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TypeAlias

from runbook.action import FileFacts, Look, Scope
from runbook.actions.postgres import wal_spool
from runbook.actions.postgres.server_tools import Tools
from runbook.actions.postgres.swap import own_name
from runbook.errors import Problem, Refused
from runbook.host import Host, Local
from runbook.operation import (
    Arg,
    Document,
    MakeDirectory,
    Operation,
    Operations,
    Process,
    Remove,
    Write,
)
from runbook.system import Postgres, Store

PROGRAM = "runbook"
"""This program, in operations on this machine."""

_READABLE = """\
cd "$1" || exit 1
some=
for file in [0-9A-F]*; do
  [ -f "$file" ] && [ ! "$file" \\< "$2" ] || continue
  [ -r "$file" ] || { echo "$(id -un) can't read $1/$file" >&2; exit 1; }
  some=$file
done
[ -z "$some" ] || cp "$1/$some" /dev/null"""

_WHOLE = '[ -f "$1/$2" ] && [ "$(wc -c < "$1/$2")" -eq "$3" ]'

_HISTORY = """\
set -eu
found=
for file in "$1"/pg_wal/*.history; do
  [ -e "$file" ] || continue
  kept="$2/${file##*/}"
  if [ ! -e "$kept" ]; then
    cp "$file" "$kept.$3.partial"
    sync "$kept.$3.partial"
    ln "$kept.$3.partial" "$kept"
    rm "$kept.$3.partial"
    sync "$2"
  fi
  cmp "$file" "$kept"
  found=$file
done
if [ -z "$found" ]; then echo "no timeline history in $1/pg_wal" >&2; exit 1; fi"""


@dataclass(frozen=True, slots=True)
class DirectoryArchive:
    """A directory on the server's host, which the server's own account reads."""

    directory: str
    host: Host

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return self.directory

    def files(self, look: Look) -> tuple[FileFacts, ...]:
        """What lies in it."""
        return look.listing(self.host, self.directory)

    def text(self, look: Look, name: str) -> str | None:
        """A history whole, or None where it isn't."""
        return look.text(self.host, f"{self.directory}/{name}")

    def size_of(self, look: Look, name: str) -> int | None:
        """The file's size in bytes, or None where it isn't."""
        found = look.file(self.host, f"{self.directory}/{name}")
        return None if found is None else found.bytes

    def unseen(self, look: Look) -> str:
        """Why there is nothing to look at; '' where there is."""
        found = look.file(self.host, self.directory)
        return "" if found and found.kind != "file" else f"{self.directory} is not there on {self.host}."

    def opened(self) -> Operations:
        """What the other operations need first: nothing."""
        return ()

    def readable(self, first: str, tools: Tools) -> Process:
        """Exit code 0: the account that recovery runs under reads every segment from ``first`` on."""
        return tools.run("reads_archive", "sh", "-c", _READABLE, "sh", self.directory, first, reads=True)

    def arrived(self, name: str, segment: Arg, tools: Tools, *, segment_bytes: int) -> Process:
        """Exit code 0: the segment is there with all its bytes; an archive_command that only copies takes a while for them."""
        words = ("sh", self.directory, segment, str(segment_bytes))
        return tools.run(name, "sh", "-c", _WHOLE, *words, reads=True)

    def whole(self, name: str, segment: Arg, tools: Tools) -> Process:
        """Exit code 0: the segment can be read to its end."""
        words = (tools.program("pg_waldump"), self.directory, segment)
        return tools.run(name, "sh", "-c", '"$1" --path="$2" "$3" >/dev/null', "sh", *words, reads=True)

    def restore_command(self, run: str) -> str:
        """What the side server runs for each file; ``run`` is its own directory."""
        return f'cp "{self.directory.replace("%", "%%")}/%f" "%p"'

    def fed(self, run: str, segment_bytes: int, tools: Tools) -> Operations:
        """What has to run beside a recovery: nothing, the server copies by itself."""
        return ()

    def forgotten(self) -> Operations:
        """What is left of :meth:`opened` when all is done: nothing."""
        return ()

    def fed_no_more(self, name: str, run: str) -> Operations:
        """The end of that: nothing."""
        return ()

    def histories_in(self, directory: str, own: str, segment_bytes: int, tools: Tools) -> Operation:
        """Copies the timeline histories of a promoted cluster that the archive lacks, and compares those that it has."""
        return tools.run("archive_history", "sh", "-c", _HISTORY, "sh", directory, self.directory, own)


@dataclass(frozen=True, slots=True)
class BucketArchive:
    """Objects below a prefix, reached from this machine.

    ``access``: the file with its keys, in the run's directory. ``own``: what it has of the run in its name.
    """

    store: Store
    access: str
    own: str

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return self.store.url

    def files(self, look: Look) -> tuple[FileFacts, ...]:
        """The objects; an object's path is its name."""
        return look.objects(self.store)

    def text(self, look: Look, name: str) -> str | None:
        """A history whole, or None where it isn't."""
        return look.object_text(self.store, name)

    def size_of(self, look: Look, name: str) -> int | None:
        """The object's size in bytes, or None where it isn't."""
        return next((one.bytes for one in look.objects(self.store) if one.path == name), None)

    def unseen(self, look: Look) -> str:
        """Never: a bucket that can't be asked is no answer at all, and an empty prefix looks like one that isn't."""
        return ""

    def opened(self) -> Operations:
        """The file with the keys."""
        return (Write(name="archive_access", path=self.access, content=access_document(self.store)),)

    def readable(self, first: str, tools: Tools) -> Process:
        """Exit code 0: the bucket can be listed, and its newest segment comes whole, unless all are older than ``first``."""
        return self._asked("reads_archive", "readable", *((first,) if first else ()))

    def arrived(self, name: str, segment: Arg, tools: Tools, *, segment_bytes: int) -> Process:
        """Exit code 0: the segment is there, and whole."""
        return self._asked(name, "has", segment)

    def whole(self, name: str, segment: Arg, tools: Tools) -> Process:
        """Exit code 0: the segment can be read to its end."""
        return self._asked(name, "has", f"--waldump={tools.program('pg_waldump')}", segment)

    def restore_command(self, run: str) -> str:
        """What the side server runs for each file: it renames out of the spool."""
        return wal_spool.restore_command(spool_of(run))

    def fed(self, run: str, segment_bytes: int, tools: Tools) -> Operations:
        """The spool, and the process that fills it unless one does."""
        spool = spool_of(run)
        words = ("--access", self.access, "--segment-bytes", str(segment_bytes), spool)
        return (
            MakeDirectory(name="make_spool", path=spool, mode=0o700, owner=tools.owner),
            Process(name="feed", argv=(PROGRAM, "wal", "feed", *words), daemon=True),
        )

    def forgotten(self) -> Operations:
        """The keys are gone from the run's directory."""
        return (Remove(name="forget_access", path=self.access, marker=self.own),)

    def fed_no_more(self, name: str, run: str) -> Operations:
        """The feeder's end, and the spool's."""
        return (Process(name=name, argv=(PROGRAM, "wal", "end", spool_of(run)), owned=True),)

    def histories_in(self, directory: str, own: str, segment_bytes: int, tools: Tools) -> Operation:
        """Puts the timeline histories of a promoted cluster where the archive lacks them; another content is a failure."""
        words = ("--access", self.access, "--segment-bytes", str(segment_bytes), f"{directory}/pg_wal")
        return Process(name="archive_history", argv=(PROGRAM, "wal", "histories", *words))

    def _asked(self, name: str, verb: str, *words: Arg) -> Process:
        return Process(name=name, argv=(PROGRAM, "wal", verb, "--access", self.access, *words), reads=True)


Archive: TypeAlias = DirectoryArchive | BucketArchive


def spool_of(run: str) -> str:
    """The spool in the side server's own directory."""
    return f"{run}/spool"


def name_of(found: FileFacts) -> str:
    """The name in the archive of what was listed."""
    return posixpath.basename(found.path)


def access_document(store: Store) -> Document:
    """The access file of ``runbook wal`` for a bucket; without keys the SDK finds its own."""
    return Document(
        (
            ("url", store.url),
            ("endpoint", store.endpoint),
            ("region", store.region),
            ("access_key", store.access_key or ""),
            ("secret_key", store.secret_key or ""),
        )
    )


def local_archive(db: Postgres) -> DirectoryArchive:
    """The archive where it can only be a directory; refuses another."""
    return DirectoryArchive(directory_of(db), db.host)


def archive_of(db: Postgres, scope: Scope) -> Archive:
    """The cluster's archive; refuses what is neither."""
    if not db.archive.startswith("s3://"):
        return local_archive(db)
    if not isinstance(db.host, Local):
        detail = f"{db.key or 'The server'} is in {db.host}, and WAL out of a bucket is fetched beside its data, on this machine."
        fix = (
            "Archive it into a directory on a mount (`archive: file:///DIRECTORY`), or run runbook where the server is."
        )
        raise Refused(Problem("E669", "a server in a container can't use an archive in a bucket", detail, fix))
    return BucketArchive(bucket_of(db, scope), f"{scope.directory}/{own_name(scope)}.archive_access", own_name(scope))


def directory_of(db: Postgres) -> str:
    """The archive's directory on the server's host; refuses other archives."""
    path = db.archive.removeprefix("file://").rstrip("/")
    if db.archive.startswith("file:///") and path and not set(path) & set("\"'\\`$\n"):
        return path
    raise Refused(
        Problem(
            "E785",
            "the WAL archive is not a directory",
            f"`archive` of {db.key or 'the system'} is {db.archive or 'not set'}.",
            "Set it to file:///DIRECTORY, as seen from the server's host; for another archive use the tool that owns it.",
        )
    )


def bucket_of(db: Postgres, scope: Scope) -> Store:
    """The archive as a store: endpoint, region and keys are those of the environment's store with its url, or of a parent's.

    The nearest one counts. Without any the SDK finds them (environment, profile, instance).
    """
    url = db.archive.rstrip("/")
    known = [one for one in scope.systems.values() if isinstance(one, Store) and f"{url}/".startswith(_folder(one))]
    nearest = max(known, key=lambda one: len(_folder(one)), default=None)
    if nearest is None:
        return Store(type="store", key=db.key, url=url)
    return nearest.model_copy(update={"url": url})


def _folder(store: Store) -> str:
    return f"{store.url.rstrip('/')}/"
