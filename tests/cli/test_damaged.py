"""A journal that something altered: `show` reads what is left, `resume` refuses, and nobody sees a traceback."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from runbook.journal.head import SLOT_BYTES
from tests.cli.terminal import Terminal
from tests.cli.written import plan, shell

Damage = Callable[[bytes, bytes], tuple[bytes, bytes]]
"""From the journal and its head to both as they are found later."""


def dropped(at: int) -> Damage:
    return lambda journal, head: (b"".join(line for n, line in enumerate(lines(journal)) if n != at), head)


def doubled(at: int) -> Damage:
    return lambda journal, head: (b"".join(line * (2 if n == at else 1) for n, line in enumerate(lines(journal))), head)


def lines(journal: bytes) -> list[bytes]:
    return journal.splitlines(keepends=True)


DAMAGES: dict[str, Damage] = {
    "the first record dropped": dropped(0),
    "a record dropped": dropped(3),
    "the last record dropped": lambda journal, head: (b"".join(lines(journal)[:-1]), head),
    "a record doubled": doubled(2),
    "two records swapped": lambda journal, head: (b"".join(sorted(lines(journal), reverse=True)), head),
    "a bit flipped": lambda journal, head: (journal[:700] + bytes([journal[700] ^ 1]) + journal[701:], head),
    "cut in the middle": lambda journal, head: (journal[: len(journal) // 2], head),
    "emptied": lambda journal, head: (b"", head),
    "zeros": lambda journal, head: (b"\0" * len(journal), head),
    "noise": lambda journal, head: (b"\xff\xfe{]\n" * 400, head),
    "both slots of the head bad": lambda journal, head: (journal, b"x" * len(head)),
    "no head": lambda journal, head: (journal, b""),
    "the same written differently": lambda journal, head: (journal.replace(b'"mono":', b'"mono": '), head),
}


@pytest.fixture
def failed(runbook: Terminal, tmp_path: Path) -> Path:
    """The directory of a run that failed in its second step."""
    runbook("apply", plan(tmp_path, shell("a", "exit 0"), shell("b", "exit 3")))
    return runbook.run()


def test_what_is_left_is_shown_and_nobody_goes_on(runbook: Terminal, failed: Path) -> None:
    journal, head = ((failed / name).read_bytes() for name in ("journal.jsonl", "head"))
    for name, damage in DAMAGES.items():
        altered, its_head = damage(journal, head)
        (failed / "journal.jsonl").write_bytes(altered)
        (failed / "head").write_bytes(its_head)
        for command in (("show",), ("show", "--json"), ("resume", "last")):
            said = runbook(*command)
            assert said.code == 7, (name, command, said)
            assert "error[E7" in said.err, (name, command)
            assert "Traceback" not in said.out + said.err, (name, command)
        assert (failed / "journal.jsonl").read_bytes() == altered, "nothing is repaired over the evidence"


@pytest.mark.parametrize("slot", [0, SLOT_BYTES])
def test_one_bad_slot_of_the_head_stops_nobody(runbook: Terminal, failed: Path, slot: int) -> None:
    head = failed / "head"
    content = head.read_bytes()
    head.write_bytes(content[:slot] + b"\0" * 100 + content[slot + 100 :])
    assert runbook("show").code == 0
    assert runbook("resume", "last").code == 1


def test_a_torn_tail_is_set_aside_and_the_run_goes_on(runbook: Terminal, failed: Path) -> None:
    with (failed / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"seq":99,"at":"20')
    assert runbook("show").code == 0
    assert runbook("resume", "last").code == 1
    assert (failed / "journal.jsonl.torn-1").read_bytes() == b'{"seq":99,"at":"20'


def test_without_its_journal_a_directory_is_no_run(runbook: Terminal, failed: Path) -> None:
    (failed / "journal.jsonl").unlink()
    assert runbook("resume", "last").code == 7
    shutil.rmtree(failed)
    assert runbook("show").code == 2
