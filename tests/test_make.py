"""A fresh copy of the checkout: `make demo` needs Python, make and a package index, and nothing else.

It is tried as root and as an ordinary user, each with an empty home, and ends with a restored and verified database.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEFT_BEHIND = shutil.ignore_patterns(
    ".git", ".venv", "build", "dist", "__pycache__", ".*_cache", ".hypothesis", ".runbook", ".sandbox", ".cache"
)
DEMO_WITHIN_S = 300.0
"""A quarter of a minute where nothing else runs; a slow machine that does all else beside it gets this long."""
NOBODY = 65534
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INHERITED = ("PIP_", "SSL_", "REQUESTS_", "CURL_", "http", "HTTP", "no_proxy", "NO_PROXY")


@pytest.fixture
def fresh_copy() -> Iterator[Path]:
    """A folder with `checkout` and an empty `home`, reachable by every user."""
    folder = Path(tempfile.mkdtemp(prefix="rb-fresh-"))
    folder.chmod(0o755)
    shutil.copytree(ROOT, folder / "checkout", ignore=LEFT_BEHIND)
    (folder / "home").mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make(
    folder: Path, *words: str, user: int | None = None, path: str = SYSTEM_PATH
) -> subprocess.CompletedProcess[str]:
    """Run make in the copy with a small environment, optionally as another user."""
    return run(folder, "make", "--no-print-directory", *words, user=user, path=path)


def run(folder: Path, *argv: str, user: int | None = None, path: str = SYSTEM_PATH) -> subprocess.CompletedProcess[str]:
    """Run a command in the copy, as it is for whoever has just come to it."""
    env = {name: value for name, value in os.environ.items() if name.startswith(INHERITED)}
    env |= {"HOME": str(folder / "home"), "PATH": path, "LC_ALL": "C"}
    return subprocess.run(
        argv,
        cwd=folder / "checkout",
        env=env,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=1200,
    )


def demonstrate(folder: Path, *, python: str, user: int | None) -> None:
    """Install, then run the demo within its time; everything lies inside the checkout afterwards. Then end its servers."""
    installed = make(folder, ".venv/run.stamp", f"PYTHON={python}", user=user)
    assert installed.returncode == 0, installed.stdout
    began = time.monotonic()
    demo = make(folder, "demo", f"PYTHON={python}", user=user)
    took = time.monotonic() - began
    down = run(folder, ".venv/bin/runbook", "sandbox", "down", "--delete-data", user=user)
    assert down.returncode == 0, down.stdout
    assert demo.returncode == 0, demo.stdout
    assert "verified" in demo.stdout.lower(), demo.stdout
    assert took < DEMO_WITHIN_S, f"the demo took {took:.0f} s"
    assert [path.name for path in (folder / "home").iterdir() if path.name != ".cache"] == []


def system_python() -> str:
    """A Python that every user may run; Debian's where this one lies in somebody's home."""
    for python in (Path(sys.executable).resolve(), Path("/usr/bin/python3")):
        check = [str(python), "-c", "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"]
        try:
            ended = subprocess.run(check, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/", env={}, check=False)
        except PermissionError:
            continue
        if ended.returncode == 0:
            return str(python)
    pytest.skip("needs a Python 3.11+ with venv that every user may run: apt-get install python3 python3-venv")


@pytest.mark.slow
@pytest.mark.root
def test_make_demo_in_a_fresh_copy_as_an_ordinary_user_and_as_root(fresh_copy: Path) -> None:
    for path in (fresh_copy, *fresh_copy.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    assert pwd.getpwuid(NOBODY).pw_uid == NOBODY
    demonstrate(fresh_copy, python=system_python(), user=NOBODY)
    demonstrate(fresh_copy, python=system_python(), user=None)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('case "$1" in --version) echo Python 3.10.9;; *) exit 1;; esac', "'{python}' is Python 3.10.9"),
        ('case "$2" in *ensurepip*) exit 1;; esac', "can't make virtual environments"),
    ],
)
def test_an_unfit_python_is_named_with_the_next_command(fresh_copy: Path, body: str, message: str) -> None:
    python = fresh_copy / "python"
    python.write_text(f"#!/bin/sh\n{body}\n")
    python.chmod(0o755)
    ended = make(fresh_copy, "demo", f"PYTHON={python}")
    assert ended.returncode == 2
    assert message.format(python=python) in ended.stdout
    assert "next: " in ended.stdout
    assert not (fresh_copy / "checkout" / ".venv").exists()
