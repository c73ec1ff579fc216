"""What a store holds of one kind of backup, and what of it goes.

Owns the reading of a store for its retention. Promises: only whole backups with a manifest are judged; nothing is begun without one
that was proven, or where more would go than was thought of; what a person keeps is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from runbook.action import FileFacts, Look, Scope
from runbook.actions.backup.layout import (
    COUNTS,
    DATA,
    GLOBALS,
    KEEP,
    MANIFEST,
    SUMS,
    Broken,
    flaw,
    read_manifest,
    sha256_of,
    size_of,
)
from runbook.actions.backup.retention import Dated, Rules, kept
from runbook.artifact import Artifact, Format, Manifest, Proof
from runbook.errors import Problem, Refused
from runbook.units import show_instant, show_size

TRASH = ".trash"
AHEAD = timedelta(days=1)
"""By so much may a backup be younger than the run: one that was made in it, or by a clock that is fast."""
_SHOWN = (Proof.HASHED, Proof.READ, Proof.RESTORED)


@dataclass(frozen=True, slots=True)
class Doomed:
    """A backup that goes: its files, the manifest first, and what is said of it."""

    name: str
    parts: tuple[str, ...]
    bytes: int
    finished_at: str

    @property
    def told(self) -> str:
        """Name, size, date."""
        return f"{self.name} ({show_size(self.bytes)}, of {self.finished_at})"


def read_proven(look: Look, directory: str, proven: Artifact) -> Manifest:
    """Its manifest as it is now; refuses (exit 4) what was not proven, or is another by now."""
    known = read_manifest(look, directory, proven.name)
    why = ""
    if proven.proof not in _SHOWN:
        why = "it was only listed, not read"
    elif not isinstance(known, tuple):
        why = known.why if isinstance(known, Broken) else "its manifest is not in this store"
    elif sha256_of(known[1]) != proven.sha256:
        why = "its manifest is another than the one that was proven"
    else:
        why = flaw(look, directory, known[0])
    if why or not isinstance(known, tuple):
        fix = "Give the artifact of a step that has read it: backup.verify or postgres.verify_dump."
        raise Refused(Problem("E619", "no backup is proven to stay", f"{proven.name}: {why}.", fix))
    return known[0]


def read_store(look: Look, directory: str, entries: Mapping[str, FileFacts]) -> tuple[list[Manifest], tuple[str, ...]]:
    """The manifests of the store, and what is to be said of those that can't be read."""
    known, broken = [], []
    for name in sorted(one.removesuffix(MANIFEST) for one in entries if one.endswith(MANIFEST)):
        match read_manifest(look, directory, name):
            case (manifest, _):
                known.append(manifest)
            case Broken(why):
                broken.append(f"{name}: {why}")
            case None:
                pass  # it has just gone
    return known, tuple(broken)


def kin(of: Manifest) -> tuple[str, str]:
    """What is judged together: dumps of one database, base backups or cold copies of one cluster."""
    if of.format in (Format.BASE_BACKUP, Format.COLD_COPY):
        return of.format.value, str(of.system_identifier)
    return "dump", of.database


def staying(
    whole: Sequence[Manifest], rules: Rules, proven: str, *, entries: Mapping[str, FileFacts], scope: Scope
) -> dict[str, tuple[str, ...]]:
    """The names that stay, newest first, each with its reasons."""
    dated = [Dated(one.name, one.finished_at) for one in whole]
    found = dict(kept(dated, rules, scope.started_at + AHEAD))
    for one in whole:
        if one.name == proven:
            found[one.name] = (*found.get(one.name, ()), "proven in this run")
        if f"{one.name}{KEEP}" in entries:
            found[one.name] = (*found.get(one.name, ()), f"{one.name}{KEEP} keeps it")
    return found


def read_doomed(look: Look, directory: str, of: Manifest, *, entries: Mapping[str, FileFacts]) -> Doomed:
    """The backup with the files that belong to it."""
    pieces = (piece.path for piece in of.pieces if piece.path.startswith(f"{of.name}."))
    beside = dict.fromkeys((*(f"{of.name}{part}" for part in (DATA, SUMS, COUNTS, GLOBALS)), *pieces))
    parts = (f"{of.name}{MANIFEST}", *(part for part in beside if part in entries))
    return Doomed(of.name, parts, size_of(look, directory, of), show_instant(of.finished_at))


def refuse_too_many(doomed: Sequence[Doomed], whole: Sequence[Manifest], *, max_delete: float) -> None:
    """Refuse (exit 4) to remove more than this part of what is whole."""
    if len(doomed) <= max_delete * len(whole):
        return
    detail = f"{len(doomed)} of {len(whole)} backups would go, and max_delete is {max_delete:g}:\n"
    detail += "\n".join(f"  {one.told}" for one in doomed[:20])
    more = f"\n  and {len(doomed) - 20} more" if len(doomed) > 20 else ""
    fix = "Read the list. If that is meant: give `max_delete: 1` once."
    raise Refused(Problem("E618", "too many backups would be removed at once", f"{detail}{more}", fix))


def abandoned(entries: Mapping[str, FileFacts], trash: str) -> tuple[str, ...]:
    """What other runs have put away and left, in words."""
    return tuple(
        f"{name}: put away by a run that did not end; resume it, or move the files back"
        for name in sorted(entries)
        if name.endswith(TRASH) and name != trash and entries[name].kind == "directory"
    )
