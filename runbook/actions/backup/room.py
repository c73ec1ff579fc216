"""Whether a store takes one more backup: its directory is there, and has the space.

Owns the refusals of a store that isn't there (E632) and of one that is too full (E635), for every action that makes a backup.
"""

from __future__ import annotations

from runbook.action import Look
from runbook.actions.backup.layout import directory_of
from runbook.errors import Problem
from runbook.host import LOCAL
from runbook.system import Store
from runbook.units import show_size


def no_room(look: Look, to: Store, needed: int, *, reckoned: str = "", or_else: str = "") -> list[Problem]:
    """What is to be said against a backup of ``needed`` bytes; ``reckoned``: how they were; ``or_else``: one more way out."""
    place = directory_of(to)
    found = look.file(LOCAL, place)
    if found is None or found.kind != "directory":
        which, make = f"{place} of {to.key or 'the store'}", f"mkdir -m 0700 {place}"
        if found is None:
            why = f"{which} does not exist on this machine: is it mounted?"
        elif found.kind == "link":
            why = f"{which} is a symbolic link: what it leads to may become another place during a run."
            make = f"realpath {place}    # this into the store's url"
        else:
            why, make = f"{which} is a {found.kind}, and no directory.", f"ls -ld {place}"
        return [Problem("E632", "the store's directory is not there", why, make)]
    free = look.free_bytes(LOCAL, place)
    if free >= needed:
        return []
    how = f" ({reckoned})" if reckoned else ""
    detail = f"{place} has {show_size(free)} free; the backup may need {show_size(needed)}{how}."
    ways = ["make space", "use another store", *([or_else] if or_else else [])]
    fix = f"{', '.join(ways[:-1])} or {ways[-1]}."
    return [Problem("E635", "there is not enough space for the backup", detail, fix[0].upper() + fix[1:])]
