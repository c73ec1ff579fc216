"""Where a run stands, and what can be done next.

Owns the text and the JSON of ``runbook show`` and the end of ``apply`` and ``resume``. Pure: a fold in, lines out. Promises: every
state that is not final names the next command, and says what it would do.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from runbook.engine.decide import open_holds
from runbook.engine.events import CONFIRM, StepApproved, StepWaiting
from runbook.engine.run import Run
from runbook.engine.step_run import StepRun
from runbook.engine.transitions import RunStatus, Status
from runbook.operation import Json
from runbook.paste import paste
from runbook.report import approvals, held, results
from runbook.report import ways as possible
from runbook.report.does import explained
from runbook.report.held import Hold
from runbook.report.known import NOTHING, Known
from runbook.report.story import Line, problem_lines
from runbook.report.ways import what_next
from runbook.revive import revive
from runbook.units import show_duration

__all__ = ["as_json", "as_lines", "ending", "steps_json", "what_next"]

_MARKS = {
    Status.PENDING: "·",
    Status.RUNNING: "▶",
    Status.WAITING: "…",
    Status.SUCCEEDED: "✓",
    Status.FAILED: "✗",
    Status.UNKNOWN: "?",
    Status.SKIPPED: "–",
    Status.CANCELLED: "–",
    Status.UNDONE: "↶",
}
_TONES = {Status.SUCCEEDED: "good", Status.FAILED: "bad", Status.UNKNOWN: "ask", Status.WAITING: "ask"}

_HALF = (Status.FAILED, Status.UNKNOWN, Status.PENDING, Status.CANCELLED)
_LASTING = frozenset({"E144", "E161", "E224", "E225"})
"""What a resume can't mend, since it has the plan and the inputs that the run began with."""

_STATUS_TONES = {
    RunStatus.RUNNING: "plain",
    RunStatus.WAITING: "ask",
    RunStatus.INTERRUPTED: "ask",
    RunStatus.UNKNOWN: "ask",
    RunStatus.FAILED: "bad",
    RunStatus.COMPLETED_WITH_FAILURES: "bad",
    RunStatus.SUCCEEDED: "good",
    RunStatus.ABANDONED: "dim",
}


def as_json(
    name: str, run: Run, status: RunStatus, holds: tuple[Hold, ...] = (), *, known: Known = NOTHING
) -> dict[str, Json]:
    """The object of ``show --json``. ``holds`` are told with what they stopped; ``known`` is what the commands' effects rest on."""
    return {
        "run": name,
        "plan": run.header.plan,
        "environment": run.header.environment,
        "live": run.header.live,
        "status": status.value,
        "operator": run.header.operator,
        "started_at": run.header.started_at,
        **_end_json(run),
        "steps": [_step_json(step, run) for step in run.graph.listed],
        "open_holds": [hold for hold, _ in open_holds(run)],
        "held": [held.as_json(hold) for hold in holds],
        "next": [line.text for line in what_next(name, run, status)],
        "ways": [possible.as_json(way) for way in explained(name, run, status, known)],
    }


def _end_json(run: Run) -> dict[str, Json]:
    """How the last execution ended, as ``run.finished`` has it (null where it has not), and what was kept and by which step."""
    end = run.finished
    told = ("duration_s", "exit_code", "rto", "rpo")
    kept: list[Json] = [{"name": name, "step": step} for step, name in _kept(run)]
    return {**{name: getattr(end, name) if end else None for name in told}, "kept": kept}


def steps_json(run: Run) -> list[Json]:
    """The steps as ``runs --json`` has them: how far each is."""
    return [_progress_json(step, run.step(step)) for step in run.graph.listed]


def _progress_json(step: str, state: StepRun) -> dict[str, Json]:
    return {
        "id": step,
        "status": state.status.value,
        "attempts": state.attempt,
        "duration_s": state.duration_s or None,
    }


def _step_json(step: str, run: Run) -> dict[str, Json]:
    state = run.step(step)
    return {
        **_progress_json(step, state),
        "problem": state.problem,
        "approvals": [approvals.as_json(one, run) for one in _given(state)],
    }


def as_lines(
    name: str,
    run: Run,
    status: RunStatus,
    doing: Mapping[str, str] = MappingProxyType({}),
    given: Mapping[str, Json] = MappingProxyType({}),
    holds: tuple[Hold, ...] = (),
    known: Known = NOTHING,
) -> tuple[Line, ...]:
    """The page of ``runbook show``. ``doing`` says of running steps what they do now; ``given`` are the plan's outputs; what the
    commands would do rests on ``known``.
    """
    header = run.header
    lines = [
        Line("▸", f"{name}: {header.plan} in {header.environment}{' (live)' if header.live else ''}"),
        Line(
            " ", f"{_stands(run, status)}; begun {header.started_at[:19]}Z by {header.operator}", _STATUS_TONES[status]
        ),
        Line(" ", ""),
    ]
    for step in run.graph.listed:
        state = run.step(step)
        spent = f"  {doing.get(step) or (show_duration(state.duration_s) if state.duration_s else '')}".rstrip()
        tries = f"  ({state.attempt} attempts)" if state.attempt > 1 and not _people(state) else ""
        title = run.graph.steps[step].title or step
        tone = _TONES.get(state.status, "plain" if state.status is Status.RUNNING else "dim")
        why = f"  ({state.reason})" if state.reason else ""
        mark = _MARKS[state.status]
        if state.status is Status.RUNNING and status is not RunStatus.RUNNING:
            found_out = "how it ended was not found out" if status.final else "a resume finds out how it ended"
            mark, tone, why = _MARKS[Status.UNKNOWN], "ask", f"  (begun; {found_out})"
        lines.append(Line(mark, f"{step}: {title}{spent}{tries}{why}", tone))
        if state.status in (Status.FAILED, Status.UNKNOWN):
            lines += problem_lines(state.problem)
        if state.status is Status.WAITING and state.question is not None:
            lines += _asked(state.question)
        lines += _approved(run, state)
        if state.status is Status.PENDING and (said := state.answer or state.consent) is not None:
            lines.append(Line("   ", f"answered by {said.claimed or said.by}; a resume goes on with it"))
    ways = possible.as_lines(explained(name, run, status, known))
    foot = (*results.as_lines(given), *ending(run, holds), *ways)
    return (*lines, Line(" ", ""), *foot) if foot else tuple(lines)


def _people(state: StepRun) -> bool:
    """Whether the step is one that people answer: that it was asked, and then gone on with, is no second attempt."""
    return state.question is not None and state.question.kind != CONFIRM


def _asked(question: StepWaiting) -> list[Line]:
    return [Line("   ", text) for text in question.instructions.strip().splitlines() if text.strip()]


def _approved(run: Run, state: StepRun) -> list[Line]:
    """Who approved the step, while it waits and ever after."""
    question = state.question
    given = _given(state)
    if question is None or not given:
        return []
    by = ", ".join(approvals.approver(one, applied_by=run.header.operator) for one in given)
    return [Line("   ", f"approved by {by}, {len(given)} of {question.needs}")]


def _given(state: StepRun) -> list[StepApproved]:
    subject = state.question.subject if state.question is not None else ""
    return [one for one in state.approvals if one.subject == subject]


def _stands(run: Run, status: RunStatus) -> str:
    finished = run.finished
    if status is RunStatus.WAITING and not run.waiting:
        return f"{status.value} for a resume: all is answered"
    if status is RunStatus.UNKNOWN and not run.unknown:
        return "stopped: nothing is unknown any more"
    if finished is None or status is RunStatus.RUNNING:
        return status.value
    reason = f" ({finished.reason}; by {finished.by})" if finished.reason else ""
    return f"{status.value}{reason} after {show_duration(finished.duration_s)}"


def ending(run: Run, holds: tuple[Hold, ...] = ()) -> tuple[Line, ...]:
    """What was kept and where, what was left half-done, what is held, and the objectives."""
    kept = [Line("⚑", f"kept: {name} ({step}); remove it when nobody needs it any more") for step, name in _kept(run)]
    lines = [*kept, *_half_done(run), *held.as_lines(holds)]
    finished = run.finished
    if finished is not None:  # without an objective the time is the run's duration, which is told already
        lines += _objective("recovery time", finished.rto) if _target(finished.rto) is not None else []
        lines += _objective("recovery point", finished.rpo)
    return tuple(lines)


def _kept(run: Run) -> list[tuple[str, str]]:
    """The steps that kept something, each with its name."""
    given = ((step, outputs.get("kept_as")) for step, outputs in sorted(run.outputs.items()))
    return [(step, name) for step, name in given if isinstance(name, str) and name]


def _half_done(run: Run) -> list[Line]:
    """What steps that did not end well had done by then, the last of it as it was done: a resume goes on from there.

    Those among them that a resume put back and did not come to: what they left is left.
    """
    lines: list[Line] = []
    for step in run.graph.listed:
        state = run.step(step)
        if state.status not in _HALF or _given_back(run, step):
            continue
        ended = {
            name: operation
            for name, operation in state.operations.items()
            if operation.form is not None and operation.finished and operation.finished.outcome == "succeeded"
        }
        back = [name for name, operation in ended.items() if operation.id.startswith(f"{step}~back/")]
        done = [name for name in ended if name not in back]
        if done:
            names = ", ".join(done)
            told = f"done: {names}; taken back: {', '.join(back)}" if back else f"done and not undone: {names}"
            lines.append(Line("⚑", f"{step} stopped half-way; {told}", "ask"))
            lines += [Line("   ", f"last: {text}") for text in paste(revive(ended[done[-1]].form)).splitlines()[:3]]
    return lines


def _given_back(run: Run, hold: str) -> bool:
    """Whether what a hold had taken by its failure was released since."""
    release = run.graph.releases().get(hold)
    return release is not None and run.step(release).status is Status.SUCCEEDED


def _target(measured: Json) -> Json:
    return measured.get("target_s") if isinstance(measured, dict) else None


def _objective(name: str, measured: Json) -> list[Line]:
    if not isinstance(measured, dict):
        return []
    actual, target = measured.get("actual_s"), _target(measured)
    if not isinstance(actual, int | float):
        return []
    if not isinstance(target, int | float):
        return [Line("◷", f"{name} {show_duration(actual)} (no objective)")]
    met = bool(measured.get("met"))
    text = f"{name} {show_duration(actual)} of {show_duration(target)}: {'met' if met else 'MISSED'}"
    return [Line("◷", text, "good" if met else "bad")]
