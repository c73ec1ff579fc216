"""Evidence: the copy of a cluster's files that has to be kept before a repair may begin.

Owns what counts as one. Promises: it is a copy of the files, not a dump (which has only what could still be read); its manifest is
there and unchanged; every byte was compared with the manifest in this run; it is of the cluster that is to be repaired.
"""

from __future__ import annotations

from runbook.action import Look, Scope
from runbook.actions.backup.layout import Broken, directory_of, flaw, read_manifest, sha256_of
from runbook.actions.postgres.client import Server
from runbook.actions.postgres.load import store_of
from runbook.artifact import Artifact, Format, Proof
from runbook.errors import Problem, Refused

OF_FILES = (Format.COLD_COPY, Format.BASE_BACKUP)

_SUMMARY = "no evidence was kept"
_FIX = "Copy the stopped cluster first (postgres.stop, postgres.cold_copy), and prove the copy (backup.verify)."


def read_evidence(look: Look, artifact: Artifact, scope: Scope, server: Server) -> str:
    """The hash of the evidence's manifest; refuses (exit 4) what isn't evidence of this cluster."""
    if artifact.format not in OF_FILES:
        detail = (
            f"{artifact.name} is a {artifact.format.value} dump: it holds what could be read, not the damaged files."
        )
        raise _refused(detail)
    if artifact.proof is Proof.LISTED:
        raise _refused(f"Nobody has compared {artifact.name} with its manifest.")
    directory = directory_of(store_of(artifact, scope))
    match read_manifest(look, directory, artifact.name):
        case None:
            raise _refused(f"{artifact.name} has no manifest in {directory}: it was moved away, or never finished.")
        case Broken(why):
            raise _refused(f"{artifact.name}: {why}.")
        case (manifest, text):
            if why := flaw(look, directory, manifest):
                raise _refused(f"{artifact.name}: {why}.")
            if artifact.sha256 != sha256_of(text):
                raise _refused(f"The manifest of {artifact.name} is not the one that was proven: its hash differs.")
            refuse_other_cluster(artifact.model_copy(update={"manifest": manifest}), server)
            return sha256_of(text)


def refuse_other_cluster(artifact: Artifact, server: Server) -> None:
    """Refuse (exit 4) a copy of another cluster than the server's."""
    of = artifact.manifest.system_identifier if artifact.manifest else ""
    if of != server.identifier:
        raise _refused(f"{artifact.name} is of cluster {of or 'unknown'}, this is {server.identifier}.")


def _refused(detail: str) -> Refused:
    return Refused(Problem("E690", _SUMMARY, detail, _FIX))
