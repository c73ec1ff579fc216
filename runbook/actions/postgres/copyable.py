"""Whether a cold copy can be made: what forbids it, and whether the store has room for it.

Owns the refusals of ``postgres.cold_copy`` and of ``postgres.check_cold_copy``, which asks before anything is stopped.
"""

from __future__ import annotations

from runbook.action import Look
from runbook.actions.backup.room import no_room
from runbook.actions.postgres.instance import CONTROL, is_contained
from runbook.errors import Problem
from runbook.host import LOCAL, Local
from runbook.system import Postgres, Store

SPACE_FACTOR = 1.05
"""Free space that must be there, as a part of the data directory's size."""


def unfit(look: Look, db: Postgres, to: Store, directory: str) -> list[Problem]:
    """What forbids the copy, whether or not the server runs: each with its remedy."""
    found = []
    if to.encrypt_to:
        detail = f"{to.key or 'The store'} asks for encryption to {to.encrypt_to}; the copy would be plain."
        found.append(Problem("E633", "this action can't encrypt", detail, "Use a store without `encrypt_to`."))
    if look.file(db.host, f"{directory}/{CONTROL}") is None:
        detail = f"{directory}/{CONTROL} is not there on {db.host}."
        found.append(Problem("E688", "the cluster can't be copied whole", detail, "Write the right `data_directory`."))
    if not is_contained(db.host):
        if not isinstance(db.host, Local):
            detail = f"The files are on {db.host}; the store is a directory of this machine."
            found.append(
                Problem("E688", "the cluster can't be copied whole", detail, "Run the plan there, with host: local.")
            )
        return found
    wal = look.file(db.host, f"{directory}/pg_wal")
    if wal is not None and wal.kind == "link":
        detail = f"{directory}/pg_wal is a link, and what it leads to would not be in the copy."
        fix = f"docker cp CONTAINER:{directory} DIRECTORY    # and the other place likewise, by hand"
        found.append(Problem("E688", "the cluster can't be copied whole", detail, fix))
    if look.run(LOCAL, ("docker", "--version")).exit_code:
        detail = (
            "Files of a stopped container are read by the Docker client, and `docker` is not on this machine's PATH."
        )
        found.append(
            Problem("E688", "the cluster can't be copied whole", detail, "Install the Docker client (docker-ce-cli).")
        )
    return found


def full(look: Look, to: Store, size: int) -> list[Problem]:
    """The store is not there, or has too little space for a data directory of ``size`` bytes (0 = unknown)."""
    return no_room(look, to, int(size * SPACE_FACTOR))


def left_behind(db: Postgres, tablespaces: str) -> list[Problem]:
    """Tablespaces that a copy out of a container would lack; on this machine their links are followed."""
    if not tablespaces or not is_contained(db.host):
        return []
    detail = (
        f"The tablespaces {tablespaces} lie outside of the data directory, and would not be in a copy out of {db.host}."
    )
    fix = "Copy the stopped container's volumes by hand; then repair by hand."
    return [Problem("E688", "the cluster can't be copied whole", detail, fix)]
