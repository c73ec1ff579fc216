"""Directories and their modes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runbook.sandbox.error import SandboxError
from runbook.sandbox.layout import SOCKET_PATH_MAX, layout_at


def test_made_twice_is_the_same_and_private(tmp_path: Path) -> None:
    layout = layout_at(tmp_path / "sandbox")
    layout.make()
    places = (layout.servers, layout.sockets)
    layout.make()
    assert (layout.servers, layout.sockets) == places
    for private in (layout.directory, layout.secret("x").parent, layout.log("x").parent, layout.record("x").parent):
        assert private.stat().st_mode & 0o777 == 0o700
        assert private.stat().st_uid == os.geteuid()
    for server in (layout.archive, layout.backups, layout.home("postgres"), layout.sockets):
        assert server.stat().st_mode & 0o777 == 0o700
        assert server.stat().st_uid == (65534 if os.geteuid() == 0 else os.geteuid())
    layout.remove()
    assert not any(place.exists() for place in (*places, layout.directory))


def test_a_long_path_gets_its_sockets_elsewhere(tmp_path: Path) -> None:
    layout = layout_at(tmp_path / ("long" * 30) / "sandbox")
    layout.make()
    assert len(os.fsencode(layout.sockets)) <= SOCKET_PATH_MAX
    sockets = layout.sockets
    layout.remove()
    assert not sockets.exists()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    layout = layout_at(tmp_path / "sandbox")
    layout.directory.mkdir()
    os.chown(layout.directory, 65534, 65534)
    with pytest.raises(SandboxError, match="SB02"):
        layout.make()
    assert list(layout.directory.iterdir()) == []


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the servers as somebody else")
def test_servers_of_root_can_reach_their_directories_below_a_private_one(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    layout = layout_at(tmp_path / "sandbox")
    layout.make()
    for parent in (layout.home("postgres"), *layout.home("postgres").parents):
        mode = parent.stat()
        assert mode.st_mode & 0o001 or mode.st_uid == 65534
    layout.remove()
