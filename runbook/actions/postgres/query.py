"""Asking a database: one query, whose rows later steps may use."""

from __future__ import annotations

import json

from pydantic import Field, JsonValue

from runbook.action import Action, CheckFailed, Done, Effect, Inputs, Interrupted, Look, NoFacts, Outputs, Scope
from runbook.errors import Problem
from runbook.operation import Operations, Sql, sql
from runbook.system import Postgres


class QueryInputs(Inputs):
    """What is asked."""

    query: str = Field(min_length=1, description="One SELECT; trusted, and shown")
    database: str = Field(default="", description="The database to ask; default: the system's own")


class Queried(Outputs):
    """The answer."""

    row: dict[str, JsonValue] = Field(description="The first row by column; empty where there is none")
    rows: tuple[dict[str, JsonValue], ...] = Field(description="All rows")
    row_count: int = Field(description="How many rows there were")


class Query(Action[Postgres, QueryInputs, NoFacts, Queried]):
    """Ask the database a question whose answer later steps use.

    The query runs in a read-only transaction. That does not stop a superuser's functions from acting: it is trusted, and shown
    before it runs. An answer larger than 64 KiB fails the step: ask for less.
    """

    effect = Effect.READS
    interrupted = Interrupted.REPEATABLE
    example = """\
- id: newest_row
  title: When was the last order written?
  uses: postgres.query
  on: db
  with: {query: "SELECT max(created_at)::text AS newest FROM orders"}
  timeout: 1m
"""

    def observe(self, look: Look, system: Postgres, inputs: QueryInputs, scope: Scope) -> NoFacts:
        """Nothing: the query may take long, and is an operation."""
        return NoFacts()

    def assume(self, system: Postgres, inputs: QueryInputs, scope: Scope) -> NoFacts:
        """Nothing."""
        return NoFacts()

    def plan(self, system: Postgres, inputs: QueryInputs, facts: NoFacts, scope: Scope) -> Operations:
        """The query."""
        connection = system.connection(application=scope.application, database=inputs.database)
        text = inputs.query.replace("{", "{{").replace("}", "}}")
        return (Sql(name="query", connection=connection, statements=(sql(text),), reads=True),)

    def verify(self, look: Look, system: Postgres, inputs: QueryInputs, done: Done[NoFacts]) -> Queried:
        """The rows, as the transport gave them."""
        result = done.results["query"]
        try:
            rows = json.loads(str(result["rows"]))
        except ValueError:
            raise CheckFailed(
                Problem(
                    "E648",
                    "the answer is too large",
                    f"{result.get('row_count')} rows are more than 64 KiB.",
                    "Ask for fewer rows or columns.",
                )
            ) from None
        return Queried(row=rows[0] if rows else {}, rows=tuple(rows), row_count=len(rows))
