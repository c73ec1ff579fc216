"""Files on this machine: durable, never clobbering, removed only by the run's name."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pwd
import stat
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from runbook.operation import Document, JsonText, MakeDirectory, Operation, Ref, Remove, Rename, Write
from runbook.secret import FromEnv
from runbook.transports import files
from runbook.transports.outcome import Failed, Lost, Succeeded
from runbook.transports.world import World
from tests.transports.conftest import Uses

MARKER = "rb_run_1"


def failed(world: World, uses: Uses, operation: Operation) -> str:
    outcome = world.perform(operation, uses())
    assert isinstance(outcome, Failed), outcome
    return outcome.problem.render()


def done(world: World, uses: Uses, operation: Operation) -> dict[str, object]:
    outcome = world.perform(operation, uses(results={"o": {"n": 3, "rows": "[1]"}}))
    assert isinstance(outcome, Succeeded), outcome
    return dict(outcome.fields)


def test_a_directory_is_made_with_its_mode_and_kept_when_it_is_there(world: World, uses: Uses, tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    operation = MakeDirectory(name="m", path=str(path), mode=0o750)
    assert done(world, uses, operation) == {"created": True}
    assert path.stat().st_mode & 0o7777 == 0o750
    path.chmod(0o700)
    assert done(world, uses, operation) == {"created": False}
    assert path.stat().st_mode & 0o7777 == 0o700


def test_a_directory_that_can_not_be_made_leaves_nothing(world: World, uses: Uses, tmp_path: Path) -> None:
    (tmp_path / "to").symlink_to(tmp_path / "nowhere")
    assert "File exists" in failed(world, uses, MakeDirectory(name="m", path=str(tmp_path / "to")))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["run", "to"]


@pytest.mark.root
def test_a_directory_is_never_seen_without_its_mode_and_owner(
    world: World, uses: Uses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one that was killed in between would leave it to root, and a resume would take it for made."""
    wanted = MakeDirectory(name="m", path=str(tmp_path / "above" / "data"), mode=0o700, owner="nobody")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(os, "chown", killed)
        world.perform(wanted, uses())
    assert not (tmp_path / "above").exists()
    assert done(world, uses, wanted) == {"created": True}
    owner = pwd.getpwnam("nobody").pw_uid
    for made in (tmp_path / "above", tmp_path / "above" / "data"):
        assert made.stat().st_uid == owner
    assert sorted(one.name for one in tmp_path.iterdir()) == ["above", "run"]


def test_a_document_is_written_whole_with_late_values_and_secrets(
    world: World, uses: Uses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", "canary-value-1")
    path = tmp_path / "f.json"
    path.with_name("f.json.partial").write_text("left by a crash")
    content = Document((("n", Ref("o", "n")), ("rows", JsonText(Ref("o", "rows"))), ("s", FromEnv("CANARY"))))
    found = done(world, uses, Write(name="w", path=str(path), content=content, mode=0o640))
    assert json.loads(path.read_text()) == {"n": 3, "rows": [1], "s": "canary-value-1"}
    assert path.stat().st_mode & 0o7777 == 0o640
    assert found == {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
    assert sorted(one.name for one in tmp_path.iterdir()) == ["f.json", "run"]


@pytest.mark.root
def test_an_owner_is_given(world: World, uses: Uses, tmp_path: Path) -> None:
    done(world, uses, Write(name="w", path=str(tmp_path / "f"), content="x", owner="nobody"))
    done(world, uses, MakeDirectory(name="m", path=str(tmp_path / "d"), owner="12:34"))
    assert ((tmp_path / "f").stat().st_uid, (tmp_path / "d").stat().st_gid) == (65534, 34)
    assert "no such user" in failed(
        world, uses, Write(name="w", path=str(tmp_path / "g"), content="x", owner="nobody-here")
    )


@pytest.mark.parametrize("path", ["relative", "/a/../etc/x", "/a\0b"])
def test_a_path_has_to_be_absolute_and_plain(path: str, world: World, uses: Uses) -> None:
    assert "can't be used" in failed(world, uses, Write(name="w", path=path, content="x"))


@pytest.mark.parametrize("kernel_can", [True, False])
def test_a_rename_never_replaces(
    kernel_can: bool, world: World, uses: Uses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kernel_can:  # a file system without RENAME_NOREPLACE answers EINVAL
        monkeypatch.setattr(files, "_RENAME_NOREPLACE", 1 << 20)
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    operation = Rename(name="r", source=str(source), target=str(target))
    for there in (lambda: target.write_text("keep"), lambda: target.symlink_to("nowhere"), target.mkdir):
        there()
        assert "never replaces" in failed(world, uses, operation)
        assert source.is_dir()
        target.rmdir() if target.is_dir() and not target.is_symlink() else target.unlink()
    done(world, uses, operation)
    assert target.is_dir()
    assert not source.exists()
    target.rmdir()
    assert "No such file" in failed(world, uses, operation)


def test_a_tree_that_carries_the_name_is_removed_and_links_are_not_followed(
    world: World, uses: Uses, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_text("x")
    tree = tmp_path / f"data-{MARKER}"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "link").symlink_to(outside)
    operation = Remove(name="r", path=str(tree), marker=MARKER)
    assert done(world, uses, operation) == {"removed": True}
    assert (outside / "keep").exists()
    assert not tree.exists()
    assert done(world, uses, operation) == {"removed": False}
    link = tmp_path / MARKER
    link.symlink_to(outside)
    done(world, uses, Remove(name="r", path=str(link), marker=MARKER))
    assert (outside / "keep").exists()


@pytest.mark.parametrize(
    ("path", "marker", "why"),
    [
        ("/", MARKER, "run's name"),
        ("/home/data", MARKER, "run's name"),
        (f"/{MARKER}", MARKER, "directly below"),
        (f"/srv/../{MARKER}/x", MARKER, ".."),
        ("/srv/a", "a", "run's name"),
        ("/srv/a", "", "run's name"),
    ],
)
def test_what_does_not_carry_the_name_is_refused(path: str, marker: str, why: str, world: World, uses: Uses) -> None:
    assert why in failed(world, uses, Remove(name="r", path=path, marker=marker))


def test_a_linked_parent_is_refused(world: World, uses: Uses, tmp_path: Path) -> None:
    (tmp_path / "real" / MARKER).mkdir(parents=True)
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    operation = Remove(name="r", path=str(tmp_path / "linked" / MARKER), marker=MARKER)
    assert "symbolic link" in failed(world, uses, operation)
    assert (tmp_path / "real" / MARKER).exists()


@pytest.mark.root
@pytest.mark.parametrize("what", [("-t", "tmpfs", "none"), ("--bind", "live")], ids=["tmpfs", "bound"])
def test_a_mount_in_the_tree_is_refused(world: World, uses: Uses, tmp_path: Path, what: tuple[str, ...]) -> None:
    tree = tmp_path / MARKER
    mounted = tree / "mounted here"
    mounted.mkdir(parents=True)
    (tmp_path / "live").mkdir()
    done_ = subprocess.run(["mount", *what, str(mounted)], check=False, capture_output=True, cwd=tmp_path)
    if done_.returncode:
        pytest.skip("needs the right to mount")
    try:
        (mounted / "keep").write_text("x")
        assert f"mounted at {mounted}" in failed(world, uses, Remove(name="r", path=str(tree), marker=MARKER))
        assert (mounted / "keep").exists()
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


@pytest.mark.parametrize("what", ["directory", "write", "rename", "remove"])
def test_what_was_done_and_could_not_be_synced_has_not_failed(
    world: World, uses: Uses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    (tmp_path / MARKER).touch()
    path, to = str(tmp_path / MARKER), str(tmp_path / "to")
    operations: dict[str, Operation] = {
        "directory": MakeDirectory(name="m", path=to),
        "write": Write(name="w", path=to, content="x"),
        "rename": Rename(name="r", source=path, target=to),
        "remove": Remove(name="d", path=path, marker=MARKER),
    }

    def fails_for_folders(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fails_for_folders)
    outcome = world.perform(operations[what], uses())
    assert isinstance(outcome, Lost)
    assert os.strerror(errno.EIO) in outcome.problem.detail
    assert (tmp_path / "to").exists() is (what != "remove")


def test_a_full_device_is_a_failure_with_the_next_command(world: World, uses: Uses) -> None:
    said = failed(world, uses, Write(name="w", path="/proc/nothing/x", content="x"))
    assert "ls -la" in said


def test_nothing_of_ours_is_left_open(world: World, uses: Uses, tmp_path: Path) -> None:
    for number in range(20):
        done(world, uses, Write(name="w", path=str(tmp_path / str(number)), content="x"))
    left = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # closed meanwhile, by another thread
            left.append(str(entry.readlink()))
    assert [place for place in left if place.startswith(str(tmp_path))] == []
