"""Application names: by what a server's own list of sessions tells whose each one is.

Owns their form, ``runbook/RUN/STEP``. Promises: at most 63 ASCII characters, since a server cuts longer names off and replaces what
isn't ASCII, while a fence ends backends by the exact name; no two steps of a run have the same.
"""

from __future__ import annotations

import re
from hashlib import sha256

LONGEST = 63
"""Characters of an application name (NAMEDATALEN less one)."""


def of_run(run: str) -> str:
    """What the names of a run's connections begin with; by itself the name of those that belong to no step."""
    return f"runbook/{run[-30:]}/"


def of_step(run: str, step: str) -> str:
    """The name of a step's connections. A step's id that doesn't fit is cut, and told apart by a hash."""
    name = of_run(run)
    room = LONGEST - len(name)
    if len(step) <= room and step.isascii():
        return name + step
    told_apart = sha256(step.encode()).hexdigest()[:8]
    return name + re.sub(r"[^\x21-\x7e]+", "_", step)[: room - 9] + "~" + told_apart
