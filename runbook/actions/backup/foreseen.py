"""A backup that is yet to be made, as a dry-run passes it on.

Owns :func:`foreseen`. Promises: the artifact is made of the very manifest that will be written; what operations will give stands
in it as a placeholder that says what it is of, and which step gives it.
"""

from __future__ import annotations

from runbook.actions.backup.layout import MANIFEST, artifact
from runbook.artifact import Artifact, Manifest
from runbook.operation import Document, DocumentValue, Json, Ref
from runbook.placeholder import AHEAD, stand_for
from runbook.system import Store


def foreseen(store: Store, manifest: Document, step: str) -> Artifact:
    """The artifact of the backup whose ``manifest`` the step will write."""
    made = Manifest.model_validate(_told(manifest, "", step), context=AHEAD)
    late = {
        "bytes": stand_for(f"bytes of {made.name}, from {step}"),
        "sha256": stand_for(f"sha256 of {made.name}{MANIFEST}, from {step}"),
    }
    return artifact(store, made, text="", size=0).model_copy(update=late)


def _told(value: DocumentValue, what: str, step: str) -> Json:
    match value:
        case Document(items):
            path = dict(items).get("path")
            of = f" of {path}" if isinstance(path, str) else ""
            return {key: _told(item, f"{key}{of}", step) for key, item in items}
        case tuple():
            return [_told(item, what, step) for item in value]
        case Ref():
            return stand_for(f"{what}, from {step}")
        case None | bool() | int() | float() | str():
            return value
    raise TypeError(f"{type(value).__name__} is not a part of a manifest")
