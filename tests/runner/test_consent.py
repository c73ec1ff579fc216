"""Confirmations that can be foreseen are asked for before anything begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbook.catalogue import CATALOGUE
from runbook.cli.opening import open_order
from runbook.cli.person import Person
from runbook.errors import Refused
from runbook.runner.consent import questions, refuse_unforeseen

HEAD = """\
runbook: 1
name: try
title: Try
environment:
  environment: here
  live: {live}
  systems: {{db: {{type: postgres, user: u, database: shop}}, backups: {{type: store, url: "file:///backups"}}}}
systems: {{db: postgres, backups: store}}
steps:
"""
RESTORE = """\
  - {id: pick, title: Pick, uses: backup.select, on: backups, with: {pattern: "*.dump"}, timeout: 1m}
  - {id: restore, title: Restore, uses: postgres.restore, on: db, with: {artifact: "{{ steps.pick.artifact }}"}, timeout: 1m}
"""
WIPE = (
    "  - {id: wipe, uses: shell.run, with: {argv: [mkfs, /dev/x], effect: destroys, replaces: disk-7}, timeout: 1m}\n"
)
UNNAMED = "  - {id: wipe, uses: shell.run, with: {argv: [/sbin/mkfs, /dev/x], effect: destroys}, timeout: 1m}\n"
ELSEWHERE = RESTORE.replace("with: {artifact", "with: {database: other, artifact")
ASKED = "  - {id: a, title: Go, uses: shell.run, with: {argv: [ls]}, confirm: Really so, timeout: 1m}\n"


def asked(tmp_path: Path, steps: str, *, live: bool) -> list[tuple[str, str]]:
    """The steps that ask, with the name that answers."""
    plan = tmp_path / "try.yaml"
    plan.write_text(HEAD.format(live=str(live).lower()) + steps)
    order = open_order(plan, env="", given={}, state=tmp_path)
    return [(question.step, question.target) for question in questions(order, CATALOGUE)]


@pytest.mark.parametrize(
    ("steps", "live", "wanted"),
    [
        (RESTORE, True, [("restore", "shop")]),
        (RESTORE, False, []),
        (ELSEWHERE, True, [("restore", "other")]),
        (WIPE, True, [("wipe", "disk-7")]),
        (WIPE, False, []),
        (UNNAMED, True, [("wipe", "mkfs")]),
        (ASKED, False, [("a", "")]),
    ],
)
def test_who_will_ask_for_what(tmp_path: Path, steps: str, live: bool, wanted: list[tuple[str, str]]) -> None:
    assert asked(tmp_path, steps, live=live) == wanted


def test_nothing_begins_without_the_names(tmp_path: Path) -> None:
    plan = tmp_path / "try.yaml"
    plan.write_text(HEAD.format(live="true") + WIPE + ASKED)
    order = open_order(plan, env="", given={}, state=tmp_path)
    given = Person(yes=True, confirmed=frozenset({"disk-7"}), terminal=False)
    refuse_unforeseen(order, CATALOGUE, given.foreseen)
    half = Person(yes=False, confirmed=frozenset({"disk-8"}), terminal=False)
    with pytest.raises(Refused) as refused:
        refuse_unforeseen(order, CATALOGUE, half.foreseen)
    assert refused.value.problems[0].fix == "review `runbook plan`, then add --confirm disk-7 --yes"
