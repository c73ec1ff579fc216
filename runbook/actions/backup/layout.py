"""How a backup lies in a store: its files, their names, and the order in which they become visible.

A backup ``NAME`` is the file or directory ``NAME`` and, beside it, ``NAME.manifest.json``, and where there are such:
``NAME.counts.jsonl`` (rows per table), ``NAME.globals.sql`` (roles) and, for a directory, ``NAME.sha256`` (a line per file, as
``sha256sum`` writes and checks it, which stands in the manifest for the files that it lists). A base backup with tablespaces is a
directory of few files, and each is a piece of its own.

Promises: while a backup is made every file is called ``FILE.TAG.partial``. The manifest's partial, the *draft*, is written after
all others are complete, so its presence proves them; then they get their names, the manifest last. A killed run leaves
partials that carry its name, and a run with a draft has nothing left to do but to rename.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from pydantic import ValidationError

from runbook.action import CheckFailed, FileFacts, Look, Scope
from runbook.artifact import MANIFEST_SUFFIX, Artifact, Format, Manifest, Proof
from runbook.errors import Problem, Refused
from runbook.host import LOCAL
from runbook.operation import Operation, Operations, Pipeline, Remove, Rename, Stage
from runbook.system import Store

DATA = ""
SUMS = ".sha256"
COUNTS = ".counts.jsonl"
GLOBALS = ".globals.sql"
MANIFEST = MANIFEST_SUFFIX
PARTIAL = ".partial"
KEEP = ".keep"
"""``NAME.keep`` keeps that backup from being removed, ``.keep`` all of a store."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@=,-]{0,99}")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts of one backup are (absolute paths). ``tag`` is unique to the run and the step that makes it."""

    directory: str
    name: str
    tag: str

    def file(self, part: str) -> str:
        """The file's own name in the store."""
        return f"{self.name}{part}"

    def path(self, part: str) -> str:
        """Where the part is when it is done."""
        return f"{self.directory}/{self.name}{part}"

    def partial(self, part: str) -> str:
        """Where the part is while it is made."""
        return f"{self.path(part)}.{self.tag}{PARTIAL}"


@dataclass(frozen=True, slots=True)
class Present:
    """What there is of a backup that is being made: parts by their suffix. ``done``: the manifest is there, and ours."""

    partials: tuple[str, ...] = ()
    finished: tuple[str, ...] = ()
    done: bool = False

    @property
    def drafted(self) -> bool:
        """Whether everything was made, and only names remain to be given."""
        return MANIFEST in self.partials


@dataclass(frozen=True, slots=True)
class Broken:
    """A manifest that can't be relied on, and why."""

    why: str


def directory_of(store: Store) -> str:
    """The store's directory; refuses (exit 4) stores that these actions can't use."""
    key = store.key or "the store"
    if store.scheme != "file" or not store.directory.startswith("/"):
        raise Refused(
            Problem(
                "E620",
                "this action needs a store in a directory",
                f"{key} is {store.url}.",
                "Use a store with a url like file:///var/backups/db, and copy from or to object storage in a step of its own.",
            )
        )
    return store.directory


def layout(store: Store, name: str, scope: Scope) -> Layout:
    """The layout of a backup that this step makes; refuses names that aren't plain file names."""
    if not _NAME.fullmatch(name) or name.endswith((PARTIAL, MANIFEST)):
        raise Refused(
            Problem(
                "E621",
                "this can't be the name of a backup",
                f"{name!r}: letters, digits and _ . + @ = , - are allowed, at most 100, the first a letter, digit or _.",
                "Give another `name`.",
            )
        )
    return Layout(directory_of(store), name, step_tag(scope))


def step_tag(scope: Scope) -> str:
    """What is unique to the run and the step, as a part of a file's name."""
    step = re.sub(r"[^a-z0-9]+", "_", scope.step.lower())[-30:].strip("_")
    return f"{scope.tag}_{step}"


def maker(scope: Scope) -> str:
    """Who makes a backup, as its manifest records it: ``RUN/STEP``."""
    return f"{scope.run}/{scope.step}"


def read_manifest(look: Look, directory: str, name: str) -> tuple[Manifest, str] | Broken | None:
    """The manifest of the backup ``name`` and its file's text; None where it has none."""
    text = look.text(LOCAL, f"{directory}/{name}{MANIFEST}")
    if text is None:
        return None
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        where = ", ".join(".".join(map(str, fault["loc"])) or "the file" for fault in error.errors()[:3])
        return Broken(f"its manifest can't be read ({where})")
    if manifest.name != name:
        return Broken(f"its manifest is that of {manifest.name!r}")
    return manifest, text


def sha256_of(text: str) -> str:
    """The hash of a file with this text (hex)."""
    return hashlib.sha256(text.encode()).hexdigest()


def names(entries: Sequence[FileFacts]) -> dict[str, FileFacts]:
    """A listing by file name."""
    return {PurePosixPath(entry.path).name: entry for entry in entries}


def is_tree(manifest: Manifest) -> bool:
    """Whether the backup is a directory: then one of the pieces is the list of its files, and none is the backup itself."""
    if manifest.format is Format.COLD_COPY:
        return all(piece.path != manifest.name for piece in manifest.pieces)
    return manifest.format is Format.DIRECTORY


def tree_bytes(look: Look, path: str) -> int:
    """What the files below ``path`` on this machine take, in bytes, as ``du`` counts them; 0 where it can't."""
    first = look.run(LOCAL, ("du", "--summarize", "--apparent-size", "--block-size=1", "--", path)).stdout.split()
    return int(first[0]) if first and first[0].isdecimal() else 0


def size_of(look: Look, directory: str, manifest: Manifest) -> int:
    """How many bytes the backup itself has: a file's size, or the sum of a directory's files."""
    if manifest.format is Format.COLD_COPY and is_tree(manifest):
        return tree_bytes(look, f"{directory}/{manifest.name}")
    if is_tree(manifest):
        return sum(entry.bytes for entry in look.listing(LOCAL, f"{directory}/{manifest.name}"))
    beside = {f"{manifest.name}{part}" for part in (SUMS, COUNTS, GLOBALS)}
    return sum(piece.bytes for piece in manifest.pieces if piece.path not in beside)


def flaw(look: Look, directory: str, manifest: Manifest) -> str:
    """What is wrong with the backup's files at first sight (missing, another size), in words; empty where nothing is."""
    for piece in manifest.pieces:
        if piece.path.startswith("/") or ".." in PurePosixPath(piece.path).parts:
            return f"its manifest names {piece.path!r}, outside the store"
        found = look.file(LOCAL, f"{directory}/{piece.path}")
        if found is None or found.kind != "file":
            return f"{piece.path} is missing"
        if found.bytes != piece.bytes:
            return f"{piece.path} has {found.bytes} bytes, not {piece.bytes}"
    if is_tree(manifest) and not names(look.listing(LOCAL, f"{directory}/{manifest.name}")):
        return f"the directory {manifest.name} is missing or empty"
    return ""


def artifact(store: Store, manifest: Manifest, *, text: str, size: int) -> Artifact:
    """What plans pass on of a backup whose manifest has this ``text``."""
    return Artifact(
        store=store.key,
        url=f"{store.url.rstrip('/')}/{manifest.name}",
        name=manifest.name,
        format=manifest.format,
        database=manifest.database,
        bytes=size,
        sha256=sha256_of(text),
        finished_at=manifest.finished_at,
        proof=Proof.LISTED,
        manifest=manifest,
    )


def published_artifact(look: Look, store: Store, where: Layout) -> Artifact:
    """The backup that a step has just made; fails the step (E626) unless manifest and files are there and agree."""
    match read_manifest(look, where.directory, where.name):
        case None:
            why = "its manifest is missing"
        case Broken(found):
            why = found
        case manifest, text:
            why = flaw(look, where.directory, manifest)
            if not why:
                return artifact(store, manifest, text=text, size=size_of(look, where.directory, manifest))
    fix = "It was right when its manifest was written: find out what else writes into the store, then make another backup."
    raise CheckFailed(Problem("E626", "the backup can't be relied on", f"{where.path(DATA)}: {why}.", fix))


def present(look: Look, where: Layout, *, parts: Sequence[str], made_by: str) -> Present:
    """What there is already of a backup to be made of ``parts``; refuses (exit 4) a name that something else has."""
    entries = names(look.listing(LOCAL, where.directory))
    known = read_manifest(look, where.directory, where.name)
    partials = tuple(p for p in (*parts, MANIFEST) if PurePosixPath(where.partial(p)).name in entries)
    if isinstance(known, tuple) and known[0].run == made_by:
        return Present(partials=partials, finished=tuple(parts), done=True)
    finished = tuple(p for p in parts if where.file(p) in entries)
    taken = where.file(MANIFEST) if known is not None else where.file(finished[0]) if finished else ""
    if taken and (known is not None or MANIFEST not in partials):
        raise Refused(
            Problem(
                "E622",
                "there is already a backup of this name",
                f"{where.directory}/{taken} exists and was not made by this step.",
                "Give another `name`, or move what is there away.",
            )
        )
    return Present(partials=partials, finished=finished)


def swept(where: Layout, found: Present, *, marker: str) -> Operations:
    """Removal of what an interrupted attempt of this step left behind."""
    return tuple(
        Remove(name=f"sweep_{_word(part)}", path=where.partial(part), marker=marker) for part in found.partials
    )


def published(where: Layout, found: Present, *, parts: Sequence[str]) -> Operations:
    """The files get their names, the manifest last: the one instant at which the backup begins to exist."""
    remaining = [part for part in parts if not (found.drafted and part not in found.partials)]
    return tuple(
        Rename(name=f"publish_{_word(part)}", source=where.partial(part), target=where.path(part))
        for part in (*remaining, MANIFEST)
    )


def hashed_tree(name: str, directory: str, sink: str) -> Operation:
    """Writes a line per file below ``directory`` into ``sink``, sorted, as ``sha256sum --check`` reads them."""
    return Pipeline(
        name=name,
        stages=(
            Stage(argv=("find", directory, "-type", "f", "-printf", r"%P\0")),
            Stage(argv=("sort", "--zero-terminated")),
            Stage(argv=("env", f"--chdir={directory}", "xargs", "--null", "--no-run-if-empty", "sha256sum", "--")),
        ),
        sink=sink,
    )


def _word(part: str) -> str:
    return {DATA: "data", SUMS: "sums", COUNTS: "counts", GLOBALS: "globals", MANIFEST: "manifest"}[part]
