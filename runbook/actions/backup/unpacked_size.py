"""How much may come out of a packed piece of a backup.

Owns the bound. Promises: nothing is unpacked without one. The manifest says how many bytes came out when the backup was made
(``unpacked_bytes``), and more are never taken. An older one says nothing of it; then far more may come than the files of a cluster
or SQL ever give, and less than out of a file that was packed to fill a disk.
"""

from __future__ import annotations

from runbook.artifact import Manifest

MOST_TIMES = 256
"""How many times its packed size a file may become where nobody counted. Rows that all are alike become up to 90 times smaller
(measured); zeros in gzip 230 to 1,030 times, as its level is, and in zstd nearly 30,000 times."""
ALWAYS_BYTES = 4 << 30
"""A file may always become this large: a new cluster is little else than a WAL segment (up to 1 GiB) of zeros."""


def most_unpacked(manifest: Manifest | None, path: str, packed_bytes: int = 0) -> int:
    """How many bytes may come out of the packed piece ``path``; ``packed_bytes``: its size, where no manifest may tell it."""
    piece = next((one for one in manifest.pieces if one.path == path), None) if manifest else None
    if piece is None:
        return most_uncounted(packed_bytes)
    return most_uncounted(piece.bytes) if piece.unpacked_bytes is None else piece.unpacked_bytes


def most_uncounted(packed_bytes: int) -> int:
    """How many bytes may come out of a packed file of which nobody counted them."""
    return max(ALWAYS_BYTES, MOST_TIMES * packed_bytes)
