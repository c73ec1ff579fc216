"""The page of a dry-run: no promise of operations above nothing, and text and JSON say the same."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, cast

import pytest

from runbook.action import Effect
from runbook.graph import build, critical_path
from runbook.operation import Operations, Process
from runbook.report.dryrun import DryRun, Shown, as_json, as_text
from tests.runner.memory_run import plan_of, step

RUN: Operations = (Process(name="run", argv=("echo", "<steps.ask.value>")),)


def lines(**more: Any) -> list[str]:
    """What stands below the head of a step that is shown so."""
    dry = dry_run(**more)
    text = as_text(dry).splitlines()
    return [line.strip() for line in text[5 : text.index("", 4)]]


def dry_run(**more: Any) -> DryRun:
    one = step("use", "make", confirm=more.pop("confirm", ""))
    live = more.pop("live", False)
    shown = Shown(one, **{"effect": Effect.CHANGES, "operations": RUN, "known": "after:ask", **more})
    return DryRun(plan_of([one]), "here", live, (shown,), critical_path(build([one]), lambda _: 0.0), {})


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"known": "exact"}, []),
        ({"known": "exact", "operations": ()}, ["nothing to do but to check"]),
        ({}, ["settled after ask; what runs is among these:"]),
        ({"operations": ()}, ["settled after ask; nothing to do but to check"]),
        ({"known": "undetermined"}, ["not looked at; what runs is among these:"]),
        ({"known": "undetermined", "operations": ()}, ["not looked at; nothing to do but to check"]),
        (
            {"given_by": ("ask",)},
            ["settled after ask; what runs is among these (<…> stands for what ask gives):"],
        ),
        (
            {"given_by": ("pick", "ask")},
            ["settled after ask; what runs is among these (<…> stands for what pick and ask give):"],
        ),
        (
            {"given_by": ("ask",), "operations": (), "listed": False},
            ["what it does follows from what ask gives, and can't be listed before"],
        ),
        (
            {"only_if": ("steps.ask.value == 'yes'",)},
            [
                "only if steps.ask.value == 'yes', which can't be told yet",
                "settled after ask; what runs is among these:",
            ],
        ),
    ],
)
def test_how_well_a_list_is_known(more: dict[str, Any], told: list[str]) -> None:
    listed = ["! run: echo '<steps.ask.value>'"] if more.get("operations", RUN) else []
    assert lines(**more) == told + listed


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, ""),
        ({"confirm": "The server\n  is restarted."}, "asks first (--yes): The server is restarted."),
        ({"confirm": "It stops.", "live": True}, "asks first (--yes): It stops."),
        ({"effect": Effect.DESTROYS, "replaces": "docs"}, ""),
        (
            {"effect": Effect.DESTROYS, "replaces": "my docs", "live": True},
            "asks for the name of what it replaces (--confirm 'my docs')",
        ),
        (
            {"effect": Effect.DESTROYS, "replaces": "docs", "live": True, "confirm": "It is kept."},
            "asks for the name of what it replaces (--confirm docs): It is kept.",
        ),
        (
            {"effect": Effect.DESTROYS, "replaces": "backups", "verb": "deletes from", "live": True},
            "asks for the name of what it deletes from (--confirm backups)",
        ),
    ],
)
def test_what_a_person_will_be_asked_is_told_beforehand(more: dict[str, Any], told: str) -> None:
    asked = [line for line in lines(**dict(more)) if line.startswith("asks")]
    assert asked == ([told] if told else [])
    (one,) = cast("list[dict[str, Any]]", as_json(dry_run(**dict(more)))["steps"])
    assert one["asks"] == (told or None)


def test_what_is_destroyed_is_told_in_its_own_word_with_what_goes_along() -> None:
    dry = dry_run(effect=Effect.DESTROYS, replaces="shop", along="Also: crm.")
    assert lines(effect=Effect.DESTROYS, replaces="shop", along="Also: crm.")[:2] == ["replaces shop", "Also: crm."]
    assert "replaces: shop" in as_text(dry).splitlines()
    (one,) = cast("list[dict[str, Any]]", as_json(dry)["steps"])
    assert (one["replaces"], one["verb"], one["along"]) == ("shop", "replaces", "Also: crm.")
    gone = as_text(dry_run(effect=Effect.DESTROYS, replaces="backups", verb="deletes from"))
    assert gone.splitlines().count("     deletes from backups") == 1
    assert "deletes from: backups" in gone.splitlines()
    assert "replace" not in gone


def test_where_nothing_is_left_to_do_nothing_is_said_to_be_destroyed() -> None:
    more: dict[str, Any] = {"effect": Effect.DESTROYS, "replaces": "backups", "verb": "deletes from", "known": "exact"}
    assert "deletes" in as_text(dry_run(**more))
    assert "deletes" not in as_text(dry_run(**more, operations=()))
    assert "deletes" in as_text(dry_run(**more, operations=(), listed=False))


def test_json_says_the_same() -> None:
    dry = dry_run(given_by=("ask",), only_if=("inputs.x",))
    (one,) = cast("list[dict[str, Any]]", json.loads(json.dumps(as_json(dry)))["steps"])
    assert (one["known"], one["listed"], one["given_by"], one["only_if"]) == ("after:ask", True, ["ask"], ["inputs.x"])
    assert [told["text"] for told in one["operations"]] == ["echo '<steps.ask.value>'"]
    (none,) = cast("list[dict[str, Any]]", as_json(dry_run(operations=(), listed=False, given_by=("ask",)))["steps"])
    assert (none["known"], none["listed"], none["operations"]) == ("after:ask", False, [])


def test_what_was_found_stands_above_the_list_short() -> None:
    facts = {
        "name": "docs.dump",
        "sha256": "5" * 64,
        "text": "two\nlines",
        "long": "x" * 101,
        "rows": 7,
        "tree": {"a": 1},
    }
    assert lines(known="exact", facts=facts)[0] == f"found: name docs.dump, sha256 {'5' * 16}…, rows 7"
    assert cast(Any, as_json(dry_run(facts=facts)))["steps"][0]["facts"] == facts
    assert not [line for line in lines(facts={"tree": {}, "none": None, "empty": ""}) if line.startswith("found")]


def test_a_step_that_would_be_skipped_takes_no_time() -> None:
    first, second = step("first", "make"), step("second", "make", "first")
    shown = (Shown(first, Effect.CHANGES, RUN, "exact"), Shown(second, Effect.CHANGES, (), "exact", skipped="no need"))
    path = critical_path(build([first, second]), lambda _: 1.0)
    assert path.steps == ("first", "second")
    dry = DryRun(plan_of([first, second]), "here", False, shown, path, {"first": 61.0})
    assert dry.forecast_s == 61.0
    assert "expected duration: 1m 01s, as in earlier runs" in as_text(dry)
    assert replace(dry, expected_s={}).forecast_s is None


def test_the_page_says_what_stands_where_the_runs_id_will_be() -> None:
    told = "`plan` in a name stands where the run's id will be"
    for argv in (("dropdb", "rb_plan_restore"), ("psql", "application_name=runbook/plan/restore")):
        assert told in as_text(dry_run(operations=(Process(name="run", argv=argv),))).splitlines()
    assert told not in as_text(dry_run(operations=(Process(name="run", argv=("echo", "explanation planned")),)))
