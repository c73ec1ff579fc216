"""Proving a dump before anything is risked for it: hashed whole, read whole, fit for this server and this database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from runbook.action import Action, Done, Effect, Inputs, Interrupted, Look, Outputs, Scope, current, guard
from runbook.actions.backup.adopt import HEAD_BYTES, read_plain
from runbook.actions.backup.archive import read_head
from runbook.actions.backup.chosen import read_chosen, replaced, unreliable
from runbook.actions.backup.layout import directory_of, flaw, sha256_of
from runbook.actions.backup.unpacked_size import most_unpacked
from runbook.actions.postgres.client import argv, read_client, read_server
from runbook.artifact import Artifact, Format, Manifest, Proof, carried
from runbook.errors import Problem, Refused
from runbook.host import LOCAL, Local
from runbook.operation import Hashing, Operation, Operations, Pipeline, Process, Stage
from runbook.system import Postgres, Store


class VerifyDumpInputs(Inputs):
    """Which dump, and how deeply it is proven."""

    artifact: Artifact = Field(description="The dump, from backup.select, backup.adopt or postgres.dump")
    level: Literal["hashed", "read"] = Field(
        default="read",
        description="hashed: every byte is as the manifest says; read: the archive is read to its end as well",
    )
    database: str = Field(default="", description="The database that it must be a dump of; default: the system's own")


@dataclass(frozen=True, slots=True)
class VerifyDumpFacts:
    """The manifest as it is now, where the store is, and the versions that meet (150018; a major)."""

    manifest_sha256: str = guard()
    text: str = current()
    directory: str = current()
    server_version: int = current()
    client_major: int = current()


class VerifiedDump(Outputs):
    """The dump, proven."""

    artifact: Artifact = Field(description="The dump, with what was shown of it")


class VerifyDump(Action[Postgres, VerifyDumpInputs, VerifyDumpFacts, VerifiedDump]):
    """Prove a dump: compare every byte with its manifest, and read the archive to its end with this server's own client.

    A hash alone shows that nothing changed since; reading alone does not find a changed byte in uncompressed data. Both are
    done, for a custom archive in one pass. Refused (exit 4): a dump without a manifest, of a newer server, of another database,
    or replaced since it was chosen. A dump that is damaged, cut off or empty fails the step (exit 1). Nothing is written
    anywhere; a dry-run shows the reads and does not do them.
    """

    effect = Effect.READS
    interrupted = Interrupted.REPEATABLE
    needs_programs = ("pg_restore",)
    example = """\
- id: prove
  title: Read the whole backup and compare it with its manifest
  uses: postgres.verify_dump
  on: db
  with: {artifact: "{{ steps.pick.artifact }}"}
  timeout: 30m
"""

    def observe(self, look: Look, system: Postgres, inputs: VerifyDumpInputs, scope: Scope) -> VerifyDumpFacts:
        """Reads the manifest, the sizes and the versions; refuses what must not be restored."""
        directory = _directory(inputs.artifact, scope)
        manifest, text = _manifest(look, directory, inputs.artifact)
        _refuse_other_database(manifest, wanted=inputs.database or system.database)
        _fail_flawed(look, directory, manifest)
        server = read_server(look, system, scope.application)
        made_of = max(manifest.server_version // 10_000, _major_in_archive(look, directory, manifest))
        if made_of > server.major:
            raise Refused(
                Problem(
                    "E641",
                    "the dump is of a newer server",
                    f"{manifest.name} was made of version {made_of}; "
                    f"{system.key or 'the server'} has version {server.major}.",
                    "Restore into a server of that version or newer.",
                )
            )
        archive = inputs.level == "read" and manifest.format in (Format.CUSTOM, Format.DIRECTORY)
        client = read_client(look, _reader(system, manifest.format), "pg_restore").major if archive else 0
        return VerifyDumpFacts(sha256_of(text), text, directory, server.version, client)

    def assume(self, system: Postgres, inputs: VerifyDumpInputs, scope: Scope) -> VerifyDumpFacts:
        """The manifest that the artifact carries."""
        manifest = inputs.artifact.manifest
        text = manifest.model_dump_json() if manifest else ""
        return VerifyDumpFacts(inputs.artifact.sha256, text, _directory(inputs.artifact, scope), 0, 0)

    def plan(self, system: Postgres, inputs: VerifyDumpInputs, facts: VerifyDumpFacts, scope: Scope) -> Operations:
        """Reads only."""
        if not facts.text:
            return ()
        manifest = carried(facts.text)
        read = inputs.level == "read"
        pieces: list[Operation] = []
        for number, piece in enumerate(manifest.pieces, start=1):
            path = f"{facts.directory}/{piece.path}"
            if piece.path == manifest.name and read:
                pieces.append(_read_file(system, manifest, path, sha256=piece.sha256, total=piece.bytes))
            else:
                pieces.append(
                    Pipeline(
                        name=f"hash_{number}",
                        source=path,
                        expect_sha256=piece.sha256,
                        total_bytes=piece.bytes,
                        reads=True,
                    )
                )
        if manifest.format is Format.DIRECTORY:
            pieces += _read_tree(
                system, f"{facts.directory}/{manifest.name}", f"{facts.directory}/{_sums(manifest)}", read=read
            )
        return tuple(pieces)

    def expect(self, system: Postgres, inputs: VerifyDumpInputs, facts: VerifyDumpFacts) -> VerifiedDump | None:
        """The same dump; if the reads end well, that is what was shown."""
        return _outputs(inputs, facts) if facts.text else None

    def verify(
        self, look: Look, system: Postgres, inputs: VerifyDumpInputs, done: Done[VerifyDumpFacts]
    ) -> VerifiedDump:
        """The manifest is still the one whose pieces were read."""
        manifest, text = _manifest(look, done.facts.directory, inputs.artifact)
        if sha256_of(text) != done.facts.manifest_sha256:
            raise replaced(manifest.name)
        return _outputs(inputs, done.facts)


def _outputs(inputs: VerifyDumpInputs, facts: VerifyDumpFacts) -> VerifiedDump:
    proof = Proof.READ if inputs.level == "read" else Proof.HASHED
    manifest = carried(facts.text)
    update = {"proof": proof, "sha256": facts.manifest_sha256, "manifest": manifest}
    return VerifiedDump(artifact=inputs.artifact.model_copy(update=update))


def _directory(artifact: Artifact, scope: Scope) -> str:
    store = scope.systems.get(artifact.store)
    if not isinstance(store, Store):
        raise Refused(
            Problem(
                "E642",
                "the backup's store is not in this environment",
                f"{artifact.name} lies in the store {artifact.store!r}, which the environment does not name.",
                "Choose the backup with backup.select in this environment.",
            )
        )
    return directory_of(store)


def _manifest(look: Look, directory: str, artifact: Artifact) -> tuple[Manifest, str]:
    manifest, text = read_chosen(look, directory, artifact)
    if manifest.format is Format.BASE_BACKUP:
        fix = "Use postgres.restore_to_time for it."
        raise Refused(Problem("E643", "this is no dump", f"{manifest.name} is a base backup.", fix))
    return manifest, text


def _refuse_other_database(manifest: Manifest, *, wanted: str) -> None:
    if manifest.database != wanted:
        raise Refused(
            Problem(
                "E630",
                "it is a backup of another database",
                f"{manifest.name} was made of {manifest.database!r}, not of {wanted!r}.",
                f"Choose another backup; or, if this one is meant, give `database: {manifest.database}`.",
            )
        )


def _major_in_archive(look: Look, directory: str, manifest: Manifest) -> int:
    """The server's version in the archive's own head, 0 where it tells none; refuses one that contradicts the manifest."""
    if manifest.format not in (Format.CUSTOM, Format.DIRECTORY):
        return 0
    file = f"{manifest.name}/toc.dat" if manifest.format is Format.DIRECTORY else manifest.name
    head = read_head(look.head(LOCAL, f"{directory}/{file}", HEAD_BYTES))
    if head is None:
        return 0  # it is damaged: the reading of the whole shows where
    if head.database != manifest.database:
        detail = f"{file} says that it was made of {head.database!r}, its manifest says of {manifest.database!r}."
        fix = "One of the two was put there by mistake, or damaged: choose another backup."
        raise Refused(Problem("E630", "it is a backup of another database", detail, fix))
    return head.server_major


def _fail_flawed(look: Look, directory: str, manifest: Manifest) -> None:
    why = flaw(look, directory, manifest)
    if not why and any(piece.path == manifest.name and piece.bytes == 0 for piece in manifest.pieces):
        why = "it is empty"
    if not why and manifest.format is Format.DIRECTORY and not _sums(manifest):
        why = "its manifest has no list of the directory's files"
    if why:
        raise unreliable(manifest.name, why)


def _sums(manifest: Manifest) -> str:
    wanted = f"{manifest.name}.sha256"
    return next((piece.path for piece in manifest.pieces if piece.path == wanted), "")


def _reader(system: Postgres, form: Format) -> Postgres:
    """Whose pg_restore reads it: the system's; but a directory is on this machine, and can't be piped elsewhere."""
    if form is Format.DIRECTORY and not isinstance(system.host, Local):
        return system.model_copy(update={"host": LOCAL, "binaries": ""})
    return system


def _read_file(system: Postgres, manifest: Manifest, path: str, *, sha256: str, total: int) -> Operation:
    if manifest.format is not Format.CUSTOM:
        most = most_unpacked(manifest, manifest.name) if manifest.format is Format.PLAIN_GZIP else 0
        return read_plain("read", path, most_bytes=most, expect_sha256=sha256)
    return Pipeline(
        name="read",
        source=path,
        stages=(Stage(argv=argv(system, "pg_restore", "--file=/dev/null"), host=system.host),),
        hashing=Hashing.SOURCE,
        expect_sha256=sha256,
        total_bytes=total,
        reads=True,
    )


def _read_tree(system: Postgres, tree: str, sums: str, *, read: bool) -> Operations:
    check = Process(
        name="hash_tree", argv=("sha256sum", "--check", "--strict", "--quiet", "--", sums), cwd=tree, reads=True
    )
    if not read:
        return (check,)
    reader = _reader(system, Format.DIRECTORY)
    return (check, Process(name="read", argv=argv(reader, "pg_restore", "--file=/dev/null", tree), reads=True))
