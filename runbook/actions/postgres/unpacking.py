"""Unpacking a tar file of a cluster's files, which somebody may have written who means harm.

Owns the stage that does it. Promises: it takes no more bytes than it was told; a new directory ends up with plain files and
directories only, or with nothing at all (what it leaves where it is stopped, the step that runs it takes away). A backup of a
cluster holds nothing else, so a link, a device, a pipe or a set-id file is refused by its name, and all that came with it is
removed. What tar itself sees to: a leading ``/`` is dropped, a name with ``..`` ends it, and a link that leads out is made last of
all, so that no other member goes through it (GNU tar's manual, "Security").
"""

from __future__ import annotations

from collections.abc import Iterable

from runbook.host import Host
from runbook.operation import Stage

_UNTAR = (  # one line without apostrophes: it is shown, and pasted, as it stands
    "cd / || exit; into=$1; shift; "
    'tar --extract --preserve-permissions --file=- --directory="$into" "$@" || exit; '
    'odd=$(find "$into" \\( ! -type f ! -type d -o -type f \\( -perm -4000 -o -perm -2000 -o -links +1 \\) \\) -print) || exit; '
    '[ -n "$odd" ] || exit 0; find "$into" -mindepth 1 -delete; '
    'echo "refused, since no backup of a cluster has links, devices or set-id files; nothing of it was kept:" >&2; '
    r'printf "%s\n" "$odd" >&2; exit 1'
)


def untarred(into: str, host: Host, user: str, *, most_bytes: int, without: Iterable[str] = ()) -> Stage:
    """The stage that takes a tar file on its input into the empty directory ``into``; ``without``: members that are left out.

    ``most_bytes``: how large the tar file may be; 0 = it is a file as it lies on a disk, and its size was compared.
    """
    left_out = (f"--exclude={name}" for name in without)
    return Stage(argv=("sh", "-c", _UNTAR, "sh", into, *left_out), host=host, user=user, most_bytes=most_bytes)
