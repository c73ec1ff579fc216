"""Approvals: whose word counts, that it counts once, and that it is of this very text."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from runbook.operation import Json
from tests.cli.terminal import Terminal
from tests.cli.written import plan

HOST = socket.gethostname()


def approval(**inputs: Json) -> dict[str, Json]:
    with_ = {"subject": "Lose the last hour.", **inputs}
    return {"id": "agreed", "title": "They agree", "uses": "approval", "timeout": "1m", "with": with_}


def test_two_people_have_to_be_two(runbook: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert runbook("apply", plan(tmp_path, approval(needed=2))).code == 6
    monkeypatch.setenv("SUDO_USER", "ada")
    first = runbook("approve", "last", "agreed")
    assert first.code == 0
    assert "▸ Lose the last hour.\n" in first.out
    assert f"✓ agreed: approved by ada on {HOST}, 1 of 2; " in first.out
    assert f"approved by ada on {HOST}, 1 of 2" in runbook("show").out

    again = runbook("approve", "last", "agreed")
    assert (again.code, "E414" in again.err) == (4, True)
    claimed = runbook("approve", "last", "agreed", "--as", "grace")
    assert (claimed.code, "E414" in claimed.err) == (4, True), "the same user, whatever they call themselves"
    monkeypatch.setenv("SUDO_USER", "root")
    as_ada = runbook("approve", "last", "agreed", "--as", "ada")
    assert (as_ada.code, "E414" in as_ada.err) == (4, True), "the same person, from another user"

    monkeypatch.setenv("SUDO_USER", "grace")
    second = runbook("approve", "last", "agreed")
    assert f"approved by grace on {HOST}, 2 of 2" in second.out
    assert "goes on: all is answered" in second.out
    assert runbook("resume").code == 0
    said = [json.loads(line) for line in (runbook.run() / "journal.jsonl").read_text().splitlines()]
    approved = [event for event in said if event["event"] == "step.approved"]
    assert [(event["by"], event["host"]) for event in approved] == [("ada", HOST), ("grace", HOST)]
    both = f"    approved by ada on {HOST}, grace on {HOST}, 2 of 2"
    assert both in runbook("show").out.splitlines(), "also when it is over"
    assert len({event["subject"] for event in approved}) == 1


def test_only_those_who_are_named_count(runbook: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runbook("apply", plan(tmp_path, approval(approvers=["ada"])))
    monkeypatch.setenv("SUDO_USER", "mallory")
    stranger = runbook("approve", "last", "agreed")
    assert stranger.code == 4
    assert "You are mallory. Approvals of agreed count from: ada." in stranger.err
    claimed = runbook("approve", "last", "agreed", "--as", "ada")
    assert claimed.code == 0
    assert json.loads((runbook.run() / "journal.jsonl").read_text().splitlines()[-1])["claimed"] == "ada"
    assert f"approved by ada (as claimed by the user mallory on {HOST}), 1 of 1" in claimed.out
    assert f"approved by ada (as claimed by the user mallory on {HOST}), 1 of 1" in runbook("show").out
    assert runbook("resume").code == 0


def test_whoever_applied_a_run_is_named_as_its_own_approver(
    runbook: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "kim")
    runbook("apply", plan(tmp_path, approval(approvers=["ada"])))
    assert runbook("approve", "last", "agreed").code == 4
    told = runbook("approve", "last", "agreed", "--as", "ada")
    text = f"approved by ada (as claimed by the user kim on {HOST}, who applied the run), 1 of 1"
    assert text in told.out
    assert text in runbook("show").out
    steps = runbook("show", "--json").json["steps"]
    assert isinstance(steps, list) and isinstance(steps[0], dict) and isinstance(steps[0]["approvals"], list)
    (given,) = steps[0]["approvals"]
    assert isinstance(given, dict)
    assert (given["by"], given["host"], given["claimed"], given["own"]) == ("kim", HOST, "ada", True)


def test_where_anybody_may_approve_the_one_who_applied_it_is_named_too(runbook: Terminal, tmp_path: Path) -> None:
    runbook("apply", plan(tmp_path, approval()))
    assert f"on {HOST} (who applied the run), 1 of 1" in runbook("approve", "last", "agreed").out


def test_an_approval_is_no_confirmation(runbook: Terminal, tmp_path: Path) -> None:
    runbook("apply", plan(tmp_path, approval()))
    told = runbook("confirm", "last", "agreed")
    assert told.code == 2
    assert "agreed waits for approvals." in told.err
