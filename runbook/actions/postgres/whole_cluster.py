"""What goes back with a cluster: every database in it, whichever one the plan is about; and what is left out.

Owns :func:`with_all` and :func:`unarchived`, which say so before a recovery is confirmed. Promises: bounded reads; a server that
can't be asked is no reason to stop here, and is said to be none that could be asked.
"""

from __future__ import annotations

import posixpath

from runbook.action import CheckFailed, Look, Scope, Unreachable
from runbook.actions.postgres.moment import read_live
from runbook.actions.postgres.swap import maintenance
from runbook.errors import Refused
from runbook.operation import sql
from runbook.system import Postgres

MOST_NAMED = 12
SEGMENT_DIGITS = 24

_OTHERS = sql(
    "SELECT datname::text AS name FROM pg_database WHERE datallowconn AND NOT datistemplate AND datname <> 'postgres' ORDER BY 1"
)


def with_all(look: Look, db: Postgres, scope: Scope) -> str:
    """Which databases go back with the one that the environment names, in a sentence."""
    try:
        rows = look.query(maintenance(db, db.database, scope.application), _OTHERS)
    except (Unreachable, CheckFailed):
        return "The whole cluster goes back, with every database in it; the server can't be asked now which ones these are."
    others = [str(row["name"]) for row in rows if row["name"] != db.database]
    if not others:
        return f"The whole cluster goes back; {db.database} is its only database."
    more = f" and {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
    return f"The whole cluster goes back, not {db.database} alone. Also: {', '.join(others[:MOST_NAMED])}{more}."


def unarchived(look: Look, db: Postgres, scope: Scope) -> str:
    """What the end of the archive lacks where the server is down: its last commits, in its own directory. '' where it answers."""
    try:
        live = read_live(look, db, scope)
        if live.answers:
            return ""
        status = look.listing(db.host, f"{live.directory}/pg_wal/archive_status")
    except (Unreachable, CheckFailed, Refused):
        return " The server can't be asked: what it had not archived is left out."
    names = (posixpath.basename(one.path) for one in status)
    waiting = sorted(name.removesuffix(".ready") for name in names if name.endswith(".ready"))
    whole = [name for name in waiting if len(name) == SEGMENT_DIGITS]
    named = ", ".join(whole[:MOST_NAMED])
    copied = (
        f" Whole segments there: {named}. Copied into the archive first, as the server's account, they count."
        if whole
        else ""
    )
    return f" The server is down: what it had not archived is left out, and stays in {live.directory}/pg_wal.{copied}"
