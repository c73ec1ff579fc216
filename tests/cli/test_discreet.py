"""What a command has read as a secret is shown nowhere, and the process keeps its memory to itself."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from runbook.cli import discreet
from runbook.cli.screen import Screen, print_json, say
from runbook.report.story import Line
from runbook.secret import MASK, Secret

CANARY = 'canary "5f3a" horse'
PRIVATE = """
import ctypes, os, resource, threading
from runbook.cli import discreet
from runbook.secret import Secret
resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
discreet.keep_private()
print(resource.getrlimit(resource.RLIMIT_CORE)[0], ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
discreet.begin().learn(Secret("canary-5f3a-horse"))
def work():
    local = "canary-5f3a-horse"
    raise LookupError(f"found {local}")
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def test_every_way_to_show_something_masks_it(capsys: pytest.CaptureFixture[str]) -> None:
    discreet.begin().learn(Secret(CANARY))
    try:
        screen = Screen(color=False)
        screen.text(f"text {CANARY}")
        screen.lines([Line("", f"line {json.dumps(CANARY)}")])
        screen.text("x" * 10 + CANARY)
        Screen(color=False, width=16).text("x" * 10 + CANARY)
        print_json({"a": [CANARY], CANARY: 1})
        say(f"said {CANARY}")
    finally:
        discreet.begin()
    shown = capsys.readouterr()
    assert "canary" not in shown.out + shown.err
    assert "5f3a" not in shown.out + shown.err
    assert f'{{"a": ["{MASK}"], "{MASK}": 1}}' in shown.out
    assert f"said {MASK}" in shown.err


def test_a_command_knows_nothing_of_the_one_before_it(capsys: pytest.CaptureFixture[str]) -> None:
    discreet.begin().learn(Secret(CANARY))
    discreet.begin()
    say(CANARY)
    assert CANARY in capsys.readouterr().err


def test_an_exception_is_told_without_its_local_values() -> None:
    def fails(secret: str) -> None:
        raise LookupError("it is not there")

    with pytest.raises(LookupError) as caught:
        fails("a local " + "value")
    told = discreet.traced(caught.value)
    assert told.startswith("Traceback (most recent call last)")
    assert told.endswith("LookupError: it is not there")
    assert "a local value" not in told


def test_the_process_leaves_no_core_is_not_dumpable_and_a_thread_s_exception_is_masked() -> None:
    ended = subprocess.run([sys.executable, "-c", PRIVATE], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["0", "0"]
    assert "LookupError: found •••" in ended.stderr
    assert "canary-5f3a-horse" not in ended.stderr.replace('local = "canary-5f3a-horse"', "")
