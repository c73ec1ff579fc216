"""Pruning a store: what goes and what never does, stopped anywhere and resumed, and taken back while that can be."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from runbook.actions.backup.prune import Prune, PruneInputs
from runbook.actions.backup.stock import Doomed
from runbook.actions.backup.verify import Verify
from runbook.artifact import Artifact, Format, Proof
from runbook.errors import Refused
from runbook.operation import Remove, Rename
from runbook.paste import paste
from runbook.system import Store
from tests.actions.backups import artifact, lay, manifest, scope, store
from tests.actions.harness import Stage, StepFailed
from tests.actions.postgres.life import Life

DAYS = 6


@pytest.fixture
def place(backups: Store) -> Path:
    """A store with six nightly dumps: ``0.dump`` is the newest. The oldest was touched last."""
    directory = Path(backups.directory)
    for age in reversed(range(DAYS)):
        lay(directory, f"{age}.dump", age=timedelta(days=age, hours=1), data=b"data " * (age + 1))
        (directory / f"{age}.dump.counts.jsonl").write_text("{}")
    (directory / f"{DAYS - 1}.dump").touch()
    return directory


def proven(stage: Stage, backups: Store, name: str = "0.dump") -> Artifact:
    from runbook.actions.backup.select import Select

    picked = stage.live(Select(), backups, stage.scope("pick"), name=name).artifact
    shown = stage.live(Verify(), backups, stage.scope("prove"), artifact=picked).artifact
    assert isinstance(shown, Artifact)
    return shown


def pruning(stage: Stage, backups: Store, **written: object) -> Life:
    given: dict[str, object] = {"proven": proven(stage, backups), "keep_last": 3, **written}
    return Life(stage, Prune(), backups, stage.scope("prune"), given)


def there(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


def dumps(*ages: int) -> list[str]:
    return sorted(f"{age}.dump{part}" for age in ages for part in ("", ".counts.jsonl", ".manifest.json"))


def codes(refused: pytest.ExceptionInfo[Refused]) -> list[str]:
    return [one.code for one in refused.value.problems]


def test_what_no_rule_keeps_goes_and_is_named(stage: Stage, backups: Store, place: Path) -> None:
    step = pruning(stage, backups)
    lines = [paste(one) for one in step.plan()]
    assert "5.dump (30 B, of 2026-02-09" in lines[1]
    assert lines[2].count("5.dump.manifest.json") == 2  # the oldest first, its manifest before all
    out_before = Prune().expect(backups, step.inputs, step.observe())
    step.go()
    out = step.end()
    assert there(place) == dumps(0, 1, 2)
    assert out == out_before
    assert [line.partition(" ")[0] for line in out.removed] == ["5.dump", "4.dump", "3.dump"]
    assert "30 B" in out.removed[0] and "2026-02-09" in out.removed[0]
    assert out.freed_bytes == 30 + 25 + 20
    assert out.kept[0].startswith("0.dump: ") and "proven in this run" in out.kept[0]
    again = Life(stage, Prune(), backups, stage.scope("again"), step.written)
    assert again.plan() == ()
    again.end()


@pytest.mark.parametrize("stop_after", range(15))
def test_stopped_anywhere_it_ends_the_same(stage: Stage, backups: Store, place: Path, stop_after: int) -> None:
    step = pruning(stage, backups)
    step.go(stop_after=stop_after)
    for name in there(place):  # what is a backup at this moment is a whole one
        if name.endswith(".manifest.json"):
            assert (place / name.removesuffix(".manifest.json")).exists()
    step.go()
    assert len(step.end().removed) == 3
    assert there(place) == dumps(0, 1, 2)


@pytest.mark.parametrize("stop_after", [2, 5, 11, 12])
def test_it_can_be_taken_back_until_the_trash_is_emptied(
    stage: Stage, backups: Store, place: Path, stop_after: int
) -> None:
    before = {name: (place / name).read_bytes() for name in there(place)}
    step = pruning(stage, backups)
    step.go(stop_after=stop_after)
    assert there(place) != sorted(before)
    step.undo()
    assert {name: (place / name).read_bytes() for name in there(place)} == before


def test_what_is_gone_has_no_way_back(stage: Stage, backups: Store, place: Path) -> None:
    step = pruning(stage, backups)
    step.go()
    assert Prune().undo(backups, step.inputs, step.observe(), step.scope) is None


def test_the_floor_is_looked_at_again_before_anything_is_lost(stage: Stage, backups: Store, place: Path) -> None:
    step = pruning(stage, backups, keep_last=1, minimum=2, max_delete=1)
    step.go(stop_after=6)
    (place / "1.dump").unlink()
    with pytest.raises(Refused) as refused:
        step.go()
    assert codes(refused) == ["E619"]
    assert "5.dump" not in there(place) and [one for one in there(place) if one.endswith(".trash")]
    step.undo()
    assert set(dumps(2, 3, 4, 5)) <= set(there(place))


def test_what_a_person_keeps_after_it_was_chosen_stays(stage: Stage, backups: Store, place: Path) -> None:
    step = pruning(stage, backups)
    step.go(stop_after=5)  # the oldest is put away, with all that belongs to it
    (place / "5.dump.keep").touch()
    with pytest.raises(Refused, match="what has to stay is not there") as refused:
        step.go()
    assert codes(refused) == ["E619"]
    step.undo()
    assert set(dumps(3, 4, 5)) < set(there(place))


def test_a_floor_that_goes_in_the_same_breath_is_found(stage: Stage, backups: Store, place: Path) -> None:
    step = pruning(stage, backups)
    operations = step.plan()
    for one in operations:
        if one.name == "floor":
            (place / "2.dump").unlink()
            with pytest.raises(StepFailed, match=r"2\.dump"):
                stage.perform(one, step.results, step.scope)
            return
        stage.perform(one, step.results, step.scope)
    pytest.fail("nobody looked at what has to stay")


def test_what_a_person_keeps_stays(stage: Stage, backups: Store, place: Path) -> None:
    (place / "5.dump.keep").write_text("case 17")
    step = pruning(stage, backups)
    step.go()
    assert there(place) == sorted([*dumps(0, 1, 2, 5), "5.dump.keep"])
    assert [line for line in step.end().kept if line.startswith("5.dump")] == ["5.dump: 5.dump.keep keeps it"]
    (place / ".keep").write_text("all of it, says the court")
    with pytest.raises(Refused) as refused:
        pruning(stage, backups, keep_last=1, max_delete=1).plan()
    assert codes(refused) == ["E619"]
    assert "says the court" in refused.value.problems[0].detail


def test_what_was_not_made_whole_or_not_by_us_is_left_alone(stage: Stage, backups: Store, place: Path) -> None:
    (place / "foreign.dump").write_text("from a script")
    (place / "9.dump.manifest.json").write_text("{")
    (place / "5.dump").write_text("cut")
    lay(place, "other.dump", age=timedelta(days=90), database="another")
    lay(place, "base.tar", age=timedelta(days=90), format=Format.BASE_BACKUP)
    left = ["foreign.dump", "9.dump.manifest.json", *dumps(5), "other.dump", "base.tar"]
    step = pruning(stage, backups)
    step.go()
    out = step.end()
    assert set(left) < set(there(place)) and "4.dump" not in there(place)
    assert [line.partition(":")[0] for line in out.passed_over] == ["9.dump", "5.dump"]


def test_too_many_at_once_are_refused_with_their_names(stage: Stage, backups: Store, place: Path) -> None:
    with pytest.raises(Refused) as refused:
        pruning(stage, backups, keep_last=2).plan()
    assert codes(refused) == ["E618"]
    assert "4 of 6" in refused.value.problems[0].detail and "5.dump (30 B" in refused.value.problems[0].detail
    assert there(place) == dumps(*range(DAYS))
    step = pruning(stage, backups, keep_last=2, max_delete=1)
    step.go()
    assert there(place) == dumps(0, 1)


def test_the_proven_one_stays_whatever_the_rules_say(stage: Stage, backups: Store, place: Path) -> None:
    step = pruning(stage, backups, proven=proven(stage, backups, "5.dump"))
    step.go()
    assert there(place) == dumps(0, 1, 2, 5)


def test_nothing_goes_without_a_proof(stage: Stage, backups: Store, place: Path) -> None:
    shown = proven(stage, backups)
    listed = shown.model_copy(update={"proof": Proof.LISTED})
    with pytest.raises(Refused) as refused:
        pruning(stage, backups, proven=listed).plan()
    assert codes(refused) == ["E619"]
    (place / "0.dump.manifest.json").write_text((place / "0.dump.manifest.json").read_text() + "\n")
    with pytest.raises(Refused, match="no backup is proven to stay"):
        Life(stage, Prune(), backups, stage.scope("prune"), {"proven": shown, "keep_last": 3}).plan()


def test_rules_have_to_be_given_and_wal_belongs_to_base_backups() -> None:
    shown = artifact(manifest()).model_dump(mode="json")
    with pytest.raises(ValidationError, match="give at least one of keep_last"):
        PruneInputs.model_validate({"proven": shown})
    with pytest.raises(ValidationError, match="wal_of is for base backups"):
        PruneInputs.model_validate(
            {"proven": shown, "keep_last": 2, "wal_of": {"type": "postgres", "user": "u", "database": "d"}}
        )


def test_offline_it_shows_one_that_goes() -> None:
    inputs: Any = PruneInputs.model_validate({"proven": artifact(manifest("new.dump")), "keep_last": 3})
    facts = Prune().assume(store(), inputs, scope())
    assert facts.doomed == (Doomed("OLDEST", ("OLDEST.manifest.json", "OLDEST"), 0, ""),)
    operations = Prune().plan(store(), inputs, facts, scope())
    assert [type(one) for one in operations[2:4]] == [Rename, Rename]
    last = operations[-1]
    assert isinstance(last, Remove) and last.marker == scope().tag and last.marker in last.path
