"""The page of an action says everything that a plan's author needs, and nothing that the class doesn't."""

from __future__ import annotations

import re

import pytest

from runbook.catalogue import CATALOGUE
from runbook.check.examine import examine
from runbook.plan.file import FrozenReader
from runbook.plan.load import examine_plan
from runbook.report.actions import as_json, inputs_of, listing, outputs_of, page

# what stands round the examples: the systems that they name, and the steps whose outputs or holds they use
ROUND = """\
runbook: 1
name: example
inputs: {attested: {type: string, default: ""}}
systems:
  {db: postgres, app: compose, site: web, backups: store, bases: store, on_call: channel, primary: postgres, standby: postgres,
   evidence: store}
steps:
"""
BEFORE = {
    "pick": "- {id: pick, uses: backup.select, on: backups, timeout: 1m}\n",
    "dump": "- {id: dump, uses: postgres.dump, on: db, with: {to: backups}, timeout: 1h}\n",
    "prove": "- {id: prove, uses: postgres.verify_dump, on: db, with: {artifact: '{{ steps.pick.artifact }}'}, timeout: 1h}\n",
    "recover": "- {id: recover, uses: postgres.restore_beside, on: db, with: {artifact: '{{ steps.prove.artifact }}'}, "
    "timeout: 1h}\n",
    "compare": "- {id: compare, uses: postgres.compare_rows, on: db, with: {source: {database: '{{ steps.recover.database }}'}, "
    "tables: [users]}, timeout: 1h}\n",
    "create": "- {id: create, uses: postgres.create_login, on: db, with: {pair: [a, b], owner: o, escrow: e}, timeout: 1m}\n",
    "fence": "- {id: fence, uses: postgres.fence, on: primary, timeout: 1m}\n",
    "stop_server": "- {id: stop_server, uses: postgres.stop, on: db, timeout: 1m}\n",
    "keep": "- {id: keep, uses: postgres.cold_copy, on: db, with: {to: evidence}, timeout: 1h}\n",
    "diagnose": "- {id: diagnose, uses: postgres.diagnose, on: db, timeout: 1h}\n",
    "stop_writers": "- {id: stop_writers, uses: compose.stop, on: app, with: {services: [web]}, timeout: 1m}\n",
}


def _named(text: str) -> set[str]:
    """The steps whose outputs or holds are used."""
    return set(re.findall(r"steps\.([a-z_]+)", text)) | set(re.findall(r"releases: ([a-z_]+)", text))


def plan_with(example: str) -> str:
    """A plan in which the example is the last step."""
    used: set[str] = set()
    named = _named(example)
    while named - used:
        used |= named
        named = {found for name in used for found in _named(BEFORE.get(name, ""))}
    return ROUND + "".join(step for name, step in BEFORE.items() if name in used) + example


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_an_example_is_a_step_of_a_valid_plan(name: str) -> None:
    action = CATALOGUE[name]
    assert f"uses: {name}\n" in action.example
    text = plan_with(action.example)
    plan, problems = examine_plan("plan.yaml", FrozenReader({"plan.yaml": text.encode()}))
    assert plan is not None, problems
    found = examine(plan, problems, CATALOGUE)
    about_the_rest = {"DR001", "DR002", "DR003", "DR005"}  # one step is no whole procedure
    assert [problem.render() for problem in found if problem.code not in about_the_rest] == []


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_every_field_and_output_is_described(name: str) -> None:
    action = CATALOGUE[name]
    fields = (*inputs_of(action), *outputs_of(action))
    assert [field.name for field in fields if not field.description or not field.type] == []
    assert {field.name for field in inputs_of(action)} == set(action.inputs_type.model_fields)
    shown = page(action)
    assert all(f"  {field.name}: {field.type}" in shown for field in fields)


def test_the_page_of_an_action() -> None:
    shown = page(CATALOGUE["compose.stop"])
    assert shown.startswith("compose.stop (changes)\n\nStop services, and remember which of their containers ran.\n")
    for part in (
        "on: a system of type compose\n",
        "if it is interrupted: a resume looks at the world and does what remains\n",
        "made to be held: release it with `releases:`\n",
        "  services: list of text, required\n      Services as the compose file names them",
        "  timeout_s: whole number [30]\n",
        "outputs:\n  stopped: list of text\n",
        "example:\n  - id: stop_writers\n",
    ):
        assert part in shown


def test_types_are_in_words() -> None:
    kinds = {field.name: field.type for field in inputs_of(CATALOGUE["postgres.dump"])}
    assert kinds["to"] == "system: store"
    assert kinds["format"] == "auto | custom | directory"
    assert kinds["counts"] == "true or false"
    assert {field.name: field.type for field in outputs_of(CATALOGUE["postgres.dump"])}["artifact"] == "artifact"
    assert {field.name: field.type for field in inputs_of(CATALOGUE["backup.select"])}["before"] == "time"


def test_the_list_has_a_line_for_each() -> None:
    lines = listing(CATALOGUE.values()).splitlines()
    assert len(lines) == len(CATALOGUE)
    (stop,) = [line for line in lines if line.startswith("compose.stop ")]
    assert stop.split(None, 2) == [
        "compose.stop",
        "changes",
        "Stop services, and remember which of their containers ran.",
    ]


def test_json_says_what_the_page_says() -> None:
    said = as_json(CATALOGUE["postgres.restore"])
    assert (said["name"], said["effect"], said["interrupted"], said["on"]) == (
        "postgres.restore",
        "destroys",
        "observe",
        "postgres",
    )
    jobs = "Tables and indexes restored at the same time"
    assert isinstance(said["inputs"], list)
    assert said["inputs"][1] == {
        "name": "jobs",
        "type": "whole number",
        "description": jobs,
        "required": False,
        "default": 2,
    }
