"""Archives that were packed to harm: small files out of which far more comes than anybody expects."""

from __future__ import annotations

import gzip
import struct
import subprocess
import tarfile

from runbook.actions.postgres.packing import Packing

MIB = 1 << 20
_SKIPPED = 0x184D2A50
"""The head of a frame of zstd that holds nothing, and that every reader skips (RFC 8878, 3.1.2)."""


def tar_of_zeros(size: int) -> bytes:
    """A tar file with one member of that many zeros, as a table's file would be."""
    member = tarfile.TarInfo("base/1")
    member.size, member.mode = size, 0o600
    return member.tobuf() + bytes(-(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)


def packed(content: bytes, packing: Packing) -> bytes:
    """The content as somebody else's program packs it."""
    if packing is Packing.GZIP:
        return gzip.compress(content, 1)
    ran = subprocess.run(["zstd", "-1", "--quiet", "--stdout"], input=content, capture_output=True, check=True)
    return ran.stdout


def filled_up(bomb: bytes, packing: Packing, size: int) -> bytes:
    """The same file, as large as another one, so that its size gives nothing away."""
    missing = size - len(bomb)
    assert missing > 8, "the bomb is larger than what it replaces"
    if packing is Packing.GZIP:
        return bomb + bytes(missing)  # zeros behind the end are padding to gzip
    return bomb + struct.pack("<II", _SKIPPED, missing - 8) + bytes(missing - 8)
