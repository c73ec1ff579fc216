"""Files and directories: made, written whole, renamed without clobbering, removed by their run's name.

Owns the file operations on this machine; ``files_far.py`` has the same for containers. Promises: what is reported done is on
stable storage; a rename never replaces anything; a removal follows no link, leaves its file system nowhere, and refuses what
does not carry the run's name.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import grp
import hashlib
import json
import os
import pwd
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from runbook.errors import Problem
from runbook.late import Results, document
from runbook.operation import Document, Fields, MakeDirectory, Remove, Rename, Write
from runbook.secret import SecretRef
from runbook.transports.durable import NotSynced, partial_of, sync_folder, write_durably
from runbook.transports.trouble import Trouble, Unsure, trouble

SHORTEST_MARKER = 6
_RENAME_NOREPLACE = 1
_AT_FDCWD = -100
_MOUNTS = Path("/proc/self/mountinfo")


def content_of(operation: Write, results: Results, reveal: Callable[[SecretRef], str]) -> bytes:
    """The bytes to be written: text as it is, a document as JSON with a final newline."""
    content = operation.content
    if not isinstance(content, Document):
        return content.encode()
    return json.dumps(document(content, results, reveal), ensure_ascii=False, indent=2).encode() + b"\n"


def written(data: bytes) -> Fields:
    """The result of a write."""
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def make_directory(operation: MakeDirectory) -> Fields:
    """Make it and its parents. Result: ``created``. Raises :class:`Trouble`."""
    path = _absolute(operation.path)
    owner = owner_ids(operation.owner)
    try:
        if path.is_dir():
            return {"created": False}
        missing = [one for one in reversed((path, *path.parents)) if not one.exists()]
        for one in missing:
            _make_whole(one, mode=operation.mode if one == path else None, owner=owner)
    except OSError as error:
        raise _failed("a directory could not be made", path, error) from None
    return {"created": True}


def _make_whole(path: Path, *, mode: int | None, owner: tuple[int, int] | None) -> None:
    """Make one directory under another name first: whoever finds it under its own finds it with its mode and owner."""
    partial = partial_of(path)
    with contextlib.suppress(FileNotFoundError):
        partial.rmdir()  # what a crash left, if it is empty
    partial.mkdir(mode=0o755)
    try:
        if owner is not None:
            os.chown(partial, *owner)
        if mode is not None:
            partial.chmod(mode)
        _rename_new(partial, path)
    except OSError:
        partial.rmdir()
        raise
    sync_folder(path.parent)


def write(operation: Write, data: bytes) -> Fields:
    """Write it whole. Result: ``sha256``, ``bytes``. Raises :class:`Trouble`."""
    path = _absolute(operation.path)
    try:
        write_durably(path, data, mode=operation.mode, owner=owner_ids(operation.owner))
    except OSError as error:
        raise _failed("a file could not be written", path, error) from None
    return written(data)


def rename(operation: Rename) -> Fields:
    """Rename without replacing; both folders are synced. Raises :class:`Trouble`."""
    source, target = _absolute(operation.source), _absolute(operation.target)
    try:
        _rename_new(source, target)
        for folder in {source.parent, target.parent}:
            sync_folder(folder)
    except FileExistsError:
        raise target_exists(operation.target) from None
    except OSError as error:
        raise _failed("a rename failed", source, error) from None
    return {}


def remove(operation: Remove) -> Fields:
    """Remove a file or a tree. Result: ``removed`` (False: it was not there). Raises :class:`Trouble`."""
    path = check_removal(operation)
    try:
        facts = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return {"removed": False}
    try:
        if path.parent.resolve(strict=True) != path.parent:
            raise unsafe(operation.path, "a folder above it is a symbolic link")
        if stat.S_ISDIR(facts.st_mode):
            _refuse_mounts(path, path.parent.lstat().st_dev)
            shutil.rmtree(path)  # by descriptors: a folder that is swapped for a link meanwhile is not followed
        else:
            path.unlink()
        sync_folder(path.parent)
    except OSError as error:
        raise _failed("a removal failed", path, error) from None
    return {"removed": True}


def check_removal(operation: Remove) -> Path:
    """The path, if its name alone allows its removal. Raises :class:`Trouble`."""
    path = _absolute(operation.path)
    if len(operation.marker) < SHORTEST_MARKER or operation.marker not in operation.path:
        raise unsafe(operation.path, f"it doesn't carry the run's name ({operation.marker!r})")
    if len(path.parts) < 3:
        raise unsafe(operation.path, "it is the root of the file system or stands directly below it")
    return path


def unsafe(path: str, why: str) -> Trouble:
    """A removal that is refused."""
    return trouble(
        "E321",
        "a removal was refused",
        f"{path}: {why}. Nothing was removed.",
        "look at it, and remove by hand what nobody needs",
    )


def target_exists(path: str) -> Trouble:
    """A rename that would replace something."""
    return trouble(
        "E322", "the target of a rename exists", f"{path} exists, and a rename never replaces.", f"ls -la {path}"
    )


def owner_ids(owner: str) -> tuple[int, int] | None:
    """``uid:gid`` or a user's name as numbers; None for an empty owner. Raises :class:`Trouble`."""
    if not owner:
        return None
    user, _, group = owner.partition(":")
    try:
        entry = None if user.isdecimal() else pwd.getpwnam(user)
        uid = int(user) if entry is None else entry.pw_uid
        if not group:
            return uid, entry.pw_gid if entry is not None else uid
        return uid, int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise trouble(
            "E323", "there is no such user", f"{owner!r} is not known on this machine.", "getent passwd"
        ) from None


def _absolute(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute() or ".." in path.parts or "\0" in text:
        raise trouble(
            "E324",
            "a path can't be used",
            f"{text!r}: a path has to be absolute and without '..'.",
            "write the whole path, from / on, in the plan or the environment",
        )
    return path


def _refuse_mounts(path: Path, device: int) -> None:
    """Refuse a tree in which anything is mounted: a folder bound from the same file system shows in the kernel's table alone."""
    table = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape") if _MOUNTS.exists() else ""
    for point in mount_points(table):
        if point.is_relative_to(path):
            raise unsafe(str(path), f"something is mounted at {point}")
    for folder, folders, _ in os.walk(path, followlinks=False):
        for one in (Path(folder), *(Path(folder) / name for name in folders)):
            if not one.is_symlink() and (one.lstat().st_dev != device or os.path.ismount(one)):
                raise unsafe(str(path), f"another file system is mounted at {one}")


def mount_points(table: str) -> Iterator[Path]:
    """Where something is mounted; ``table`` is ``/proc/self/mountinfo`` (proc(5)), where odd characters stand as octals."""
    for line in table.split("\n"):
        fields = line.split(" ")
        if len(fields) > 4:
            yield Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4]))


def _rename_new(source: Path, target: Path) -> None:
    """``renameat2(RENAME_NOREPLACE)``; where the file system can't, a look before the rename, which leaves an instant."""
    library = ctypes.CDLL(None, use_errno=True)
    renameat2 = getattr(library, "renameat2", None)
    if renameat2 is not None:
        if renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) == 0:
            return
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise OSError(number, os.strerror(number), str(source))
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    source.rename(target)


def _failed(summary: str, path: Path, error: OSError) -> Trouble | Unsure:
    where = error.filename or path
    if isinstance(error, NotSynced):  # the effect is there, for now
        detail = f"{path}: it was done, but {where} could not be synced: {error.strerror}."
        return Unsure(Problem("E320", summary, detail, f"ls -la {path.parent}; dmesg | tail"))
    fix = f"df -h {path.parent}" if error.errno in (errno.ENOSPC, errno.EDQUOT) else f"ls -la {path.parent}"
    return trouble("E320", summary, f"{where}: {error.strerror}.", fix)
