"""What files prove by themselves: their hashes, and whether a backup is what its manifest says."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path


def hashes(place: Path) -> dict[str, str]:
    """Every file below a folder, by its relative path."""
    found = (path for path in place.rglob("*") if path.is_file())
    return {str(path.relative_to(place)): _hash(path) for path in found}


def stamps(place: Path) -> dict[str, tuple[int, int, int]]:
    """Every file of a folder: inode, size, and when it was written last (ns)."""
    found = {path.name: path.stat() for path in place.iterdir()}
    return {name: (facts.st_ino, facts.st_size, facts.st_mtime_ns) for name, facts in found.items()}


def stored(place: Path) -> list[str]:
    """The files of a store, without what is never the same in two runs."""
    return sorted("." + path.name.split(".", 1)[1] if "." in path.name else "" for path in place.iterdir())


def rightly_hashed(store: Path) -> list[bool]:
    """For each backup of a store, whether every piece is there with the bytes that its manifest names."""
    found = []
    for path in sorted(store.glob("*.manifest.json")):
        pieces = [(store / one["path"], one["sha256"]) for one in json.loads(path.read_text())["pieces"]]
        found.append(bool(pieces) and all(piece.is_file() and _hash(piece) == known for piece, known in pieces))
    return found


def _hash(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
