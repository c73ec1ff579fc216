"""How PostgreSQL archives a WAL segment here: never over another one, and on disk before it says so.

Owns the archiving script. Promises, as the manual asks ("Setting Up WAL Archiving"): a segment that is there already is
accepted only if it is identical, refused otherwise; the copy is synced before it gets its name, its name is given by a
hard link, which can't replace anything, and the directory is synced before success is reported.
"""

from __future__ import annotations

import shlex

from runbook.sandbox.layout import Layout

_SCRIPT = """#!/bin/sh
# Archives one WAL segment: $1 its path, $2 its name. Written by `runbook sandbox up`.
set -eu
archive={archive}
if test -e "$archive/$2"; then
    cmp -s "$1" "$archive/$2" || {{ echo "$archive/$2 exists and differs from $1: refused" >&2; exit 1; }}
else
    cp "$1" "$archive/.$2.partial"
    sync "$archive/.$2.partial"
    ln "$archive/.$2.partial" "$archive/$2"
    rm "$archive/.$2.partial"
fi
sync "$archive/$2" "$archive"
"""


def write_archiver(layout: Layout) -> None:
    """Write the script, where the server's account can execute it and not change it."""
    path = layout.binaries / "archive-wal"
    beside = path.with_name("archive-wal.new")
    beside.write_text(_SCRIPT.format(archive=shlex.quote(str(layout.archive))), encoding="utf-8")
    beside.chmod(0o755)
    beside.replace(path)


def archive_command(layout: Layout) -> str:
    """The value of ``archive_command``: ``%`` in a path is doubled, as the setting wants it."""
    script = shlex.quote(str(layout.binaries / "archive-wal")).replace("%", "%%")
    return f'{script} "%p" "%f"'
