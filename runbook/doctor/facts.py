"""Facts: what the doctor has read of this machine and of an environment's systems, before anything is judged.

Owns the frozen data between those who gather and those who judge. Pure. Sizes are bytes, -1 where one could not be told; instants
are aware; a :class:`~runbook.errors.Problem` is what whoever asked would have been told in a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from runbook.errors import Problem
from runbook.host import Host, Local

UNKNOWN = -1
HERE = "this machine"


class Filter(StrEnum):
    """What tarfile's extraction filter is like, as its own names tell: a distribution may have mended an old version."""

    ABSENT = "absent"
    HOLED = "holed"
    MENDED = "mended"


@dataclass(frozen=True, slots=True)
class Python:
    """The interpreter that runs runbook."""

    version: tuple[int, int, int]
    filter: Filter

    def __str__(self) -> str:
        return ".".join(map(str, self.version))


@dataclass(frozen=True, slots=True)
class Library:
    """An installed distribution; ``version`` is empty where it isn't."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Clock:
    """This machine's clock. ``stepped_s``: by how much wall time left monotonic time while it was looked; ``newest_run``: when the
    newest run began, by its name.
    """

    wall: datetime
    stepped_s: float = 0.0
    newest_run: datetime | None = None


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """Where runs are kept. ``problem`` is why a run could not be begun there. Not ``there``: it is made at the first run."""

    path: str
    there: bool
    mode: int
    owner: int
    writable: bool
    free_bytes: int
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class PlanFile:
    """A plan's file or directory, with its mode; ``sticky`` is of a directory in which everybody has only his own."""

    path: str
    mode: int
    sticky: bool


@dataclass(frozen=True, slots=True)
class Engine:
    """The Docker Engine that this process would use. ``there``: its socket exists; ``problem``: why it can't be used."""

    address: str
    there: bool
    answered: bool
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Need:
    """A program that steps need on a host. ``asked`` is what they call: a name, or a path in the systems' ``binaries``.

    ``systems`` are those for which it is called. Without ``steps`` no plan was given: then it is what most plans need.
    """

    host: Host
    asked: str
    systems: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The program's own name."""
        return self.asked.rpartition("/")[2]

    @property
    def where(self) -> str:
        """The host in words."""
        return place(self.host)

    @property
    def key(self) -> tuple[str, str]:
        """Where to find it among the programs."""
        return str(self.host), self.asked


def place(host: Host) -> str:
    """A host in words."""
    return HERE if isinstance(host, Local) else str(host)


@dataclass(frozen=True, slots=True)
class Program:
    """A program as found: ``path`` empty where there is none; ``aside``: not where it is called, but in a version's own folder."""

    path: str
    version: str = ""
    aside: bool = False


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """A PostgreSQL server. ``version`` as in ``server_version_num``; ``offset_s``: its clock less ours, known to ``slack_s``.

    ``database_bytes`` is 0 where the database isn't there; ``cluster_bytes`` are all databases'; ``free_bytes`` is what its disk
    has left.
    """

    version: int
    database: str
    database_there: bool
    superuser: bool
    database_bytes: int = UNKNOWN
    cluster_bytes: int = UNKNOWN
    data_directory: str = ""
    free_bytes: int = UNKNOWN
    offset_s: float = 0.0
    slack_s: float = 0.0

    @property
    def major(self) -> int:
        """15 for 150018."""
        return self.version // 10_000

    @property
    def minor(self) -> int:
        """18 for 150018."""
        return self.version % 10_000


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """A store. ``newest`` is its newest backup's name; ``mode`` is 0 for a bucket; ``writable`` is None where it can't be told."""

    there: bool
    writable: bool | None
    mode: int = 0
    free_bytes: int = UNKNOWN
    newest: str = ""
    newest_bytes: int = UNKNOWN


Detail: TypeAlias = ServerFacts | StoreFacts | None


@dataclass(frozen=True, slots=True)
class Seen:
    """A system that was asked. ``problem``: why there was no answer, else ``says`` is what it said in a few words.

    ``where`` is its host in words. ``elapsed_s`` is 0 for what wasn't asked over a line. ``changed``: steps of the given plans
    write to it.
    """

    system: str
    kind: str
    where: str = ""
    elapsed_s: float = 0.0
    says: str = ""
    problem: Problem | None = None
    detail: Detail = None
    changed: bool = False


@dataclass(frozen=True, slots=True)
class SecretFacts:
    """A secret that a system names: ``ref`` in words, never the value; ``problem`` is why it can't be read."""

    system: str
    ref: str
    problem: Problem | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything. ``programs`` by host and by what is called; ``silent``: hosts that could not be asked for programs.

    ``environment`` is empty where none was looked at; ``plans_given``: whether a plan said what is needed; ``misfits``: plans that
    their environment doesn't fit, which are left out.
    """

    python: Python
    libraries: tuple[Library, ...]
    user: int
    clock: Clock
    state: StateDirectory
    engine: Engine
    engine_needed: bool = False
    plans: tuple[PlanFile, ...] = ()
    plans_given: bool = False
    environment: str = ""
    misfits: tuple[tuple[str, Problem], ...] = ()
    needs: tuple[Need, ...] = ()
    programs: Mapping[tuple[str, str], Program] = field(default_factory=dict)
    silent: Mapping[str, Problem] = field(default_factory=dict)
    seen: tuple[Seen, ...] = ()
    secrets: tuple[SecretFacts, ...] = ()

    def servers(self) -> tuple[tuple[Seen, ServerFacts], ...]:
        """The PostgreSQL servers that answered."""
        return tuple((seen, seen.detail) for seen in self.seen if isinstance(seen.detail, ServerFacts))

    def stores(self) -> tuple[tuple[Seen, StoreFacts], ...]:
        """The stores that could be looked into."""
        return tuple((seen, seen.detail) for seen in self.seen if isinstance(seen.detail, StoreFacts))
