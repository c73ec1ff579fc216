"""Base backups that were packed to harm: no more comes out of them than their manifests say, and nothing of it stays."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runbook.actions.backup import unpacked_size
from runbook.actions.backup.layout import MANIFEST, artifact
from runbook.actions.postgres.basebackup import Basebackup
from runbook.actions.postgres.packing import Packing, unpacked
from runbook.actions.postgres.unpacking import untarred
from runbook.artifact import Artifact, Manifest
from runbook.errors import Refused
from runbook.host import LOCAL, Docker, Host
from runbook.operation import Hashing, Pipeline
from runbook.system import Store
from tests.actions.harness import Stage, StepFailed
from tests.actions.postgres.archived import Cluster, life, with_tools
from tests.actions.postgres.bombs import MIB, filled_up, packed, tar_of_zeros
from tests.fixtures.containers import BASE, exec_in

if TYPE_CHECKING:
    from docker.models.containers import Container

BOTH = [Packing.ZSTD, Packing.GZIP]
SAYS = 1 * MIB


@dataclass
class Place:
    """An empty directory on a host, and what lies in it."""

    host: Host
    path: str
    bytes: Callable[[], int]
    works: Callable[[], bool]


@pytest.fixture
def here(tmp_path: Path) -> Place:
    place = tmp_path / "partial"
    place.mkdir(mode=0o700)

    def size() -> int:
        return sum(one.stat().st_size for one in place.rglob("*") if one.is_file())

    return Place(LOCAL, str(place), size, lambda: False)


@pytest.fixture
def there(run_container: Callable[..., Container]) -> Place:
    box, path = run_container(BASE, ["sleep", "1000"]), "/tmp/partial"
    assert exec_in(box, ("mkdir", "-m", "0700", path))[0] == 0

    def size() -> int:
        return sum(map(int, exec_in(box, ("find", path, "-type", "f", "-printf", "%s\n"))[1].split()))

    def works() -> bool:
        told = exec_in(box, ("sh", "-c", "cat /proc/[0-9]*/stat"))[
            1
        ]  # of one that has ended it says so until it is reaped
        return re.search(rb"\(tar\) [^ZX]", told) is not None

    return Place(Docker(str(box.name)), path, size, works)


@pytest.mark.parametrize("packing", BOTH)
@pytest.mark.parametrize("place", ["here", pytest.param("there", marks=pytest.mark.docker)])
def test_unpacking_ends_where_the_backup_said_it_would(
    stage: Stage, tmp_path: Path, place: str, packing: Packing, request: pytest.FixtureRequest
) -> None:
    into: Place = request.getfixturevalue(place)
    bomb = tmp_path / f"bomb.tar{packing.suffix}"
    bomb.write_bytes(packed(tar_of_zeros(100 * MIB), packing))
    assert bomb.stat().st_size < SAYS
    stages = (*unpacked(bomb.name), untarred(into.path, into.host, "", most_bytes=SAYS))
    with pytest.raises(StepFailed) as failed:
        stage.perform(
            Pipeline(name="extract", source=str(bomb), stages=stages, hashing=Hashing.SOURCE), {}, stage.scope()
        )
    said = str(failed.value)
    assert "error[E308]: more came out of a packed file than was to be expected" in said
    assert f"{bomb}: after {SAYS} bytes (1.0 MB) more were to come." in said
    assert "choose another one" in said and "wc --bytes" in said
    assert into.bytes() <= SAYS
    assert not into.works(), "what unpacked it has ended, there too"


def taken(stage: Stage, cluster: Cluster, backups: Store, packing: Packing) -> Artifact:
    cluster.commit("0 base")
    scope = stage.scope("base")
    made = stage.live(Basebackup(), with_tools(cluster), scope, to=backups, compress=packing.value).artifact
    assert isinstance(made, Artifact)
    return made


def said_by(base: Artifact) -> int:
    assert base.manifest is not None and base.manifest.pieces[0].unpacked_bytes is not None
    return base.manifest.pieces[0].unpacked_bytes


@pytest.mark.parametrize("packing", BOTH)
def test_a_bomb_in_the_place_of_a_backup_is_stopped_and_removed(
    stage: Stage, cluster: Cluster, backups: Store, packing: Packing
) -> None:
    base = taken(stage, cluster, backups, packing)
    path, says = Path(backups.directory, base.name), said_by(base)
    bomb = packed(tar_of_zeros(says + 50 * MIB), packing)
    path.write_bytes(filled_up(bomb, packing, path.stat().st_size))
    step = life(stage, cluster, base, cluster.commit("1 kept"))
    with pytest.raises(StepFailed, match=rf"extract: [^$]*E308[^$]*{base.name}: after {says} bytes"):
        step.go()
    assert cluster.beside() == set(), "nothing of it stays"
    assert cluster.notes() == ["0 base", "1 kept"], "the live cluster is as it was"


def test_a_backup_that_says_nothing_comes_back_within_the_bound_for_all(
    stage: Stage, cluster: Cluster, backups: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = rewritten(backups, taken(stage, cluster, backups, Packing.ZSTD), unpacked_bytes=None)
    target = cluster.commit("1 kept")
    with monkeypatch.context() as patch:
        patch.setattr(unpacked_size, "ALWAYS_BYTES", 0)
        patch.setattr(unpacked_size, "MOST_TIMES", 2)
        step = life(stage, cluster, base, target)
        with pytest.raises(StepFailed, match=rf"after {2 * base.bytes} bytes"):
            step.go()
    cluster.commit("2 accident")
    step.go()  # the same step of the same run: a bound is no part of what was approved
    step.end()
    assert cluster.notes() == ["0 base", "1 kept"]


def test_what_a_backup_says_has_to_fit(stage: Stage, cluster: Cluster, backups: Store) -> None:
    base = rewritten(backups, taken(stage, cluster, backups, Packing.ZSTD), unpacked_bytes=1 << 60)
    with pytest.raises(Refused, match="not enough space"):
        life(stage, cluster, base, cluster.commit("1 kept")).plan()


def rewritten(store: Store, base: Artifact, *, unpacked_bytes: int | None) -> Artifact:
    """The same backup, with another word on what it unpacks to; None: as it was made before anybody counted."""
    path = Path(store.directory, f"{base.name}{MANIFEST}")
    found = json.loads(path.read_text())
    for piece in found["pieces"]:
        del piece["unpacked_bytes"]
        piece.update({} if unpacked_bytes is None else {"unpacked_bytes": unpacked_bytes})
    path.write_text(json.dumps(found))
    return artifact(store, Manifest.model_validate(found), text=path.read_text(), size=base.bytes)
