"""The schemas say what the loader and the actions say; an editor completes and checks by them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runbook.action import Action, Effect, Inputs, NoFacts, NoOutputs
from runbook.catalogue import CATALOGUE
from runbook.plan.shape import EnvironmentShape, PlanShape, StepShape
from runbook.schema import environment_schema, inputs_schema, plan_schema, text_of
from runbook.system import SYSTEMS, Postgres
from tests.fixtures.language_server import Editor

ROOT = Path(__file__).parents[1]
PLANS = sorted((ROOT / "plans").glob("*.yaml"))
ENVIRONMENTS = sorted((ROOT / "plans" / "environments").glob("*.yaml"))


@pytest.fixture(scope="module")
def plans() -> dict[str, Any]:
    """The schema of plans."""
    return json.loads(text_of(plan_schema(CATALOGUE)))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def environments() -> dict[str, Any]:
    """The schema of environments."""
    return json.loads(text_of(environment_schema()))  # type: ignore[no-any-return]


def references(value: object) -> Iterator[str]:
    """Every reference in a schema."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "$ref":
                yield inner
            yield from references(inner)
    if isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_the_files_are_what_the_models_say(plans: dict[str, Any], environments: dict[str, Any]) -> None:
    assert json.loads((ROOT / "schemas" / "plan.json").read_text()) == plans, "runbook schema --write"
    assert json.loads((ROOT / "schemas" / "environment.json").read_text()) == environments, "runbook schema --write"


def test_every_reference_leads_somewhere(plans: dict[str, Any], environments: dict[str, Any]) -> None:
    for schema in (plans, environments):
        wanted = {reference.removeprefix("#/$defs/") for reference in references(schema)}
        assert wanted == set(schema["$defs"])


def test_every_key_of_a_plan_is_there_with_its_meaning(plans: dict[str, Any]) -> None:
    written = {field.alias or name for name, field in PlanShape.model_fields.items()}
    assert set(plans["properties"]) == written
    assert plans["additionalProperties"] is False
    step = plans["$defs"]["StepShape"]
    assert set(step["properties"]) == {field.alias or name for name, field in StepShape.model_fields.items()}
    bare = [name for name, each in step["properties"].items() if "description" not in each]
    assert bare == []


def test_every_action_brings_its_fields(plans: dict[str, Any]) -> None:
    branches = {
        branch["if"]["properties"]["uses"]["pattern"]: branch["then"] for branch in plans["$defs"]["StepShape"]["allOf"]
    }
    assert len(branches) == len(CATALOGUE)
    for name, action in CATALOGUE.items():
        then = branches[f"^{name.replace('.', chr(92) + '.')}$"]
        fields = plans["$defs"][f"{name}.with"]
        assert set(fields["properties"]) == set(action.inputs_type.model_fields)
        assert [key for key, each in fields["properties"].items() if "description" not in each] == []
        assert ("on" in then["required"]) == (action.system_type is not None)


def test_every_system_has_its_fields(environments: dict[str, Any]) -> None:
    assert set(environments["properties"]) == set(EnvironmentShape.model_fields)
    for kind, model in SYSTEMS.items():
        assert set(environments["$defs"][kind]["properties"]) == set(model.model_fields) - {"key"}


class OddInputs(Inputs):
    """Fields of every kind."""

    title: str
    default: int = 3
    side: Postgres
    often: tuple[int, ...] = ()


class Odd(Action[None, OddInputs, NoFacts, NoOutputs]):
    """Fields that are called as a schema's own words are."""

    effect = Effect.READS


def test_a_field_may_be_called_title_or_default() -> None:
    template = {"$ref": "#/$defs/template"}
    made = inputs_schema(Odd())
    assert made["properties"] == {
        "title": {"type": "string"},
        "default": {"default": 3, "anyOf": [{"type": "integer"}, template]},
        "side": {"type": "string", "description": "A system of type postgres (the plan's name of a postgres)"},
        "often": {"anyOf": [{"type": "array", "items": {"anyOf": [{"type": "integer"}, template]}}, template]},
    }


def headed(lines: list[str], kind: str = "plan") -> str:
    """A text whose first line names the schema, as plans do."""
    return "\n".join([f"# yaml-language-server: $schema={(ROOT / 'schemas' / f'{kind}.json').as_uri()}", *lines])


STEP = ["runbook: 1", "name: x", "systems: {db: postgres}", "steps:", "  - id: a"]


@pytest.mark.language_server
def test_an_editor_completes_actions_and_their_fields(editor: Editor, tmp_path: Path) -> None:
    path = tmp_path / "uses.yaml"
    editor.open(path, headed([*STEP, "    uses: "]))
    offered = editor.complete(path, 6, 10)
    assert set(CATALOGUE) <= set(offered)
    assert offered["postgres.dump"].startswith("Dump a database into a store")

    path = tmp_path / "with.yaml"
    editor.open(path, headed([*STEP, "    uses: postgres.restore", "    on: db", "    with:", "      "]))
    offered = editor.complete(path, 9, 6)
    assert set(CATALOGUE["postgres.restore"].inputs_type.model_fields) <= set(offered)
    assert offered["jobs"] == "Tables and indexes restored at the same time"
    assert "target" not in offered, "a field of another action, whose name begins alike"


@pytest.mark.language_server
def test_an_editor_completes_systems_of_an_environment(editor: Editor, tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    editor.open(path, headed(["environment: lab", "systems:", "  db:", "    type: postgres", "    "], "environment"))
    offered = editor.complete(path, 5, 4)
    assert {"user", "database", "password", "archive"} <= set(offered)
    assert offered["database"] == "The database that the plan is about"


@pytest.mark.language_server
def test_an_editor_underlines_what_validate_refuses(editor: Editor, tmp_path: Path) -> None:
    bad = [
        *STEP,
        "    uses: postgres.restore",
        "    on: db",
        "    with: {artifact: '{{ steps.x.y }}', jbs: 3, roles: all}",
    ]
    said = " ".join(str(found["message"]) for found in editor.open(tmp_path / "bad.yaml", headed(bad)))
    assert "Property jbs is not allowed" in said
    assert 'Valid values: "create", "keep"' in said


@pytest.mark.language_server
def test_an_editor_finds_nothing_in_what_is_shipped(editor: Editor, tmp_path: Path) -> None:
    assert len(PLANS) >= 4
    assert len(ENVIRONMENTS) >= 2
    for kind, paths in (("plan", PLANS), ("environment", ENVIRONMENTS)):
        for path in paths:
            first, *lines = path.read_text().splitlines()
            assert first.startswith("# yaml-language-server: $schema=")
            found = editor.open(tmp_path / path.name, headed(lines, kind))
            assert [(each["message"], each["range"]) for each in found] == [], path.name
