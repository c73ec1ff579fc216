"""Defences, each taken out by one patch in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from runbook.engine.events import Event
from runbook.engine.run import Run
from runbook.engine.transitions import RunStatus
from runbook.errors import ExitCode
from runbook.journal import local, locks, reading, record
from runbook.journal.head import SLOT_BYTES, Head, Slots, decode_slots, encode_slot
from runbook.journal.tape import Tape
from runbook.plan import text, yaml
from runbook.runner import step
from runbook.runner.ended import Broke
from runbook.runner.ledger import Ledger
from runbook.runner.loop import Loop
from runbook.runner.step import StepLife
from runbook.secret import Redactor
from runbook.transports.cluster_locks import ClusterLocks
from runbook.transports.orphans import Fate
from runbook.transports.supervisor import processes


def syncs(patch: pytest.MonkeyPatch) -> None:
    """The journal is written and never synced."""

    def commit(self: Tape, lines: bytes, last: Head) -> None:
        self._disk.append(self._journal, lines)
        self._disk.pwrite(self._head, encode_slot(last), self._slot * SLOT_BYTES)
        self._slot, self._size = 1 - self._slot, self._size + len(lines)

    patch.setattr(Tape, "commit", commit)


def writing_again(patch: pytest.MonkeyPatch) -> None:
    """What a failed sync may have dropped is not written again."""
    patch.setattr(Tape, "write_again", lambda self, lines: None)


def poison(patch: pytest.MonkeyPatch) -> None:
    """A failed write or sync is forgotten, and the next one tried."""
    commit = local.LocalJournal._commit

    def forgetting(self: local.LocalJournal, groups: Sequence[Any]) -> None:
        commit(self, groups)
        self._poison = ()

    patch.setattr(local.LocalJournal, "_commit", forgetting)


def setting_aside(patch: pytest.MonkeyPatch) -> None:
    """A torn tail is cut and not kept."""
    patch.setattr(local, "set_aside", lambda disk, directory, tail: None)


def head(patch: pytest.MonkeyPatch) -> None:
    """What was acknowledged is not compared with what is there."""
    patch.setattr(reading, "_against_head", lambda chain, slots, torn: [])


def both_slots(patch: pytest.MonkeyPatch) -> None:
    """Of the head only one slot is read."""

    def first(content: bytes) -> Slots:
        return decode_slots(content[: len(content) // 2])

    patch.setattr(reading, "decode_slots", first)


def chain(patch: pytest.MonkeyPatch) -> None:
    """Records need not continue one another."""
    patch.setattr(reading, "_out_of_order", lambda one, last: "")


def hashes(patch: pytest.MonkeyPatch) -> None:
    """A record's own hash is taken for right."""
    patch.setattr(record, "sha256", _Agreeable)


class _Agreeable:
    """A hash that every content has."""

    def __init__(self, *_: object) -> None:
        self.digest_size = 32

    def update(self, *_: object) -> None:
        """Nothing changes it."""

    def hexdigest(self) -> str:
        return "0" * 64


def flocks(patch: pytest.MonkeyPatch) -> None:
    """A lock is given to whoever asks."""
    patch.setattr(locks, "_locked", lambda file, mode: True)


def kept_clusters(patch: pytest.MonkeyPatch) -> None:
    """A cluster's lock that is lost stays lost."""
    patch.setattr(ClusterLocks, "keep", lambda locks, *, change: None)


def looked_at(patch: pytest.MonkeyPatch) -> None:
    """A supervisor that says nothing is waited for, whatever became of it."""
    patch.setattr(processes, "stopped", lambda pid: False)


def taken(patch: pytest.MonkeyPatch) -> None:
    """A step goes on though another run has what it would change."""
    patch.setattr(Loop, "_taken", lambda loop, prepared: None)


def named_locks(patch: pytest.MonkeyPatch) -> None:
    """A lock file that was taken away still counts."""
    patch.setattr(locks, "_is_named", lambda file, path: True)


def intents(patch: pytest.MonkeyPatch) -> None:
    """Intents are only noted."""

    def commit(self: Ledger, *events: Event) -> None:
        self.note(*events)

    patch.setattr(Ledger, "commit", commit)


def fence(patch: pytest.MonkeyPatch) -> None:
    """A resume does not ask what came of what was begun."""
    patch.setattr(StepLife, "settle", lambda self: None)


def unknowns(patch: pytest.MonkeyPatch) -> None:
    """What can't be known is taken for a definite failure."""
    patch.setattr(step, "Adrift", Broke)


def asked_server(patch: pytest.MonkeyPatch) -> None:
    """A COMMIT whose answer was lost is taken for a failed one."""
    patch.setattr("runbook.transports.postgres.settle", lambda *_, **__: Fate.ABORTED)


def taking_back(patch: pytest.MonkeyPatch) -> None:
    """A failure leaves everything as it stands."""
    patch.setattr(StepLife, "_taken_back", lambda self, ended: ended)


def guards(patch: pytest.MonkeyPatch) -> None:
    """Guard facts are not compared."""
    patch.setattr(step, "roles", lambda facts, role: {})


def approved_only(patch: pytest.MonkeyPatch) -> None:
    """A resume performs whatever it plans."""
    patch.setattr(StepLife, "_admitted", lambda self, operations, facts: operations)


def closing_round(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks whether anything is left."""
    patch.setattr(StepLife, "_nothing_left", lambda self, operations: None)


def kept_holds(patch: pytest.MonkeyPatch) -> None:
    """The end of a run starts what was stopped, whatever is half done."""
    patch.setattr("runbook.engine.decide.releasable", lambda run, hold, release: True)


def retaken_holds(patch: pytest.MonkeyPatch) -> None:
    """A resume takes no hold again."""
    patch.setattr("runbook.engine.again._holds_again", lambda graph, steps: steps)


def exit_codes(patch: pytest.MonkeyPatch) -> None:
    """Every end is a good one."""

    def done(run: Run, status: RunStatus, *, missed: bool = False) -> ExitCode:
        return ExitCode.DONE

    patch.setattr("runbook.runner.ending.exit_code", done)
    patch.setattr("runbook.runner.execution.exit_code", done)


def targets(patch: pytest.MonkeyPatch) -> None:
    """Another target is taken for the same."""
    patch.setattr("runbook.runner.execution.compare", lambda before, now, excused: None)


def redaction(patch: pytest.MonkeyPatch) -> None:
    """Secrets go to every sink as they are."""
    patch.setattr(Redactor, "__call__", lambda self, said: said)


def budgets(patch: pytest.MonkeyPatch) -> None:
    """Values of a file are not counted."""
    patch.setattr(yaml._Composer, "_count", lambda self: None)


def tags(patch: pytest.MonkeyPatch) -> None:
    """A tag is nobody's business."""
    patch.setattr(yaml._Composer, "_refuse_tag", lambda self, event, position: None)


def duplicate_keys(patch: pytest.MonkeyPatch) -> None:
    """The second of two keys wins."""

    def accept(self: Any, level: Any, key: str, position: object) -> None:
        level.key, level.key_position, level.awaits_value = key, (0, 0), True

    patch.setattr(yaml._Composer, "_accept_key", accept)


def hidden_characters(patch: pytest.MonkeyPatch) -> None:
    """Any character may stand in a plan."""
    patch.setattr(text, "_FORBIDDEN", _Nothing())


class _Nothing:
    """A pattern that finds nothing."""

    def finditer(self, _: str) -> Iterator[Any]:
        return iter(())

    def search(self, _: str) -> None:
        return None


def found_secrets(patch: pytest.MonkeyPatch) -> None:
    """A secret in a plan's text is shown."""
    patch.setattr(text.Text, "secrets", lambda self, *, keys: [])


def limits(patch: pytest.MonkeyPatch) -> None:
    """Arithmetic of templates has no bound."""
    import operator

    signs = {"+": operator.add, "*": operator.mul, "**": operator.pow, "-": operator.sub, "%": operator.mod}
    patch.setattr("runbook.plan.sandbox.bounded_operation", lambda sign, left, right: signs[sign](left, right))
