"""A claim: a real thing that a run acts on, by what it says of itself, and the name under which it is locked."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from runbook.operation import Json

ABSENT: Json = {"absent": True}
UNREACHED: Json = {"unreached": True}


@dataclass(frozen=True, slots=True)
class Claim:
    """A target of a run: the system's name, its identity, and whether a step of the run may change it.

    ``declared`` is what the environment says of it, without its name there.
    """

    system: str
    identity: Json
    changed: bool
    declared: str = ""

    @property
    def key(self) -> str:
        """What is locked: the identity alone, so that two checkouts exclude each other; where it has none, what is declared."""
        known = self.identity not in (ABSENT, UNREACHED)
        return sha256((repr(self.identity) if known else f"{self.identity} {self.declared}").encode()).hexdigest()
