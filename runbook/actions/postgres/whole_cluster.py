"""What goes back with a cluster: every database in it, whichever one the plan is about.

Owns :func:`with_all`, which says so before a recovery is confirmed. Promises: one bounded read; a server that can't be asked is no
reason to stop here, and is said to be none that could be asked.
"""

from __future__ import annotations

from runbook.action import CheckFailed, Look, Scope, Unreachable
from runbook.actions.postgres.swap import maintenance
from runbook.operation import sql
from runbook.system import Postgres

MOST_NAMED = 12

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
