"""A server that is on another machine than its system says.

Two machines of a pair mostly have the same paths. A data directory that is found on the standby's machine under the primary's
path is the standby's; taken for the primary's it would be stopped. Owns the refusal (E784) of who would stop a server or replace
its files.
"""

from __future__ import annotations

from runbook.action import Look
from runbook.errors import Problem, Refused
from runbook.host import Compose, Docker
from runbook.own_address import is_own
from runbook.system import Postgres


def refuse_elsewhere(look: Look, db: Postgres) -> None:
    """Refuse (exit 4) a server of another machine, before its files are looked for here. A container's are looked for inside it."""
    if isinstance(db.host, Docker | Compose) or is_own(look, db.host, db.address):
        return
    detail = (
        f"{db.key or 'The server'} is at {db.address}, which is no address of {db.host}: what lies there under the same path is "
        "another server's."
    )
    fix = "Run this on that server's own machine; or write the address that it has there (127.0.0.1, or its socket's directory)."
    raise Refused(Problem("E784", "this is not the server of that data directory", detail, fix))
