"""Putting a finished database in another's place by renaming, so that nothing is lost and writers wait for a moment only.

Owns the three names (live, new, old), what their presence means (:func:`standing`), and the operations of the swap and of its
way back. Promises: the two renames and every mark are one transaction, the only commit point; whatever is found is either one
of the states below or undecidable; a database without this run's name or mark is never dropped or renamed.

===========  ==========  ===========  ==================================================
live         new         old          remaining
===========  ==========  ===========  ==================================================
as it was    –           –            everything
as it was    unfinished  –            drop the new one, then everything
as it was    loaded      –            the proofs, the mark that it is finished, the swap
as it was    finished    –            the swap
restored     –           set aside    nothing
===========  ==========  ===========  ==================================================

Where there was no live database, "as it was" and "set aside" both mean absent, and the restored one carries the mark itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from runbook.action import Scope, Undecidable
from runbook.actions.postgres.client import MAINTENANCE_DATABASE
from runbook.actions.postgres.database import INVALID, Properties, Seen, comment, limits
from runbook.errors import Problem, Refused
from runbook.operation import (
    Condition,
    Connection,
    Fields,
    Name,
    Operation,
    Operations,
    Sql,
    Statement,
    Test,
    Transaction,
    Wait,
    sql,
)
from runbook.system import Postgres

LONGEST_NAME = 63
"""Bytes of an identifier; the server cuts longer ones off (NAMEDATALEN)."""

DRAINED_WITHIN_S = 30.0
SETTLE_S = 0.02
"""A session that was being opened when the database was closed shows itself within this time and is ended too."""

_MOMENT = "to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"


class Standing(StrEnum):
    """How far it is, as the names tell."""

    NOTHING = "nothing"
    UNFINISHED = "unfinished"
    LOADED = "loaded"
    FINISHED = "finished"
    SWAPPED = "swapped"


@dataclass(frozen=True, slots=True)
class Names:
    """The database's name, the one under which its successor is made, and the one under which it is kept."""

    live: str
    new: str
    old: str

    @property
    def all(self) -> tuple[str, str, str]:
        """Live, new, old."""
        return (self.live, self.new, self.old)


@dataclass(frozen=True, slots=True)
class Three:
    """The three databases at one look. ``original_oid`` is the live one's before anything was done; 0 = there was none."""

    live: Seen | None
    new: Seen | None
    old: Seen | None
    original_oid: int


@dataclass(frozen=True, slots=True)
class Marks:
    """Comments that tell what a database is. ``loaded`` stands on a copy whose load ended well, ``restored`` on a finished one,
    ``kept`` on the one set aside.
    """

    loaded: str
    restored: str
    kept: str


def own_name(scope: Scope) -> str:
    """A name that this step alone gives, at most 47 characters: the run's tag and the step."""
    slug = re.sub(r"[^a-z0-9]+", "_", scope.step.lower()).strip("_")
    if slug != scope.step or len(slug) > 7:
        slug = sha256(scope.step.encode()).hexdigest()[:7]
    return f"{scope.tag}_{slug}"


def names(live: str, old: str, scope: Scope) -> Names:
    """The three names; ``old`` '' = ``LIVE_old_TAG``, cut to what an identifier holds. Refuses names that can't be."""
    own = own_name(scope)
    kept = old or f"{cut(live, LONGEST_NAME - len(own) - 5)}_old_{own}"
    for name, what in ((live, "database"), (kept, "old_name")):
        if not name or "\0" in name or len(name.encode()) > LONGEST_NAME:
            detail = f"{what} {name!r}: 1 to {LONGEST_NAME} bytes."
            raise Refused(Problem("E750", "this can't be the name of a database", detail, f"Give another `{what}`."))
    if len({live, own, kept}) < 3:
        detail = f"{kept!r} is in use by this step itself."
        raise Refused(Problem("E750", "this can't be the name of a database", detail, "Give another `old_name`."))
    return Names(live, own, kept)


def cut(text: str, longest: int) -> str:
    """The beginning of ``text`` that has at most ``longest`` bytes in UTF-8, whole characters only."""
    return text.encode()[:longest].decode(errors="ignore")


def marks(scope: Scope, source: str) -> Marks:
    """The marks of this step; ``source`` is what it restores from."""
    who = mark_of(scope)
    return Marks(
        loaded=f"{who}loaded from {source}, not proven yet",
        restored=f"{who}restored from {source}",
        kept=f"{who}set aside at the restore from {source}",
    )


def mark_of(scope: Scope) -> str:
    """What the comment of every database that this step makes or sets aside begins with."""
    return f"runbook {scope.run}/{scope.step}: "


def standing(three: Three, names: Names, marks: Marks) -> Standing:
    """How far it is; raises :class:`Undecidable` for what no run of this step leaves behind."""
    live, new, old = three.live, three.new, three.old
    as_it_was = live is not None and live.oid == three.original_oid if three.original_oid else live is None
    if as_it_was and old is None:
        return standing_alone(new, marks)
    if live is not None and new is None and three.original_oid and live.oid != three.original_oid:
        if old is not None and old.oid == three.original_oid and old.comment.startswith(marks.kept):
            return Standing.SWAPPED
    elif live is not None and new is None and old is None and marks.restored in live.comment:
        return Standing.SWAPPED
    raise Undecidable(
        Problem(
            "E751",
            "the databases are in a state that this step does not leave",
            f"{names.live}: {_told(live, three)}; {names.new}: {_told(new, three)}; {names.old}: {_told(old, three)}.",
            "Look at them (psql -l), put the names right by hand, then `runbook resolve` the step.",
        )
    )


def standing_alone(new: Seen | None, marks: Marks) -> Standing:
    """How far the new one is, whatever the others are: NOTHING, UNFINISHED, LOADED or FINISHED."""
    if new is None:
        return Standing.NOTHING
    known = {marks.restored: Standing.FINISHED, marks.loaded: Standing.LOADED}
    return Standing.UNFINISHED if new.invalid else known.get(new.comment, Standing.UNFINISHED)


def _told(seen: Seen | None, three: Three) -> str:
    if seen is None:
        return "absent"
    which = "the one from the start" if seen.oid == three.original_oid else "another one"
    return f"{which} (oid {seen.oid}, comment {seen.comment!r})"


def maintenance(db: Postgres, live: str, application: str) -> Connection:
    """A connection to a database that is none of the three."""
    at = "template1" if live == MAINTENANCE_DATABASE else MAINTENANCE_DATABASE
    return db.connection(application=application, database=at)


def drop(connection: Connection, name: str, *, version: int, called: str = "drop_unfinished") -> Operation:
    """Drop what this run made, its sessions ended; a drop that was itself cut off is finished."""
    forced = sql("DROP DATABASE IF EXISTS {db} WITH (FORCE)", db=Name(name))
    by_hand = (_ended(name), sql("DROP DATABASE IF EXISTS {db}", db=Name(name)))
    return Sql(
        name=called,
        connection=connection,
        statements=(forced,) if not version or version >= 130_000 else by_hand,
        transaction=Transaction.AUTOCOMMIT,
        owned=True,
    )


def created(connection: Connection, name: str, made: Sequence[Statement]) -> Operation:
    """Make the new database, by these statements. Result: its ``oid``, which tells it from any other that had its name."""
    oid = sql("SELECT oid::bigint AS oid FROM pg_database WHERE datname = {db}", db=name)
    return Sql(name="create", connection=connection, statements=(*made, oid), transaction=Transaction.AUTOCOMMIT)


def load_marked(connection: Connection, name: str, mark: str) -> Operation:
    """Right behind the load: from here on the world tells that it ended well."""
    return Sql(name="loaded", connection=connection, statements=(comment(name, mark),))


def load_unmarked(connection: Connection, name: str, begun: str) -> Operation:
    """What was loaded has been found wrong: the next go loads it anew. ``begun``: the comment that it had until then."""
    return Sql(name="disproven", connection=connection, statements=(comment(name, begun),))


def load_shown(ended: Mapping[str, Fields], new: Seen | None) -> bool:
    """Whether the records show that the load into this very database ended well, though its mark is missing: the executor died
    while the load went on. ``ended`` is :attr:`runbook.action.Scope.ended`; a load that was begun before the database was made
    was another one.
    """
    order = list(ended)
    if new is None or new.invalid or "create" not in ended or "load" not in ended:
        return False
    return order.index("create") < order.index("load") and ended["create"].get("oid") == new.oid


def marked(connection: Connection, name: str, mark: str, carried: Sequence[Statement]) -> Operation:
    """The properties, and with them the mark that the new database is finished."""
    return Sql(name="finish", connection=connection, statements=(*carried, comment(name, mark)))


def closed(connection: Connection, name: str) -> Operations:
    """Nobody may connect to the database, and nobody does any more. Bounded; a superuser can't connect either."""
    alter = sql("ALTER DATABASE {db} WITH ALLOW_CONNECTIONS false", db=Name(name))
    count = sql(
        "SELECT count(*)::int AS sessions FROM pg_stat_activity "
        "WHERE datname = {db} AND pid <> pg_backend_pid() AND backend_type <> 'autovacuum worker'",
        db=name,
    )
    close = Sql(
        name="close",
        connection=connection,
        statements=(
            sql(f"SELECT {_MOMENT} AS closed_at"),
            alter,
            _ended(name),
            sql(f"SELECT pg_sleep({SETTLE_S})"),
            _ended(name),
            sql(f"SELECT {_MOMENT} AS closed_at"),
        ),
        transaction=Transaction.AUTOCOMMIT,
    )
    read = Sql(name="sessions", connection=connection, statements=(count,), reads=True)
    return (
        close,
        Wait(
            name="drained",
            read=read,
            until=(Condition("sessions", Test.EQUALS, 0),),
            interval_s=0.05,
            deadline_s=DRAINED_WITHIN_S,
        ),
    )


def opened(connection: Connection, name: str) -> Operation:
    """Sessions may connect to the live database again."""
    return Sql(
        name="open",
        connection=connection,
        statements=(sql("ALTER DATABASE {db} WITH ALLOW_CONNECTIONS true", db=Name(name)),),
    )


def swapped(connection: Connection, names: Names, marks: Marks, want: Properties, *, existed: bool) -> Operation:
    """The commit point: live becomes old, new becomes live, in one transaction, with limits and comments."""
    kept = f"{marks.kept}. {want.comment}" if want.comment else marks.kept
    said = want.comment if existed else f"{want.comment} [{marks.restored}]".strip()
    aside = (
        _renamed(names.live, names.old),
        # Only superusers get past a limit of 0: what was set aside can be read, and no service strays into it.
        limits(names.old, connection_limit=0, is_open=True, is_template=want.template),
        comment(names.old, kept),
    )
    return Sql(
        name="swap",
        connection=connection,
        statements=(
            _ended(names.live, names.new),
            *(aside if existed else ()),
            _renamed(names.new, names.live),
            _limited(names.live, want),
            comment(names.live, said),
            sql(f"SELECT {_MOMENT} AS swapped_at"),
        ),
    )


def swapped_back(connection: Connection, names: Names, marks: Marks, want: Properties, *, existed: bool) -> Operation:
    """The way back, in one transaction too: the restored copy keeps existing, under the name it was made with."""
    back = (_renamed(names.old, names.live), _limited(names.live, want), comment(names.live, want.comment))
    return Sql(
        name="swap_back",
        connection=connection,
        statements=(
            _ended(names.live, names.old),
            _renamed(names.live, names.new),
            limits(names.new, connection_limit=-1, is_open=True, is_template=False),
            comment(names.new, marks.restored),
            *(back if existed else ()),
            sql(f"SELECT {_MOMENT} AS swapped_at"),
        ),
    )


def _limited(name: str, want: Properties) -> Statement:
    limit = -1 if want.connection_limit == INVALID else want.connection_limit
    return limits(name, connection_limit=limit, is_open=want.open, is_template=want.template)


def _renamed(source: str, target: str) -> Statement:
    return sql("ALTER DATABASE {source} RENAME TO {target}", source=Name(source), target=Name(target))


def _ended(*databases: str) -> Statement:
    parts = {f"db{n}": database for n, database in enumerate(databases)}
    listed = ", ".join(f"{{{key}}}" for key in parts)
    return sql(
        f"SELECT count(pg_terminate_backend(pid))::int AS ended FROM pg_stat_activity "  # noqa: S608 - marks, not values
        f"WHERE datname IN ({listed}) AND pid <> pg_backend_pid()",
        **parts,
    )
