"""Recovery to a moment: directories → what remains; lock files → whether a server runs; the proof before the promotion."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import cast

import pytest

from runbook.action import Effect, FileFacts, Look, Undecidable
from runbook.actions.postgres import cluster
from runbook.actions.postgres.cluster import Directories, Place, Server, Stage
from runbook.actions.postgres.recovery_step import RestoreToTimeInputs
from runbook.actions.postgres.restore_to_time import RestoreToTime
from runbook.artifact import Artifact, Format
from runbook.host import LOCAL
from runbook.operation import Operation, Operations, Process, Remove, Rename, Wait, changes
from runbook.paste import paste
from tests.actions.backups import NOON, artifact, database, manifest, scope, store

ACTION = RestoreToTime()
WHERE = cluster.paths("/pg/data", "rb_own")
ORIGINAL = 1


def place(inode: int = 2, *, signal: bool = False, server: Server = Server.STOPPED) -> Place:
    return Place(inode=inode, device=1, owner="postgres", server=server, signal=signal)


DATA = {"-": None, "original": place(ORIGINAL), "another": place(7)}
SIDE = {"-": None, "signal": place(signal=True), "cut off": replace(place(), cut_off=True), "promoted": place()}
OLD = {"-": None, "original": place(ORIGINAL), "another": place(9)}
TABLE = {
    ("original", "-", "-"): Stage.NOTHING,
    ("original", "signal", "-"): Stage.RECOVERING,
    ("original", "cut off", "-"): Stage.CUT_OFF,
    ("original", "promoted", "-"): Stage.PROMOTED,
    ("-", "promoted", "original"): Stage.HALF_SWAPPED,
    ("another", "-", "original"): Stage.SWAPPED,
}


@pytest.mark.parametrize(("data", "side", "old"), list(itertools.product(DATA, SIDE, OLD)))
def test_every_combination_is_known_or_undecidable(data: str, side: str, old: str) -> None:
    found = Directories(DATA[data], SIDE[side], OLD[old], False, False, ORIGINAL)
    expected = TABLE.get((data, side, old))
    if expected is not None:
        assert cluster.stage_of(found, WHERE) is expected
        return
    with pytest.raises(Undecidable) as state:
        cluster.stage_of(found, WHERE)
    assert all(path in state.value.problem.detail for path in (WHERE.data, WHERE.side, WHERE.old))


@dataclass
class Files:
    """A look at files that a test has written down."""

    texts: dict[str, str] = field(default_factory=dict)

    def text(self, host: object, path: str) -> str | None:
        return self.texts.get(path)

    def file(self, host: object, path: str) -> FileFacts | None:
        kind = "directory" if path == "/pg/data" else "file"
        return FileFacts(path, kind, 0, NOON, 0o700, "postgres", 1, 5) if path in self.texts or kind != "file" else None


LOCK = "4242\n/pg/data\n1000500\n5432\n/tmp\n*\n 1 2\nready\n"
STAT = "4242 ({name}) {state} " + "0 " * 18 + "{ticks} 0 0"
BOOT = "cpu 1 2 3\nbtime 1000000\nprocesses 1\n"


@pytest.mark.parametrize(
    ("lock", "name", "state", "ticks", "expected"),
    [
        (LOCK, "postgres", "S", 50_000, Server.RUNNING),
        (LOCK, "postgres", "S", 49_000, Server.RUNNING),  # the clock was set a little
        (LOCK, "postgres", "S", 9_000_000, Server.STALE),  # another server has the id by now
        (LOCK, "python3", "S", 50_000, Server.STALE),
        (LOCK, "postgres", "Z", 50_000, Server.STALE),
        (LOCK, "", "", 0, Server.STALE),
        ("", "postgres", "S", 50_000, Server.STALE),
        (None, "postgres", "S", 50_000, Server.STOPPED),
    ],
)
def test_a_lock_file_counts_if_its_process_does(
    lock: str | None, name: str, state: str, ticks: int, expected: Server
) -> None:
    files = Files({"/proc/stat": BOOT})
    if lock is not None:
        files.texts["/pg/data/postmaster.pid"] = lock
    if name:
        files.texts["/proc/4242/stat"] = STAT.format(name=name, state=state, ticks=ticks)
    assert cluster.read_server(cast(Look, files), LOCAL, "/pg/data") is expected


def test_what_can_not_be_judged_counts_as_running() -> None:
    files = Files({"/pg/data/postmaster.pid": LOCK, "/proc/4242/stat": "", "/proc/stat": BOOT})
    assert cluster.read_server(cast(Look, files), LOCAL, "/pg/data") is Server.RUNNING


def test_the_options_of_the_live_server_are_kept_without_its_directory() -> None:
    line = '/usr/lib/postgresql/15/bin/postgres "-D" "/pg/data" "-c" "config_file=/etc/pg/my conf" "-p" "5433"\n'
    files = Files({"/pg/data/postmaster.opts": line})
    program, options = cluster.read_options(cast(Look, files), LOCAL, "/pg/data")
    assert program == "/usr/lib/postgresql/15/bin/postgres"
    assert options == ("-c", "config_file=/etc/pg/my conf", "-p", "5433")
    assert cluster.read_options(cast(Look, Files()), LOCAL, "/pg/data") == ("", ())


def base() -> Artifact:
    return artifact(manifest("base.tar.gz", format=Format.BASE_BACKUP))


def planned(mode: str = "swap", **changed: object) -> Operations:
    system, here = database(archive="file:///wal/it 50%", data_directory="/pg/data"), scope(store(), step="recover")
    inputs = RestoreToTimeInputs.model_validate(
        {"artifact": base(), "target": NOON - timedelta(minutes=5), "mode": mode}
    )
    facts = replace(ACTION.assume(system, inputs, here), **changed)  # type: ignore[arg-type]
    return ACTION.plan(system, inputs, facts, here)


def names(operations: Operations) -> list[str]:
    return [operation.name for operation in operations]


def one(operations: Operations, name: str) -> Operation:
    return next(operation for operation in operations if operation.name == name)


RECOVER = ["make_run", "access", "start_side", "recovered", "proof", "promote"]
SWAP = ["stop_side", "stop_live", "archive_history", "set_aside", "into_place", "start_live", "clean"]
MADE = [
    "archive_readable",
    "remember",
    "switch_wal",
    "archived",
    "make_side",
    "extract",
    "check_files",
    "signal",
    "name_side",
]


def test_each_state_leaves_the_rest_of_one_list() -> None:
    whole = planned()
    assert names(whole) == [*MADE, *RECOVER, *SWAP]
    running, live = place(server=Server.RUNNING), place(ORIGINAL, server=Server.RUNNING)
    assert planned(side=place(signal=True)) == whole[len(MADE) :]
    assert names(planned(side=replace(running, signal=True)))[:3] == ["recovered", "proof", "promote"]
    assert names(planned(side=running)) == ["in_production", *SWAP], "its promotion may be under way"
    assert planned(side=running)[1:] == whole[-len(SWAP) :]
    assert names(planned(side=replace(place(), cut_off=True))) == ["remove_side", *names(whole)]
    assert names(planned(side=place()))[0] == "stop_live"
    assert names(planned(side=place(), data=place(ORIGINAL)))[0] == "archive_history"
    assert planned(side=place(), data=None, old=place(ORIGINAL)) == whole[-3:]
    assert names(planned(data=place(7), old=place(ORIGINAL), run=True)) == ["start_live", "clean"]
    assert planned(data=place(7, server=Server.RUNNING), old=live) == ()


def test_a_stale_lock_of_the_side_is_removed_by_its_name() -> None:
    stale = place(server=Server.STALE, signal=True)
    first = planned(side=stale)[0]
    assert isinstance(first, Remove) and first.owned and first.path.endswith("/postmaster.pid")
    assert first.marker in first.path
    assert names(planned(side=replace(stale, signal=False)))[:2] == ["unlock_side", "stop_live"]


def test_the_proof_stands_before_the_promotion_and_looks_once() -> None:
    operations = planned()
    proof = one(operations, "proof")
    assert isinstance(proof, Wait) and proof.deadline_s == 0 and not changes(proof)
    assert names(operations).index("promote") == names(operations).index("proof") + 1


def test_the_side_server_is_private_and_archives_nothing() -> None:
    start = one(planned(options=("-c", "max_connections=500")), "start_side")
    assert isinstance(start, Process) and start.daemon and start.user == "postgres"
    given = next(word for word in start.argv if str(word).startswith("--options="))
    assert str(given).index("max_connections=500") < str(given).index("listen_addresses=")
    for setting in ("archive_mode=off", "recovery_target_action=pause", "port=5432", "listen_addresses="):
        assert setting in str(given)
    assert 'cp "/wal/it 50%%/%f" "%p"' in str(given)
    assert "2026-02-14 11:55:00.000000+00" in str(given)


def test_side_mode_touches_nothing_live() -> None:
    operations = planned("side")
    assert names(operations) == [*MADE, *RECOVER]
    assert planned("side", side=place(server=Server.RUNNING)) == ()
    assert names(planned("side", side=place())) == ["make_run", "access", "start_side"]
    assert not [one for one in operations if isinstance(one, Rename) and one.source[-5:] == "/data"]
    inputs = RestoreToTimeInputs.model_validate({"artifact": base(), "target": NOON, "mode": "side"})
    assert ACTION.effect_of(inputs) is Effect.CREATES


def test_without_an_answering_server_there_is_no_segment_to_close() -> None:
    assert "switch_wal" not in names(planned(answers=False))


def test_every_operation_can_be_pasted() -> None:
    for operation in planned():
        assert paste(operation)


@pytest.mark.parametrize("target", ["2026-02-14T12:00:00", "yesterday"])
def test_a_target_needs_its_zone(target: str) -> None:
    with pytest.raises(ValueError, match="target"):
        RestoreToTimeInputs.model_validate({"artifact": base(), "target": target})


@pytest.mark.parametrize(("data", "side", "old"), list(itertools.product(DATA, SIDE, OLD)))
def test_where_nothing_was_every_combination_is_known_or_undecidable(data: str, side: str, old: str) -> None:
    table = {("-", of, "-"): TABLE["original", of, "-"] for of in SIDE}
    table |= {(there, "-", "-"): Stage.SWAPPED for there in ("original", "another")}
    found = Directories(DATA[data], SIDE[side], OLD[old], False, False, cluster.NOTHING_THERE)
    if (data, side, old) in table:
        assert cluster.stage_of(found, WHERE) is table[data, side, old]
        return
    with pytest.raises(Undecidable):
        cluster.stage_of(found, WHERE)


def test_on_a_new_machine_there_is_nothing_to_stop_or_to_set_aside() -> None:
    system, here = database(archive="file:///wal", data_directory="/pg/data"), scope(store(), step="recover")
    inputs = RestoreToTimeInputs.model_validate({"artifact": base(), "latest": True, "new": True})
    assert ACTION.effect_of(inputs) is Effect.CREATES
    operations = ACTION.plan(system, inputs, ACTION.assume(system, inputs, here), here)
    without = {"switch_wal", "archived", "stop_live", "set_aside"}
    assert names(operations) == [name for name in (*MADE, *RECOVER, *SWAP) if name not in without]
    signal = one(operations, "signal")
    assert str(getattr(signal, "path", "")).endswith("/standby.signal")
