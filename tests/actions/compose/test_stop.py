"""compose.stop: from what runs to what is stopped, and what a release learns of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from runbook.action import Role, Scope, roles
from runbook.actions.compose.project import Member, held_members
from runbook.actions.compose.stop import Stop, StopFacts, StopInputs, Stopped
from runbook.operation import changes
from runbook.paste import paste
from runbook.runner.step import pinned_as
from runbook.system import ComposeProject
from tests.actions.backups import scope

APP = ComposeProject(type="compose", project="civicq", key="app")
WEB_1, WEB_2, BEAT = (
    Member("web", 1, "civicq-web-1"),
    Member("web", 2, "civicq-web-2"),
    Member("beat", 1, "civicq-beat-1"),
)
SCOPE: Scope = scope(APP)


def lines(facts: StopFacts, **written: object) -> list[tuple[str, str]]:
    """The planned operations, each with its name, as a person reads them."""
    inputs = StopInputs.model_validate({"services": ["web", "beat"], **written})
    return [(one.name, paste(one)) for one in Stop().plan(APP, inputs, facts, SCOPE)]


@pytest.mark.parametrize(
    ("up", "planned"),
    [
        ((), []),
        (
            (WEB_1, WEB_2, BEAT),
            [
                ("stop_web_1", "docker stop -t 30 civicq-web-1"),
                ("stop_web_2", "docker stop -t 30 civicq-web-2"),
                ("stop_beat_1", "docker stop -t 30 civicq-beat-1"),
            ],
        ),
        ((WEB_2,), [("stop_web_2", "docker stop -t 30 civicq-web-2")]),
    ],
)
def test_each_container_that_is_up_is_stopped(up: tuple[Member, ...], planned: list[tuple[str, str]]) -> None:
    assert lines(StopFacts(running=(WEB_1, WEB_2, BEAT), up=up)) == planned


def test_its_patience_is_the_plan_s() -> None:
    assert lines(StopFacts((BEAT,), (BEAT,)), timeout_s=90) == [("stop_beat_1", "docker stop -t 90 civicq-beat-1")]


def test_without_looking_a_service_stands_for_all_its_containers() -> None:
    inputs = StopInputs(services=("web", "beat"))
    facts = Stop().assume(APP, inputs, SCOPE)
    shown = [paste(one) for one in Stop().plan(APP, inputs, facts, SCOPE)]
    assert shown == [
        f"docker stop -t 30 $(docker ps -aq --filter label=com.docker.compose.project=civicq"
        f" --filter label=com.docker.compose.service={service})"
        for service in ("web", "beat")
    ]
    assert Stop().expect(APP, inputs, facts) is None


def test_what_ran_is_a_baseline_that_later_looks_do_not_change() -> None:
    first = StopFacts(running=(WEB_1, BEAT), up=(WEB_1, BEAT))
    pinned = roles(first, Role.PINNED)
    after = pinned_as(StopFacts(running=(), up=()), pinned)
    assert after == StopFacts(running=(WEB_1, BEAT), up=())
    assert Stop().expect(APP, StopInputs(services=("web", "beat")), after) == Stopped(stopped=("web", "beat"))
    assert held_members(pinned) == (WEB_1, BEAT)


def test_a_hold_that_was_lost_may_be_taken_again() -> None:
    facts = StopFacts(running=(WEB_1,), up=(WEB_1, WEB_2))
    inputs = StopInputs(services=("web",))
    assert Stop().recovery(APP, inputs, facts, SCOPE) == Stop().plan(APP, inputs, facts, SCOPE)


def test_undo_starts_what_ran() -> None:
    facts = StopFacts(running=(WEB_1, BEAT), up=())
    undone = Stop().undo(APP, StopInputs(services=("web", "beat")), facts, SCOPE)
    assert [paste(one) for one in undone] == ["docker start civicq-web-1", "docker start civicq-beat-1"]
    assert all(map(changes, undone))


def test_a_service_is_stopped_once_however_often_it_is_named() -> None:
    assert StopInputs(services=("web", "beat", "web")).services == ("web", "beat")


@pytest.mark.parametrize("written", [{}, {"services": "web"}, {"services": ["web"], "timeout_s": 0}, {"services": [1]}])
def test_wrong_inputs(written: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        StopInputs.model_validate(written)


def test_a_container_s_number_is_not_its_place_among_those_that_run() -> None:
    only_second = StopFacts((WEB_2,), (WEB_2,))
    assert lines(only_second)[0][0] == "stop_web_2"
    assert lines(replace(only_second, up=(WEB_1, WEB_2)))[1] == lines(only_second)[0]
