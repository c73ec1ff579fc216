"""The state directory: names of runs, the search for one, and the places where no run is kept."""

from __future__ import annotations

import stat
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runbook.errors import ExitCode, JournalFault, Refused, UsageFault
from runbook.journal.clock import SystemClock, boot_id
from runbook.journal.layout import RunDir, find_run, make_run, new_run_id, refuse_network, runs, runs_dir
from runbook.journal.local import LocalJournal

NOON = datetime(2026, 2, 14, 12, tzinfo=UTC)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / ".runbook"


def test_run_ids_are_readable_and_sort_by_time() -> None:
    assert new_run_id("restore-db", now=NOON, suffix="4f3a") == "20260214-120000-restore-db-4f3a"
    later = new_run_id("a", now=NOON + timedelta(seconds=1), suffix="0000")
    assert new_run_id("zz", now=NOON, suffix="ffff") < later


@pytest.mark.parametrize(
    ("plan", "slug"),
    [("Restore the DB!", "restore-the-db"), ("../../etc/x", "etc-x"), ("Ü", "run"), ("", "run"), ("a" * 300, "a" * 40)],
)
def test_any_plan_name_gives_a_safe_id(state: Path, plan: str, slug: str) -> None:
    run = new_run_id(plan, now=NOON, suffix="4f3a")
    assert run == f"20260214-120000-{slug}-4f3a"
    assert make_run(state, run) == find_run(state, run) == runs(state)[0]


def test_two_first_runs_may_begin_at_the_same_moment(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(state, "20260214-120000-a-4f3a")
    monkeypatch.setattr(Path, "exists", lambda _: False)  # as the other saw it, before it was made
    assert make_run(state, "20260214-120000-b-4f3b").frozen.is_dir()


def test_a_new_run_is_closed_to_others_and_ignored_by_git(state: Path) -> None:
    run = make_run(state, "20260214-120000-restore-db-4f3a")
    for path in (state, runs_dir(state), run.path, run.frozen, run.logs, run.escrow):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert (state / ".gitignore").read_text() == "*\n"
    assert run.run == "20260214-120000-restore-db-4f3a"


def test_a_journal_is_begun_in_it(state: Path) -> None:
    run = make_run(state, "20260214-120000-restore-db-4f3a")
    LocalJournal.create(run.path, run=run.run, clock=SystemClock(), boot=boot_id()).close()
    assert run.journal.exists()
    assert run.head.exists()
    assert run.reserve.exists()


def test_every_name_is_below_the_run() -> None:
    run = RunDir(Path("/s/runs/r"))
    names = [
        *(run.journal, run.head, run.reserve, run.frozen, run.logs, run.escrow, run.engine_lock, run.run_lock),
        *(run.supervisor_records, run.supervisor_socket),
    ]
    assert {name.parent for name in names} == {run.path}
    assert len(set(names)) == 10


def test_a_run_is_made_once(state: Path) -> None:
    make_run(state, "20260214-120000-restore-db-4f3a")
    with pytest.raises(JournalFault, match="E709"):
        make_run(state, "20260214-120000-restore-db-4f3a")


def test_runs_are_found_by_a_unique_beginning_and_by_last(state: Path) -> None:
    ids = ["20260214-120000-a-0001", "20260214-130000-b-0002", "20260215-000000-a-0003"]
    for run in ids:
        make_run(state, run)
    assert [run.run for run in runs(state)] == ids
    assert find_run(state, "last").run == ids[2]
    assert find_run(state, "20260215").run == ids[2]
    assert find_run(state, "20260214-13").run == ids[1]
    assert find_run(state, ids[0]).run == ids[0]


def test_runs_of_one_second_are_in_the_order_of_their_beginning(state: Path) -> None:
    ids = ["20260214-120000-verify-0001", "20260214-120000-restore-0002", "20260214-120000-restore-0001"]
    for run in ids:
        make_run(state, run)
        time.sleep(0.02)  # more than the kernel's coarse clock
    assert [run.run for run in runs(state)] == ids
    assert find_run(state, "last").run == ids[2]


@pytest.mark.parametrize("prefix", ["", "2", "20260214-"])
def test_an_ambiguous_beginning_lists_the_candidates_youngest_first(state: Path, prefix: str) -> None:
    for hour in range(12):
        make_run(state, f"20260214-{hour:02d}0000-a-0001")
    with pytest.raises(UsageFault) as caught:
        find_run(state, prefix)
    said = str(caught.value)
    assert caught.value.exit_code is ExitCode.USAGE
    assert said.index("20260214-110000-a-0001") < said.index("20260214-100000-a-0001")
    assert "and 4 more" in said


def test_an_id_that_another_one_continues_is_found(state: Path) -> None:
    make_run(state, "20260214-120000-a-abcd")
    make_run(state, "20260214-120000-a-abcd-abcd")
    assert find_run(state, "20260214-120000-a-abcd").run == "20260214-120000-a-abcd"


@pytest.mark.parametrize("prefix", ["x", "../..", "/", "20260214-120000-restore-db-4f3b"])
def test_an_unknown_run_lists_what_there_is(state: Path, prefix: str) -> None:
    make_run(state, "20260214-120000-restore-db-4f3a")
    with pytest.raises(UsageFault, match="20260214-120000-restore-db-4f3a"):
        find_run(state, prefix)


def test_without_runs_the_state_directory_is_named(state: Path) -> None:
    assert runs(state) == ()
    with pytest.raises(UsageFault, match="holds no run"):
        find_run(state, "last")


def test_only_directories_of_runs_are_runs(state: Path) -> None:
    made = make_run(state, "20260214-120000-a-0001")
    (runs_dir(state) / "20260214-120000-a-0002").touch()
    (runs_dir(state) / "20260214-120000-a-0003").symlink_to(made.path)
    (runs_dir(state) / "notes").mkdir()
    assert runs(state) == (made,)


@pytest.mark.parametrize("which", ["state", "runs"])
def test_a_world_writable_state_directory_is_refused_with_the_remedy(state: Path, which: str) -> None:
    make_run(state, "20260214-120000-a-0001")
    path = {"state": state, "runs": runs_dir(state)}[which]
    path.chmod(0o1777)
    for attempt, name in ((make_run, "20260214-120000-a-0002"), (find_run, "last")):
        with pytest.raises(Refused) as caught:
            attempt(state, name)
        assert caught.value.exit_code is ExitCode.REFUSED
        assert f"chmod o-w {path}" in str(caught.value)
    assert len(runs(state)) == 1


def test_a_file_in_place_of_the_state_directory(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(JournalFault):
        make_run(tmp_path / "state", "20260214-120000-a-0001")


MOUNTS = """\
21 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 21 0:26 / /mnt/my\\040share rw - nfs4 server:/export rw
31 30 8:1 / /mnt/my\\040share/local rw - xfs /dev/sdb rw
32 21 0:27 / /home rw - autofs systemd rw
33 32 0:28 / /home rw shared:4 - nfs server:/home rw
nonsense
"""


@pytest.mark.parametrize("path", ["/mnt/my share", "/mnt/my share/a/b", "/home/x/.runbook"])
def test_a_network_file_system_is_refused(path: str) -> None:
    with pytest.raises(Refused, match="network file system"):
        refuse_network(Path(path), MOUNTS)


@pytest.mark.parametrize("path", ["/", "/srv/.runbook", "/mnt/my share/local/x", "/mnt/my shared", "/homes"])
def test_a_local_file_system_is_fine(path: str) -> None:
    refuse_network(Path(path), MOUNTS)
