"""Whether text is sorted as it was where the data comes from: files go from machine to machine, the rules of sorting don't.

Owns the question that a server is asked after its files have moved, and what is said then (manual, ALTER COLLATION, Notes; ALTER
DATABASE). Promises: two bounded reads; a server that doesn't answer, or is too old to know, says nothing.
"""

from __future__ import annotations

from runbook.action import CheckFailed, Look, Unreachable
from runbook.actions.postgres.client import read_server
from runbook.operation import sql
from runbook.system import Postgres

KNOWS_OF_DATABASES = 15
"""From this version on a database records the version of its own collation."""

_DATABASES = sql(
    "SELECT coalesce(string_agg(quote_ident(datname), ', ' ORDER BY datname), '') AS names FROM pg_database WHERE datallowconn "
    "AND datcollversion IS NOT NULL AND datcollversion IS DISTINCT FROM pg_database_collation_actual_version(oid)"
)
_COLLATIONS = sql(
    "SELECT coalesce(string_agg(quote_ident(collname), ', ' ORDER BY collname), '') AS names FROM pg_collation c "
    "WHERE collversion IS NOT NULL AND collversion IS DISTINCT FROM pg_collation_actual_version(oid) "
    "AND EXISTS (SELECT FROM pg_index i WHERE c.oid = ANY (i.indcollation))"
)


def changed(look: Look, db: Postgres) -> str:
    """What sorts otherwise here than when its indexes were built, and what to do; '' where nothing does."""
    at = db.connection(application="runbook/verify")
    try:
        knows = read_server(look, db, "runbook/verify").major >= KNOWS_OF_DATABASES
        databases = str(look.query(at, _DATABASES)[0]["names"]) if knows else ""
        collations = str(look.query(at, _COLLATIONS)[0]["names"])
    except (Unreachable, CheckFailed):
        return ""
    found = [f"databases {databases}"] if databases else []
    found += [f"collations in {db.database}: {collations}"] if collations else []
    if not found:
        return ""
    return (
        f"Text is sorted otherwise here than where its indexes were built ({'; '.join(found)}): they may miss rows that are there, "
        "and let in doubles. Before it is relied on: REINDEX DATABASE, then ALTER DATABASE … REFRESH COLLATION VERSION "
        "(ALTER COLLATION … REFRESH VERSION). "
    )
