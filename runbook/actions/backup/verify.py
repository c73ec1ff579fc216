"""Proving any backup in a store: every byte compared with its manifest."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from runbook.action import Action, CheckFailed, Done, Effect, Inputs, Interrupted, Look, Outputs, Scope, current, guard
from runbook.actions.backup.layout import Broken, directory_of, flaw, is_tree, read_manifest, sha256_of
from runbook.artifact import Artifact, Manifest, Proof, carried
from runbook.errors import Problem, Refused
from runbook.operation import Operations, Pipeline, Process
from runbook.system import Store


class VerifyInputs(Inputs):
    """Which backup."""

    artifact: Artifact = Field(description="The backup, from backup.select or from the action that made it")


@dataclass(frozen=True, slots=True)
class VerifyFacts:
    """The manifest as it is now; its hash must not change while it is compared."""

    manifest_sha256: str = guard()
    text: str = current()


class Verified(Outputs):
    """The backup, hashed."""

    artifact: Artifact = Field(description="The backup, with what was shown of it")


class Verify(Action[Store, VerifyInputs, VerifyFacts, Verified]):
    """Compare every byte of a backup with its manifest, whatever kind of backup it is.

    It shows that nothing changed since the backup was made. It does not show that the backup can be restored: for dumps
    `postgres.verify_dump` reads the archive as well; a base backup's own files are checked one by one by
    `postgres.restore_to_time`, before anything is replaced. Nothing is written anywhere.
    """

    effect = Effect.READS
    interrupted = Interrupted.REPEATABLE
    example = """\
- id: prove
  title: Compare the whole base backup with its manifest
  uses: backup.verify
  on: bases
  with: {artifact: "{{ steps.pick.artifact }}"}
  timeout: 1h
"""

    def observe(self, look: Look, system: Store, inputs: VerifyInputs, scope: Scope) -> VerifyFacts:
        """Reads the manifest and the sizes; refuses a backup that has no manifest, or another than was chosen."""
        manifest, text = _manifest(look, system, inputs.artifact)
        if why := flaw(look, directory_of(system), manifest):
            fix = "Choose another backup (backup.select with `name` or `before`)."
            raise CheckFailed(Problem("E626", "the backup can't be relied on", f"{manifest.name}: {why}.", fix))
        return VerifyFacts(sha256_of(text), text)

    def assume(self, system: Store, inputs: VerifyInputs, scope: Scope) -> VerifyFacts:
        """The manifest that the artifact carries."""
        manifest = inputs.artifact.manifest
        return VerifyFacts(inputs.artifact.sha256, manifest.model_dump_json() if manifest else "")

    def plan(self, system: Store, inputs: VerifyInputs, facts: VerifyFacts, scope: Scope) -> Operations:
        """One read a piece; a directory's files by the list that is one of the pieces."""
        if not facts.text:
            return ()
        manifest = carried(facts.text)
        directory = directory_of(system)
        pieces = tuple(
            Pipeline(
                name=f"hash_{number}",
                source=f"{directory}/{piece.path}",
                expect_sha256=piece.sha256,
                total_bytes=piece.bytes,
                reads=True,
            )
            for number, piece in enumerate(manifest.pieces, start=1)
        )
        if not is_tree(manifest):
            return pieces
        tree = f"{directory}/{manifest.name}"
        check = ("sha256sum", "--check", "--strict", "--quiet", "--", f"{tree}.sha256")
        return (*pieces, Process(name="hash_tree", argv=check, cwd=tree, reads=True))

    def expect(self, system: Store, inputs: VerifyInputs, facts: VerifyFacts) -> Verified | None:
        """The same backup; if the reads end well, that is what was shown."""
        return _outputs(inputs, facts) if facts.text else None

    def verify(self, look: Look, system: Store, inputs: VerifyInputs, done: Done[VerifyFacts]) -> Verified:
        """The manifest is still the one whose pieces were read."""
        _, text = _manifest(look, system, inputs.artifact)
        if sha256_of(text) != done.facts.manifest_sha256:
            raise _replaced(inputs.artifact)
        return _outputs(inputs, done.facts)


def _outputs(inputs: VerifyInputs, facts: VerifyFacts) -> Verified:
    manifest = carried(facts.text)
    update = {"proof": Proof.HASHED, "sha256": facts.manifest_sha256, "manifest": manifest}
    return Verified(artifact=inputs.artifact.model_copy(update=update))


def _manifest(look: Look, store: Store, artifact: Artifact) -> tuple[Manifest, str]:
    match read_manifest(look, directory_of(store), artifact.name):
        case None:
            detail = f"{artifact.name}: nothing is known of it that it could be compared with."
            fix = "For a dump, add a step `uses: backup.adopt` before this one."
            raise Refused(Problem("E623", "the backup has no manifest", detail, fix))
        case Broken(why):
            fix = "Choose another one."
            raise CheckFailed(Problem("E626", "the backup can't be relied on", f"{artifact.name}: {why}.", fix))
        case (manifest, text):
            if artifact.sha256 and sha256_of(text) != artifact.sha256:
                raise _replaced(artifact)
            return manifest, text


def _replaced(artifact: Artifact) -> Refused:
    detail = f"The manifest of {artifact.name} is not the one that was chosen: its hash differs."
    fix = "Find out by whom; choose again."
    return Refused(Problem("E644", "the backup was replaced since it was chosen", detail, fix))
