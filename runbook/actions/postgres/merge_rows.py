"""Putting deleted rows back from a copy, in one transaction that a database remembers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from runbook.action import Action, CheckFailed, Done, Effect, Look, Outputs, Scope, current, guard
from runbook.actions.postgres import ledger, merging
from runbook.actions.postgres.filling import in_order, refuse_triggers
from runbook.actions.postgres.row_source import RowsInputs, live, read_tables, side
from runbook.actions.postgres.tables import Table, read_table, unseen
from runbook.errors import Problem, Refused
from runbook.operation import Operations, sql
from runbook.placeholder import Foreseeable
from runbook.system import Postgres

_DATABASE = sql(
    "SELECT (SELECT system_identifier::text FROM pg_control_system()) AS cluster, oid::bigint AS oid "
    "FROM pg_database WHERE datname = current_database()"
)


class MergeRowsInputs(RowsInputs):
    """What is put back, and within which bounds."""

    at_most: int = Field(ge=0, description="If more rows than this would come back, none does")
    expected: Foreseeable[dict[str, int] | None] = Field(
        default=None,
        description="Rows by table, as postgres.compare_rows found them: if another number is, none comes back",
    )
    preview: str = Field(default="", description="What who confirms the step is shown: the preview's `summary`")
    triggers: Literal["refuse", "fire", "skip"] = Field(
        default="refuse", description="Whether the tables' own triggers fire; has to be said where there are any"
    )


@dataclass(frozen=True, slots=True)
class MergeRowsFacts:
    """The live database, whether the merge was committed, and the tables."""

    cluster: str = guard()
    database_oid: int = guard()
    ledger: ledger.Ledger = current()
    tables: tuple[Table, ...] = current()


class MergedRows(Outputs):
    """What came back."""

    rows: dict[str, int] = Field(description="Rows that were put back, by table; tables without any are left out")
    total: int = Field(description="All of them")
    committed_at: str = Field(description="When the transaction began that put them back")


class MergeRows(Action[Postgres, MergeRowsInputs, MergeRowsFacts, MergedRows]):
    """Put deleted rows back from a copy of the database, and touch no other row: everything written since stays.

    One transaction does all of it. Its first statement is a row in `runbook.ledger`, in the live database itself: after a crash or
    a lost answer that row tells whether it was committed, and the rows come back exactly once. Writers of these tables wait
    meanwhile; readers don't. Rows go through temporary tables, are put in where their key is missing (referenced tables first), and
    are counted: another number than `expected`, or more than `at_most`, and nothing was done. A row that exists is never
    overwritten, and one whose unique value was given to another row stays away; `postgres.compare_rows` names both. Generated
    columns are computed anew, identities are kept, and sequences go forward past what came back.

    The keys that were put back are kept in `runbook.merged`; `undo` deletes exactly those rows (and, as any deletion, what was made
    to refer to them since with ON DELETE CASCADE). Refused: tables that differ in
    structure, have no key or hide rows by a policy; triggers that nobody decided about; circles of references that can't be
    deferred. A row that refers to one that is gone and doesn't come back breaks the whole: name that table too.
    """

    effect = Effect.CHANGES
    example = """\
- id: merge
  title: Put the missing rows back
  uses: postgres.merge_rows
  on: db
  with:
    source: {database: "{{ steps.recover.database }}"}
    tables: [public.users, public.orders]
    expected: "{{ steps.compare.missing }}"
    preview: "{{ steps.compare.summary }}"
    at_most: 5000
    triggers: skip
  timeout: 30m
  confirm: Rows that are missing are put back; nothing else is touched.
"""

    def tells(self, inputs: MergeRowsInputs) -> str:
        """The preview."""
        return inputs.preview

    def observe(self, look: Look, system: Postgres, inputs: MergeRowsInputs, scope: Scope) -> MergeRowsFacts:
        """Whether it was committed already; else how the tables are built, on both sides."""
        here = live(system, inputs, scope)
        row = look.query(here, _DATABASE)[0]
        known = ledger.read_ledger(look, here, scope)
        if known.at:  # the copy may be gone by now, and isn't needed
            seen = (read_table(look, here, asked) for asked in inputs.tables)
            tables = tuple(table for table in seen if table is not None)
        else:
            tables = read_tables(look, system, inputs, scope)
            if inputs.triggers == "refuse":
                refuse_triggers(tables)
            in_order(tables)
            _refuse_strange(inputs, tables)
        return MergeRowsFacts(str(row["cluster"]), int(row["oid"] or 0), known, tables)

    def assume(self, system: Postgres, inputs: MergeRowsInputs, scope: Scope) -> MergeRowsFacts:
        """Nothing was merged; of the tables the names are known."""
        return MergeRowsFacts("", 0, ledger.Ledger(scope.run, scope.step), tuple(map(unseen, inputs.tables)))

    def plan(self, system: Postgres, inputs: MergeRowsInputs, facts: MergeRowsFacts, scope: Scope) -> Operations:
        """Nothing where the ledger has the row; else the ledger's tables and the transaction."""
        if facts.ledger.at:
            return ()
        here, there = live(system, inputs, scope), side(system, inputs, scope)
        merge = merging.Merge(
            tables=facts.tables,
            predicates=inputs.predicates(facts.tables),
            expected=inputs.expected,
            at_most=inputs.at_most,
            skip_triggers=inputs.triggers == "skip",
        )
        made = () if facts.ledger.made else (ledger.make(here),)
        return (*made, merging.session(merge, here, there, scope))

    def verify(self, look: Look, system: Postgres, inputs: MergeRowsInputs, done: Done[MergeRowsFacts]) -> MergedRows:
        """The ledger has the row; the keys that were kept are counted."""
        at = done.facts.ledger.at
        if not at:
            detail = f"The ledger of {inputs.database or system.database} has no row of this step."
            raise CheckFailed(Problem("E686", "the rows were not put back", detail, "runbook resume puts them back."))
        here = system.connection(application="runbook/verify", database=inputs.database)
        rows = ledger.read_merged(look, here, done.facts.ledger)
        return MergedRows(rows=rows, total=sum(rows.values()), committed_at=at)

    def undo(self, system: Postgres, inputs: MergeRowsInputs, facts: MergeRowsFacts, scope: Scope) -> Operations | None:
        """Delete exactly the rows that were put back, those that refer to others first."""
        return merging.undo(facts.tables, live(system, inputs, scope), scope)


def _refuse_strange(inputs: MergeRowsInputs, tables: tuple[Table, ...]) -> None:
    """``expected`` counts tables that are merged, each of them."""
    if not isinstance(inputs.expected, dict):  # not given; or a placeholder, in a dry-run
        return
    named = {table.shown for table in tables}
    if inputs.expected.keys() != named:
        differing = ", ".join(sorted(inputs.expected.keys() ^ named))
        detail = f"`expected` and `tables` don't name the same tables: {differing}."
        raise Refused(
            Problem("E686", "the rows were not put back", detail, "Give both steps the same `tables` and `where`.")
        )
