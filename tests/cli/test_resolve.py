"""How a step ended that nobody saw end: a person's word, verified where it can be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runbook.action import Outputs
from runbook.cli.resolve import usable
from runbook.errors import UsageFault
from runbook.operation import Json
from tests.cli.terminal import Terminal
from tests.cli.written import plan, shell


@pytest.fixture
def unknown(runbook: Terminal, tmp_path: Path) -> Terminal:
    """A run with a step that was cut off, and one after it that uses its output."""
    cut_off(runbook, tmp_path, "work", shell("use", "cat", stdin="{{ steps.work.stdout }}"))
    return runbook


def cut_off(runbook: Terminal, tmp_path: Path, name: str, *more: dict[str, Json], **inputs: Json) -> None:
    """Run a step whose program is killed, each time: nobody knows how far it came."""
    killed = shell(name, "kill -KILL $$", timeout="5m", **inputs)
    assert runbook("apply", plan(tmp_path, killed, *more)).code == 6


def test_what_is_done_gives_its_outputs(unknown: Terminal) -> None:
    told = unknown("resolve", "last", "work", "--as", "done", "--reason", "I saw it", "--output", "stdout=seen")
    assert (told.code, told.err) == (0, "")
    assert told.out.startswith("✓ work: taken as done\n→ runbook resume ")
    assert "goes on: nothing is unknown now" in told.out
    assert "  stopped: nothing is unknown any more; begun " in unknown("show").out
    assert unknown("resume").code == 0
    assert "│ seen\n" in unknown("logs", "last", "use").out
    assert "✓ work: Run work  (I saw it)" in unknown("show").out


def test_what_is_not_done_runs_again(unknown: Terminal) -> None:
    told = unknown("resolve", "last", "work", "--as", "not-done", "--reason", "nothing there")
    assert told.code == 0
    assert "a resume runs it again" in told.out
    assert unknown("resume").code == 6, "it is cut off as before"
    assert "▶ 1/2 Run work (attempt 2)" in unknown("logs").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--as", "done", "--output", "exit=0"), "exit; it has: exit_code, stdout, log"),
        (("--as", "done", "--output", "exit_code=zero"), "exit_code: Input should be a valid integer"),
        (("--as", "not-done", "--output", "exit_code=0"), "a step that isn't done has no outputs"),
        (("--as", "maybe"), "'maybe' is not one of 'done', 'not-done'"),
    ],
)
def test_what_cannot_be_said_is_refused(unknown: Terminal, words: tuple[str, ...], said: str) -> None:
    before = (unknown.run() / "journal.jsonl").read_bytes()
    told = unknown("resolve", "last", "work", "--reason", "x", *words)
    assert told.code == 2
    assert said in told.err
    assert (unknown.run() / "journal.jsonl").read_bytes() == before


def test_an_instant_that_is_said_is_one() -> None:
    class Restored(Outputs):
        recovery_point: str

    assert usable(Restored, {"recovery_point": "2026-02-14T12:00:00Z"}) == {"recovery_point": "2026-02-14T12:00:00Z"}
    with pytest.raises(UsageFault, match="recovery_point: a time needs a zone"):
        usable(Restored, {"recovery_point": "2026-02-14 12:00"})


def test_a_reason_is_wanted_and_the_step_has_to_be_unknown(unknown: Terminal) -> None:
    assert "--reason" in unknown("resolve", "last", "work", "--as", "done").err
    told = unknown("resolve", "last", "use", "--as", "done", "--reason", "x")
    assert told.code == 2
    assert "use is pending, not unknown." in told.err
    assert f"runbook resolve {unknown.run().name} work --as done|not-done" in told.err


def test_done_has_to_be_seen_unless_the_person_insists(runbook: Terminal, tmp_path: Path) -> None:
    probe: list[Json] = ["sh", "-c", f"test -e {tmp_path}/made || exit 7"]
    cut_off(runbook, tmp_path, "make", probe=probe)

    refused = runbook("resolve", "last", "make", "--as", "done", "--reason", "I think so")
    assert refused.code == 4
    assert "E415" in refused.err
    assert "the probe can't tell" in refused.err
    assert "--as not-done; or, if you know better, --unverified" in refused.err

    (tmp_path / "made").touch()
    assert runbook("resolve", "last", "make", "--as", "done", "--reason", "it is there").code == 0
    assert runbook("resume").code == 0


def test_a_word_against_the_world_is_taken_where_it_is_insisted_on(runbook: Terminal, tmp_path: Path) -> None:
    cut_off(runbook, tmp_path, "make", probe=["sh", "-c", "exit 7"])
    needed = runbook("resolve", "last", "make", "--as", "done", "--reason", "x", "--unverified")
    assert needed.code in (0, 2)
    if needed.code == 2:
        assert "--output" in needed.err


def test_a_step_of_the_end_is_verified_as_the_run_would_and_not_begun_again(runbook: Terminal, tmp_path: Path) -> None:
    """What it is told of the run's end is known to the verification, too."""
    made = tmp_path / "made"
    probe: list[Json] = ["sh", "-c", f"test -e {made} || exit 7"]
    tell = shell("tell", f"echo $OUTCOME >> {made}; kill -KILL $$", env={"OUTCOME": "{{ run.outcome }}"}, probe=probe)
    whole = Path(plan(tmp_path, shell("work", "true")))
    whole.write_text(f"{whole.read_text()}finally:\n  - {json.dumps(tell)}\n")
    assert runbook("apply", str(whole)).code == 6

    told = runbook("resolve", "last", "tell", "--as", "done", "--reason", "it is there")
    assert (told.code, told.err) == (0, "")
    assert runbook("resume").code == 0
    assert made.read_text() == "succeeded\n"
