"""What a plan gives, as a person reads it."""

from __future__ import annotations

from runbook.report.results import MOST, as_lines


def _texts(**results: object) -> list[str]:
    return [str(line) for line in as_lines(results)]  # type: ignore[arg-type]


def test_a_value_stands_after_its_name() -> None:
    assert _texts(xid=747, did="deleted 100 rows", proven=True) == [
        "= xid: 747",
        "= did: deleted 100 rows",
        "= proven: yes",
    ]


def test_what_never_came_is_not_told() -> None:
    assert _texts(xid=None, did="") == []


def test_seconds_are_told_as_people_read_them() -> None:
    assert _texts(rpo_s=125.4) == ["= rpo: 2m 05s"]


def test_a_text_of_lines_keeps_them() -> None:
    assert _texts(preview="public.users: 3 missing\npublic.tags: 0 missing\n") == [
        "= preview:",
        "    public.users: 3 missing",
        "    public.tags: 0 missing",
    ]


def test_a_backup_is_told_by_its_name_and_place() -> None:
    artifact = {"name": "db.dump", "url": "file:///backups/db.dump", "proof": "read", "manifest": {"name": "db.dump"}}
    assert _texts(artifact=artifact) == ["= artifact: db.dump (read)"]


def test_a_list_has_a_line_for_each_and_an_end() -> None:
    found = [{"xid": number, "did": "deleted", "table": ""} for number in range(MOST + 2)]
    told = _texts(transactions=found)
    assert told[:2] == ["= transactions:", "    xid 0, did deleted"]
    assert told[-1] == "    … and 2 more: runbook show --json"
    assert len(told) == MOST + 2


def test_an_empty_list_says_so() -> None:
    assert _texts(removed=[]) == ["= removed: none"]
    assert _texts(kept=["a.dump", "b.dump"]) == ["= kept:", "    a.dump", "    b.dump"]
