"""A backup that an earlier step chose, as it is now: its manifest, and whether it can still be relied on.

Owns the refusals of a backup that has no manifest (E623), that can't be relied on (E626), or that was replaced since it was chosen
(E644). Promises: a manifest that is handed on is the very one whose hash the artifact carries, if it carries one.
"""

from __future__ import annotations

from runbook.action import CheckFailed, Look
from runbook.actions.backup.layout import Broken, read_manifest, sha256_of
from runbook.artifact import Artifact, Manifest
from runbook.errors import Problem, Refused


def read_chosen(look: Look, directory: str, artifact: Artifact) -> tuple[Manifest, str]:
    """The manifest of a chosen backup, and its file's text."""
    name = artifact.name
    match read_manifest(look, directory, name):
        case None:
            detail = f"{directory}/{name}: nothing is known of it that it could be compared with."
            fix = f"For a dump, add a step `uses: backup.adopt` with {{name: {name}, database: …}} before this one."
            raise Refused(Problem("E623", "the backup has no manifest", detail, fix))
        case Broken(why):
            raise unreliable(name, why)
        case manifest, text:
            if artifact.sha256 and sha256_of(text) != artifact.sha256:
                raise replaced(name)
            return manifest, text


def unreliable(name: str, why: str) -> CheckFailed:
    """The backup is not what its manifest says, or can't be read; ``why`` in words."""
    fix = "Choose another backup (backup.select with `name` or `before`)."
    return CheckFailed(Problem("E626", "the backup can't be relied on", f"{name}: {why}.", fix))


def replaced(name: str) -> Refused:
    """Somebody has put another backup in its place."""
    detail = f"The manifest of {name} is not the one that was chosen: its hash differs."
    fix = "Find out by whom; choose again."
    return Refused(Problem("E644", "the backup was replaced since it was chosen", detail, fix))
