"""compose.start: a hold's release starts what ran, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runbook.action import Role, roles
from runbook.actions.compose.project import Member, held_members
from runbook.actions.compose.start import Start, StartFacts, StartInputs
from runbook.actions.compose.stop import StopFacts
from runbook.errors import Refused
from runbook.operation import Json, Wait, changes
from runbook.paste import paste
from runbook.system import ComposeProject
from tests.actions.backups import scope

APP = ComposeProject(type="compose", project="civicq", key="app")
WEB, BEAT = Member("web", 1, "civicq-web-1"), Member("beat", 2, "civicq-beat-2")
SCOPE = scope(APP)
HELD = replace(SCOPE, held=roles(StopFacts(running=(WEB, BEAT), up=()), Role.PINNED))
HEALTH = "docker inspect -f '{{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{end}}'"


@pytest.mark.parametrize(
    ("down", "unready", "names"),
    [
        ((), (), []),
        ((WEB, BEAT), (WEB, BEAT), ["start_web_1", "start_beat_2", "wait_web_1", "wait_beat_2"]),
        ((BEAT,), (BEAT,), ["start_beat_2", "wait_beat_2"]),
        ((), (WEB,), ["wait_web_1"]),
    ],
)
def test_what_is_down_is_started_and_waited_for(
    down: tuple[Member, ...], unready: tuple[Member, ...], names: list[str]
) -> None:
    facts = StartFacts(was_down=(WEB, BEAT), wanted=(WEB, BEAT), down=down, unready=unready)
    planned = Start().plan(APP, StartInputs(), facts, HELD)
    assert [one.name for one in planned] == names
    assert [one.name for one in planned if changes(one)] == [name for name in names if name.startswith("start")]


def test_a_release_shows_the_containers_of_the_hold() -> None:
    facts = Start().assume(APP, StartInputs(within="90s"), HELD)
    until = "state is running and health is not starting and health is not unhealthy"
    wait = f"repeat every 0.5s, for at most 1m 30s, until {until}"
    assert [paste(one) for one in Start().plan(APP, StartInputs(within="90s"), facts, HELD)] == [
        "docker start civicq-web-1",
        "docker start civicq-beat-2",
        f"{HEALTH} civicq-web-1  # {wait}",
        f"{HEALTH} civicq-beat-2  # {wait}",
    ]


def test_what_a_release_runs_is_among_what_was_shown() -> None:
    inputs = StartInputs()
    shown = Start().plan(APP, inputs, Start().assume(APP, inputs, HELD), HELD)
    for down in ((), (WEB,), (BEAT,), (WEB, BEAT)):
        facts = StartFacts(was_down=down, wanted=(WEB, BEAT), down=down, unready=down)
        assert set(Start().plan(APP, inputs, facts, HELD)) <= set(shown)
        assert Start().recovery(APP, inputs, facts, HELD) == Start().plan(APP, inputs, facts, HELD)


@pytest.mark.parametrize("held", [{}, {"running": []}])
def test_a_hold_that_held_nothing_releases_nothing(held: dict[str, Json]) -> None:
    nothing = replace(SCOPE, held=held)
    facts = Start().assume(APP, StartInputs(), nothing)
    assert Start().plan(APP, StartInputs(), facts, nothing) == ()


def test_a_dry_run_that_looked_at_nothing_shows_the_services_of_the_hold() -> None:
    unseen = replace(SCOPE, held=roles(StopFacts((Member("web", 1, ""),), ()), Role.PINNED))
    planned = Start().plan(APP, StartInputs(), Start().assume(APP, StartInputs(), unseen), unseen)
    assert paste(planned[0]).startswith(
        "docker start $(docker ps -aq --filter label=com.docker.compose.project=civicq "
    )


def test_without_a_hold_the_named_services_are_started() -> None:
    inputs = StartInputs(services=("web",))
    planned = Start().plan(APP, inputs, Start().assume(APP, inputs, SCOPE), SCOPE)
    assert [one.name for one in planned] == ["start_web_1", "wait_web_1"]
    wait = planned[1]
    assert isinstance(wait, Wait)
    assert wait.deadline_s == 120


def test_undo_stops_what_was_down() -> None:
    facts = StartFacts(was_down=(BEAT,), wanted=(WEB, BEAT), down=(), unready=())
    assert [paste(one) for one in Start().undo(APP, StartInputs(), facts, HELD)] == ["docker stop civicq-beat-2"]


def test_what_to_start_is_said_once() -> None:
    with pytest.raises(Refused, match="twice"):
        Start().assume(APP, StartInputs(services=("web",)), HELD)


@pytest.mark.parametrize(
    "held", [{"isolated": True}, {"running": [{"service": "web"}]}, {"running": ["web"]}, {"running": "web"}]
)
def test_a_hold_of_another_kind_is_refused(held: dict[str, Json]) -> None:
    with pytest.raises(Refused):
        held_members(held)
