"""Targets: what a thing says of itself, what is locked, and what a resume compares with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from runbook.action import Action, Done, Effect, Inputs, Look, NoFacts, NoOutputs, Scope, Unreachable
from runbook.actions.shell import Run as ShellRun
from runbook.engine.events import RunCreated, TargetRebound
from runbook.engine.run import Run, begin
from runbook.errors import Problem, Refused
from runbook.graph import build
from runbook.host import Docker
from runbook.operation import Json, Operations
from runbook.plan.model import Section, Step
from runbook.runner.claim import ABSENT, UNREACHED, Claim
from runbook.runner.targets import claims, compare, excused, identify, named_systems, rebound
from runbook.secret import FromEnv, Redactor
from runbook.system import Channel, ComposeProject, Postgres, Store, System
from runbook.transports.world import World
from tests.engine.story import Story
from tests.runner.memory_run import plan_of, step


class CopyInputs(Inputs):
    """Where to."""

    to: Store


class Copy(Action[Store, CopyInputs, NoFacts, NoOutputs]):
    """From one store to another."""

    effect = Effect.CREATES

    def plan(self, system: Store, inputs: CopyInputs, facts: NoFacts, scope: Scope) -> Operations:
        return ()

    def verify(self, look: Look, system: Store, inputs: CopyInputs, done: Done[NoFacts]) -> NoOutputs:
        return NoOutputs()


class Read(Copy):
    """Reads one and names another."""

    effect = Effect.READS
    name = "read"


class Wipe(Copy):
    """Destroys what is there."""

    effect = Effect.DESTROYS
    name = "wipe"


ACTIONS: dict[str, Action[Any, Any, Any, Any]] = {"copy": Copy(), "read": Read(), "wipe": Wipe(), "shell": ShellRun()}


class Deaf:
    """A look at systems that can't be asked."""

    def __getattr__(self, name: str) -> object:
        def refuse(*_given: object) -> object:
            raise Unreachable(Problem("E1", "nobody answers"))

        return refuse


@pytest.fixture
def look(tmp_path: Path) -> Iterator[Look]:
    world = World(tmp_path, run="20260214-120000-targets-4f3a", redactor=Redactor())
    yield world.look
    world.close()


def store(path: Path, key: str = "") -> Store:
    """A store in a directory."""
    return Store(type="store", url=f"file://{path}", key=key)


def created(targets: Mapping[str, Json]) -> RunCreated:
    """The header of a run on these targets."""
    return RunCreated("p", "0" * 64, "sandbox", False, "kim", "2026-02-14T12:00:00Z", {}, targets, "0.1.0")


def run_of(steps: list[Step], targets: Mapping[str, Json]) -> Run:
    """A run of which nothing has happened."""
    return begin(build(steps), created(targets))


def test_two_names_of_one_directory_are_one_target(look: Look, tmp_path: Path) -> None:
    place = tmp_path / "backups"
    place.mkdir()
    (tmp_path / "way").symlink_to(tmp_path)
    one = identify(look, store(place, "a"))
    assert one == identify(look, store(tmp_path / "way" / "backups", "b"))
    assert Claim("a", one, changed=True).key == Claim("b", one, changed=False).key


def test_a_directory_that_was_replaced_is_another_target(look: Look, tmp_path: Path) -> None:
    place = tmp_path / "backups"
    place.mkdir()
    before = identify(look, store(place))
    place.rename(tmp_path / "kept")
    place.mkdir()
    assert identify(look, store(place)) != before


class Pair:
    """Two servers of one cluster, with one path; a directory of this machine has that path too."""

    def __init__(self, look: Look, directory: Path) -> None:
        self._look, self._directory = look, directory

    def query(self, *_given: object) -> list[dict[str, str]]:
        return [{"system_identifier": "73", "data_directory": str(self._directory)}]

    def __getattr__(self, name: str) -> object:
        return getattr(self._look, name)


def test_servers_of_two_machines_with_the_same_paths_are_two_targets(look: Look, tmp_path: Path) -> None:
    pair = cast(Look, Pair(look, tmp_path))
    ours = Postgres(type="postgres", user="u", database="d", address="127.0.0.1", data_directory=str(tmp_path))
    one, other = (ours.model_copy(update={"address": f"192.0.2.{n}"}) for n in (7, 8))
    found = [identify(pair, db) for db in (ours, one, other)]
    assert found[0] != found[1] != found[2] != found[0]
    assert isinstance(found[0], dict) and found[0]["place"] == [tmp_path.stat().st_dev, tmp_path.stat().st_ino]
    assert identify(pair, ours.model_copy(update={"address": "localhost"})) == found[0], "two names, one target"
    assert identify(pair, one.model_copy(update={"database": "e"})) == found[1]
    with pytest.raises(Refused, match="E403") as refused:
        compare({"db": found[1]}, [Claim("db", found[2], changed=True)], frozenset())
    (problem,) = refused.value.problems
    said = 'db: place was ["192.0.2.7", 5432], and is ["192.0.2.8", 5432]'
    assert problem.detail == said, "what differs, and nothing else"


def test_absent_and_unreached_are_identities(look: Look, tmp_path: Path) -> None:
    assert identify(look, store(tmp_path / "nowhere")) == ABSENT
    nobody = Postgres(type="postgres", address="127.0.0.1", port=1, user="x", database="x")
    assert identify(look, nobody) == UNREACHED


def test_two_absent_things_are_locked_apart_and_one_by_any_name(look: Look, tmp_path: Path) -> None:
    systems: dict[str, System] = {"a": store(tmp_path / "one", "a"), "b": store(tmp_path / "two", "b")}
    systems["c"] = store(tmp_path / "one", "c")
    steps = [Step(id=name, title="", uses="wipe", on=name, with_={"to": name}) for name in systems]
    keys = {claim.system: claim.key for claim in claims(look, plan_of(steps), ACTIONS, systems)}
    assert keys["a"] != keys["b"]
    assert keys["a"] == keys["c"]


def test_two_servers_in_containers_that_are_down_are_locked_apart(look: Look) -> None:
    """They differ in nothing but their host."""
    systems: dict[str, System] = {
        name: Postgres(type="postgres", key=name, host=Docker(f"rb-nothing-{host}"), user="x", database="x")
        for name, host in (("a", "one"), ("b", "two"), ("c", "one"))
    }
    steps = [Step(id=name, title="", uses="wipe", on=name, with_={}) for name in systems]
    keys = {claim.system: claim.key for claim in claims(look, plan_of(steps), ACTIONS, systems)}
    assert keys["a"] != keys["b"]
    assert keys["a"] == keys["c"]


def test_a_system_is_changed_if_any_step_may_change_it(look: Look, tmp_path: Path) -> None:
    systems: dict[str, System] = {name: store(tmp_path / name, name) for name in ("a", "b", "c", "unused")}
    steps = [
        Step(id="x", title="", uses="read", on="a", with_={"to": "c"}),
        Step(id="y", title="", uses="copy", on="b", with_={"to": "b"}),
        Step(id="z", title="", uses="shell", with_={"argv": ["true"]}),
    ]
    found = {claim.system: claim.changed for claim in claims(look, plan_of(steps), ACTIONS, systems)}
    assert found == {"a": False, "b": True, "c": False}


def test_two_runs_may_speak_in_one_channel(look: Look) -> None:
    systems: dict[str, System] = {"people": Channel(type="channel", key="people", url=FromEnv("URL"))}
    one = Step(id="x", title="", uses="copy", on="people", with_={"to": "people"})
    assert [claim.changed for claim in claims(look, plan_of([one]), ACTIONS, systems)] == [False]


def test_systems_are_named_by_on_and_by_fields() -> None:
    systems: dict[str, System] = {"a": store(Path("/a")), "b": store(Path("/b"))}
    one = Step(id="x", title="", uses="copy", on="a", with_={"to": "b"})
    assert named_systems(plan_of([one]), one, ACTIONS["copy"], systems) == ("a", "b")
    assert named_systems(plan_of([one]), step("s"), ACTIONS["shell"], systems) == ()


def test_a_project_is_its_name_and_its_engine_not_its_services(look: Look) -> None:
    one = ComposeProject(type="compose", project="civicq")
    there = ComposeProject(type="compose", project="civicq", host=Docker("somewhere"))
    assert identify(look, one) == identify(look, one.model_copy(update={"files": ("compose.yaml",)}))
    assert identify(look, one) != identify(look, there)


def test_another_target_is_refused_and_what_could_not_be_asked_is_not() -> None:
    compare({"a": {"store": [1, 2]}}, [Claim("a", {"store": [1, 2]}, changed=True)], frozenset())
    one: Json = {"store": [1, 2]}
    other: Json = {"store": [1, 3]}
    compare({"a": ABSENT}, [Claim("a", one, changed=True)], frozenset())  # made since, as a message of ours may advise
    for before, now in ((one, other), (one, ABSENT)):
        with pytest.raises(Refused, match="not the one"):
            compare({"a": before}, [Claim("a", now, changed=True)], frozenset())
        compare({"a": before}, [Claim("a", now, changed=True)], frozenset({"a"}))
    compare({"a": UNREACHED}, [Claim("a", {"store": [1, 2]}, changed=True)], frozenset())
    compare({"a": {"store": [1, 2]}}, [Claim("a", UNREACHED, changed=True)], frozenset())
    compare({}, [Claim("a", {"store": [1, 2]}, changed=True)], frozenset())


def test_what_a_step_made_or_replaced_is_bound_after_it(look: Look, tmp_path: Path) -> None:
    place = tmp_path / "backups"
    systems: dict[str, System] = {"a": store(place)}
    one = Step(id="x", title="", uses="wipe", on="a", with_={"to": "a"})
    run = run_of([one], {"a": ABSENT})
    assert rebound(look, run, one, ["a"], systems, first_use=False) == ()
    place.mkdir()
    (event,) = rebound(look, run, one, ["a"], systems, first_use=False)
    assert event == TargetRebound("x", "a", identify(look, systems["a"]))
    story = Story(build([one]))
    story.run = run
    story.tell(event)
    assert rebound(look, story.run, one, ["a"], systems, first_use=False) == ()
    place.rename(tmp_path / "kept")
    place.mkdir()
    assert rebound(look, story.run, one, ["a"], systems, first_use=True) == (), (
        "a known target is bound by its own steps only"
    )
    assert len(rebound(look, story.run, one, ["a"], systems, first_use=False)) == 1


def test_what_was_absent_or_silent_is_bound_at_its_first_use(look: Look, tmp_path: Path) -> None:
    systems: dict[str, System] = {"a": store(tmp_path)}
    one = Step(id="x", title="", uses="wipe", on="a", with_={"to": "a"})
    for before in (ABSENT, UNREACHED):
        run = run_of([one], {"a": before})
        assert len(rebound(look, run, one, ["a"], systems, first_use=True)) == 1
    assert rebound(cast(Look, Deaf()), run, one, ["a"], systems, first_use=True) == ()


def test_only_what_an_unfinished_step_began_to_change_is_excused() -> None:
    systems: dict[str, System] = {name: store(Path(f"/{name}"), name) for name in ("a", "b", "c", "d")}
    steps = [
        Step(id="done", title="", uses="wipe", on="a", with_={"to": "a"}),
        Step(id="half", title="", uses="copy", on="b", with_={"to": "c"}, needs=("done",)),
        Step(id="later", title="", uses="wipe", on="d", with_={"to": "d"}, needs=("half",), section=Section.STEPS),
    ]
    story = Story(build(steps)).done("done").started("half")
    assert excused(story.run, plan_of(steps), ACTIONS, systems) == {"b", "c"}
    story.failed("half")
    assert excused(story.run, plan_of(steps), ACTIONS, systems) == {"b", "c"}
