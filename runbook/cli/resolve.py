"""``runbook resolve``: a person says how a step ended whose outcome can't be known."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from runbook.cli import options

if TYPE_CHECKING:
    from runbook.action import Outputs
    from runbook.cli.word import Word
    from runbook.operation import Fields, Json
    from runbook.runner.setting import Setting
    from runbook.transports.world import World


@click.command()
@options.run()
@click.argument("step")
@click.option("--as", "outcome", type=click.Choice(["done", "not-done"]), required=True, help="How it ended.")
@click.option("--reason", required=True, help="How you know; it is recorded.")
@click.option(
    "--output", "given", multiple=True, metavar="NAME=VALUE", help="An output of the step, for those after it."
)
@click.option("--unverified", is_flag=True, help="Don't look at the world; take my word.")
@options.state
@options.color
def command(
    run: str,
    step: str,
    outcome: str,
    reason: str,
    given: tuple[str, ...],
    unverified: bool,
    state: str,
    no_color: bool,
) -> None:
    """Say how STEP of RUN ended. `done` is verified, and gives the step's outputs; `not-done` lets a resume run it again."""
    from runbook.cli.opening import parse_inputs
    from runbook.cli.screen import Screen
    from runbook.cli.who import operator
    from runbook.cli.word import open_word
    from runbook.engine.events import StepResolved
    from runbook.engine.transitions import Status
    from runbook.errors import Problem, UsageFault
    from runbook.report.story import Line

    said = parse_inputs(given, "")
    if outcome == "not-done" and said:
        fix = "leave --output out; or, if it is done, --as done"
        raise UsageFault(Problem("E269", "a step that isn't done has no outputs", f"--output {given[0]}", fix))
    with open_word(options.state_directory(state), run) as word:
        word.step(step, Status.UNKNOWN)
        found: Mapping[str, Json] = {}
        if outcome == "done":
            found = outputs(word, step, said, unverified=unverified)
        word.say(StepResolved(step, outcome, operator(), reason.strip(), dict(found)))
        told = "taken as done" if outcome == "done" else "taken as not done: a resume runs it again"
        word.close(Screen.of(no_color=no_color), Line("✓", f"{step}: {told}", "good"))


def outputs(word: Word, step: str, said: Mapping[str, Json], *, unverified: bool) -> Mapping[str, Json]:
    """The outputs of a step that is taken as done: as its verification gives them, under what the person says.

    :class:`runbook.errors.Refused` where the verification says no or can't be made and nobody gave outputs in its place.
    """
    from runbook.catalogue import CATALOGUE
    from runbook.errors import Problem, UsageFault

    action = CATALOGUE[word.graph.steps[step].uses]
    model = action.outputs_type
    unknown = [name for name in said if name not in model.model_fields]
    if unknown:
        known = ", ".join(model.model_fields) or "it has none"
        fix = f"runbook actions {action.name}    # its outputs, and what each one is"
        raise UsageFault(Problem("E270", "the step has no such output", f"{', '.join(unknown)}; it has: {known}", fix))
    seen: Mapping[str, Json] = {}
    if not unverified:
        seen = _verified(word, step, insisting=bool(said))
    return usable(model, {**seen, **said})


def usable(model: type[Outputs], found: Mapping[str, Json]) -> Mapping[str, Json]:
    """The outputs, each of its type. :class:`runbook.errors.UsageFault` with everything that is wrong."""
    from pydantic import ValidationError

    from runbook.errors import Problem, UsageFault
    from runbook.units import parse_instant

    try:
        outputs: dict[str, Json] = model.model_validate(dict(found), strict=False).model_dump(mode="json")
    except ValidationError as error:
        wrong = "\n".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        needed = " ".join(f"--output {name}=…" for name, field in model.model_fields.items() if field.is_required())
        raise UsageFault(Problem("E271", "an output is missing or can't be used", wrong, needed)) from None
    point = outputs.get("recovery_point")
    try:
        if isinstance(point, str):
            parse_instant(point)  # what the run's end is measured by
    except ValueError as refusal:
        detail, again = f"recovery_point: {refusal}", "--output recovery_point=2026-02-14T12:00:00Z"
        raise UsageFault(Problem("E271", "an output is missing or can't be used", detail, again)) from None
    return outputs


def _verified(word: Word, step: str, *, insisting: bool) -> Mapping[str, Json]:
    """What the step's own verification gives; nothing where it says no and the person gave outputs themselves."""
    from runbook.action import CheckFailed, Undecidable, Unreachable
    from runbook.errors import InvalidInput, Problem, Refused
    from runbook.plan.render import MissingOutput

    try:
        return _verify(word, step)
    except (CheckFailed, Refused, InvalidInput, MissingOutput) as error:
        why = error.problems[0]
    except (Undecidable, Unreachable) as state:
        why = state.problem
    if insisting:
        return {}
    detail = f"{step}: {why.code}: {why.summary}\n{why.detail}".strip()
    fix = "--as not-done; or, if you know better, --unverified or the outputs as --output NAME=VALUE"
    raise Refused(Problem("E415", "the world doesn't show that the step is done", detail, fix))


def _verify(word: Word, step: str) -> Mapping[str, Json]:
    """Observe and verify, as the engine does at a step's end. Reads only."""
    from runbook.action import Done
    from runbook.cli.discreet import redactor
    from runbook.engine.outcome import outcome
    from runbook.plan.model import Section
    from runbook.runner.execution import public_texts
    from runbook.runner.prepare import NotNeeded, prepare, values
    from runbook.runner.step import pinned_as
    from runbook.transports.world import World

    state = word.state.step(step)
    spec = word.graph.steps[step]
    with tempfile.TemporaryDirectory(prefix="runbook-resolve-") as place:
        redactor().disclose(*public_texts(word.order))
        world = World(Path(place), run=word.run.run, redactor=redactor())
        try:
            setting = _setting(word, world)
            held = dict(word.state.step(spec.releases).pinned) if spec.releases else None
            ended = None if spec.section is Section.STEPS else outcome(word.state)
            prepared = prepare(setting, spec, values(setting, word.state.outputs, ended=ended), held=held, resumed=True)
            if isinstance(prepared, NotNeeded):
                return {}
            action, system, inputs = prepared.action, prepared.system, prepared.inputs
            facts = pinned_as(action.observe(world.look, system, inputs, prepared.scope), state.pinned)
            results: dict[str, Fields] = {}
            for name, operation in state.operations.items():
                if operation.finished is not None and operation.finished.outcome == "succeeded":
                    results[name] = cast("Fields", operation.finished.fields)  # what operations give are scalars
                    results |= cast("Mapping[str, Fields]", operation.finished.inner)
            found = action.verify(world.look, system, inputs, Done(facts, results))
            return dict(found.model_dump(mode="json"))
        finally:
            world.close()


def _setting(word: Word, world: World) -> Setting:
    import time

    from runbook.catalogue import CATALOGUE
    from runbook.cli.who import operator
    from runbook.journal.clock import SystemClock
    from runbook.runner.setting import Setting

    return Setting(
        plan=word.order.plan,
        graph=word.graph,
        environment=word.order.environment,
        inputs=word.order.inputs,
        actions=CATALOGUE,
        performer=world,
        look=world.look,
        clock=SystemClock(),
        sleep=time.sleep,
        directory=str(word.run.path),
        run=word.run.run,
        started_at=word.state.header.started_at,
        operator=operator(),
        ask=lambda _step, _question: None,
        progress=lambda _step, _operation, _progress: None,
    )
