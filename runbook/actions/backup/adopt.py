"""Adopting a backup that something else made: read it whole, hash it, and write down what is known of it."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

from pydantic import AwareDatetime, Field

import runbook
from runbook.action import Action, CheckFailed, Done, Effect, Inputs, Look, Outputs, Scope, current, guard
from runbook.actions.backup.archive import MAGIC, read_head
from runbook.actions.backup.chosen import unreliable
from runbook.actions.backup.layout import (
    DATA,
    MANIFEST,
    SUMS,
    Layout,
    Present,
    hashed_tree,
    layout,
    maker,
    names,
    present,
    published,
    published_artifact,
    swept,
)
from runbook.actions.backup.unpacked_size import most_uncounted
from runbook.artifact import Artifact, Format
from runbook.errors import Problem, Refused
from runbook.host import LOCAL
from runbook.operation import Document, Hashing, Operation, Operations, Pipeline, Process, Ref, Stage, Write
from runbook.system import Store
from runbook.units import show_instant

GZIP_MAGIC = b"\x1f\x8b"
TAR_MAGIC = b"ustar"
HEAD_BYTES = 1024
DUMP_ENDS = ("-- PostgreSQL database dump complete", "-- PostgreSQL database cluster dump complete")
"""The last line of what pg_dump and pg_dumpall write as plain SQL: without it the text was cut off."""
TAIL_BYTES = 4096
"""More than that line and what may follow it."""

_SQL_VERSION = re.compile(rb"^-- Dumped from database version ([\d.]+)", re.MULTILINE)


class AdoptInputs(Inputs):
    """Which backup, and what is said of it."""

    name: str = Field(description="The backup's file or directory in the store")
    database: str = Field(description="The database that it is a backup of")
    finished_at: AwareDatetime | None = Field(
        default=None, description="When it was complete, with a zone; default: the file's time, marked as unproven"
    )
    binaries: str = Field(default="", description="Directory of pg_restore on this machine; default: the PATH's")


@dataclass(frozen=True, slots=True)
class AdoptFacts:
    """The backup as found. ``said_*`` is what the backup says of itself ("" and 0: nothing)."""

    format: Format = guard()
    bytes: int = guard()
    finished_at: str = current()
    said_version: int = current()
    said_database: str = current()
    state: Present = current()
    where: Layout = current()


class Adopted(Outputs):
    """The backup, with a manifest from now on."""

    artifact: Artifact = Field(description="The backup, as other steps take it")


class Adopt(Action[Store, AdoptInputs, AdoptFacts, Adopted]):
    """Adopt a backup that something else made: read it whole, hash it, and write its manifest.

    The format is told from the first bytes: an archive of `pg_dump` (custom or directory), plain SQL, or plain SQL in gzip.
    An archive is read to its end by `pg_restore`, gzip by `gzip`, and plain SQL must end as `pg_dump` ends it. What can't be
    shown of a foreign backup (that these are the bytes that were once written, when that was, which rows there were) stands in
    the manifest under `unproven`.
    """

    effect = Effect.CREATES
    needs_programs = ("pg_restore",)
    example = """\
- id: adopt
  title: Take the old script's dump into the catalogue
  uses: backup.adopt
  on: backups
  with: {name: civicq_20260213.sql.gz, database: civicq}
  timeout: 30m
"""

    def observe(self, look: Look, system: Store, inputs: AdoptInputs, scope: Scope) -> AdoptFacts:
        """Tells the format, and reads an archive's own table of contents."""
        where = layout(system, inputs.name, scope)
        found = look.file(LOCAL, where.path(DATA))
        if found is None or found.kind not in ("file", "directory"):
            there = ", ".join(sorted(names(look.listing(LOCAL, where.directory)))[:12]) or "nothing"
            raise CheckFailed(
                Problem(
                    "E625",
                    "there is no such backup",
                    f"{where.path(DATA)} is not a file or directory. There are: {there}.",
                    "Check `name` and the store's url.",
                )
            )
        form = _format(look, where, kind=found.kind)
        size = found.bytes
        if form is Format.DIRECTORY:
            size = sum(entry.bytes for entry in look.listing(LOCAL, where.path(DATA)))
        version, database = _said(look, where, inputs, form)
        state = present(look, where, parts=_made(form), made_by=maker(scope))
        moment = show_instant(inputs.finished_at or found.modified)
        return AdoptFacts(form, size, moment, version, database, state, where)

    def assume(self, system: Store, inputs: AdoptInputs, scope: Scope) -> AdoptFacts:
        """As if it were a custom archive."""
        return AdoptFacts(
            Format.CUSTOM,
            0,
            show_instant(scope.started_at),
            0,
            inputs.database,
            Present(),
            layout(system, inputs.name, scope),
        )

    def plan(self, system: Store, inputs: AdoptInputs, facts: AdoptFacts, scope: Scope) -> Operations:
        """Hash, read whole, write the manifest."""
        state, where = facts.state, facts.where
        if state.done:
            return ()
        parts = _made(facts.format)
        if state.drafted:
            return published(where, state, parts=parts)
        draft = Write(name="draft", path=where.partial(MANIFEST), content=_manifest(inputs, facts, scope))
        proofs = (_hashed(facts), *_read(inputs, facts))
        return (*swept(where, state, marker=scope.tag), *proofs, draft, *published(where, state, parts=parts))

    def recovery(self, system: Store, inputs: AdoptInputs, facts: AdoptFacts, scope: Scope) -> Operations:
        """The manifest as it is written now, also where an older version, whose manifests said less, has begun."""
        return tuple(one for one in self.plan(system, inputs, facts, scope) if one.name == "draft")

    def verify(self, look: Look, system: Store, inputs: AdoptInputs, done: Done[AdoptFacts]) -> Adopted:
        """The manifest is there, and its files are as it says."""
        return Adopted(artifact=published_artifact(look, system, done.facts.where))


def _made(form: Format) -> tuple[str, ...]:
    """The files that the adoption makes, beside the manifest."""
    return (SUMS,) if form is Format.DIRECTORY else ()


def _format(look: Look, where: Layout, *, kind: str) -> Format:
    path = where.path(DATA)
    if kind == "directory":
        if look.head(LOCAL, f"{path}/toc.dat", len(MAGIC)) == MAGIC:
            return Format.DIRECTORY
        raise _unknown(f"{path} is a directory without pg_dump's toc.dat.")
    head = look.head(LOCAL, path, HEAD_BYTES)
    if head.startswith(MAGIC):
        return Format.CUSTOM
    if head.startswith(GZIP_MAGIC):
        return Format.PLAIN_GZIP
    if not head:
        raise CheckFailed(
            Problem(
                "E628", "the backup is empty", f"{path} has no bytes.", "Find out what made it, and use another one."
            )
        )
    if head[257:262] == TAR_MAGIC or b"\0" in head:
        raise _unknown(f"{path} is neither an archive of pg_dump (custom, directory), nor gzip, nor SQL.")
    return Format.PLAIN


def _unknown(detail: str) -> Refused:
    fix = "Only dumps in pg_dump's custom, directory and plain formats can be adopted."
    return Refused(Problem("E629", "the backup's format is not known", detail, fix))


def _pg_restore(inputs: AdoptInputs) -> str:
    return f"{inputs.binaries.rstrip('/')}/pg_restore" if inputs.binaries else "pg_restore"


def _said(look: Look, where: Layout, inputs: AdoptInputs, form: Format) -> tuple[int, str]:
    """The server's version (150018) and the database, as the backup says; refuses another database than the one named."""
    path = where.path(DATA)
    head = look.head(LOCAL, f"{path}/toc.dat" if form is Format.DIRECTORY else path, HEAD_BYTES)
    if form not in (Format.CUSTOM, Format.DIRECTORY):
        said = _SQL_VERSION.search(_unzipped(head) if form is Format.PLAIN_GZIP else head)
        return (_number(said[1].decode()) if said else 0), ""
    archive = read_head(head)
    if archive is None:
        raise unreliable(path, "the head of the archive can't be read")
    if archive.database != inputs.database:
        raise Refused(
            Problem(
                "E630",
                "it is a backup of another database",
                f"{path} says that it was made of {archive.database!r}, not of {inputs.database!r}.",
                "Check `name` and `database`.",
            )
        )
    return _number(archive.server), archive.database


def _number(version: str) -> int:
    """150018 of ``15.18``, 90600 of ``9.6.0``; 0 where it is something else."""
    found = re.match(r"(\d+)(?:\.(\d+))?", version)
    if found is None:
        return 0
    major, minor = int(found[1]), int(found[2] or 0)
    return major * 10_000 + minor * (1 if major >= 10 else 100)


def _unzipped(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(head, 4096)
    except zlib.error:
        return b""  # the read of the whole file will say so


def _hashed(facts: AdoptFacts) -> Operation:
    if facts.format is Format.DIRECTORY:
        return hashed_tree("hash", facts.where.path(DATA), facts.where.partial(SUMS))
    return Pipeline(name="hash", source=facts.where.path(DATA), total_bytes=facts.bytes, reads=True)


def _read(inputs: AdoptInputs, facts: AdoptFacts) -> Operations:
    path = facts.where.path(DATA)
    match facts.format:
        case Format.CUSTOM | Format.DIRECTORY:
            return (Process(name="read", argv=(_pg_restore(inputs), "--file=/dev/null", path), reads=True),)
        case _:
            most = most_uncounted(facts.bytes) if facts.format is Format.PLAIN_GZIP else 0
            return (read_plain("read", path, most_bytes=most),)


def read_plain(name: str, path: str, *, most_bytes: int, expect_sha256: str = "") -> Operation:
    """Reads plain SQL to its end, which has to be the line that pg_dump writes last.

    ``most_bytes``: how many may come out of it, where it is packed with gzip; else 0.
    """
    unzip = (Stage(argv=("gzip", "--decompress", "--stdout")),) if most_bytes else ()
    ends = tuple(f"--regexp={line}" for line in DUMP_ENDS)
    return Pipeline(
        name=name,
        source=path,
        stages=(
            *unzip,
            Stage(argv=("tail", f"--bytes={TAIL_BYTES}"), most_bytes=most_bytes),  # a line may be as long as the file
            Stage(argv=("grep", "--count", "--text", "--line-regexp", *ends)),
        ),
        hashing=Hashing.SOURCE,
        expect_sha256=expect_sha256,
        reads=True,
    )


def _manifest(inputs: AdoptInputs, facts: AdoptFacts, scope: Scope) -> Document:
    size: int | Ref = Ref("hash", "bytes")
    file = facts.where.file(_made(facts.format)[0] if _made(facts.format) else DATA)
    counted = (("unpacked_bytes", Ref("read", "taken_bytes")),) if facts.format is Format.PLAIN_GZIP else ()
    piece = Document((("path", file), ("bytes", size), ("sha256", Ref("hash", "sha256")), *counted))
    said = "as given" if inputs.finished_at else "the file's modification time"
    unproven = [
        "that these are the bytes that were once written: the hashes were taken at the adoption",
        f"finished_at and started_at: {said}",
        "the rows: no counts were recorded when it was made",
        "roles and their rights: it has no globals",
    ]
    if not facts.said_database:
        unproven.append("that it is of this database: plain SQL does not say")
    return Document(
        (
            ("manifest", 1),
            ("name", inputs.name),
            ("format", facts.format.value),
            ("database", inputs.database),
            ("server_version", facts.said_version),
            ("started_at", facts.finished_at),
            ("finished_at", facts.finished_at),
            ("pieces", (piece,)),
            ("run", maker(scope)),
            ("unproven", tuple(unproven)),
            ("tool", f"runbook {runbook.__version__}"),
        )
    )
