"""All at once: what the loader finds, what the actions show and what the rules say, each mistake told once."""

from __future__ import annotations

from runbook.catalogue import CATALOGUE
from runbook.check.examine import examine
from runbook.plan.file import FrozenReader
from runbook.plan.load import examine_plan
from tests.check.given import HEAD, TODAY, codes


def examined(text: str) -> list[str]:
    """The codes of everything that is found in a plan."""
    plan, problems = examine_plan("plan.yaml", FrozenReader({"plan.yaml": text.encode()}))
    assert plan is not None
    return codes(examine(plan, problems, CATALOGUE, today=TODAY))


def test_faults_of_both_kinds_are_told_together() -> None:
    steps = (
        "steps:\n"
        "- {id: pick, uses: backup.select, on: backup, timeout: soon}\n"
        "- {id: other, uses: backup.selct, on: backups}\n"
        '- {id: prove, uses: postgres.verify_dump, on: db, with: {artifact: "{{ steps.pck.artifact }}"}}\n'
        "- {id: look, uses: http.check, on: site, with: {stats: 200}}\n"
    )
    assert examined(HEAD + steps) == ["E136", "E103", "E220", "E131", "E102"]


def test_a_fault_beside_what_an_action_is_told_hides_none_in_that() -> None:
    look = "steps:\n- id: look\n  uses: http.check\n  on: site\n  with: {stats: 200}\n"
    assert examined(f"{HEAD}{look}  timeout: soon\n") == ["E102", "E103"]
    assert examined(f"{HEAD}{look}  retry: {{attempts: 0}}\n") == ["E102", "E103"]
    assert examined(f"{HEAD}{look}  colour: red\n") == ["E102", "E102"]
    assert examined(
        f"{HEAD}steps:\n- {{id: look, timeout: soon, uses: http.check, on: site, with: {{stats: 2}}}}\n"
    ) == [
        "E103",
        "E102",
    ]


def test_a_misspelt_type_hides_nothing() -> None:
    steps = "steps:\n- {id: look, uses: http.chek, on: site}\n"
    assert examined(HEAD.replace("count: {type: integer}", "count: {type: integr}") + steps) == ["E103", "E220"]
    assert examined(HEAD.replace("db: postgres", "db: postgress") + steps) == ["E103", "E220"]
    other = HEAD.replace("mode: {type: string, choices", "mode: {type: enum, choices")
    plan, problems = examine_plan("plan.yaml", FrozenReader({"plan.yaml": (other + steps).encode()}))
    assert (plan, codes(list(problems))) == (None, ["E103"]), "what is meant by that nobody knows"
    counted = HEAD.replace("{type: integer}", "{type: integr, default: many}")
    assert examined(counted + steps) == ["E103", "E161", "E220"]


def test_a_key_that_may_be_another_one_misspelt_is_one_mistake() -> None:
    ask = "steps:\n- id: ask\n  uses: postgres.query\n"
    assert examined(f"{HEAD}{ask}  on: db\n  wiht: {{query: SELECT 1}}\n") == ["E102"]
    assert examined(f"{HEAD}{ask}  on: db\n  forech: [a]\n  with: {{quary: SELECT 1}}\n") == ["E102"]
    assert examined(f"{HEAD}{ask}  onn: db\n  with: {{query: SELECT 1}}\n") == ["E102"]
    assert examined(f"{HEAD}{ask}  on: db\n  with: {{quary: SELECT 1}}\n") != []


def test_what_the_loader_left_out_is_not_missed_as_well() -> None:
    assert examined(HEAD + "steps:\n- {id: look, uses: http.check, on: 5}\n") == ["E103"]
    assert examined(HEAD + "steps:\n- {id: ask, uses: postgres.query, on: db, with: [SELECT 1]}\n") == ["E103"]
    assert examined(HEAD + "steps:\n- id: ask\n  uses: postgres.query\n  on: dbb\n  with: {query: SELECT 1}\n") == [
        "E136"
    ]


def test_an_unknown_action_is_told_beside_an_unknown_key() -> None:
    assert examined(HEAD + "steps:\n- {id: a, colour: red, uses: http.chek, on: site}\n") == ["E102", "E220"]


def test_the_rules_wait_for_a_plan_that_is_whole() -> None:
    assert examined(HEAD + "steps:\n- {id: look, uses: http.check, on: site}\n") == ["DR004"]
    assert examined(HEAD + "colour: red\nsteps:\n- {id: look, uses: http.check, on: site}\n") == ["E102"]
    assert examined(
        HEAD + "steps:\n- {id: a, uses: http.check, on: site, needs: [b]}\n- {id: b, uses: http.check, on: site}\n"
    ) == ["E132"]


def test_a_template_that_cannot_be_read_stops_no_check() -> None:
    steps = 'steps:\n- {id: a, uses: shell.run, with: {argv: [rm, "{{ inputs.text\n}"]}}\n'
    steps += '- {id: b, uses: shell.rn, with: {argv: [rm, --, "{{ inputs.text }}"]}}\n'
    assert {"E140", "E220"} <= set(examined(HEAD + steps))
