"""The exchange in a container: what is seen → what remains, over every combination; and the move, cut off before every rename."""

from __future__ import annotations

import itertools
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from runbook.action import ContainerFacts, Look, Undecidable, Unreachable
from runbook.actions.postgres import cluster, in_container
from runbook.actions.postgres.cluster import Paths, Server
from runbook.actions.postgres.in_container import ASSUMED, MOVE, Exchange, Inside, Kept, exchange_of
from runbook.actions.postgres.recovery_step import RestoreToTimeInputs
from runbook.actions.postgres.restore_to_time import RestoreToTime
from runbook.artifact import Format
from runbook.host import Compose, Docker
from runbook.operation import Call, Operations, Remove, Wait, changes, digest
from runbook.paste import paste
from tests.actions.backups import NOON, artifact, database, manifest, scope, store

ACTION = RestoreToTime()
DATA = "/var/lib/postgresql/data"
WHERE = Paths(DATA, f"{DATA}/rb_own.side", f"{DATA}/rb_own.side.partial", f"{DATA}/old_rb_own", f"{DATA}/rb_own")
KNOWN = {
    (False, True, False, "-"): Exchange.NOTHING,
    (False, True, True, "-"): Exchange.NOTHING,
    (True, True, True, "-"): Exchange.READY,
    (True, True, True, "begun"): Exchange.READY,
    (True, False, True, "begun"): Exchange.MOVING,
    (True, False, True, "whole"): Exchange.MOVING,
    (True, True, False, "whole"): Exchange.MOVED,
    (False, True, False, "whole"): Exchange.MOVED,
}
MOVED = ["stop_live", "move", "start_live", "accepting"]
AFTER = ["archive_history", "clean_side", "clean", "clean_mark"]


def inside(*, ready: bool = False, live: bool = True, new: bool = False, kept: str = "-", runs: bool = True) -> Inside:
    return replace(ASSUMED, running=runs, ready=ready, live=live, new=new, kept=Kept(kept))


def planned(found: Inside, **changed: object) -> Operations:
    system = database(archive="file:///wal", host=Docker("pg"), data_directory=DATA)
    here = scope(store(), step="recover")
    given = {
        "artifact": artifact(manifest("base.tar", format=Format.BASE_BACKUP)),
        "target": NOON - timedelta(minutes=5),
    }
    inputs = RestoreToTimeInputs.model_validate(given)
    facts = replace(ACTION.assume(system, inputs, here), where=WHERE, inside=found, **changed)  # type: ignore[arg-type]
    return ACTION.plan(system, inputs, facts, here)


def names(operations: Operations) -> list[str]:
    return [operation.name for operation in operations]


@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize(
    ("ready", "live", "new", "kept"),
    list(itertools.product([True, False], [True, False], [True, False], [one.value for one in Kept])),
)
def test_every_combination_is_known_or_undecidable(ready: bool, live: bool, new: bool, kept: str, runs: bool) -> None:
    found = inside(ready=ready, live=live, new=new, kept=kept, runs=runs)
    expected = KNOWN.get((ready, live, new, kept))
    if expected is None:
        with pytest.raises(Undecidable) as state:
            exchange_of(found, WHERE)
        assert all(path in state.value.problem.detail for path in (WHERE.data, WHERE.side, WHERE.old))
        return
    assert exchange_of(found, WHERE) is expected
    assert found.begun is (expected is not Exchange.NOTHING)
    assert exchange_of(replace(found, undone=True), WHERE) is Exchange.UNDONE


def test_each_state_leaves_the_rest_of_one_list() -> None:
    whole = planned(ASSUMED)
    assert names(whole)[-10:] == ["stop_side", "ready", *MOVED, *AFTER]
    ready = planned(inside(ready=True, new=True))
    assert names(ready) == [*MOVED, *AFTER]
    for runs in (True, False):
        for state in ({"live": True, "kept": "-"}, {"live": False, "kept": "begun"}, {"live": False, "kept": "whole"}):
            assert planned(inside(ready=True, new=True, runs=runs, **state)) == ready  # type: ignore[arg-type]
    assert names(planned(inside(ready=True, kept="whole"))) == ["accepting", *AFTER]
    assert names(planned(inside(ready=True, kept="whole", runs=False))) == ["start_live", "accepting", *AFTER]
    assert names(planned(inside(kept="whole", runs=False))) == ["start_live", "accepting"]
    assert planned(inside(kept="whole")) == ()
    approved = {digest(one) for one in whole}
    assert {digest(one) for one in ready if changes(one)} <= approved
    with pytest.raises(Undecidable, match="undone"):
        planned(replace(ASSUMED, undone=True))


def test_a_stopped_side_server_stands_before_the_mark() -> None:
    side = cluster.Place(inode=2, device=1, owner="postgres", server=Server.RUNNING, signal=False)
    assert names(planned(ASSUMED, side=side))[:4] == ["in_production", "stop_side", "ready", "stop_live"]
    assert names(planned(ASSUMED, side=replace(side, server=Server.STALE)))[:2] == ["unlock_side", "ready"]


def test_the_way_back_from_anywhere_is_one_list() -> None:
    system, here = database(archive="file:///wal", host=Docker("pg")), scope(store(), step="recover")
    given = {"artifact": artifact(manifest("base.tar", format=Format.BASE_BACKUP)), "target": NOON}
    inputs = RestoreToTimeInputs.model_validate(given)
    for found in (
        inside(ready=True, new=True),
        inside(ready=True, live=False, new=True, kept="begun"),
        inside(kept="whole"),
    ):
        facts = replace(ACTION.assume(system, inputs, here), where=WHERE, inside=found)
        back = ACTION.undo(system, inputs, facts, here)
        assert back is not None
        assert names(back) == ["stop_live", "move_back", "start_live", "accepting", *AFTER[1:]]


def test_what_touches_the_container_is_a_call_that_can_be_pasted() -> None:
    operations = {one.name: one for one in planned(inside(ready=True, new=True))}
    calls = [one for one in operations.values() if isinstance(one, Call)]
    assert [(one.name, one.operation) for one in calls] == [
        ("stop_live", "stop"),
        ("move", "run"),
        ("start_live", "start"),
    ]
    assert paste(operations["stop_live"]).startswith("docker stop -t 300 pg")
    shown = paste(operations["move"])
    assert shown.startswith("docker run --rm --network none --no-healthcheck --user 0:0 --label runbook.run=")
    assert "--volumes-from pg --entrypoint sh \"$(docker inspect -f '{{.Image}}' pg)\" -c " in shown
    assert shown.endswith(f"sh {DATA} {WHERE.side} {WHERE.old}")
    assert isinstance(operations["accepting"], Wait)
    assert all(isinstance(operations[name], Remove) and operations[name].owned for name in AFTER[1:])
    system = database(host=Compose("shop", "db"))
    assert in_container.applies(system, "swap")
    assert not in_container.applies(system, "side")


@dataclass
class Containers:
    """A look at one container, or at none."""

    found: ContainerFacts | None

    def container(self, host: object) -> ContainerFacts | None:
        return self.found

    def text(self, host: object, path: str) -> str | None:
        return None


def container(*mounts: str, state: str = "running", auto_remove: bool = False) -> Look:
    facts = ContainerFacts("1", "pg", "", "", state, "", "postgres:15", "", 0, mounts, auto_remove)
    return cast(Look, Containers(facts))


@pytest.mark.parametrize(
    ("look", "archive", "words"),
    [
        (container(f"v:{DATA}"), "/wal", ""),
        (container("v:/var/lib/postgresql"), "/wal", ""),
        (container(f":{DATA}"), "/wal", "lies on no volume"),
        (container("v:/var/lib/postgresql/data2"), "/wal", "lies on no volume"),
        (
            container(f"v:{DATA}", f"/etc/pg.conf:{DATA}/postgresql.conf"),
            "/wal",
            f"{DATA}/postgresql.conf of pg is mounted",
        ),
        (container(f"v:{DATA}"), f"{DATA}/archive", "lies inside"),
        (container(f"v:{DATA}", auto_remove=True), "/wal", "--rm"),
    ],
)
def test_what_forbids_the_exchange(look: Look, archive: str, words: str) -> None:
    found = in_container.unfit(look, database(host=Docker("pg")), DATA, archive)
    assert [problem.code for problem in found] == (["E795"] if words else [])
    assert all(words in problem.detail and problem.fix for problem in found)


def test_names_lie_on_the_same_volume() -> None:
    db = database(host=Docker("pg"))
    assert in_container.paths(container(f"v:{DATA}"), db, DATA, "rb_own") == WHERE
    assert in_container.paths(container("v:/var/lib/postgresql"), db, DATA, "rb_own") == cluster.paths(DATA, "rb_own")
    assert in_container.mark_of(WHERE) == f"{DATA}/rb_own.ready"
    assert in_container.mark_of(cluster.paths(DATA, "rb_own")) == f"{DATA}/rb_own.ready"


def test_a_container_that_this_step_did_not_stop_has_to_be_started() -> None:
    for look in (container(f"v:{DATA}", state="exited"), cast(Look, Containers(None))):
        with pytest.raises(Unreachable) as down:
            in_container.remembered(look, Docker("pg"), "/run/memory")
        assert down.value.problem.fix.startswith("docker ")


# --- the move itself, on directories ------------------------------------------------------------------------------------

ENTRIES = (
    "PG_VERSION",
    "base/1",
    "global/pg_control",
    "global/1262",
    ".hidden",
    "postgresql.conf",
    "pg_wal/0001",
    "a b/c",
)
CUT = """\
#!/bin/sh
count=$(cat "$COUNTER"); echo $((count - 1)) > "$COUNTER"
if [ "$count" -le 0 ]; then kill -9 $PPID; exit 1; fi
exec /bin/mv "$@"
"""


def fill(folder: Path, word: str) -> None:
    for entry in ENTRIES:
        path = folder / entry
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{word} {entry}")
    (folder / "dangling").symlink_to(f"/nowhere/{word}")


def holds(folder: Path, word: str) -> bool:
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    own = {one for one in found if not one.startswith(("rb_", "old_rb_"))}
    texts = all((folder / entry).read_text() == f"{word} {entry}" for entry in ENTRIES if entry in found)
    return own == set(ENTRIES) and texts and (folder / "dangling").readlink() == Path(f"/nowhere/{word}")


@pytest.fixture(params=["the mount point", "a directory in it"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Paths]:
    data = tmp_path / "data"
    found = cluster.paths(str(data), "rb_own")
    if request.param == "the mount point":
        found = Paths(str(data), f"{data}/rb_own.side", "", f"{data}/old_rb_own", f"{data}/rb_own")
    fill(data, "former")
    fill(Path(found.side), "recovered")
    (data / "rb_own.ready").write_text("")
    (data / "old_rb_earlier").mkdir()
    (data / "lost+found").mkdir()
    yield found


def move(places: Paths, tools: Path, cut_at: int = 10_000, *, back: bool = False) -> bool:
    """Whether it came to its end; it is killed instead of its rename number ``cut_at``."""
    tools.mkdir(exist_ok=True)
    (tools / "mv").write_text(CUT)
    (tools / "mv").chmod(0o755)
    (tools / "counter").write_text(str(cut_at))
    arguments = [places.data, places.side, places.old, *([in_container.undone_of(places)] if back else [])]
    ran = subprocess.run(
        ["sh", "-c", MOVE, "sh", *arguments],
        env={"PATH": f"{tools}:/usr/bin:/bin", "COUNTER": str(tools / "counter")},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode == 0:
        return True
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    return False


def look(places: Paths) -> Inside:
    """What an observer would see of it."""
    data, side, old = Path(places.data), Path(places.side), Path(places.old)
    begun, whole = Path(f"{old}.partial").exists(), old.exists()
    return replace(
        inside(
            ready=(data / "rb_own.ready").exists(),
            live=(data / in_container.CONTROL).exists(),
            new=(side / in_container.CONTROL).exists(),
            runs=False,
        ),
        kept=Kept.BOTH if begun and whole else Kept.BEGUN if begun else Kept.WHOLE if whole else Kept.NONE,
    )


def test_cut_off_before_every_rename(places: Paths, tmp_path: Path) -> None:
    data, seen, cuts = Path(places.data), set(), 0
    while True:
        ended = move(places, tmp_path / "tools", 1)  # one rename at a time
        state = exchange_of(look(places), places)
        seen.add(state)
        former, recovered = (data / "global").exists() and holds(data, "former"), holds(data, "recovered")
        if (data / in_container.CONTROL).exists():
            assert former or recovered, "with a control file there is one whole cluster, and nothing of another"
        if state is Exchange.MOVING:
            assert any(data.iterdir()), "an empty directory would be initialised"
        if ended:
            break
        cuts += 1
    assert cuts == 2 * len({entry.split("/")[0] for entry in ENTRIES} | {"dangling"}), "every rename once"
    assert seen == {Exchange.MOVING, Exchange.MOVED}
    assert holds(data, "recovered") and holds(Path(places.old), "former")
    assert (data / "old_rb_earlier").exists() and (data / "lost+found").exists()
    assert not Path(places.side).exists()
    assert move(places, tmp_path / "tools", 0), "done again it renames nothing"


@pytest.mark.parametrize("forward", [0, 3, 9, 12, 100])
def test_the_way_back_from_anywhere(places: Paths, tmp_path: Path, forward: int) -> None:
    move(places, tmp_path / "tools", forward)
    for _ in range(60):
        if move(places, tmp_path / "tools", 1, back=True):
            break
    assert holds(Path(places.data), "former")
    assert holds(Path(in_container.undone_of(places)), "recovered")
    assert not Path(places.old).exists()


def test_the_kept_directory_is_closed_to_others(places: Paths, tmp_path: Path) -> None:
    assert move(places, tmp_path / "tools")
    assert Path(places.old).stat().st_mode & 0o777 == 0o700
    assert Path(places.old).stat().st_uid == Path(places.data).stat().st_uid


def test_what_is_not_a_cluster_is_not_moved(places: Paths, tmp_path: Path) -> None:
    (Path(places.side) / in_container.CONTROL).unlink()
    ran = subprocess.run(
        ["sh", "-c", MOVE, "sh", places.data, places.side, places.old], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr.strip()) == (1, f"{places.side} holds no cluster")
    assert holds(Path(places.data), "former")
