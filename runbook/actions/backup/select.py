"""Choosing a backup by what its manifest says, never by a file's time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256

from pydantic import Field

from runbook.action import (
    Action,
    CheckFailed,
    Done,
    Effect,
    FileFacts,
    Inputs,
    Interrupted,
    Look,
    Outputs,
    Scope,
    current,
    guard,
)
from runbook.actions.backup.chosen import unreliable
from runbook.actions.backup.layout import (
    COUNTS,
    GLOBALS,
    KEEP,
    MANIFEST,
    PARTIAL,
    SUMS,
    Broken,
    artifact,
    directory_of,
    flaw,
    names,
    read_manifest,
    size_of,
)
from runbook.artifact import Artifact, Manifest
from runbook.check.moments import PastMoment, ahead
from runbook.errors import Problem, Refused, suggest
from runbook.host import LOCAL
from runbook.operation import Operations
from runbook.system import DurationField, Store
from runbook.units import parse_duration, show_duration, show_instant

NEWEST = "newest"
RANDOM = "random"
_MOST_NAMED = 12


class SelectInputs(Inputs):
    """Which backup is wanted."""

    pattern: str = Field(default="*", description="Names to choose from, as a shell pattern: *.dump")
    name: str = Field(
        default=NEWEST,
        description="A backup's name in the store, newest (by its manifest's finished_at), or random (an older one, drawn)",
    )
    seed: str = Field(
        default="",
        max_length=200,
        description="What `random` is drawn by: the same seed and the same backups give the same one; default: the run's day",
    )
    before: PastMoment | None = Field(default=None, description="Only backups finished before this moment, with a zone")
    refuse_younger: DurationField | None = Field(
        default=None, description="Refuse a backup younger than this (2d): it may hold the damage already"
    )


@dataclass(frozen=True, slots=True)
class Drawn:
    """How a backup was drawn: by which ``seed``, and ``among`` how many."""

    seed: str
    among: int


@dataclass(frozen=True, slots=True)
class SelectFacts:
    """The choice: the manifest's text, the backup's bytes, its age at the run's start, and what was passed over and why."""

    name: str = guard()
    manifest_sha256: str = guard()
    text: str = current()
    bytes: int = current()
    age_s: float = current()
    passed_over: tuple[str, ...] = current()
    drawn: Drawn | None = current()


class Selected(Outputs):
    """The chosen backup."""

    artifact: Artifact = Field(description="The backup, as other steps take it")
    age_s: float = Field(description="Seconds from its end to the run's start")
    passed_over: tuple[str, ...] = Field(
        default=(), description="Backups that could not be chosen, each with its reason"
    )
    seed: str = Field(default="", description="What a random one was drawn by; empty where none was drawn")
    among: int = Field(default=0, description="How many a random one was drawn from; 0 where none was drawn")


class Select(Action[Store, SelectInputs, SelectFacts, Selected]):
    """Choose a backup: the newest of those that match, one by name, or a random one.

    What counts is the moment in the manifest at which the backup was complete; a file's time changes with a copy. Unfinished
    backups (`.partial`) are never seen. A backup without a manifest can't be chosen before `backup.adopt` has read it and
    written one. Where nothing fits, the step fails and lists what is there.

    `name: random` is for tests of backups: of those that match it draws one that is not the newest, unless that is the only one.
    It is drawn by `seed`, so that the same one can be tested again; without one, by the day on which the run began (UTC). The
    newest is sought among what is whole; a drawn one that is not whole fails the step: a test is there to find that out.
    """

    effect = Effect.READS
    interrupted = Interrupted.REPEATABLE
    example = """\
- id: pick
  title: Choose the backup
  uses: backup.select
  on: backups
  with: {pattern: "*.dump", name: newest, before: "2026-02-14T12:00:00Z"}
  timeout: 1m
"""

    def observe(self, look: Look, system: Store, inputs: SelectInputs, scope: Scope) -> SelectFacts:
        """Reads the store's listing and the manifests of what matches."""
        _refuse_ahead(inputs, scope)
        directory = directory_of(system)
        entries = names(look.listing(LOCAL, directory))
        if not entries:
            _refuse_missing(look, system, directory)
        passed_over: tuple[str, ...] = ()
        drawn: Drawn | None = None
        if inputs.name == NEWEST:
            manifest, text, passed_over = _newest(look, directory, entries, inputs)
        elif inputs.name == RANDOM:
            name, drawn, passed_over = _drawn(look, directory, entries, inputs, scope)
            manifest, text = _named(look, directory, entries, inputs.model_copy(update={"name": name}))
        else:
            manifest, text = _named(look, directory, entries, inputs)
        age_s = (scope.started_at - manifest.finished_at).total_seconds()
        _refuse_younger(manifest, inputs, age_s)
        found = artifact(system, manifest, text=text, size=size_of(look, directory, manifest))
        return SelectFacts(found.name, found.sha256, text, found.bytes, age_s, passed_over, drawn)

    def assume(self, system: Store, inputs: SelectInputs, scope: Scope) -> SelectFacts:
        """Nothing is known of the store; the step plans nothing in any case."""
        _refuse_ahead(inputs, scope)
        return SelectFacts(name="", manifest_sha256="", text="", bytes=0, age_s=0.0, passed_over=(), drawn=None)

    def plan(self, system: Store, inputs: SelectInputs, facts: SelectFacts, scope: Scope) -> Operations:
        """Choosing is looking: there is nothing to do."""
        return ()

    def expect(self, system: Store, inputs: SelectInputs, facts: SelectFacts) -> Selected | None:
        """The choice, as soon as it was observed."""
        return _outputs(system, facts) if facts.text else None

    def verify(self, look: Look, system: Store, inputs: SelectInputs, done: Done[SelectFacts]) -> Selected:
        """The choice that was observed."""
        return _outputs(system, done.facts)


def _outputs(system: Store, facts: SelectFacts) -> Selected:
    manifest = Manifest.model_validate_json(facts.text)
    chosen = artifact(system, manifest, text=facts.text, size=facts.bytes)
    drawn = facts.drawn or Drawn("", 0)
    return Selected(
        artifact=chosen, age_s=facts.age_s, passed_over=facts.passed_over, seed=drawn.seed, among=drawn.among
    )


@dataclass(frozen=True, slots=True)
class _Candidates:
    """What matches: backups whose manifest can be read and is not too young, with it; those whose manifest is broken; all
    that can't be chosen, with the reason; all names."""

    fit: tuple[tuple[Manifest, str], ...]
    broken: tuple[str, ...]
    passed_over: tuple[str, ...]
    names: tuple[str, ...]


def _candidates(look: Look, directory: str, entries: Mapping[str, FileFacts], inputs: SelectInputs) -> _Candidates:
    """What matches, newest first."""
    passed_over: list[str] = []
    broken: list[str] = []
    fit: list[tuple[Manifest, str]] = []
    backups = [name for name in _backups(entries) if fnmatchcase(name, inputs.pattern)]
    for name in backups:
        match read_manifest(look, directory, name):
            case None:
                passed_over.append(f"{name}: it has no manifest")
            case Broken(why):
                broken.append(name)
                passed_over.append(f"{name}: {why}")
            case (manifest, text):
                if inputs.before is None or manifest.finished_at < inputs.before:
                    fit.append((manifest, text))
    fit.sort(key=lambda one: (one[0].finished_at, one[0].name), reverse=True)
    return _Candidates(tuple(fit), tuple(broken), tuple(passed_over), tuple(backups))


def _newest(
    look: Look, directory: str, entries: Mapping[str, FileFacts], inputs: SelectInputs
) -> tuple[Manifest, str, tuple[str, ...]]:
    found = _candidates(look, directory, entries, inputs)
    passed_over = list(found.passed_over)
    for manifest, text in found.fit:
        why = flaw(look, directory, manifest)
        if not why:
            return manifest, text, tuple(passed_over)
        passed_over.append(f"{manifest.name}: {why}")
    raise _nothing_fits(directory, inputs, tuple(passed_over), found.names)


def _drawn(
    look: Look, directory: str, entries: Mapping[str, FileFacts], inputs: SelectInputs, scope: Scope
) -> tuple[str, Drawn, tuple[str, ...]]:
    """The name of the backup whose hash with the seed is the lowest: one more backup rarely changes the choice."""
    found = _candidates(look, directory, entries, inputs)
    older = [*(manifest.name for manifest, _ in found.fit[1:]), *found.broken]
    older = older or [manifest.name for manifest, _ in found.fit]
    if not older:
        raise _nothing_fits(directory, inputs, found.passed_over, found.names)
    seed = inputs.seed or scope.started_at.date().isoformat()
    name = min(older, key=lambda each: sha256(f"{seed}\0{each}".encode()).digest())
    return name, Drawn(seed, len(older)), found.passed_over


def _refuse_ahead(inputs: SelectInputs, scope: Scope) -> None:
    found = ahead("before", inputs.before, scope.started_at) if inputs.before else None
    if found is not None:
        raise Refused(found)


def _refuse_missing(look: Look, system: Store, directory: str) -> None:
    """An empty store has no backup; one that isn't there may have all of them, elsewhere."""
    found = look.file(LOCAL, directory)
    if found is None or found.kind != "directory":
        detail = f"{directory} of {system.key} is not there, or is no directory, on this machine. Is the disk mounted?"
        raise Refused(
            Problem("E632", "the store's directory is not there", detail, "findmnt; then look at the store's url")
        )


def _nothing_fits(
    directory: str, inputs: SelectInputs, passed_over: tuple[str, ...], backups: tuple[str, ...]
) -> Refused | CheckFailed:
    bare = [line.partition(":")[0] for line in passed_over if line.endswith("it has no manifest")]
    when = f", finished before {show_instant(inputs.before)}" if inputs.before else ""
    wanted = f"No backup in {directory} matches {inputs.pattern!r}{when}."
    if bare and len(bare) == len(backups):
        return Refused(
            Problem(
                "E623",
                "no backup has a manifest",
                f"{wanted}\nThere are, without one: {_listed(bare)}",
                f"Add a step `uses: backup.adopt` with {{name: {bare[-1]}, database: …}}; it reads the backup whole.",
            )
        )
    there = [*passed_over, *(name for name in backups if not any(line.startswith(f"{name}:") for line in passed_over))]
    return CheckFailed(
        Problem(
            "E624",
            "no backup fits",
            f"{wanted}\nThere {'is nothing that matches' if not there else 'are: ' + _listed(there)}.",
            "Check the store's url, `pattern` and `before`.",
        )
    )


def _named(look: Look, directory: str, entries: Mapping[str, FileFacts], inputs: SelectInputs) -> tuple[Manifest, str]:
    name = inputs.name
    backups = _backups(entries)
    if name not in backups:
        near = suggest(name, backups)
        raise CheckFailed(
            Problem(
                "E625",
                "there is no such backup",
                f"{name!r} is not in {directory}. There {'is nothing' if not backups else 'are: ' + _listed(backups)}.",
                near or "Give the name of one of these, or newest.",
            )
        )
    match read_manifest(look, directory, name):
        case None:
            raise Refused(
                Problem(
                    "E623",
                    "the backup has no manifest",
                    f"{directory}/{name} was made by something else, or was never finished: nothing is known of it.",
                    f"Add a step `uses: backup.adopt` with {{name: {name}, database: …}}; it reads the backup whole.",
                )
            )
        case Broken(why):
            raise unreliable(name, why)
        case (manifest, text):
            why = flaw(look, directory, manifest)
            if why:
                raise unreliable(name, why)
            if inputs.before is not None and manifest.finished_at >= inputs.before:
                raise _too_young(manifest, f"not before {show_instant(inputs.before)}")
            return manifest, text


def _refuse_younger(manifest: Manifest, inputs: SelectInputs, age_s: float) -> None:
    if inputs.refuse_younger is not None and age_s < parse_duration(inputs.refuse_younger):
        raise _too_young(manifest, f"{show_duration(age_s)} old, younger than {inputs.refuse_younger}")


def _too_young(manifest: Manifest, why: str) -> Refused:
    return Refused(
        Problem(
            "E627",
            "the backup is too young",
            f"{manifest.name} was finished at {show_instant(manifest.finished_at)}: {why}.",
            "Choose an older one by `name` or `before`, or change the bound if you are sure.",
        )
    )


def _backups(entries: Mapping[str, FileFacts]) -> list[str]:
    """The names that are backups: not what lies beside one, not what is being made, not hidden."""
    beside = {f"{name.removesuffix(MANIFEST)}{part}" for name in entries for part in (SUMS, COUNTS, GLOBALS, KEEP)}
    with_manifest = {name.removesuffix(MANIFEST) for name in entries if name.endswith(MANIFEST)}
    others = {
        name
        for name, entry in entries.items()
        if entry.kind in ("file", "directory") and not name.endswith((PARTIAL, MANIFEST)) and not name.startswith(".")
    }
    return sorted(with_manifest | (others - beside))


def _listed(found: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return "; ".join(found[:_MOST_NAMED]) + more
