"""Tablespaces of one's own: where a cluster has them, and where the copies of a recovered one go.

Owns the reads of them and what is refused. Promises: the links in the data directory (``pg_tblspc/OID``) say where they are, also
while the server is down; a copy's directory lies beside the live one's, on the same file system, and carries the run's name; no
two copies share one, and none is a live one's. What can't be kept to that is refused before anything is begun.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from runbook.action import Look
from runbook.artifact import Manifest
from runbook.errors import Problem
from runbook.host import LOCAL, Host
from runbook.operation import sql
from runbook.paste import on_host
from runbook.quoting import shell_word
from runbook.units import show_size

LINKS = "pg_tblspc"
"""The directory of links, one per tablespace, called by its OID (manual, Database File Layout)."""
OWN_MARK = ".rb_"
"""What a copy's directory has behind the live one's name; a later copy's name does not grow by it."""

TABLESPACES = sql(
    "SELECT oid::bigint AS oid, spcname::text AS name, pg_tablespace_location(oid) AS location, "
    "(CASE WHEN pg_has_role('pg_read_all_stats', 'USAGE') OR has_tablespace_privilege(oid, 'CREATE') "
    "THEN coalesce(pg_tablespace_size(oid), 0) ELSE 0 END)::bigint AS bytes FROM pg_tablespace WHERE spcname !~ '^pg_' ORDER BY oid"
)
"""Asked of a server. ``bytes`` 0: the role may not see the size, or the directory is gone."""


@dataclass(frozen=True, slots=True)
class Space:
    """A tablespace as a server has it. ``location`` is absolute, but for one that lies in the data directory itself."""

    oid: int
    name: str
    location: str


@dataclass(frozen=True, slots=True)
class SpaceCopy:
    """A tablespace of a base backup: where the live cluster has it ('' = it has it no more), and where its copy goes."""

    oid: int
    name: str
    live: str
    place: str


def spaces_of(rows: Sequence[Mapping[str, object]]) -> tuple[Space, ...]:
    """What :data:`TABLESPACES` gave."""
    return tuple(Space(int(str(row["oid"])), str(row["name"]), str(row["location"])) for row in rows)


def sizes_of(rows: Sequence[Mapping[str, object]]) -> dict[int, int]:
    """Bytes by OID, as :data:`TABLESPACES` gave them."""
    return {int(str(row["oid"])): int(str(row["bytes"])) for row in rows}


def inside(spaces: Sequence[Space], data: str) -> list[Problem]:
    """Tablespaces in the data directory: a backup would hold their files twice, and a copy's links could lead into the live one."""
    return [
        Problem(
            "E775",
            "a tablespace lies inside the data directory",
            f"{one.name} is at {one.location or f'{LINKS}/{one.oid}'}, where the server warns against it.",
            f"Make one outside, move what is in it (ALTER TABLE ALL IN TABLESPACE {one.name} SET TABLESPACE …), drop it.",
        )
        for one in spaces
        if not one.location.startswith("/") or (data and _within(one.location, data))
    ]


def _within(path: str, directory: str) -> bool:
    return posixpath.normpath(path).startswith(f"{posixpath.normpath(directory)}/")


def read_links(look: Look, host: Host, data: str) -> dict[int, str]:
    """Where the links of the data directory ``data`` lead, resolved, by OID; '' for one that leads nowhere.

    A tablespace that is no link lies in the data directory itself, at its own path.
    """
    found = {}
    for one in look.listing(host, f"{data}/{LINKS}"):
        name = posixpath.basename(one.path)
        if name.isdecimal():
            ran = look.run(host, ("readlink", "-f", one.path))
            found[int(name)] = ran.stdout.rstrip("\n") if ran.exit_code == 0 else ""
    return found


def copies(manifest: Manifest | None, links: Mapping[int, str], own: str) -> tuple[SpaceCopy, ...]:
    """A place for each tablespace of the backup: beside the live one, or, where there is none, beside where it was."""
    made = []
    for one in manifest.tablespaces if manifest else ():
        live = links.get(one.oid, "")
        beside, _, name = (live or posixpath.normpath(one.location)).rpartition("/")
        made.append(SpaceCopy(one.oid, one.name, live, f"{beside}/{name.partition(OWN_MARK)[0]}.{own}_{one.oid}"))
    return tuple(made)


def read_copies(
    look: Look, host: Host, manifest: Manifest | None, links: Mapping[int, str], own: str
) -> tuple[SpaceCopy, ...]:
    """:func:`copies`, without a symbolic link in any place's path: through one, a removal could go astray."""
    made = []
    for one in copies(manifest, links, own):
        beside, _, name = one.place.rpartition("/")
        ran = look.run(host, ("readlink", "-f", beside or "/"))
        real = ran.stdout.rstrip("\n") if ran.exit_code == 0 else ""
        made.append(replace(one, place=f"{real.rstrip('/')}/{name}") if real else one)
    return tuple(made)


def noted(spaces: Sequence[SpaceCopy]) -> str:
    """A line that :func:`remembered` reads; '' for none."""
    told = [{"oid": one.oid, "name": one.name, "live": one.live, "place": one.place} for one in spaces]
    return f"{json.dumps(told)}\n" if told else ""


def remembered(text: str) -> tuple[SpaceCopy, ...]:
    """The tablespaces in what a step has written down: its third line."""
    line = "".join(text.splitlines()[2:3])
    rows = json.loads(line) if line.startswith("[") else []
    return tuple(SpaceCopy(int(row["oid"]), str(row["name"]), str(row["live"]), str(row["place"])) for row in rows)


def there(look: Look, host: Host, spaces: Sequence[SpaceCopy], data: str) -> tuple[str, ...]:
    """Those places that exist, and that the cluster in the place ``data`` does not use: only these may be removed."""
    used = set(read_links(look, host, data).values()) if spaces else set()
    return tuple(one.place for one in spaces if one.place not in used and look.file(host, one.place) is not None)


def shared(look: Look, host: Host, first: str, second: str) -> tuple[str, ...]:
    """Directories that two clusters have in common, by the links of their data directories."""
    both = set(read_links(look, host, first).values()) & set(read_links(look, host, second).values())
    return tuple(sorted(both - {""}))


def elsewhere(who: str, host: Host, names: Sequence[str]) -> list[Problem]:
    """Tablespaces of a server that is not on this machine."""
    if host == LOCAL or not names:
        return []
    detail = (
        f"{who} has the tablespaces {', '.join(names)}; they can be copied of a server on this machine, not on {host}."
    )
    return [Problem("E772", "the cluster has tablespaces of its own", detail, "Use pgBackRest or Barman for it.")]


def unfit(
    look: Look,
    host: Host,
    who: str,
    *,
    manifest: Manifest,
    links: Mapping[int, str],
    spaces: Sequence[SpaceCopy],
    data: str,
) -> list[Problem]:
    """Why a recovered copy's tablespaces could not be kept apart from the live ones."""
    known = {one.oid for one in manifest.tablespaces}
    names = [one.name for one in manifest.tablespaces] + [str(oid) for oid in links if oid not in known]
    if far := elsewhere(who, host, names):
        return far
    found = []
    for oid in sorted(set(links) - known):
        detail = (
            f"{manifest.name} does not have the tablespace {oid} of {who}, at {links[oid] or f'{data}/{LINKS}/{oid}'}."
        )
        why = " Recovery would make it anew, and would take that very directory, in which the live one's files are."
        fix = "Take a base backup (postgres.basebackup): it leads on from its own end. Or recover on another machine."
        found.append(Problem("E776", "a tablespace was made after the base backup", f"{detail}{why}", fix))
    listed = [Space(one.oid, one.name, links.get(one.oid) or one.location) for one in manifest.tablespaces]
    return [*found, *inside(listed, data), *(flaw for one in spaces for flaw in _placeless(look, host, one))]


def _placeless(look: Look, host: Host, one: SpaceCopy) -> list[Problem]:
    summary = "a tablespace's copy has no place"
    beside = posixpath.dirname(one.place)
    above = look.file(host, beside)
    if above is None or above.kind != "directory":
        fix = on_host(host, f"install -d {shell_word(beside)}")
        return [Problem("E777", summary, f"That of {one.name} goes to {one.place}, and {beside} is no directory.", fix)]
    live = look.file(host, one.live) if one.live else None
    if live is not None and live.device != above.device:
        detail = f"{one.live} is a file system of its own: a copy of {one.name} beside it would lie on another."
        fix = "Put the tablespace into a directory below the mount point (the manual, CREATE TABLESPACE, says why)."
        return [Problem("E777", summary, detail, fix)]
    return []


def crowded(look: Look, host: Host, needs: Sequence[tuple[str, int]]) -> list[Problem]:
    """File systems without the space for what has to go there: ``needs`` has places and bytes."""
    devices: dict[int, list[tuple[str, int]]] = {}
    for place, size in needs:
        above = look.file(host, posixpath.dirname(place))
        devices.setdefault(above.device if above else 0, []).append((place, size))
    found = []
    for group in devices.values():
        place, needed = group[0][0], sum(size for _, size in group)
        free = look.free_bytes(host, place)
        if free < needed:
            detail = f"In {posixpath.dirname(place)} are {show_size(free)} free; the copy may need {show_size(needed)}."
            found.append(Problem("E761", "there is not enough space for a second copy", detail, "Make space."))
    return found
