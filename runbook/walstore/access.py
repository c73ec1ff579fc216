"""Where a WAL archive is and how it is reached: a file of mode 0600 that a server's commands are given.

Owns :class:`Access` and its JSON form. Promises: a file that others may read is refused; no message holds a key.
"""

from __future__ import annotations

import json
import stat
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from runbook.errors import Problem, Refused

if TYPE_CHECKING:
    from runbook.walstore.store import Segments


@dataclass(frozen=True, slots=True)
class Access:
    """``url`` is ``file:///DIRECTORY`` or ``s3://BUCKET/PREFIX``; the rest is for buckets. Empty keys: the SDK's own chain."""

    url: str
    endpoint: str = ""
    region: str = ""
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)

    def open(self) -> Segments:
        """The archive; nothing is asked of it yet."""
        if self.url.startswith("file://"):
            from runbook.walstore.directory import DirectorySegments

            return DirectorySegments(Path(self.url.removeprefix("file://")))
        from runbook.walstore.objects import ObjectSegments

        return ObjectSegments.at(
            self.url,
            endpoint=self.endpoint,
            region=self.region,
            access_key=self.access_key,
            secret_key=self.secret_key,
        )


def read_access(path: Path) -> Access:
    """The access that a file holds; :class:`Refused` (exit 4) where it can't be relied on."""
    try:
        facts = path.stat()
        written = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise _unfit(path, str(why), "Write it anew: postgres.configure_archiving does.") from None
    if stat.S_IMODE(facts.st_mode) & 0o077:
        raise _unfit(path, "others may read it", f"chmod 600 {path}")
    known = {one.name for one in fields(Access)}
    if (
        not isinstance(written, dict)
        or not set(written) <= known
        or not all(isinstance(v, str) for v in written.values())
    ):
        raise _unfit(path, f"it holds other things than {', '.join(sorted(known))}", "Write it anew.")
    if not str(written.get("url", "")).startswith(("file:///", "s3://")):
        raise _unfit(path, "its url is neither file:///… nor s3://…", "Write the archive's url into it.")
    return Access(**written)


def _unfit(path: Path, why: str, fix: str) -> Refused:
    return Refused(Problem("E640", "the archive's access file can't be used", f"{path}: {why}.", fix))
