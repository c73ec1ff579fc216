"""Removing backups that no rule keeps, and the WAL that none of those that stay needs."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Self

from pydantic import Field, model_validator

from runbook.action import (
    Action,
    CheckFailed,
    Done,
    Effect,
    Inputs,
    Look,
    Outputs,
    Scope,
    current,
    guard,
    pinned,
)
from runbook.actions.backup.layout import DATA, KEEP, MANIFEST, directory_of, flaw, names, step_tag
from runbook.actions.backup.retention import Rules
from runbook.actions.backup.stock import (
    TRASH,
    Doomed,
    abandoned,
    kin,
    read_doomed,
    read_proven,
    read_store,
    refuse_too_many,
    staying,
)
from runbook.actions.backup.surplus import Surplus, read_surplus, removed
from runbook.artifact import Artifact, Format
from runbook.errors import Problem, Refused
from runbook.host import LOCAL
from runbook.operation import MakeDirectory, Operations, Process, Remove, Rename, Write
from runbook.quoting import shell_word
from runbook.system import DurationField, Postgres, Store
from runbook.units import parse_duration

LIST = "WHAT-GOES.txt"
"""In the trash, for whoever finds it: names, sizes and dates."""


class PruneInputs(Inputs):
    """What is kept. A backup that any rule keeps stays."""

    proven: Artifact = Field(
        description="A backup that was proven in this run (backup.verify, postgres.verify_dump). It stays; and only backups of "
        "its kind and its database are removed"
    )
    pattern: str = Field(default="*", description="Only names that match, as a shell pattern: *.dump")
    keep_last: int = Field(default=0, ge=0, description="The newest so many")
    keep_within: DurationField | None = Field(
        default=None, description="All that are at most so much older than the newest one: 30d"
    )
    keep_daily: int = Field(default=0, ge=0, description="The last one of each of so many days (UTC)")
    keep_weekly: int = Field(default=0, ge=0, description="The last one of each of so many weeks")
    keep_monthly: int = Field(default=0, ge=0, description="The last one of each of so many months")
    keep_yearly: int = Field(default=0, ge=0, description="The last one of each of so many years")
    minimum: int = Field(default=2, ge=1, description="So many whole backups stay whatever the rules say")
    max_delete: float = Field(
        default=0.5, gt=0, le=1, description="Refuse to remove more than this part of the backups in one run"
    )
    wal_of: Postgres | None = Field(
        default=None,
        description="Also remove the WAL from this system's archive that no base backup here needs any more",
    )

    @model_validator(mode="after")
    def _some_rule(self) -> Self:
        if not self.rules.are_given:
            raise ValueError(
                "give at least one of keep_last, keep_within, keep_daily, keep_weekly, keep_monthly, keep_yearly"
            )
        if self.wal_of is not None and self.proven.format is not Format.BASE_BACKUP:
            raise ValueError("wal_of is for base backups: WAL is of no use to a dump")
        return self

    @property
    def rules(self) -> Rules:
        """The rules as such."""
        within_s = parse_duration(self.keep_within) if self.keep_within else 0.0
        periods = (self.keep_daily, self.keep_weekly, self.keep_monthly, self.keep_yearly)
        return Rules(self.keep_last, within_s, *periods, minimum=self.minimum)


@dataclass(frozen=True, slots=True)
class PruneFacts:
    """What goes, as first chosen; what there is now. ``whole`` and ``entries`` are names in the store, ``kept`` has the reasons."""

    proven_sha256: str = guard()
    doomed: tuple[Doomed, ...] = pinned()
    surplus: Surplus = pinned()
    trash: str = current()
    has_trash: bool = current()
    entries: tuple[str, ...] = current()
    whole: tuple[str, ...] = current()
    kept: tuple[str, ...] = current()
    passed_over: tuple[str, ...] = current()
    left: Surplus = current()


class Pruned(Outputs):
    """What was removed, and what stays and why."""

    artifact: Artifact = Field(description="The proven backup, which stays")
    removed: tuple[str, ...] = Field(description="The backups that were removed, each with its size and date")
    freed_bytes: int = Field(description="What they took")
    kept: tuple[str, ...] = Field(description="Those that stay, each with the reasons")
    passed_over: tuple[str, ...] = Field(default=(), description="What was not judged, each with the reason")
    wal_before: str = Field(default="", description="WAL before this segment was removed; empty where none was")
    wal_files: int = Field(default=0, description="How many files of WAL")
    wal_bytes: int = Field(default=0, description="What they took")


class Prune(Action[Store, PruneInputs, PruneFacts, Pruned]):
    """Remove the backups of one kind that no rule keeps: oldest first, and each one's manifest first.

    Judged are whole backups with a manifest, by the moment at which they were complete; a file's time is no evidence. What has
    no manifest, or a broken one, is left alone. Something has to be proven in the same run, and it stays; so do the newest
    `minimum`, and what a person keeps: a file `NAME.keep` beside a backup keeps that one, a file `.keep` all of the store.

    First the files are moved into a hidden folder of the store, out of which they can be moved back; a backup without its manifest
    is none any more. Then it is looked once more whether everything that has to stay is there, and the folder is removed. With
    `wal_of`, `pg_archivecleanup` then removes the WAL before the oldest base backup of this store; it knows of no others.
    """

    effect = Effect.DESTROYS
    verb = "deletes from"
    needs_programs = ("pg_archivecleanup",)
    example = """\
- id: prune
  title: Remove what no rule keeps
  uses: backup.prune
  on: backups
  with: {proven: "{{ steps.prove.artifact }}", keep_daily: 7, keep_weekly: 5, keep_monthly: 12}
  timeout: 10m
"""

    def observe(self, look: Look, system: Store, inputs: PruneInputs, scope: Scope) -> PruneFacts:
        """Listing and manifests; refuses a store that is kept whole, an unproven start, and a cut that is too deep."""
        directory = directory_of(system)
        entries = names(look.listing(LOCAL, directory))
        trash = f".{step_tag(scope)}{TRASH}"
        proven = read_proven(look, directory, inputs.proven)
        if KEEP in entries:
            said = (look.text(LOCAL, f"{directory}/{KEEP}") or "").strip()[:200]
            detail = f"{directory}/{KEEP} stops all removal{f': {said}' if said else ''}."
            raise Refused(
                Problem("E619", "nothing may be removed from this store", detail, "Ask whoever put it there.")
            )
        known, broken = read_store(look, directory, entries)
        family = [one for one in known if kin(one) == kin(proven) and fnmatchcase(one.name, inputs.pattern)]
        flaws = {one.name: flaw(look, directory, one) for one in family}
        whole = [one for one in family if not flaws[one.name]]
        stay = staying(whole, inputs.rules, inputs.proven.name, entries=entries, scope=scope)
        doomed = tuple(
            read_doomed(look, directory, one, entries=entries)
            for one in sorted(whole, key=lambda each: each.finished_at)
            if one.name not in stay
        )
        if trash not in entries:
            refuse_too_many(doomed, whole, max_delete=inputs.max_delete)
        passed_over = (*broken, *(f"{name}: {why}" for name, why in flaws.items() if why), *abandoned(entries, trash))
        gone = {one.name for one in doomed}
        surplus = Surplus()
        if inputs.wal_of is not None:
            if broken:
                raise _floor(f"{'; '.join(broken)}: whether it needs WAL can't be told.", "Mend it, or move it away.")
            remaining = [one for one in known if one.name not in gone]
            surplus = read_surplus(look, inputs.wal_of, str(proven.system_identifier), remaining)
        return PruneFacts(
            proven_sha256=inputs.proven.sha256,
            doomed=doomed,
            surplus=surplus,
            trash=trash,
            has_trash=trash in entries,
            entries=tuple(sorted(entries)),
            whole=tuple(one.name for one in whole),
            kept=tuple(f"{name}: {', '.join(why)}" for name, why in stay.items()),
            passed_over=passed_over,
            left=surplus,
        )

    def assume(self, system: Store, inputs: PruneInputs, scope: Scope) -> PruneFacts:
        """One backup that goes."""
        name = "OLDEST"
        parts = (f"{name}{MANIFEST}", name)
        surplus = Surplus("/ARCHIVE", "0" * 24, 0, inputs.proven.name, 1) if inputs.wal_of is not None else Surplus()
        return PruneFacts(
            proven_sha256=inputs.proven.sha256,
            doomed=(Doomed(name, parts, 0, ""),),
            surplus=surplus,
            trash=f".{step_tag(scope)}{TRASH}",
            has_trash=False,
            entries=parts,
            whole=(name, inputs.proven.name, *(f"KEPT {number}" for number in range(1, inputs.minimum))),
            kept=(),
            passed_over=(),
            left=surplus,
        )

    def plan(self, system: Store, inputs: PruneInputs, facts: PruneFacts, scope: Scope) -> Operations:
        """The list; into the trash, the manifests first; a look at what has to stay; then the trash goes, and the WAL."""
        directory = directory_of(system)
        there, trash = set(facts.entries), f"{directory}/{facts.trash}"
        moves = tuple(
            Rename(name=f"put_away_{number}_{order}", source=f"{directory}/{part}", target=f"{trash}/{part}")
            for number, one in enumerate(facts.doomed, start=1)
            for order, part in enumerate(one.parts, start=1)
            if part in there
        )
        found: Operations = ()
        if moves or facts.has_trash:
            stay = _floor_of(facts, inputs, trash)
            make = () if facts.has_trash else (MakeDirectory(name="make_trash", path=trash, mode=0o700),)
            told = "".join(f"{one.told}\n" for one in facts.doomed)
            listed = (Write(name="list", path=f"{trash}/{LIST}", content=told),) if moves else ()
            paths = tuple(f"{directory}/{name}{part}" for name in stay for part in (MANIFEST, DATA))
            look = Process(name="floor", argv=("ls", "--directory", "--", *paths), reads=True)
            found = (*make, *listed, *moves, look, Remove(name="empty_trash", path=trash, marker=scope.tag))
        if facts.surplus.first and facts.left.files and inputs.wal_of is not None:
            if facts.left.number < facts.surplus.number:
                raise _floor(f"{facts.left.oldest} needs WAL from {facts.left.first} on.", "Begin a new run.")
            found = (*found, removed(inputs.wal_of, facts.surplus))
        return found

    def expect(self, system: Store, inputs: PruneInputs, facts: PruneFacts) -> Pruned | None:
        """What goes and what stays, as chosen."""
        return _outputs(inputs, facts) if facts.kept else None

    def verify(self, look: Look, system: Store, inputs: PruneInputs, done: Done[PruneFacts]) -> Pruned:
        """The proven one is whole; nothing that was to go is there."""
        directory = directory_of(system)
        why = flaw(look, directory, read_proven(look, directory, inputs.proven))
        there = [part for one in done.facts.doomed for part in one.parts if part in done.facts.entries]
        if why or there:
            detail = why or f"{there[0]} is still there"
            fix = f"ls -la {shell_word(directory)}    # and find out who else writes there"
            raise CheckFailed(Problem("E626", "the store is not as it should be", f"{directory}: {detail}.", fix))
        return _outputs(inputs, done.facts)

    def undo(self, system: Store, inputs: PruneInputs, facts: PruneFacts, scope: Scope) -> Operations | None:
        """Out of the trash again, the manifests last; None where the trash is gone already."""
        if not facts.has_trash:
            return None if facts.doomed else ()
        directory = directory_of(system)
        trash = f"{directory}/{facts.trash}"
        back = tuple(
            Rename(name=f"put_back_{number}_{order}", source=f"{trash}/{part}", target=f"{directory}/{part}")
            for number, one in enumerate(facts.doomed, start=1)
            for order, part in reversed(tuple(enumerate(one.parts, start=1)))
            if part not in facts.entries
        )
        return (*back, Remove(name="remove_trash", path=trash, marker=scope.tag))


def _outputs(inputs: PruneInputs, facts: PruneFacts) -> Pruned:
    surplus = facts.surplus if facts.surplus.files else Surplus()
    return Pruned(
        artifact=inputs.proven,
        removed=tuple(one.told for one in facts.doomed),
        freed_bytes=sum(one.bytes for one in facts.doomed),
        kept=facts.kept,
        passed_over=facts.passed_over,
        wal_before=surplus.first,
        wal_files=surplus.files,
        wal_bytes=surplus.bytes,
    )


def _floor_of(facts: PruneFacts, inputs: PruneInputs, trash: str) -> tuple[str, ...]:
    """The names that have to be there before anything is removed for good."""
    gone = {one.name for one in facts.doomed}
    fix = f"Look what has changed. What was put away lies in {trash}: mv -n it back, or end this run with `runbook resume`."
    if kept_now := [name for name in sorted(gone) if f"{name}{KEEP}" in facts.entries]:
        raise _floor(f"A person keeps {', '.join(kept_now)} since it was chosen to go.", fix)
    stay = tuple(name for name in facts.whole if name not in gone)
    if inputs.proven.name not in stay or len(stay) < inputs.minimum:
        detail = (
            f"Whole and not about to be removed: {', '.join(stay) or 'none'}; at least {inputs.minimum} have to stay."
        )
        raise _floor(detail, fix)
    return stay


def _floor(detail: str, fix: str) -> Refused:
    return Refused(Problem("E619", "what has to stay is not there", detail, fix))
