"""Asserting that the data is there: queries with expected values, and rows per table against a dump's own record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from runbook.action import Action, CheckFailed, Done, Effect, Inputs, Interrupted, Look, Outputs, Scope, current, guard
from runbook.actions.backup.layout import directory_of, sha256_of
from runbook.actions.postgres.counts import LONGEST_RECORD, Count, chosen, compared, parse
from runbook.artifact import Artifact
from runbook.errors import Problem, Refused
from runbook.host import LOCAL
from runbook.operation import Condition, Connection, Operations, Sql, Statement, Test, sql
from runbook.system import Postgres, Store

CheckValue: TypeAlias = bool | int | float | str


class Check(BaseModel):
    """A query that gives one value, and what that has to be. Every bound that is given must hold; one must be given."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    query: str = Field(
        min_length=1, description="A SELECT that gives one value (one row, one column); trusted, and shown"
    )
    name: str = Field(default="", description="What it checks, in words")
    at_least: int | float | None = Field(default=None, description="The number must not be lower")
    at_most: int | float | None = Field(default=None, description="The number must not be higher")
    equals: CheckValue | None = Field(
        default=None, description="The value must be this (true and false for a truth value)"
    )
    differs: CheckValue | None = Field(default=None, description="The value must not be this")
    contains: str | None = Field(default=None, description="The text must contain this")
    one_of: tuple[CheckValue, ...] | None = Field(default=None, description="The value must be one of these")

    @model_validator(mode="after")
    def _bounded(self) -> Check:
        if not self.conditions():
            raise ValueError("a check needs at_least, at_most, equals, differs, contains or one_of")
        return self

    def conditions(self) -> tuple[Condition, ...]:
        """What has to hold for the result's ``value``."""
        bounds: tuple[tuple[Test, CheckValue | None], ...] = (
            (Test.AT_LEAST, self.at_least),
            (Test.AT_MOST, self.at_most),
            (Test.EQUALS, self.equals),
            (Test.DIFFERS, self.differs),
            (Test.CONTAINS, self.contains),
            (Test.ONE_OF, "\n".join(_text(v) for v in self.one_of) if self.one_of else None),
        )
        return tuple(Condition("value", test, value) for test, value in bounds if value is not None)

    def statement(self) -> Statement:
        """The query as a value in text form: what a driver makes of types must not decide a comparison."""
        query = self.query.strip().removesuffix(";").replace("{", "{{").replace("}", "}}")
        return sql(f"SELECT (\n{query}\n)::text AS value").titled(self.name)


def asking(checks: Sequence[Check], connection: Connection) -> tuple[Sql, ...]:
    """One operation a check, in their order: ``check_1`` and so on; its result's ``value`` is a text."""
    return tuple(
        Sql(
            name=f"check_{number}",
            connection=connection,
            statements=(check.statement(),),
            expect=check.conditions(),
            reads=True,
        )
        for number, check in enumerate(checks, start=1)
    )


class CountsOf(BaseModel):
    """Which recorded counts the tables are compared with."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    artifact: Artifact = Field(description="The dump whose row counts were recorded")
    exact: bool = Field(default=True, description="The same number of rows; false: at least as many (writers are back)")
    tables: tuple[str, ...] = Field(default=(), description="Only tables that match one of these patterns: public.*")


class AssertInputs(Inputs):
    """What has to be true."""

    checks: tuple[Check, ...] = Field(default=(), description="Queries with what they have to give")
    probes: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(), description="Queries that each have to give a number of at least 1: something is there"
    )
    counts_of: CountsOf | None = Field(default=None, description="Compare rows per table with what a dump recorded")
    database: str = Field(default="", description="The database to ask; default: the system's own")

    @model_validator(mode="after")
    def _something(self) -> AssertInputs:
        if not self.checks and not self.probes and self.counts_of is None:
            raise ValueError("give checks, probes, counts_of or several of them")
        return self

    @property
    def asked(self) -> tuple[Check, ...]:
        """The checks, and the probes as such."""
        return (*self.checks, *(Check(query=probe, at_least=1) for probe in self.probes))


@dataclass(frozen=True, slots=True)
class AssertFacts:
    """The recorded counts that are compared with, and the hash of their file ("" where none are asked for)."""

    counts_sha256: str = guard()
    counts: tuple[Count, ...] = current()


class Asserted(Outputs):
    """What was found."""

    values: tuple[str | None, ...] = Field(
        description="The value of each check, then of each probe, as text, in their order"
    )
    tables: int = Field(description="How many tables were compared with the record")


class Assert(Action[Postgres, AssertInputs, AssertFacts, Asserted]):
    """Check that the data is there: queries that must give certain values, and row counts as the dump recorded them.

    A query gives one value, and is run in a read-only transaction; it is trusted and shown. With `counts_of`, the rows of every
    table are compared with those that `postgres.dump` counted in the dump's own snapshot: a table that is missing or differs
    is named.
    """

    effect = Effect.READS
    interrupted = Interrupted.REPEATABLE
    example = """\
- id: check
  title: The restored data is there
  uses: postgres.assert
  on: db
  with:
    checks:
      - {name: users are there, query: SELECT count(*) FROM users, at_least: 1}
      - {query: "SELECT max(version) FROM schema_migrations", equals: 20260214}
    counts_of: {artifact: "{{ steps.prove.artifact }}", exact: true}
  timeout: 5m
"""

    def observe(self, look: Look, system: Postgres, inputs: AssertInputs, scope: Scope) -> AssertFacts:
        """Reads the recorded counts; the queries themselves may take long, and are operations."""
        if inputs.counts_of is None:
            return AssertFacts("", ())
        counts, digest = _recorded(look, inputs.counts_of, scope)
        return AssertFacts(digest, counts)

    def assume(self, system: Postgres, inputs: AssertInputs, scope: Scope) -> AssertFacts:
        """No counts are known."""
        return AssertFacts("", ())

    def plan(self, system: Postgres, inputs: AssertInputs, facts: AssertFacts, scope: Scope) -> Operations:
        """A query per check, and one for the counts."""
        connection = system.connection(application=scope.application, database=inputs.database)
        asked = list(asking(inputs.asked, connection))
        if inputs.counts_of is not None:
            statement = compared(facts.counts, exact=inputs.counts_of.exact)
            same = (Condition("which", Test.EQUALS, ""), Condition("wrong", Test.EQUALS, 0))
            asked.append(Sql(name="counts", connection=connection, statements=(statement,), expect=same, reads=True))
        return tuple(asked)

    def verify(self, look: Look, system: Postgres, inputs: AssertInputs, done: Done[AssertFacts]) -> Asserted:
        """The queries were the check; their answers are the outputs."""
        found = [done.results[f"check_{number}"]["value"] for number in range(1, len(inputs.asked) + 1)]
        tables = done.results["counts"]["tables"] if inputs.counts_of is not None else 0
        return Asserted(values=tuple(None if v is None else _text(v) for v in found), tables=int(tables or 0))


def _recorded(look: Look, wanted: CountsOf, scope: Scope) -> tuple[tuple[Count, ...], str]:
    dump = wanted.artifact
    store, manifest = scope.systems.get(dump.store), dump.manifest
    if not isinstance(store, Store) or manifest is None or not manifest.counts:
        raise Refused(
            Problem(
                "E645",
                "the backup has no recorded row counts",
                f"{dump.name}: counts are recorded by postgres.dump (`counts: true`); an adopted backup has none.",
                "Leave out `counts_of`, and check with queries.",
            )
        )
    path = f"{directory_of(store)}/{manifest.counts}"
    text = look.text(LOCAL, path, most_bytes=LONGEST_RECORD)
    recorded = next((piece.sha256 for piece in manifest.pieces if piece.path == manifest.counts), "")
    if text is None or sha256_of(text) != recorded:
        raise CheckFailed(
            Problem(
                "E646",
                "the recorded row counts can't be relied on",
                f"{path} {'is missing' if text is None else 'is not as its manifest says'}.",
                "Check with queries, or use another backup.",
            )
        )
    counts = chosen(parse(text, path), wanted.tables)
    if not counts:
        detail = f"No table in {path} matches {', '.join(wanted.tables) or '*'}: that would prove nothing."
        raise Refused(Problem("E647", "there is nothing to compare", detail, "Check `tables`."))
    return counts, recorded


def _text(value: CheckValue) -> str:
    return value if isinstance(value, str) else json.dumps(value)
