"""The Docker Engine is stopped and started again while a step runs in one of its containers: an engine of this test's own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.containers import BASE
from tests.fixtures.temporary import make_folder
from tests.runner.killed_program import Program, alive, eventually
from tests.trouble.containers import begun, ended, go, marks, resume
from tests.trouble.night import DONE, WAITS, WITHIN_S

pytestmark = [pytest.mark.docker, pytest.mark.root, pytest.mark.slow]

ENGINE = Path(__file__).parents[1] / "infra" / "engine.sh"
IMAGE = "runbook-test/small:1"
TAKEN = ("bin", "sbin", "lib", "lib64", "usr", "etc", "tmp", "var/tmp")
LEFT_OUT = ("usr/share", "usr/lib/postgresql", "usr/lib/llvm*", "*LLVM*", "*perl*", "*gconv*", "*libz3*", "*.a")


def engine(verb: str, folder: Path) -> str:
    """`engine.sh`; where it can be asked, for `start`."""
    done = subprocess.run([ENGINE, verb, folder], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def docker(host: str, *words: str) -> str:
    done = subprocess.run(["docker", "--host", host, *words], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def own_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of an engine with one small image, made from a few files of the tests' own; DOCKER_HOST names it."""
    folder = make_folder("rb-engine-")
    try:
        host = engine("start", folder)
        words = [word for path in LEFT_OUT for word in ("--exclude", path)]
        packed = subprocess.Popen(
            ["docker", "run", "--rm", BASE, "tar", "-C", "/", *words, "-c", *TAKEN], stdout=subprocess.PIPE
        )
        subprocess.run(["docker", "--host", host, "import", "-", IMAGE], stdin=packed.stdout, check=True, timeout=120)
        assert packed.wait(60) == 0
        monkeypatch.setenv("DOCKER_HOST", host)
        yield folder
    finally:
        monkeypatch.undo()
        engine("stop", folder)
        shutil.rmtree(folder, ignore_errors=True)


def test_the_engine_is_restarted_in_the_middle_of_a_step(own_engine: Path, tmp_path: Path) -> None:
    program, host = Program(tmp_path), os.environ["DOCKER_HOST"]
    box = docker(host, "run", "--detach", "--init", IMAGE, "sleep", "infinity")[:12]
    try:
        begun(program, box)
        daemon = int((own_engine / "pid").read_text())
        os.kill(daemon, signal.SIGTERM)
        code, said = ended(program)
        assert code == WAITS, said
        eventually(lambda: not alive(daemon), within_s=WITHIN_S)
        engine("start", own_engine)
        code, said = resume(program)
        assert code == WAITS, said
        assert f"runbook resolve {program.run_directory().name} a" in said
        docker(host, "start", box)
        code, said = resume(program)
        assert code == WAITS, said
        assert "how it ended can't be known from here" in said
        assert program.run("resolve", "last", "a", "--as", "not-done", "--reason", "it went with the engine") == DONE
        go(box)
        code, said = resume(program)
        assert code == DONE, said
        assert marks(box) == ["a", "a", "over"]
        assert program.marks() == ["b"]
    finally:
        program.close()
