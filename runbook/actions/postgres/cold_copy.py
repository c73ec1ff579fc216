"""A copy of a stopped cluster's files, taken before anybody tries to mend it: the evidence, and the way back."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from pydantic import Field

import runbook
from runbook.action import Action, Done, Effect, Inputs, Look, Outputs, Scope, current, guard
from runbook.actions.backup.foreseen import foreseen
from runbook.actions.backup.layout import (
    DATA,
    MANIFEST,
    SUMS,
    Layout,
    Present,
    hashed_tree,
    layout,
    maker,
    present,
    published,
    published_artifact,
    swept,
    tree_bytes,
)
from runbook.actions.postgres import cluster
from runbook.actions.postgres.cluster import Server
from runbook.actions.postgres.copyable import full, unfit
from runbook.actions.postgres.elsewhere import refuse_elsewhere
from runbook.actions.postgres.instance import CONTROL, is_contained
from runbook.artifact import Artifact, Format
from runbook.errors import Problem, Refused
from runbook.host import Compose, Docker, Host
from runbook.operation import (
    Call,
    Condition,
    Document,
    Operation,
    Operations,
    Pipeline,
    Process,
    Ref,
    Service,
    Stage,
    Test,
    Wait,
    Write,
)
from runbook.placeholder import Foreseeable
from runbook.system import Postgres, Store

_NOW = 'printf %s "$(date -u +%Y-%m-%dT%H:%M:%S.%6NZ)"'
_IDENTIFIER = 'printf %s $(od -A n -v -t u8 -N 8 "$1")'
_VERSION = 'IFS=. read -r major rest < "$1"; printf %s "${major}0000"'
_IDENTIFIER_OF_TAR = "printf %s $(od -A n -v -t u8 -N 8); cat > /dev/null"
_VERSION_OF_TAR = 'IFS=. read -r major rest; printf %s "${major}0000"; cat > /dev/null'
"""A reader that leaves early would break the pipe."""
_COMPARED = 'sha256sum --check --strict --quiet -- "$1" >&2'
"""Its failures name the files, on the standard output; a failure here is told with the other one."""
_WHOLE = r"""
/^l/ && (/\/pg_tblspc\// || /\/pg_wal ->/) { print "it lies elsewhere, and is not in the copy: " $0 > "/dev/stderr"; bad = 1 }
/\/global\/pg_control$/ { control = 1 }
END { if (!control) { print "there is no control file in it" > "/dev/stderr"; bad = 1 } exit bad }"""


class ColdCopyInputs(Inputs):
    """Where the copy goes, and of what it is made."""

    to: Store = Field(description="The store that takes the copy; best on another disk")
    name: str = Field(default="cold-{timestamp}", description="Its name; {timestamp} is the run's start, in UTC")
    data_directory: str = Field(
        default="", description="What is copied, on the server's host; default: the system's `data_directory`"
    )
    bytes: int = Field(default=0, ge=0, description="Its size, where it can't be looked at (a container); 0 = unknown")


@dataclass(frozen=True, slots=True)
class ColdCopyFacts:
    """The directory, the container that has it ('' = this machine), and what there is of the copy already."""

    data_directory: str = guard()
    container: str = current()
    where: Layout = current()
    state: Present = current()


class ColdCopied(Outputs):
    """The copy."""

    artifact: Artifact = Field(
        description="The copy: evidence for postgres.reindex, and to be kept until the cause is known"
    )
    path: str = Field(description="Where it lies")
    bytes: Foreseeable[int] = Field(description="Its size")


class ColdCopy(Action[Postgres, ColdCopyInputs, ColdCopyFacts, ColdCopied]):
    """Copy the files of a stopped cluster into a store, byte for byte, before any repair is tried.

    A repair destroys what would have shown the cause, and may make the damage worse: so this copy is the first thing after the
    stop. The server has to be stopped (`postgres.stop`); a running one is refused. On this machine the copy is a directory, with
    the linked places (tablespaces, WAL) in it; then every file is hashed, and the hashes are compared with the original. Out of a
    stopped container it is a tar file, hashed as it is written and read to its end. `backup.verify` compares either with its
    manifest at any later time. The original is only read. Put back into a data directory, it is the cluster as it stood.
    """

    effect = Effect.CREATES
    needs_programs = ("docker",)
    example = """\
- id: keep
  title: Copy the stopped cluster's files before anything is repaired
  uses: postgres.cold_copy
  on: db
  with: {to: evidence, data_directory: "{{ steps.stop_server.data_directory }}", bytes: "{{ steps.stop_server.bytes }}"}
  timeout: 4h
"""

    def observe(self, look: Look, system: Postgres, inputs: ColdCopyInputs, scope: Scope) -> ColdCopyFacts:
        """What is there, that no server runs in it, and that the store can take it."""
        where = _where(system, inputs, scope)
        state = present(look, where, parts=_parts(system), made_by=maker(scope))
        directory = _directory(system, inputs)
        container = look.container(system.host) if is_contained(system.host) else None
        if not (state.done or state.drafted):
            _refuse_running(look, system, directory, container.state if container else "")
            size = inputs.bytes if container else tree_bytes(look, directory)
            problems = [*unfit(look, system, inputs.to, directory), *full(look, inputs.to, size)]
            if problems:
                raise Refused(*problems)
        return ColdCopyFacts(directory, container.name if container else "", where, state)

    def assume(self, system: Postgres, inputs: ColdCopyInputs, scope: Scope) -> ColdCopyFacts:
        """A stopped server, and a store with nothing of this copy."""
        where = _where(system, inputs, scope)
        directory = inputs.data_directory or system.data_directory or "/PGDATA"
        return ColdCopyFacts(directory, _container(system.host), where, Present())

    def plan(self, system: Postgres, inputs: ColdCopyInputs, facts: ColdCopyFacts, scope: Scope) -> Operations:
        """The copy into partials, its hashes, the proof that it is the original's; then the names, the manifest last."""
        state, where, parts = facts.state, facts.where, _parts(system)
        if state.done:
            return ()
        if state.drafted:
            return published(where, state, parts=parts)
        copied = _piped(system, facts) if facts.container else _tree(facts)
        return (
            *swept(where, state, marker=scope.tag),
            _read("began", _NOW),
            *copied,
            _read("ended", _NOW),
            Write(name="draft", path=where.partial(MANIFEST), content=_manifest(facts, scope)),
            *published(where, state, parts=parts),
        )

    def foresee(self, system: Postgres, inputs: ColdCopyInputs, facts: ColdCopyFacts, scope: Scope) -> ColdCopied:
        """The copy with the name that it will have."""
        made = foreseen(inputs.to, _manifest(facts, scope), scope.step)
        return ColdCopied(artifact=made, path=facts.where.path(DATA), bytes=made.bytes)

    def verify(self, look: Look, system: Postgres, inputs: ColdCopyInputs, done: Done[ColdCopyFacts]) -> ColdCopied:
        """The manifest is there, and its files are as it says."""
        where = done.facts.where
        made = published_artifact(look, inputs.to, where)
        return ColdCopied(artifact=made, path=where.path(DATA), bytes=made.bytes)


def _where(db: Postgres, inputs: ColdCopyInputs, scope: Scope) -> Layout:
    name = inputs.name.replace("{timestamp}", f"{scope.started_at:%Y%m%dT%H%M%SZ}")
    packed = is_contained(db.host) and not name.endswith(".tar")
    return layout(inputs.to, f"{name}.tar" if packed else name, scope)


def _container(host: Host) -> str:
    """The container's name as far as the environment tells; '' on this machine."""
    match host:
        case Docker(container, _):
            return container
        case Compose(project, service, _):
            return f"{project}-{service}-1"
    return ""


def _parts(db: Postgres) -> tuple[str, ...]:
    return (DATA,) if is_contained(db.host) else (DATA, SUMS)


def _directory(db: Postgres, inputs: ColdCopyInputs) -> str:
    found = (inputs.data_directory or db.data_directory).rstrip("/")
    if found.startswith("/"):
        return found
    detail = "Neither `data_directory` of the step nor of the system says where the stopped cluster's files are."
    fix = 'Give `data_directory: "{{ steps.ID.data_directory }}"` of the step that uses postgres.stop.'
    raise Refused(Problem("E783", "the data directory is not known", detail, fix))


def _refuse_running(look: Look, db: Postgres, directory: str, state: str) -> None:
    if state:
        runs = state not in ("exited", "created", "dead")
        detail = f"The container of {db.host} is {state}."
    else:
        refuse_elsewhere(look, db)
        place = cluster.read_place(look, db.host, directory)
        runs = place is not None and place.server is Server.RUNNING
        detail = f"A server runs in {directory}."
    if runs:
        raise Refused(
            Problem(
                "E687",
                "the server runs",
                f"{detail} Files that are written while they are copied don't fit together.",
                "Add a step `uses: postgres.stop` before this one; a running server is copied by postgres.basebackup.",
            )
        )


def _tree(facts: ColdCopyFacts) -> Operations:
    """A directory: `cp` follows links, so that tablespaces are in it; the comparison reads the original a second time."""
    source, where = facts.data_directory, facts.where
    copy = ("cp", "--archive", "--dereference", "--reflink=auto", "--no-target-directory", "--")
    check = ("sh", "-c", _COMPARED, "sh", where.partial(SUMS))
    return (
        Process(name="copy", argv=(*copy, source, where.partial(DATA))),
        hashed_tree("sums", where.partial(DATA), where.partial(SUMS)),
        Process(name="compare", argv=check, cwd=source, reads=True),
        Process(name="sync", argv=("sync", "--file-system", where.partial(DATA))),
        _read("identifier", _IDENTIFIER, f"{source}/{CONTROL}"),
        _read("version", _VERSION, f"{source}/PG_VERSION"),
    )


def _piped(db: Postgres, facts: ColdCopyFacts) -> Operations:
    """A tar file, as the Docker Engine gives a stopped container's files, volumes included; read again to its end."""
    data, tar = facts.data_directory, facts.where.partial(DATA)
    root = posixpath.basename(data)
    listed = (Stage(argv=("tar", "--list", "--verbose", "--file=-")), Stage(argv=("awk", _WHOLE)))
    return (
        _stays_stopped("stopped_before", db),
        Pipeline(name="copy", stages=(Stage(argv=("docker", "cp", f"{facts.container}:{data}", "-")),), sink=tar),
        _stays_stopped("stopped_after", db),
        Pipeline(name="read_again", source=tar, stages=listed, reads=True),
        Pipeline(
            name="identifier",
            source=tar,
            stages=(_taken(f"{root}/{CONTROL}"), Stage(argv=("sh", "-c", _IDENTIFIER_OF_TAR))),
            reads=True,
        ),
        Pipeline(
            name="version",
            source=tar,
            stages=(
                _taken(f"{root}/PG_VERSION"),
                Stage(argv=("sh", "-c", _VERSION_OF_TAR)),
            ),
            reads=True,
        ),
    )


def _taken(member: str) -> Stage:
    return Stage(argv=("tar", "--extract", "--to-stdout", "--file=-", member))


def _stays_stopped(name: str, db: Postgres) -> Operation:
    """A look at the container: its restart policy, or a person, might have started it."""
    seen = Call(
        name=f"{name}_state",
        service=Service.DOCKER,
        operation="health",
        arguments=Document(()),
        host=db.host,
        reads=True,
    )
    return Wait(name=name, read=seen, until=(Condition("state", Test.ONE_OF, "exited\ncreated\ndead"),), deadline_s=0)


def _read(name: str, script: str, *arguments: str) -> Process:
    return Process(name=name, argv=("sh", "-c", script, "sh", *arguments), reads=True)


def _manifest(facts: ColdCopyFacts, scope: Scope) -> Document:
    where = facts.where
    part, by = (DATA, "copy") if facts.container else (SUMS, "sums")
    piece = Document((("path", where.file(part)), ("bytes", Ref(by, "bytes")), ("sha256", Ref(by, "sha256"))))
    return Document(
        (
            ("manifest", 1),
            ("name", where.name),
            ("format", Format.COLD_COPY.value),
            ("database", ""),
            ("system_identifier", Ref("identifier", "stdout")),
            ("server_version", Ref("version", "stdout")),
            ("started_at", Ref("began", "stdout")),
            ("finished_at", Ref("ended", "stdout")),
            ("pieces", (piece,)),
            ("run", maker(scope)),
            ("tool", f"runbook {runbook.__version__}"),
        )
    )
