"""Artifacts: a backup as plans pass it on, and the manifest that lies beside it in its store.

Owns :class:`Artifact` (what ``{{ steps.pick.artifact }}`` holds) and :class:`Manifest` (``NAME.manifest.json``). Promises: an
artifact carries its store's name; a manifest is written last, so that a backup without one is either foreign or unfinished.
In a dry-run both may hold placeholders for what isn't known yet; a manifest in a store never does.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from runbook.placeholder import AHEAD, Foreseeable

MANIFEST_SUFFIX = ".manifest.json"


class Format(StrEnum):
    """What kind of backup an artifact is."""

    CUSTOM = "custom"
    DIRECTORY = "directory"
    PLAIN = "plain"
    PLAIN_GZIP = "plain_gzip"
    BASE_BACKUP = "base_backup"
    COLD_COPY = "cold_copy"


class Proof(StrEnum):
    """How well a backup is known: what was shown of it, weakest first."""

    LISTED = "listed"
    HASHED = "hashed"
    READ = "read"
    RESTORED = "restored"


class Piece(BaseModel):
    """One file of an artifact, relative to the store. ``bytes`` is its size, ``sha256`` in hex.

    ``unpacked_bytes``: what came out of it when it was made, if it is packed; None where that was not counted (an older backup).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    path: str
    bytes: Foreseeable[Annotated[int, Field(ge=0)]]
    sha256: Foreseeable[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]]
    unpacked_bytes: Foreseeable[Annotated[int, Field(gt=0)]] | None = None


class Tablespace(BaseModel):
    """A tablespace in a base backup: its OID, which a recovered cluster keeps, where it was, and the piece that holds its files."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    oid: Annotated[int, Field(gt=0)]
    name: str
    location: str
    piece: str


class Manifest(BaseModel):
    """What was recorded when a backup was made (or adopted). Instants are aware; sizes are bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    manifest: Literal[1] = 1
    name: str
    format: Format
    database: str
    system_identifier: Foreseeable[str] = ""
    server_version: Foreseeable[int] = 0
    client_version: Foreseeable[str] = ""
    started_at: Foreseeable[datetime]
    finished_at: Foreseeable[datetime]
    pieces: tuple[Piece, ...]
    counts: str = Field(default="", description="Name of the file with the row counts, JSON lines {table, rows}")
    globals: str = Field(default="", description="Name of the file with roles and their settings")
    wal_start: Foreseeable[str] = ""
    wal_stop: Foreseeable[str] = ""
    timeline: Foreseeable[int] = 0
    tablespaces: tuple[Tablespace, ...] = Field(
        default=(),
        description="Of a base backup, those outside the data directory; then it is a directory, with a tar file each",
    )
    run: str = ""
    unproven: tuple[str, ...] = Field(default=(), description="What an adoption could not prove, in words")
    tool: str = ""


class Artifact(BaseModel):
    """A chosen backup: where it is and what is claimed of it. Two artifacts with one ``sha256`` are the same backup.

    ``sha256`` is the hash of the manifest's file, which holds the pieces' hashes; empty where there is no manifest.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    store: str
    url: str = Field(description="The store's URL joined with the name")
    name: str
    format: Format
    database: str = ""
    bytes: Foreseeable[Annotated[int, Field(ge=0)]]
    sha256: Foreseeable[str] = ""
    finished_at: Foreseeable[datetime]
    proof: Proof = Proof.LISTED
    manifest: Manifest | None = None


def carried(text: str) -> Manifest:
    """The manifest in a text that an artifact carried, or that was read from a store and found to be one.

    Only the former may hold placeholders: whoever reads a store validates without their context.
    """
    return Manifest.model_validate_json(text, context=AHEAD)
