"""What a plan is, once it has been read: frozen, composed, with every fault of shape already refused.

Owns the nouns that graph, checks, engine, reports and runner share. Templates are still text here: ``render.py`` fills
them when their values are known. Promises: ids are unique; ``needs`` names existing steps; every mark points into a
source that is frozen with the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from runbook.errors import Place
from runbook.operation import Json


class OnFailure(StrEnum):
    """What a step's definite failure means for the run."""

    STOP = "stop"
    CONTINUE = "continue"


class Phase(StrEnum):
    """The part of an incident that a step belongs to."""

    DETECT = "detect"
    ISOLATE = "isolate"
    RESTORE = "restore"
    VERIFY = "verify"
    RESUME = "resume"


class Section(StrEnum):
    """Where in the plan a step stands, and so when it may run."""

    STEPS = "steps"
    ON_FAILURE = "on_failure_steps"
    FINALLY = "finally"


class Backoff(StrEnum):
    """How the pause between attempts grows."""

    CONSTANT = "constant"
    DOUBLING = "doubling"


@dataclass(frozen=True, slots=True)
class Retry:
    """``attempts`` in all (1 = no retry), ``delay_s`` before the next, at most ``longest_s``."""

    attempts: int = 1
    delay_s: float = 0.0
    backoff: Backoff = Backoff.CONSTANT
    longest_s: float = 300.0

    def pause_s(self, attempt: int) -> float:
        """Seconds to wait after the failure of ``attempt`` (from 1)."""
        grown = self.delay_s * 2 ** (attempt - 1) if self.backoff is Backoff.DOUBLING else self.delay_s
        return min(grown, self.longest_s)


@dataclass(frozen=True, slots=True)
class InputSpec:
    """A declared input. ``type`` is one of string, integer, number, boolean, datetime, duration, size, path, list.

    ``of`` is the element's type for a list. ``default`` is the checked value (JSON form), None where there is none.
    """

    name: str
    type: str
    of: str = "string"
    help: str = ""
    choices: tuple[Json, ...] = ()
    pattern: str = ""
    optional: bool = False
    has_default: bool = False
    default: Json = None
    where: Place | None = None


@dataclass(frozen=True, slots=True)
class Objectives:
    """Recovery time and recovery point objectives, in seconds; None where none is set."""

    rto_s: float | None = None
    rpo_s: float | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """The scope that a step's templates see: the plan's own, or that of an included plan.

    ``prefix`` is ``""`` for the plan itself, else ``recover_db.`` (nested: ``a.b.``). ``bindings`` are the inputs of an
    included plan as templates of the parent frame; ``systems`` maps its system names to the environment's. ``when`` is the
    including step's, in the parent frame: it guards every step of this frame. ``outputs`` are templates of this frame, and
    what ``{{ steps.recover_db.X }}`` gives in the parent's. ``title`` is the including step's.
    """

    prefix: str
    parent: str | None
    inputs: Mapping[str, InputSpec]
    bindings: Mapping[str, Json]
    systems: Mapping[str, str]
    when: str = ""
    outputs: Mapping[str, Json] = field(default_factory=dict)
    title: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One use of an action.

    ``id`` is whole (``recover_db.pick``, ``copy[a]``). ``with_`` is a JSON tree whose strings may be templates. ``needs``
    are the ids that must be done before, those of templates included. ``on`` is the environment's system name.
    ``item`` is the value of ``foreach``; ``group`` the id that the iterations share. ``foreach`` is set until the inputs are
    bound: then one step for each item takes this one's place. ``marks`` are places of values by dotted key (``with.artifact``).
    """

    id: str
    title: str
    uses: str
    frame: str = ""
    section: Section = Section.STEPS
    description: str = ""
    on: str = ""
    with_: Mapping[str, Json] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    when: str = ""
    timeout_s: float | None = None
    retry: Retry = Retry()
    confirm: str = ""
    releases: str = ""
    on_failure: OnFailure = OnFailure.STOP
    phase: Phase | None = None
    item: str | None = None
    group: str = ""
    where: Place | None = None
    marks: Mapping[str, Place] = field(default_factory=dict)
    foreach: Json = None


@dataclass(frozen=True, slots=True)
class Source:
    """A file that the plan was made of: its name as given, relative to the plan's root, and its exact bytes."""

    name: str
    text: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole procedure, included plans inlined. ``digest`` is over all sources' bytes, in order.

    ``outputs`` are templates. ``systems`` maps the plan's system names to their types. ``environment`` is the inline one, raw.
    ``groups`` are the ids of ``foreach`` iterations, in order, by the step's own id; filled when inputs are bound. ``marks``
    are places of values in the plan's own file by dotted key (``objectives.rto``).
    """

    name: str
    title: str
    description: str
    scenario: str
    digest: str
    sources: tuple[Source, ...]
    inputs: Mapping[str, InputSpec]
    systems: Mapping[str, str]
    steps: tuple[Step, ...]
    frames: Mapping[str, Frame]
    objectives: Objectives = Objectives()
    component_objectives: Mapping[str, Objectives] = field(default_factory=dict)
    outputs: Mapping[str, Json] = field(default_factory=dict)
    environment: Mapping[str, Json] | None = None
    schedule: str = ""
    notify: Mapping[str, Json] = field(default_factory=dict)
    contacts: Mapping[str, Json] = field(default_factory=dict)
    escalation: tuple[Json, ...] = ()
    review_by: str = ""
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    marks: Mapping[str, Place] = field(default_factory=dict)

    def step(self, step_id: str) -> Step:
        """The step with this id; KeyError where there is none."""
        return next(step for step in self.steps if step.id == step_id)

    def section(self, section: Section) -> tuple[Step, ...]:
        """The steps of one section, in the order in which they are written."""
        return tuple(step for step in self.steps if step.section is section)
