"""The contract of an action: questions that it answers, with data.

Owns :class:`Action`, what it is given (:class:`Look`, :class:`Scope`, :class:`Done`) and what it says (effect, interruption,
facts' roles, refusals). No action performs anything: it observes through :class:`Look`, and plans operations that the
runner performs. A new action is one class in one file below ``runbook/actions`` and its test.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Generic, Protocol, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict

from runbook import application
from runbook.errors import Problem, RunbookError
from runbook.host import Host
from runbook.operation import Connection, Fields, Json, Operations, Scalar, Statement
from runbook.secret import SecretRef
from runbook.system import Store, System


class Effect(StrEnum):
    """What an action does to the world, mildest first."""

    READS = "reads"
    CREATES = "creates"
    CHANGES = "changes"
    DESTROYS = "destroys"


class Interrupted(StrEnum):
    """What a resume may do with a step that was cut off."""

    OBSERVE = "observe"
    REPEATABLE = "repeatable"
    ASK = "ask"


class Role(StrEnum):
    """What a fact is for; see :func:`guard`, :func:`pinned`, :func:`current`."""

    GUARD = "guard"
    PINNED = "pinned"
    CURRENT = "current"


def guard() -> Any:
    """A fact that must not differ at apply or resume (identity, an artifact's hash): else exit 4, named."""
    return field(metadata={"role": Role.GUARD})


def pinned() -> Any:
    """A baseline that the work itself destroys: taken once, journalled, substituted from then on."""
    return field(metadata={"role": Role.PINNED})


def current() -> Any:
    """A fact that is read again each time and decides what remains."""
    return field(metadata={"role": Role.CURRENT})


class Inputs(BaseModel):
    """Base of an action's inputs: the fields of ``with``. A field typed as a system is written as that system's name."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, defer_build=True, hide_input_in_errors=True, arbitrary_types_allowed=True
    )


class Outputs(BaseModel):
    """Base of an action's outputs: what ``{{ steps.ID.FIELD }}`` gives."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class NoOutputs(Outputs):
    """Nothing to pass on."""


@dataclass(frozen=True, slots=True)
class NoFacts:
    """Nothing to observe."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Where and when an action is used. ``directory`` is the run's own, ``started_at`` the run's frozen time (UTC).

    ``systems``: all of the environment. ``held``: the pinned facts of the hold that this step releases. ``resumed``: operations of
    the step may have been performed, by an earlier executor or attempt, or before its closing round. ``ended``: then the results
    of those that ended well, in the order in which they were begun last: evidence for what the world can't tell, never instead.
    """

    run: str
    step: str
    started_at: datetime
    directory: str
    environment: str
    live: bool
    systems: Mapping[str, System]
    held: Mapping[str, Json] | None = None
    resumed: bool = False
    ended: Mapping[str, Fields] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        """A name for what this run makes: an SQL identifier and file name of at most 40 characters, unique to the run."""
        return "rb_" + re.sub(r"[^a-z0-9]+", "_", self.run.lower())[-36:].strip("_")

    @property
    def application(self) -> str:
        """The application name of this step's connections: ``runbook/RUN/STEP``, this step's alone."""
        return application.of_step(self.run, self.step)


F = TypeVar("F")
I = TypeVar("I", bound=Inputs)  # noqa: E741 - the contract's own letter
O = TypeVar("O", bound=Outputs)  # noqa: E741
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Done(Generic[F]):
    """What ``verify`` may rest on beside the world: the last facts (pinned ones as first taken) and the results by operation."""

    facts: F
    results: Mapping[str, Fields]


@dataclass(frozen=True, slots=True)
class Attempt(Generic[F]):
    """An attempt that did not end well: the last facts, the operations that it began, those that ended well, the problem's code."""

    facts: F
    begun: frozenset[str]
    succeeded: frozenset[str]
    code: str


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file or directory as seen: ``kind`` is ``file``, ``directory``, ``link`` or ``other``; ``bytes`` its size; mode bits."""

    path: str
    kind: str
    bytes: int
    modified: datetime
    mode: int
    owner: str
    device: int
    inode: int


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """A container as seen. ``state``: created, running, paused, exited, …; ``health``: healthy, unhealthy, starting or ''.

    ``mounts``: ``SOURCE:PATH`` each, no source: in memory. ``auto_remove``: gone once it stops. ``networks``: names.
    """

    id: str
    name: str
    project: str
    service: str
    state: str
    health: str
    image: str
    address: str
    exit_code: int
    mounts: tuple[str, ...]
    auto_remove: bool = False
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ran:
    """What an allowlisted read-only program gave."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response: status 0 if there was none, and then ``body`` says why."""

    status: int
    body: str
    elapsed_s: float


class Look(Protocol):
    """Bounded, allowlisted reads: all that an observer may do. Budget: 30 s and 64 KiB a call; more is an operation.

    Every method raises :class:`Unreachable` where the system could not be asked, which is never the same as "no".
    """

    def query(self, connection: Connection, statement: Statement) -> Sequence[Mapping[str, Scalar]]:
        """Rows of one SQL statement, run in a read-only transaction; at most 10,000."""

    def login(self, connection: Connection, password: SecretRef | None) -> bool:
        """Whether the server accepts this password for ``connection.user``; False only if it said no."""

    def file(self, host: Host, path: str) -> FileFacts | None:
        """The file, or None where it isn't; links are not followed.

        In a container that doesn't run, its owner, device and inode are not known: '' and 0.
        """

    def listing(self, host: Host, directory: str) -> tuple[FileFacts, ...]:
        """The directory's entries (one level), by name; empty where the directory isn't."""

    def text(self, host: Host, path: str, *, most_bytes: int = 64 * 1024) -> str | None:
        """A small text file whole, or None where it isn't. More than 64 KiB (at most 1 MiB) only of a file on this machine."""

    def objects(self, store: Store) -> tuple[FileFacts, ...]:
        """The objects right below a bucket store's prefix, by name, which is their ``path``; at most 100,000."""

    def object_text(self, store: Store, name: str) -> str | None:
        """A small object whole (64 KiB), or None where it isn't."""

    def head(self, host: Host, path: str, count: int) -> bytes:
        """The first ``count`` bytes (at most 4096) of a file, fewer where it is shorter; empty where it isn't."""

    def free_bytes(self, host: Host, path: str) -> int:
        """Space that an ordinary user may still fill on the file system of ``path`` (its nearest existing parent)."""

    def run(self, host: Host, argv: tuple[str, ...]) -> Ran:
        """A program of the read-only list (``pg_dump --version``, ``pg_restore --list``, ``pg_controldata``, …)."""

    def probe(self, host: Host, argv: tuple[str, ...]) -> Ran:
        """The user's own program that tells whether a step is done; trusted and shown. Asked only where ``Scope.resumed``."""

    def containers(self, host: Host, project: str) -> tuple[ContainerFacts, ...]:
        """The containers of a Compose project, stopped ones too, by service and number."""

    def container(self, host: Host) -> ContainerFacts | None:
        """The container that a Docker or Compose host names, or None."""

    def http(self, url: str, headers: Mapping[str, str | SecretRef], timeout_s: float) -> Answer:
        """A GET; redirects are not followed."""


class Unreachable(Exception):
    """A system could not be asked. Carries the problem to show."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.summary)
        self.problem = problem


class CheckFailed(RunbookError):
    """A check of the world failed (exit 1): the step fails, definitely."""


class Undecidable(Exception):
    """The world is in a state from which the action can't tell what remains: the step is unknown, and a person decides."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.summary)
        self.problem = problem


class Action(Generic[S, I, F, O]):
    """One kind of step. Subclass with ``Action[SystemModel, Inputs, Facts, Outputs]``; the docstring is its documentation.

    ``S`` is None for an action without ``on``. Its name is the file's (or folder's) and the class's: class ``RestoreToTime`` in
    ``actions/postgres/restore_to_time.py`` or ``actions/postgres.py`` is ``postgres.restore_to_time``. ``holds`` says that its
    effect has to last while other steps run, until one ``releases`` it; ``repair`` that it alters what would show the cause.

    May raise, from observe, plan or verify: :class:`CheckFailed` (exit 1), :class:`runbook.errors.Refused` (exit 4),
    :class:`Unreachable` (a failure while nothing was begun, else unknown), :class:`Undecidable`.
    """

    effect: ClassVar[Effect]
    interrupted: ClassVar[Interrupted] = Interrupted.OBSERVE
    rounds: ClassVar[int] = 1
    repair: ClassVar[bool] = False
    holds: ClassVar[bool] = False
    example: ClassVar[str] = ""
    verb: ClassVar[str] = "replaces"
    """What a destructive step does to what :meth:`replaces` names, for whoever confirms it."""
    needs_programs: ClassVar[tuple[str, ...]] = ()
    """What its steps call beside a POSIX shell and its tools, by name: what ``runbook doctor`` looks for."""

    system_type: ClassVar[type[System] | None]
    inputs_type: ClassVar[type[Inputs]]
    facts_type: ClassVar[type]
    outputs_type: ClassVar[type[Outputs]]
    name: ClassVar[str]

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        for base in getattr(cls, "__orig_bases__", ()):
            if get_origin(base) is Action:
                system, cls.inputs_type, cls.facts_type, cls.outputs_type = get_args(base)
                cls.system_type = None if system is type(None) else system
        if "name" not in cls.__dict__:
            cls.name = _name(cls.__module__, cls.__name__)

    def effect_of(self, inputs: I) -> Effect:
        """The effect with these inputs; the class's unless the inputs decide it."""
        return self.effect

    def interrupted_of(self, inputs: I) -> Interrupted:
        """What a resume may do with these inputs; the class's unless the inputs decide it."""
        return self.interrupted

    def programs_named(self, written: Mapping[str, Json]) -> tuple[tuple[Host, str], ...]:
        """Programs that the plan's author names, and where they run, as far as ``with`` tells before templates are rendered."""
        return ()

    def replaces(self, system: S, inputs: I) -> str:
        """The name of the database, volume or bucket that a destructive step replaces: what ``--confirm`` has to say."""
        return str(getattr(system, "database", "") or getattr(system, "key", ""))

    def tells(self, inputs: I) -> str:
        """What a person who has to confirm the step is told beside the plan's own words: a few lines, or none."""
        return ""

    def along(self, look: Look, system: S, inputs: I, scope: Scope) -> str:
        """What goes along with what :meth:`replaces` names, in a sentence, or ''. Read before it is confirmed, and in a dry-run."""
        return ""

    def observe(self, look: Look, system: S, inputs: I, scope: Scope) -> F:
        """Read the world: bounded, typed facts. Refuses what must not be begun."""
        raise TypeError(f"{self.name} does not observe")

    def assume(self, system: S, inputs: I, scope: Scope) -> F:
        """Facts that give the whole list, without looking: for ``plan --offline``."""
        raise TypeError(f"{self.name} does not assume")

    def plan(self, system: S, inputs: I, facts: F, scope: Scope) -> Operations:
        """What has to be done, as data. ``()`` = nothing remains."""
        raise TypeError(f"{self.name} does not plan")

    def expect(self, system: S, inputs: I, facts: F) -> O | None:
        """The outputs, where they are known before the operations run."""
        return None

    def foresee(self, system: S, inputs: I, facts: F, scope: Scope) -> O | None:
        """The outputs as far as they can be told beforehand, for dry-runs only; None = only their names.

        What isn't known yet is a :class:`runbook.placeholder.Placeholder`, in a field that is ``Foreseeable``.
        """
        return None

    def recovery(self, system: S, inputs: I, facts: F, scope: Scope) -> Operations:
        """Operations that only a resume may add to the approved ones."""
        return ()

    def retreat(self, system: S, inputs: I, attempt: Attempt[F], scope: Scope) -> Operations:
        """What an attempt that failed takes back at once, before it is said to have failed: short, harmless twice, and nothing
        but what it did itself and must not leave for the time until somebody goes on. After a definite failure they are
        performed; where the end isn't known they are shown to the person who decides.
        """
        return ()

    def verify(self, look: Look, system: S, inputs: I, done: Done[F]) -> O:
        """Reads: did it work? Gives the outputs."""
        raise TypeError(f"{self.name} does not verify")

    def undo(self, system: S, inputs: I, facts: F, scope: Scope) -> Operations | None:
        """The way back, or None where there is none."""
        return None


def roles(facts: object, role: Role) -> dict[str, Json]:
    """The fields of ``facts`` with that role, in their JSON form, for the journal and for comparison."""
    from runbook.operation import canonical

    named = fields(facts)  # type: ignore[arg-type]
    return {f.name: canonical(getattr(facts, f.name)) for f in named if f.metadata.get("role") == role}


def _name(module: str, name: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    parts = module.split(".")
    if "actions" not in parts:
        return words
    folder = parts[parts.index("actions") + 1 :]
    return words if folder[:1] == [words] else f"{folder[0]}.{words}" if folder else words
