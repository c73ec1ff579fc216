"""What a resume puts back: steps that are tried again, and holds that have to be taken again before what is inside them.

Owns :func:`put_back`, :func:`wholly_again` and :func:`satisfies`: a part of the fold in ``run.py``. Promises: what succeeded
stays done, but for holds and their releases round a step that has still to run, and for the steps of a run's end, which comes
once more where steps before it have still to run, or it told of a failure that may be over by then.
"""

from __future__ import annotations

from rpds import HashTrieMap

from runbook.engine.step_run import OperationRun, StepRun
from runbook.engine.transitions import Status
from runbook.graph import Graph
from runbook.plan.model import OnFailure, Section, Step

_AGAIN = {
    Status.RUNNING: Status.UNKNOWN,
    Status.FAILED: Status.PENDING,
    Status.CANCELLED: Status.PENDING,
}
_OVER = (Status.SUCCEEDED, Status.SKIPPED)


def put_back(graph: Graph, steps: HashTrieMap[str, StepRun]) -> HashTrieMap[str, StepRun]:
    """The steps as a new executor finds them: what ran is unknown; what failed or was cancelled is tried again."""
    for step in graph.section(Section.STEPS):
        steps = _put_back(graph.steps[step], steps, ends=False)
    of_the_end = (*graph.section(Section.ON_FAILURE), *graph.section(Section.FINALLY))
    failed = any(steps[step].status is Status.FAILED for step in of_the_end)
    ends = not failed and all(satisfies(graph, steps, step) for step in graph.section(Section.STEPS))
    for step in of_the_end:
        steps = _put_back(graph.steps[step], steps, ends=ends)
    return _holds_again(graph, steps)


def _put_back(spec: Step, steps: HashTrieMap[str, StepRun], *, ends: bool) -> HashTrieMap[str, StepRun]:
    """``ends``: the run's end was cut off, and nothing is left to do before it, so that what is done of it stays done."""
    step, state = spec.id, steps[spec.id]
    again = _AGAIN.get(state.status, state.status)
    if state.status is Status.FAILED and spec.on_failure is OnFailure.CONTINUE and not _broken_off(spec, state):
        again = Status.FAILED
    if spec.section is not Section.STEPS and state.status is not Status.RUNNING:
        stays = state.status in (Status.UNKNOWN, Status.WAITING) or _skipped_by_hand(state)
        stays = stays or (ends and state.status in _OVER)
        again = state.status if stays else Status.PENDING
    if again is not state.status:
        before = wholly_again(state) if state.status in _OVER else state
        # why it did not begin says nothing of what comes now
        told = "" if again is Status.PENDING else before.reason
        steps = steps.insert(step, before._replace(status=again, tries=0, reason=told))
    if spec.section is not Section.STEPS and state.attempt and again in (Status.UNKNOWN, Status.PENDING):
        # what it was about to do may have told how the run ended, or released what was stopped by then: that may be more by now
        steps = steps.insert(step, steps[step]._replace(renewed=True))
    return steps


def _broken_off(spec: Step, state: StepRun) -> bool:
    """Whether a stop kept the step from further attempts that it should have had: nothing began after its failure."""
    return not state.refused and 0 < state.tries < spec.retry.attempts


def _skipped_by_hand(state: StepRun) -> bool:
    """Whether a person said that the step isn't needed, which they need not say again."""
    return state.status is Status.SKIPPED and bool(state.skipped_by)


def _holds_again(graph: Graph, steps: HashTrieMap[str, StepRun]) -> HashTrieMap[str, StepRun]:
    """Put a hold and its release back where it, or a step inside, has still to run: it may have been released, or lost.

    A hold that is put back may itself stand inside another one, so this goes on until nothing more is (at most once a hold).
    """
    pairs = {(hold, release): graph.inside(hold, release) for hold, release in graph.releases().items()}
    while pairs:
        wanted = {
            (hold, release)
            for (hold, release), inside in pairs.items()
            if any(not satisfies(graph, steps, within) for within in (hold, *inside))
        }
        if not wanted:
            break
        for step in (step for pair in wanted for step in pair):
            over = steps[step].status in (*_OVER, Status.PENDING)
            if over and not steps[step].skipped_by:
                steps = steps.insert(step, wholly_again(steps[step]))
        pairs = {pair: inside for pair, inside in pairs.items() if pair not in wanted}
    return steps


def wholly_again(step: StepRun) -> StepRun:
    """The step as one that has all before it, but for its baselines and guards: the world may want other operations by then."""
    return step._replace(
        status=Status.PENDING, tries=0, operations=left_open(step), earlier={}, renewed=True, reason=""
    )


def left_open(step: StepRun) -> dict[str, OperationRun]:
    """What of a step may still move: changing operations whose end nobody heard of, as when a failure could not be taken back.

    The next attempt, which is a new one, fences them before anything else.
    """
    known = step.operations.items()
    return {name: one for name, one in known if one.finished is None and one.form is not None}


def satisfies(graph: Graph, steps: HashTrieMap[str, StepRun], step: str) -> bool:
    """Whether nothing of the step is left to do, nor keeps its successors from beginning."""
    state = steps[step]
    spec = graph.steps[step]
    if state.status is Status.FAILED:
        return spec.on_failure is OnFailure.CONTINUE or spec.section is Section.FINALLY
    return state.status in _OVER
