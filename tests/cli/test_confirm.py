"""A person's answers: what is taken, what is refused, and that the run goes on from them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runbook.operation import Json
from tests.cli.terminal import Terminal
from tests.cli.test_running import CTRL_C, Typist
from tests.cli.written import plan, shell, until_there

ORDER: dict[str, Json] = {
    "id": "order",
    "title": "Order a server",
    "uses": "manual",
    "timeout": "1m",
    "with": {
        "instructions": "Order a server, then give its address.",
        "fields": {"address": {"help": "Its address"}, "count": {"type": "integer", "choices": [1, 2]}},
    },
}


@pytest.fixture
def waiting(runbook: Terminal, tmp_path: Path) -> Terminal:
    """A run that waits for the order."""
    use = shell("use", "cat", stdin="{{ steps.order.answers.count + 1 }} servers")
    assert runbook("apply", plan(tmp_path, ORDER, use)).code == 6
    return runbook


def events(runbook: Terminal) -> list[dict[str, Json]]:
    return [json.loads(line) for line in (runbook.run() / "journal.jsonl").read_text().splitlines()]


def test_what_was_answered_is_no_second_attempt_and_waits_for_nobody(waiting: Terminal) -> None:
    waiting("confirm", "last", "order", "-i", "address=1", "-i", "count=1", "--as", "ada")
    told = waiting("show").out.splitlines()
    assert told[1].startswith("  waiting for a resume: all is answered; begun ")
    assert "    answered by ada; a resume goes on with it" in told
    assert waiting("resume").code == 0
    assert "attempts" not in waiting("show").out


def test_the_question_and_the_command_that_answers_it_are_shown(waiting: Terminal) -> None:
    told = waiting("show").out
    assert "    Order a server, then give its address.\n" in told
    assert f"→ runbook confirm {waiting.run().name} order -i address=… -i count=…   (count: 1, 2)\n" in told


def test_an_answer_is_recorded_and_the_run_goes_on(waiting: Terminal) -> None:
    told = waiting("confirm", "last", "order", "-i", "address=192.0.2.1", "-i", "count=2", "--as", "ada")
    assert (told.code, told.err) == (0, "")
    assert told.out.startswith("✓ order: confirmed by ada\n→ runbook resume ")
    last = events(waiting)[-1]
    assert last["event"] == "step.confirmed"
    assert (last["claimed"], last["fields"]) == ("ada", {"address": "192.0.2.1", "count": "2"})
    assert waiting("resume").code == 0
    assert "│ 3 servers\n" in waiting("logs", "last", "use").out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((), "address: string. Its address\n  count: integer, one of 1, 2"),
        (("address=1", "count=3"), "count: expected one of 1, 2"),
        (("address=1", "count=two"), "count: expected a whole number"),
        (("adress=1",), "adress. It asks for: address, count."),
        (("address",), "an input is NAME=VALUE"),
    ],
)
def test_an_answer_that_cannot_be_used_is_refused_at_once(waiting: Terminal, given: tuple[str, ...], said: str) -> None:
    before = events(waiting)
    told = waiting("confirm", "last", "order", *(word for pair in given for word in ("-i", pair)))
    assert told.code == 2
    assert said in told.err
    assert events(waiting) == before


def test_what_cannot_be_said_now_is_refused_with_what_can(waiting: Terminal) -> None:
    early = waiting("confirm", "last", "use")
    assert early.code == 2
    assert "use is pending, not waiting." in early.err
    assert f"runbook confirm {waiting.run().name} order -i address=…" in early.err
    assert "did you mean 'order'?" in waiting("confirm", "last", "ordr").err
    assert "order waits for an answer, not for approvals" in waiting("approve", "last", "order").err
    waiting("confirm", "last", "order", "-i", "address=1", "-i", "count=1")
    assert waiting("confirm", "last", "order", "-i", "address=1", "-i", "count=1").code == 2
    assert waiting("resume").code == 0
    finished = waiting("confirm", "last", "order")
    assert (finished.code, "E263" in finished.err) == (2, True)


def test_a_destructive_step_is_confirmed_by_the_name_of_what_it_replaces(runbook: Terminal, tmp_path: Path) -> None:
    wipe = shell("wipe", "echo wiped", effect="destroys", replaces="disk-7")
    assert runbook("apply", plan(tmp_path, ORDER, wipe, live=True), "--confirm", "disk-7").code == 6
    runbook("confirm", "last", "order", "-i", "address=1", "-i", "count=1")
    assert runbook("resume").code == 6
    name = runbook.run().name
    for words, said in (
        ((), f"→ runbook confirm {name} wipe --confirm disk-7"),
        (("--confirm", "disk-9"), "wipe asks for 'disk-7', and 'disk-9' was given."),
    ):
        refused = runbook("confirm", "last", "wipe", *words)
        assert refused.code == 4
        assert said in refused.err
    assert runbook("confirm", "last", "wipe", "--confirm", "disk-7").code == 0
    assert runbook("resume").code == 0


def test_while_an_engine_works_nobody_else_has_a_word(runbook: Terminal, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    engine = runbook.start("apply", plan(tmp_path, shell("a", until_there(seen)), ORDER))
    while not list(runbook.state.glob("runs/*/journal.jsonl")):
        assert engine.poll() is None
    busy = runbook("confirm", "last", "order")
    seen.touch()
    assert busy.code == 5
    assert f"pid {engine.pid}" in busy.err
    engine.communicate()
    assert engine.returncode == 6


def test_ctrl_c_at_a_question_says_that_nothing_was_done(waiting: Terminal) -> None:
    before = events(waiting)
    typist = Typist("confirm", "last", "order", "--state", str(waiting.state))
    typist.until(b"address (Its address)")
    typist.type(CTRL_C)
    assert typist.ended() == 130
    assert typist.seen.decode().splitlines()[-1] == "Left open: nothing was done."
    assert events(waiting) == before
