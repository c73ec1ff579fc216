"""shell.run: what the plan says of a program decides what runbook does with it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from runbook.action import Done, Effect, Interrupted, Look, Undecidable
from runbook.actions.shell import Exited, Run, RunFacts, RunInputs
from runbook.host import LOCAL, Docker
from runbook.operation import Fields, Process
from runbook.paste import paste
from runbook.secret import FromEnv
from tests.actions.backups import scope

SCOPE = scope()
RESUMED = replace(SCOPE, resumed=True)


def planned(**written: object) -> Process:
    """The one operation of a step with these inputs."""
    inputs = RunInputs.model_validate(written)
    [operation] = Run().plan(None, inputs, Run().assume(None, inputs, SCOPE), SCOPE)
    assert isinstance(operation, Process)
    return operation


def test_an_argv_stays_as_it_is_written() -> None:
    operation = planned(argv=["echo", "$HOME; rm -rf /", "{{ x }}", 5, 0.5])
    assert operation.argv == ("echo", "$HOME; rm -rf /", "{{ x }}", "5", "0.5")
    assert paste(operation) == "echo '$HOME; rm -rf /' '{{ x }}' 5 0.5"
    assert (operation.host, operation.ok_codes, operation.reads) == (LOCAL, (0,), False)


def test_a_script_stops_at_its_first_failure() -> None:
    assert planned(script="cd /srv\nmake", shell=True).argv == ("sh", "-eu", "-c", "cd /srv\nmake")


def test_host_environment_input_and_codes() -> None:
    operation = planned(
        argv=["true"],
        host={"docker": "app"},
        env={"LEVEL": 3, "TOKEN": {"env": "APP_TOKEN"}},
        stdin="y\n",
        ok_codes=[0, 3],
    )
    assert operation.host == Docker("app")
    assert operation.env == (("LEVEL", "3"), ("TOKEN", FromEnv("APP_TOKEN")))
    assert (operation.stdin, operation.ok_codes) == ("y\n", (0, 3))


@pytest.mark.parametrize(
    ("written", "effect", "interrupted"),
    [
        ({}, Effect.CHANGES, Interrupted.ASK),
        ({"interrupted": "repeat"}, Effect.CHANGES, Interrupted.REPEATABLE),
        ({"effect": "destroys"}, Effect.DESTROYS, Interrupted.ASK),
        ({"effect": "creates", "probe": ["test", "-e", "/x"]}, Effect.CREATES, Interrupted.OBSERVE),
        ({"interrupted": "repeat", "probe": ["test", "-e", "/x"]}, Effect.CHANGES, Interrupted.OBSERVE),
        ({"effect": "reads"}, Effect.READS, Interrupted.REPEATABLE),
    ],
)
def test_effect_and_interruption(written: dict[str, object], effect: Effect, interrupted: Interrupted) -> None:
    inputs = RunInputs.model_validate({"argv": ["true"], **written})
    assert (Run().effect_of(inputs), Run().interrupted_of(inputs)) == (effect, interrupted)
    assert planned(argv=["true"], **written).reads == (effect is Effect.READS)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ({"argv": ["/usr/bin/dropdb", "civicq"]}, "dropdb"),
        ({"argv": ["dropdb", "civicq"], "replaces": "civicq"}, "civicq"),
        ({"script": "dropdb civicq", "shell": True}, "sh"),
    ],
)
def test_what_a_destructive_program_replaces_can_be_confirmed(written: dict[str, object], name: str) -> None:
    inputs = RunInputs.model_validate({**written, "effect": "destroys"})
    assert Run().replaces(None, inputs) == name


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"argv": []},
        {"argv": ["true"], "script": "true", "shell": True},
        {"script": "true"},
        {"argv": ["true"], "shell": True},
        {"argv": "true"},
        {"argv": ["true", True]},
        {"argv": ["a\0b"]},
        {"argv": ["true"], "ok_codes": []},
        {"argv": ["true"], "env": {"A-B": "x"}},
        {"argv": ["true"], "interrupted": "never"},
        {"argv": ["true"], "effect": "heals"},
        {"argv": ["true"], "host": "elsewhere"},
    ],
)
def test_wrong_inputs(written: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RunInputs.model_validate(written)


def test_a_probe_is_not_asked_before_the_program_may_have_run(look: Look) -> None:
    inputs = RunInputs.model_validate({"argv": ["true"], "probe": ["sh", "-c", "exit 9"]})
    assert Run().observe(look, None, inputs, SCOPE) == RunFacts(done=False)


@pytest.mark.parametrize(("code", "done"), [(0, True), (1, False)])
def test_a_probe_tells_what_remains(look: Look, code: int, done: bool) -> None:
    inputs = RunInputs.model_validate({"argv": ["true"], "probe": ["sh", "-c", f"exit {code}"]})
    facts = Run().observe(look, None, inputs, RESUMED)
    assert facts == RunFacts(done)
    assert len(Run().plan(None, inputs, facts, RESUMED)) == (0 if done else 1)


@pytest.mark.parametrize("probe", [["sh", "-c", "echo broken >&2; exit 2"], ["no-such-program-anywhere"]])
def test_a_probe_that_cannot_tell_leaves_it_to_a_person(look: Look, probe: list[str]) -> None:
    inputs = RunInputs.model_validate({"argv": ["true"], "probe": probe})
    with pytest.raises(Undecidable) as raised:
        Run().observe(look, None, inputs, RESUMED)
    assert "runbook resolve" in raised.value.problem.fix


def test_outputs(look: Look) -> None:
    inputs = RunInputs.model_validate({"argv": ["true"], "probe": ["true"]})
    ended: dict[str, Fields] = {"run": {"exit_code": 3, "stdout": "out", "stderr": "", "log": "logs/step.log"}}
    assert Run().verify(look, None, inputs, Done(RunFacts(False), ended)) == Exited(
        exit_code=3, stdout="out", log="logs/step.log"
    )
    assert Run().verify(look, None, inputs, Done(RunFacts(True), {})) == Exited(exit_code=None, stdout="", log="")
