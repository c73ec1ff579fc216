"""Every fault gives its message, word for word (``GOLDEN=write`` writes them anew for review); what is right gives none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runbook.errors import Severity
from tests.check.cases import CASES, INNER, LAB, PICK
from tests.check.given import HEAD, codes, faults_of

GOLDEN = Path(__file__).parent / "golden"
TWO_STORES = HEAD.replace("backups: store", "backups: store, bases: store")


@pytest.mark.parametrize("name", CASES)
def test_a_fault_says_what_is_wrong(name: str) -> None:
    case = CASES[name]
    found = faults_of(case.steps, head=case.head, environment=case.environment, more=case.more)
    said = "".join(f"{problem.render()}\n" for problem in found)
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(said, encoding="utf-8")
    assert said == golden.read_text(encoding="utf-8")
    assert said


def test_there_is_no_golden_file_without_its_case() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(CASES)


def test_every_problem_has_its_place_and_a_remedy() -> None:
    for name, case in CASES.items():
        for problem in faults_of(case.steps, head=case.head, environment=case.environment, more=case.more):
            assert problem.where is not None, name
            assert problem.where.text, name
            assert problem.fix, name


@pytest.mark.parametrize(
    "step",
    [
        'uses: postgres.dump, on: db, with: {to: backups, jobs: "{{ inputs.count }}", counts: "{{ inputs.count > 1 }}"}',
        'uses: postgres.dump, on: db, with: {to: backups, format: "{{ inputs.text }}"}',
        'uses: postgres.assert, on: db, with: {checks: "{{ inputs.text }}"}',
        'uses: postgres.assert, on: db, with: {checks: [{query: "{{ inputs.text }}", at_least: "{{ inputs.count }}"}]}',
        'uses: postgres.assert, on: db, with: {counts_of: {artifact: "{{ steps.pick.artifact }}"}}',
        'uses: manual, with: {instructions: Look, verify: {query: SELECT 1, at_least: "{{ inputs.count }}"}, database: db}',
        'uses: manual, with: {instructions: Look, verify: {argv: "{{ inputs.text }}"}}',
        'uses: shell.run, with: {argv: [kill, --, "{{ inputs.count }}", "{{ inputs.text }}"], host: "{{ inputs.text }}"}',
        'uses: shell.run, with: {script: "{{ inputs.count }}", shell: true, env: {A: "{{ inputs.text }}", B: {env: C}}}',
        'uses: shell.run, with: {argv: [echo, "{{ inputs.name }}", "{{ inputs.mode }}", "{{ systems.db.database }}"]}',
        'uses: backup.select, on: backups, with: {before: "{{ run.started_at }}"}',
        'uses: backup.select, on: backups, with: {before: "2026-02-14T12:00:00Z", name: "{{ inputs.text }}.dump"}',
        'uses: approval, with: {subject: All of it, approvers: [ada, grace], needed: "{{ inputs.count }}"}',
    ],
)
def test_what_a_template_will_give_is_no_fault(step: str) -> None:
    assert codes(faults_of(f"{PICK}- {{id: tried, {step}}}\n")) == []


def test_a_late_value_does_not_hide_a_fault_beside_it() -> None:
    step = 'uses: postgres.dump, on: db, with: {to: backups, jobs: "{{ inputs.count }}", compress: 12, colour: red}'
    assert codes(faults_of(f"- {{id: tried, {step}}}\n")) == ["E103", "E102"]


def test_an_included_plans_systems_are_its_own_names() -> None:
    inner = INNER.replace("artefact", "artifact")
    steps = (
        PICK + '- {id: inner, uses: ./inner.yaml, systems: {base: db}, with: {artifact: "{{ steps.pick.artifact }}"}}\n'
    )
    assert codes(faults_of(steps, more={"inner.yaml": inner})) == []
    dumps = "runbook: 1\nname: inner\nsystems: {base: postgres, place: store}\nsteps:\n"
    dumps += "- {id: dump, uses: postgres.dump, on: base, with: {to: place}}\n"
    include = "- {id: inner, uses: ./inner.yaml, systems: {base: db, place: bases}}\n"
    assert codes(faults_of(include, head=TWO_STORES, more={"inner.yaml": dumps})) == []
    wrong = dumps.replace("to: place", "to: bases")
    assert codes(faults_of(include, head=TWO_STORES, more={"inner.yaml": wrong})) == ["E136"]


def test_the_iterations_of_a_foreach_give_a_list() -> None:
    steps = (
        '- {id: copy, uses: shell.run, foreach: [a, b], with: {argv: [echo, "{{ item }}"]}}\n'
        '- {id: last, uses: shell.run, with: {argv: [echo, "x{{ steps.copy[0].stdout }}"]}}\n'
    )
    assert codes(faults_of(steps)) == []


def test_an_environment_that_fits_gives_no_fault() -> None:
    assert codes(faults_of(PICK, environment=LAB)) == []


def test_a_store_that_the_plan_does_not_use_may_be_anywhere() -> None:
    elsewhere = LAB + '  attic: {type: store, url: "s3://attic/"}\n'
    assert codes(faults_of(PICK, environment=elsewhere)) == []


ARCHIVED = LAB.replace("database: shop}", 'database: shop, archive: "s3://wal/main/"}')
BUCKET = '  wal: {type: store, url: "s3://wal/"}\n'


def test_a_bucket_that_only_holds_an_archive_is_no_fault() -> None:
    with_wal = HEAD.replace("backups: store}", "backups: store, wal: store}")
    assert codes(faults_of(PICK, environment=ARCHIVED + BUCKET)) == []
    assert codes(faults_of(PICK, environment=ARCHIVED + BUCKET, head=with_wal)) == []
    dump = PICK + "- {id: dump, uses: postgres.dump, on: db, with: {to: wal}}\n"
    assert "E390" in codes(faults_of(dump, environment=ARCHIVED + BUCKET, head=with_wal))
    elsewhere = ARCHIVED + BUCKET.replace("s3://wal/", "s3://walrus/")
    assert "E390" in codes(faults_of(PICK, environment=elsewhere, head=with_wal))


def test_an_archive_in_a_bucket_is_for_a_server_here() -> None:
    contained = ARCHIVED.replace("database: shop,", "database: shop, host: {docker: db},")
    (found,) = faults_of(PICK, environment=contained)
    assert (found.code, "host: local" in found.detail, "file:///DIRECTORY" in found.fix) == ("E390", True, True)
    culprit = 'uses: postgres.find_change, on: db, with: {since: "2026-02-14T11:30:00Z", until: "2026-02-14T12:30:00Z"}'
    assert codes(faults_of(f"{PICK}- {{id: culprit, {culprit}}}\n", environment=ARCHIVED)) == ["E390"]


def test_what_is_passed_over_is_a_note() -> None:
    found = faults_of("- {id: run, uses: shell.run, with: {argv: [id]}}\n", head=HEAD + "schedule: '@daily'\n")
    assert [(problem.code, problem.severity) for problem in found] == [("E390", Severity.NOTE)]
