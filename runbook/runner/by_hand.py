"""What a run still holds, with what its releases would do: for a person who does it by hand, since the run won't any more.

Owns :func:`holds`. Promises: nothing is looked at and nothing is performed; the commands are the release's own operations, made by
the code that a run uses, for exactly what the hold had found; where they can't be told, there are none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from runbook.action import Undecidable, Unreachable
from runbook.actions.compose.project import held_members, services_of
from runbook.engine.decide import open_holds
from runbook.engine.run import Run
from runbook.errors import Refused, RunbookError
from runbook.host import LOCAL, Host
from runbook.operation import Json, Operation, Wait
from runbook.paste import paste
from runbook.plan.model import Step
from runbook.report.held import Hold
from runbook.runner.execution import Order
from runbook.runner.prepare import NotNeeded, prepare_ahead, values
from runbook.runner.setting import AnyAction, Setting
from runbook.system import ComposeProject, System


def holds(name: str, order: Order, run: Run, actions: Mapping[str, AnyAction], *, over: bool) -> tuple[Hold, ...]:
    """The holds of a run in which something was done; ``over``: nobody goes on with it any more."""
    return tuple(
        _hold(name, order, run, actions, hold=hold, release=release, over=over)
        for hold, release in open_holds(run)
        if run.step(hold).touched
    )


def _hold(
    name: str, order: Order, run: Run, actions: Mapping[str, AnyAction], *, hold: str, release: str, over: bool
) -> Hold:
    step = run.graph.steps[hold]
    system = order.environment.systems.get(step.on)
    commands: tuple[str, ...] = ()
    if over:
        setting = _setting(name, order, run, actions)
        found = _operations(setting, run.graph.steps[release], run.outputs, dict(run.step(hold).pinned))
        commands = tuple(paste(one) for one in found if not one.reads and not isinstance(one, Wait))
    return Hold(
        step=hold,
        title=step.title or hold,
        release=release,
        what=_stopped(run.step(hold).pinned) if isinstance(system, ComposeProject) else (),
        where=_where(system),
        commands=commands,
        over=over,
    )


def _stopped(pinned: Mapping[str, Json]) -> tuple[str, ...]:
    try:
        return services_of(held_members(pinned))
    except Refused:
        return ()


def _where(system: System | None) -> str:
    if system is None:
        return ""
    host: Host = getattr(system, "host", LOCAL)
    machine = "this machine" if host == LOCAL else str(host)
    if isinstance(system, ComposeProject):
        return f"Compose project {system.project}, {machine}"
    return f"{system.key}, {machine}"


def _operations(
    setting: Setting, step: Step, outputs: Mapping[str, Mapping[str, Json]], held: Mapping[str, Json]
) -> Iterator[Operation]:
    """What the release does where all that the hold took is still as the hold left it; whether its ``when`` wants that or not."""
    try:
        sketch = prepare_ahead(setting, replace(step, when=""), values(setting, outputs), held=held)
        if isinstance(sketch, NotNeeded) or sketch.prepared is None:
            return
        ready = sketch.prepared
        facts = ready.action.assume(ready.system, ready.inputs, ready.scope)
        yield from ready.action.plan(ready.system, ready.inputs, facts, ready.scope)
    except (RunbookError, Unreachable, Undecidable):
        return


def _setting(name: str, order: Order, run: Run, actions: Mapping[str, AnyAction]) -> Setting:
    """Surroundings for preparing and planning alone: there is no world in them."""
    nobody: Any = None
    return Setting(
        plan=order.plan,
        graph=run.graph,
        environment=order.environment,
        inputs=order.inputs,
        actions=actions,
        performer=nobody,
        look=nobody,
        clock=nobody,
        sleep=lambda _seconds: None,
        directory="",
        run=name,
        started_at=run.header.started_at,
        operator=run.header.operator,
        ask=lambda _step, _question: None,
        progress=lambda _step, _operation, _progress: None,
    )
