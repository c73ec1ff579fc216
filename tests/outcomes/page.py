"""docs/outcomes.md, made of the cases."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import groupby

from runbook.engine.run import Run
from runbook.engine.transitions import RunStatus
from runbook.runner.ending import exit_code
from tests.outcomes.case import Case, Group, Refusal
from tests.outcomes.cases import CASES, GROUPS, REFUSALS
from tests.outcomes.play import Played, play
from tests.runner.memory_run import RUN

HEAD = """\
# What happens when not all goes well

How a run ends, case by case: what each step is then, what the run is, and the exit code. *{count} cases*, each a plan that is
loaded and run by `tests/outcomes/`, where every page that `runbook show` prints of it is compared word for word; this page is
written by `python -m tests.outcomes`.

Steps stand in the order of the plan. Where two exit codes stand, the second is that of the resume. *Held* are holds in force at
the end: what they stopped stays stopped. *The same* is the case in the line above.

| status of the run | exit code | a resume follows |
| --- | --- | --- |
{statuses}
"""
SAYS = """\
Where the run stands, what is left, and what each command would do now. What a resume would do is asked of the engine: it is what
it does if all goes well from here. `show --json` has the same as `ways`: of each its `kind` (`answer`, `resolve`, `resume`, `skip`,
`abandon`, `follow`), the `step` that it is about, the `command`, `why` one would give it, and what it `does`, a line each.
"""
SHOWN = ("held-inside-failed", "unknown-resolved-done", "held-inside-failed-abandoned")
"""Cases whose pages are shown whole."""
MEANS = {
    RunStatus.SUCCEEDED: "0, or 8 where an objective was missed",
    RunStatus.FAILED: "1, or 4 where nothing but guards refused",
}


@cache
def once(name: str) -> Played:
    """A case as it went, carried out once."""
    return play(CASES[name])


def page() -> str:
    """The whole page."""
    parts = [HEAD.format(count=len(CASES) + len(REFUSALS), statuses="\n".join(_statuses()))]
    parts += ["\n".join(_group(group)) for group in GROUPS]
    parts.append("\n".join(_shown()))
    return "\n".join(parts)


def _statuses() -> Iterator[str]:
    run = once("held-and-released").state
    for status in RunStatus:
        if status is not RunStatus.RUNNING:
            yield f"| `{status}` | {_means(run, status)} | {'no' if status.final else 'yes'} |"


def _means(run: Run, status: RunStatus) -> str:
    return MEANS.get(status) or str(int(exit_code(run, status)))


def _group(group: Group) -> Iterator[str]:
    yield f"## {group.title}\n"
    yield from (f"- {rule}" for rule in group.rules)
    yield "\n| what happens | steps at the end | the run | exit code | held |"
    yield "| --- | --- | --- | --- | --- |"
    for case in group.cases.values():
        yield _refused(case) if isinstance(case, Refusal) else _row(case)
    yield ""


def _refused(case: Refusal) -> str:
    return f"| {case.says} | | nothing runs: {', '.join(case.problems)} | 3 | |"


def _row(case: Case) -> str:
    codes = ", then ".join("killed" if code is None else str(code) for code in case.codes)
    held = ", ".join(f"`{hold}`" for hold in case.held.split())
    return f"| {case.says} | {_steps(case.ends)} | {case.status} | {codes} | {held} |"


def _steps(ends: str) -> str:
    pairs = [pair.split(" ") for pair in ends.split(", ")]
    told = groupby(pairs, key=lambda pair: pair[1])
    return "; ".join(f"{', '.join(f'`{step}`' for step, _ in some)} {status}" for status, some in told)


def _shown() -> Iterator[str]:
    yield "## What `runbook show` says\n"
    yield f"{SAYS}\n"
    for name in SHOWN:
        yield f"{CASES[name].says}:\n\n```text"
        yield "\n\n\n".join(stop.page.replace(RUN, "RUN").rstrip() for stop in once(name).stops)
        yield "```\n"
