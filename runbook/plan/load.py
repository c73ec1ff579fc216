"""Loading: a plan's text, and that of the plans it includes, to one frozen :class:`Plan`.

Owns the order of the checks: structure, shape, composition, names, order. Promises: all faults are reported at once, by
file and position; a plan that comes out has unique ids, existing predecessors and no circle. Nothing is read but through
the reader.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from runbook.errors import InvalidInput, Place, Problem, suggest
from runbook.operation import Json
from runbook.plan.codes import orderly, problem
from runbook.plan.compose import Composer, Level
from runbook.plan.environment import read_inline
from runbook.plan.file import FrozenReader, PlanFile, Reader, digest_of, marks_below, read_plan_file, source_of
from runbook.plan.model import Objectives, Plan, Section, Step
from runbook.plan.shape import PlanShape, TargetShape
from runbook.plan.steps import StepBuilder
from runbook.plan.yaml import collection_paused
from runbook.units import parse_duration

__all__ = ["FrozenReader", "Reader", "examine_plan", "load_plan"]


def load_plan(name: str, reader: Reader) -> Plan:
    """The plan in the file of that name, included plans inlined; ``foreach`` waits until inputs are bound.

    :class:`InvalidInput` with every fault that was found.
    """
    plan, problems = examine_plan(name, reader)
    if plan is None or problems:
        raise InvalidInput(*problems)
    return plan


def examine_plan(name: str, reader: Reader) -> tuple[Plan | None, tuple[Problem, ...]]:
    """The plan as far as it can be made out, and every fault, for checks that go on looking. Nothing that has faults may be run."""
    problems: list[Problem] = []
    with collection_paused():
        plan = _examine(name, reader, problems)
    return plan, orderly(problems)


def _examine(name: str, reader: Reader, problems: list[Problem]) -> Plan | None:
    file = read_plan_file(name, reader, problems)
    if file is None:
        return None
    composer = Composer(reader, problems)
    level = composer.lay_out(file)
    sections = StepBuilder(problems).build(level)
    steps = [step for section in Section for step in sections[section]]
    problems.extend(_circle(steps))
    problems.extend(_people(file))
    if file.shape.environment is not None:
        read_inline(_set(file.shape.environment), file.marks, problems, default_name=file.shape.name)
    return _plan(file, composer, level, steps)


def _plan(file: PlanFile, composer: Composer, level: Level, steps: Iterable[Step]) -> Plan:
    shape = file.shape
    sources = tuple(source_of(each.marks.text) for each in composer.files.values() if each is not None)
    return Plan(
        name=shape.name,
        title=shape.title or shape.name,
        description=shape.description,
        scenario=shape.scenario,
        digest=digest_of(sources),
        sources=sources,
        inputs=file.inputs,
        systems=shape.systems,
        steps=tuple(steps),
        frames={each.prefix: each.frame for each in composer.levels},
        objectives=_objectives(shape.objectives),
        component_objectives={key: _objectives(each) for key, each in shape.objectives.components.items()},
        outputs=level.frame.outputs,
        environment=shape.environment,  # type: ignore[arg-type]
        schedule=shape.schedule or "",
        notify=_set(shape.notify.model_dump(exclude_unset=True)),
        contacts={key: _set(contact.model_dump(exclude_unset=True)) for key, contact in shape.contacts.items()},
        escalation=tuple(_set(each.model_dump(exclude_unset=True)) for each in shape.escalation),
        review_by=shape.review_by or "",
        marks=marks_below(file.marks, (), PlanShape.model_fields),
    )


def _set(values: Mapping[str, object]) -> dict[str, Json]:
    return dict(values)  # type: ignore[arg-type]


def _objectives(shape: TargetShape) -> Objectives:
    return Objectives(
        rto_s=parse_duration(shape.rto) if shape.rto else None, rpo_s=parse_duration(shape.rpo) if shape.rpo else None
    )


def _circle(steps: Iterable[Step]) -> Iterable[Problem]:
    """The first circle of steps that wait for each other, as a path with its lines."""
    from graphlib import CycleError, TopologicalSorter

    named = {step.id: step for step in steps}
    sorter: TopologicalSorter[str] = TopologicalSorter({step.id: step.needs for step in named.values()})
    try:
        sorter.prepare()
    except CycleError as fault:
        path: list[str] = fault.args[1]
        start = path.index(min(path[:-1], key=lambda step: list(named).index(step)))
        path = [*path[start:-1], *path[:start], path[start]]
        lines = [f"{each} (line {_line(named[each].where)})" for each in path]
        detail = f"{' → '.join(lines)}: each has to be done before the next."
        yield problem("E132", detail, fix="break the circle with `needs:`", where=named[path[0]].where)


def _line(where: Place | None) -> int:
    return where.line if where else 0


def _people(file: PlanFile) -> Iterable[Problem]:
    """Contacts and channels that escalation and notifications name and that aren't there."""
    shape = file.shape
    channels = [name for name, kind in shape.systems.items() if kind == "channel"]
    everyone = [*shape.contacts, *channels]
    for number, level in enumerate(shape.escalation):
        yield from _unknown(file, level.to, everyone, ("escalation", number, "to"))
    for event in shape.notify.model_fields_set:
        yield from _unknown(file, getattr(shape.notify, event), channels, ("notify", event))


def _unknown(file: PlanFile, names: list[str], known: list[str], path: tuple[str | int, ...]) -> Iterable[Problem]:
    for number, name in enumerate(names):
        if name not in known:
            fix = suggest(name, known) or (f"known: {', '.join(known)}" if known else "declare it first")
            yield problem("E137", fix=fix, where=file.marks.value((*path, number)), name=name)
