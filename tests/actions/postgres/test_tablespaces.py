"""Tablespaces: where copies go, what is refused, and the operations that keep a copy's apart from the live ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from runbook.action import FileFacts, Look, Ran
from runbook.actions.backup.layout import DATA, size_of
from runbook.actions.postgres import tablespaces
from runbook.actions.postgres.basebackup import Basebackup, BasebackupInputs, packed_by_itself
from runbook.actions.postgres.basebackup_files import base_of
from runbook.actions.postgres.packing import Packing
from runbook.actions.postgres.recovery_step import RestoreToTimeInputs
from runbook.actions.postgres.restore_to_time import RestoreToTime
from runbook.actions.postgres.tablespaces import Space, SpaceCopy
from runbook.artifact import Format, Manifest, Piece, Tablespace
from runbook.errors import Refused
from runbook.host import LOCAL, Docker, Host
from runbook.operation import MakeDirectory, Operations, Pipeline, Process, Remove, Wait, changes
from runbook.paste import paste
from tests.actions.backups import NOON, artifact, database, manifest, scope, store

OWN = "rb_20260214_120000_test_4f3a_recover"
SPACES = (Tablespace(oid=16400, name="fast", location="/fast/pg", piece="base.tar.zst/16400.tar.zst"),)
PIECES = tuple(
    Piece(path=f"base.tar.zst/{file}", bytes=size, sha256=letter * 64)
    for file, size, letter in (("base.tar.zst", 70, "a"), ("16400.tar.zst", 30, "b"), ("backup_manifest", 5, "c"))
)


def spaced() -> Manifest:
    return manifest("base.tar.zst", format=Format.BASE_BACKUP, pieces=PIECES, tablespaces=SPACES)


@dataclass
class Files:
    """A look at links and directories that a test has written down: paths with the target, or with the device as a number."""

    links: dict[str, str] = field(default_factory=dict)
    devices: dict[str, int] = field(default_factory=dict)
    free: int = 1000

    def listing(self, host: Host, directory: str) -> tuple[FileFacts, ...]:
        return tuple(self._facts(path, "link") for path in self.links if path.rpartition("/")[0] == directory)

    def file(self, host: Host, path: str) -> FileFacts | None:
        return self._facts(path, "directory") if path in self.devices else None

    def run(self, host: Host, argv: Sequence[str]) -> Ran:
        path = argv[-1]
        return Ran(0, f"{self.links.get(path, path)}\n", "")

    def free_bytes(self, host: Host, path: str) -> int:
        return self.free

    def _facts(self, path: str, kind: str) -> FileFacts:
        return FileFacts(path, kind, 0, NOON, 0o700, "postgres", self.devices.get(path, 1), 5)


LIVE = {"/pg/data/pg_tblspc/16400": "/fast/pg"}
DEVICES = {"/fast": 2, "/fast/pg": 2, "/pg": 1}


def refused(look: Files, *, of: Manifest | None = None, host: Host = LOCAL) -> list[str]:
    known = of or spaced()
    links = tablespaces.read_links(cast(Look, look), host, "/pg/data")
    spaces = tablespaces.read_copies(cast(Look, look), host, known, links, OWN)
    found = tablespaces.unfit(cast(Look, look), host, "db", manifest=known, links=links, spaces=spaces, data="/pg/data")
    return [f"{one.code} {one.detail}" for one in found]


@pytest.mark.parametrize(
    ("links", "place"),
    [
        ({}, "/fast/pg"),
        ({16400: "/other/x"}, "/other/x"),
        ({16400: "/fast/pg.rb_20260101_120000_test_aaaa_recover_16400"}, "/fast/pg"),
        ({16400: ""}, "/fast/pg"),
    ],
)
def test_a_copy_goes_beside_the_live_one_and_its_name_does_not_grow(links: dict[int, str], place: str) -> None:
    (one,) = tablespaces.copies(spaced(), links, OWN)
    assert one.place == f"{place}.{OWN}_16400" and one.live == links.get(16400, "")


def test_two_copies_never_share_a_place() -> None:
    known = spaced().model_copy(update={"tablespaces": (*SPACES, SPACES[0].model_copy(update={"oid": 16500}))})
    links = {16400: "/fast/pg.rb_20260101_120000_test_aaaa_recover_16400", 16500: "/fast/pg"}
    places = {one.place for one in tablespaces.copies(known, links, OWN)}
    assert len(places) == 2 and not places & set(links.values())


def test_what_is_written_down_is_remembered() -> None:
    copies = tablespaces.copies(spaced(), {16400: '/fast/päge "1"'}, OWN)
    assert tablespaces.remembered(f"/pg/data\n4711\n{tablespaces.noted(copies)}") == copies
    assert tablespaces.noted(()) == "" and tablespaces.remembered("/pg/data\n4711\n") == ()


def test_a_place_has_no_link_in_its_path() -> None:
    look = Files({"/pg/data/pg_tblspc/16400": "/link/pg", "/link": "/real/disk"})
    links = tablespaces.read_links(cast(Look, look), LOCAL, "/pg/data")
    (one,) = tablespaces.read_copies(cast(Look, look), LOCAL, spaced(), links, OWN)
    assert one.place == f"/real/disk/pg.{OWN}_16400"


def test_what_can_not_be_kept_apart_is_refused_by_its_reason() -> None:
    assert refused(Files(LIVE, DEVICES)) == []
    assert refused(Files({}, DEVICES)) == [], "dropped since"
    later = refused(Files({**LIVE, "/pg/data/pg_tblspc/16999": "/fast/new"}, DEVICES))
    assert len(later) == 1 and later[0].startswith("E776") and "/fast/new" in later[0]
    assert refused(Files(LIVE, DEVICES), of=manifest("base.tar", format=Format.BASE_BACKUP))[0].startswith("E776")
    mounted = refused(Files(LIVE, {**DEVICES, "/fast": 1}))
    assert len(mounted) == 1 and mounted[0].startswith("E777") and "file system of its own" in mounted[0]
    assert refused(Files(LIVE, {"/pg": 1}))[0].startswith("E777")
    inside = refused(Files({"/pg/data/pg_tblspc/16400": "/pg/data/pg_tblspc/16400"}, {"/pg/data/pg_tblspc": 1}))
    assert inside[0].startswith("E775")
    contained = refused(Files(LIVE, DEVICES), host=Docker("pg"))
    assert len(contained) == 1 and contained[0].startswith("E772") and "docker:pg" in contained[0]


def test_space_is_counted_per_file_system() -> None:
    look = Files({}, {"/pg": 1, "/fast": 2, "/slow": 2}, free=100)
    assert tablespaces.crowded(cast(Look, look), LOCAL, [("/pg/a", 90), ("/fast/b", 60), ("/slow/c", 40)]) == []
    (found,) = tablespaces.crowded(cast(Look, look), LOCAL, [("/pg/a", 90), ("/fast/b", 60), ("/slow/c", 41)])
    assert found.code == "E761" and "/fast" in found.detail


def test_what_the_cluster_in_its_place_uses_is_never_removed() -> None:
    copies = (SpaceCopy(16400, "fast", "", "/fast/pg"), SpaceCopy(16401, "slow", "", "/fast"))
    look = Files(LIVE, DEVICES)
    assert tablespaces.there(cast(Look, look), LOCAL, copies, "/pg/data") == ("/fast",)
    look.links["/pg/side/pg_tblspc/1"] = "/fast/pg"
    assert tablespaces.shared(cast(Look, look), LOCAL, "/pg/side", "/pg/data") == ("/fast/pg",)


def planned(mode: str = "swap", **changed: object) -> Operations:
    system, here = database(archive="file:///wal", data_directory="/pg/data"), scope(store(), step="recover")
    inputs = RestoreToTimeInputs.model_validate({"artifact": artifact(spaced()), "latest": True, "mode": mode})
    action = RestoreToTime()
    return action.plan(system, inputs, replace(action.assume(system, inputs, here), **changed), here)  # type: ignore[arg-type]


def test_links_and_the_map_of_the_backup_are_not_unpacked() -> None:
    operations = {one.name: one for one in planned()}
    order = list(operations)
    extract = operations["extract"]
    assert isinstance(extract, Pipeline) and extract.source == "/backups/base.tar.zst/base.tar.zst"
    assert extract.expect_sha256 == "a" * 64
    assert {"--exclude=tablespace_map", "--exclude=pg_tblspc/*"} <= set(extract.stages[-1].argv)
    made, poured, link = (operations[f"{name}_16400"] for name in ("make_space", "extract", "link"))
    place = f"/fast/pg.{OWN}_16400"
    assert isinstance(made, MakeDirectory) and (made.path, made.mode, made.owner) == (place, 0o700, "postgres")
    assert isinstance(poured, Pipeline) and poured.expect_sha256 == "b" * 64
    assert place in poured.stages[-1].argv
    assert isinstance(link, Process) and link.argv[-2:] == (place, f"/pg/data.{OWN}.partial/pg_tblspc/16400")
    wanted = ["make_side", "extract", "make_space_16400", "extract_16400", "link_16400", "server_manifest", "is_apart"]
    wanted += ["check_files", "name_side", "start_side", "proof", "still_apart", "promote", "set_aside", "into_place"]
    assert [name for name in order if name in wanted] == wanted
    check = operations["check_files"]
    assert isinstance(check, Process) and "--ignore=tablespace_map" in check.argv
    for name in ("is_apart", "still_apart"):
        look = operations[name]
        assert isinstance(look, Wait) and look.deadline_s == 0 and not changes(look)
    for one in operations.values():
        assert paste(one)


def test_what_an_attempt_left_is_swept_by_its_name() -> None:
    place = f"/fast/pg.{OWN}_16400"
    first = planned(copies_there=(place,))[0]
    assert isinstance(first, Remove) and (first.path, first.marker, first.owned) == (place, OWN, True)


def test_a_base_backup_with_tablespaces_is_a_directory() -> None:
    action, system = Basebackup(), database()
    inputs = BasebackupInputs.model_validate({"to": store()})
    facts = replace(action.assume(system, inputs, scope()), spaces=(Space(16400, "fast", "/fast/pg"),))
    operations = {one.name: one for one in action.plan(system, inputs, facts, scope())}
    assert list(operations) == [
        "began",
        "copy",
        "ended",
        "has_all",
        "read_base",
        "read_16400",
        "read_backup_manifest",
        "draft",
        "publish_data",
        "publish_manifest",
    ]
    copy = operations["copy"]
    assert isinstance(copy, Process) and f"--pgdata={facts.where.partial(DATA)}" in copy.argv
    assert {"--format=tar", "--compress=client-zstd:1", "--wal-method=fetch"} <= set(copy.argv)
    made = action.foresee(system, inputs, facts, scope(step="copy")).artifact.manifest
    assert made is not None and base_of(made) == f"{made.name}/base.tar.zst"
    assert [(one.oid, one.location, one.piece) for one in made.tablespaces] == [
        (16400, "/fast/pg", f"{made.name}/16400.tar.zst")
    ]
    assert {one.piece for one in made.tablespaces} < {one.path for one in made.pieces}


def test_the_size_is_that_of_all_pieces() -> None:
    assert size_of(cast(Look, Files()), "/backups", spaced()) == 105
    assert base_of(manifest("x.tar.gz", format=Format.BASE_BACKUP)) == "x.tar.gz"
    assert Packing.ZSTD.suffix in base_of(spaced())


def test_a_program_without_zstd_packs_with_gzip_unless_zstd_was_asked_for() -> None:
    for written in ({}, {"compress": "gzip"}):
        inputs = BasebackupInputs.model_validate({"to": store(), **written})
        packing = Packing.GZIP if written else Packing.ZSTD
        assert packed_by_itself(packing, inputs, "pg_basebackup 14") is Packing.GZIP
    for asked in ({"compress": "zstd"}, {"name": "base.tar.zst"}):
        with pytest.raises(Refused, match="can't pack with zstd"):
            packed_by_itself(
                Packing.ZSTD, BasebackupInputs.model_validate({"to": store(), **asked}), "pg_basebackup 14"
            )
