"""The spool that a recovery out of a bucket takes its WAL from: a directory beside the side cluster, and the command that takes.

Owns the names in it, as both sides know them: the server's ``restore_command`` (:func:`restore_command`), and what fills it
(``runbook wal feed``, whose promises :mod:`runbook.walstore.feed` tells). Pure.
"""

from __future__ import annotations

WANT, NONE, ERROR, PARTIAL, PID = ".want", ".none", ".error", ".partial", "pid"


def restore_command(spool: str) -> str:
    """The server's side: a rename where the file is there, a wait where it is not. No program starts but ``mv`` (and ``sleep``)."""
    return (
        f"s={_quoted(spool)}; "
        'if [ ! -e "$s/%f" ]; then : > "$s/%f.want" || exit 255; '
        'while [ ! -e "$s/%f" ]; do '
        'if [ -e "$s/%f.none" ]; then rm -f "$s/%f.none"; exit 1; fi; '
        'if [ -e "$s/%f.error" ]; then cat "$s/%f.error" >&2; rm -f "$s/%f.error"; exit 255; fi; '
        'read p < "$s/pid" && [ -e "/proc/$p" ] || { echo "nobody fetches WAL any more" >&2; exit 255; }; '
        'sleep 0.01; done; rm -f "$s/%f.want"; fi; mv "$s/%f" "%p"'
    )


def _quoted(path: str) -> str:
    return "'" + path.replace("'", "'\\''").replace("%", "%%") + "'"
