"""Proving any backup in a store: every byte compared with its manifest."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from runbook.action import Action, Done, Effect, Inputs, Interrupted, Look, Outputs, Scope, current, guard
from runbook.actions.backup.chosen import read_chosen, replaced, unreliable
from runbook.actions.backup.layout import directory_of, flaw, is_tree, sha256_of
from runbook.artifact import Artifact, Proof, carried
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
        manifest, text = read_chosen(look, directory_of(system), inputs.artifact)
        if why := flaw(look, directory_of(system), manifest):
            raise unreliable(manifest.name, why)
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
        _, text = read_chosen(look, directory_of(system), inputs.artifact)
        if sha256_of(text) != done.facts.manifest_sha256:
            raise replaced(inputs.artifact.name)
        return _outputs(inputs, done.facts)


def _outputs(inputs: VerifyInputs, facts: VerifyFacts) -> Verified:
    manifest = carried(facts.text)
    update = {"proof": Proof.HASHED, "sha256": facts.manifest_sha256, "manifest": manifest}
    return Verified(artifact=inputs.artifact.model_copy(update=update))
