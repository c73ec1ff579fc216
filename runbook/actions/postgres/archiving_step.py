"""The step that turns archiving on: what it is told, what it sees, and what keeps it from beginning.

Owns the inputs and facts of ``postgres.configure_archiving`` and its refusals. Promises: everything that stands in the way is
named at once; an archiving that others rest on does not end by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field, field_validator

from runbook.action import Inputs, Look, current, guard, pinned
from runbook.actions.postgres.archive_bucket import access_beside, bucket_command, closed
from runbook.actions.postgres.archive_place import ArchivePlace, denied, unsafe
from runbook.actions.postgres.archiver import Archiver, unalterable
from runbook.actions.postgres.archiving import Purpose, Setting, Wanted, command_for, purpose_of, wanted_settings
from runbook.actions.postgres.instance import Manner, is_contained
from runbook.errors import Problem, Refused
from runbook.system import Postgres
from runbook.units import parse_duration


class ConfigureArchivingInputs(Inputs):
    """How often a segment is closed at the latest, and what may be replaced and restarted for it."""

    archive_timeout: str = Field(
        default="5m",
        description="A segment with commits in it is archived after this time at the latest: what may be lost",
    )
    replace: bool = Field(
        default=False, description="Replace an archiving by a tool or to another place; its base backups end there"
    )
    restart: Literal["if_needed", "never"] = Field(
        default="if_needed",
        description="archive_mode and wal_level count from a restart on; never: refuse where they differ",
    )
    stop: tuple[str, ...] = Field(default=(), description="Command that stops the server; default: pg_ctl, or Docker")
    start: tuple[str, ...] = Field(default=(), description="Command that starts it; default: pg_ctl, or Docker")
    program: str = Field(
        default="",
        pattern=r"^(/[^\x00-\x1f]+)?$",
        description="With a bucket: the path of runbook as the server's account can run it; default: this one",
    )
    within: str = Field(default="2m", description="How long the first segment may take until it is in the archive")

    @field_validator("archive_timeout", "within")
    @classmethod
    def _duration(cls, value: str) -> str:
        if parse_duration(value) < 1:
            raise ValueError("expected a duration of at least 1s")
        return value

    @property
    def timeout_s(self) -> int:
        """``archive_timeout`` in whole seconds."""
        return int(parse_duration(self.archive_timeout))


@dataclass(frozen=True, slots=True)
class ArchivingFacts:
    """The server's settings and its archiver. ``before``, ``asked_at``: as first seen; ``manner`` where a restart is needed.

    ``program``: what the server's account runs where the archive is a bucket, of which ``directory`` is the url; else ''.
    """

    system_identifier: str = guard()
    directory: str = guard()
    data_directory: str = pinned()
    owner: str = pinned()
    manner: Manner = pinned()
    before: tuple[Setting, ...] = pinned()
    asked_at: str = pinned()
    segment_bytes: int = pinned()
    program: str = pinned()
    answers: bool = current()
    runs: bool = current()
    exists: bool = current()
    settings: tuple[Setting, ...] = current()
    archiver: Archiver = current()
    notes: tuple[str, ...] = current()

    @property
    def access(self) -> str:
        """The server's access file; '' where it archives into a directory."""
        return access_beside(self.data_directory) if self.program else ""

    @property
    def command(self) -> str:
        """The archive_command that is wanted."""
        if not self.program:
            return command_for(self.directory)
        return bucket_command(self.program, self.access, self.segment_bytes)

    def unfit(self, wanted: tuple[Wanted, ...], *, now: bool) -> tuple[Wanted, ...]:
        """The settings that don't fit: as they count now, or as the files will make them."""
        known = {one.name: one for one in self.settings}
        found = ((one, known[one.name]) for one in wanted if one.name in known)
        return tuple(one for one, seen in found if not one.fits(seen.value if now else seen.next))

    @property
    def proven(self) -> bool:
        """A segment was archived since this step began and since the settings were read last, and it lies there whole."""
        seen = self.archiver
        return seen.held and not seen.failing and seen.archived_at > max(self.asked_at, seen.loaded_at)


def refuse(
    look: Look,
    system: Postgres,
    inputs: ConfigureArchivingInputs,
    facts: ArchivingFacts,
    place: ArchivePlace,
    *,
    restarts: bool,
) -> None:
    """Refuse (exit 4) what must not be begun, with everything that stands in the way."""
    wanted = wanted_settings(facts.command, inputs.timeout_s)
    shut = closed(look, facts.program, facts.owner) if facts.program else []
    found = [
        *shut,
        *unsafe(place),
        *denied(place, facts.owner),
        *_foreign(system, inputs, facts),
        *_fixed(facts, wanted),
    ]
    if restarts:
        found += _no_restart(look, system, inputs, facts.unfit(wanted, now=True))
    if found:
        raise Refused(*found)


def _foreign(system: Postgres, inputs: ConfigureArchivingInputs, facts: ArchivingFacts) -> list[Problem]:
    """Somebody else's archiving, which a change would end."""
    known = {one.name: one.next for one in facts.settings}
    command, library, worked = known.get("archive_command", ""), known.get("archive_library", ""), facts.archiver.last
    purpose = Purpose.TOOL if library else _purpose(command, facts)
    ends = purpose is Purpose.TOOL or (purpose is Purpose.ELSEWHERE and worked)
    if inputs.replace or not ends:
        return []
    what = f"archive_library is {library}" if library else f"archive_command is `{command}`"
    detail = (
        f"{system.key or 'The cluster'}: {what}; last archived {worked or 'nothing'}. "
        "The base backups that rest on it would end with it."
    )
    fix = "Leave the archiving to it, or give `replace: true` if it is to end."
    return [Problem("E651", "the cluster is archived by something else", detail, fix)]


def _purpose(command: str, facts: ArchivingFacts) -> Purpose:
    """What the server's command does. Ours names the access file; by another program's path it is ours no more, and goes here."""
    if command == facts.command:
        return Purpose.OURS
    named = purpose_of(command, facts.access) if facts.access else Purpose.ELSEWHERE
    return named if named is Purpose.HERE else purpose_of(command, facts.directory)


def _fixed(facts: ArchivingFacts, wanted: tuple[Wanted, ...]) -> list[Problem]:
    """Settings that the server was started with: the files, and so ALTER SYSTEM, don't count against them."""
    known = {one.name: one for one in facts.settings}
    fixed = [one for one in facts.unfit(wanted, now=True) if known[one.name].fixed]
    return [
        unalterable(
            f"{one.name} = {known[one.name].value or 'empty'} comes from the server's {known[one.name].source}, "
            "which prevails over its files.",
            f"Take `{one.name}` out of the command that starts the server (`command:` of its service), and start it anew.",
        )
        for one in fixed
    ]


def _no_restart(
    look: Look, system: Postgres, inputs: ConfigureArchivingInputs, unfit: tuple[Wanted, ...]
) -> list[Problem]:
    """Whether the restart that these settings need may not be made, or would be the server's end."""
    names = ", ".join(one.name for one in unfit if one.restart)
    summary = "the server would have to be restarted"
    if inputs.restart == "never":
        detail = f"{names} count from the next start on, and `restart` is never."
        return [Problem("E654", summary, detail, "Leave `restart` out, at a time when all sessions may end.")]
    container = look.container(system.host) if is_contained(system.host) else None
    if container is not None and container.auto_remove:
        detail = f"{names} count from the next start on, and {container.name} (--rm) would be removed when it stops."
        return [Problem("E654", summary, detail, "Start the container without --rm.")]
    return []
