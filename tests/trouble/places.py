"""Places of a machine that are another's: small file systems, and files that only the program sees otherwise."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_disk(place: Path, megabytes: int) -> Iterator[Path]:
    """A file system in memory at `place`. Needs root."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Not a byte is free any more; the file that took them."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


def elsewhere(files: Mapping[Path, Path]) -> tuple[str, ...]:
    """What runs a program that sees, in the place of each file, another one; nobody else does. Needs root."""
    mounts = "".join(f"mount --bind '{seen}' '{place}' && " for place, seen in files.items())
    return ("unshare", "--mount", "--propagation", "private", "sh", "-c", f'{mounts}exec "$@"', "sh")
