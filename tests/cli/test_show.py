"""Where a run stands, as a person and a program see it."""

from __future__ import annotations

from pathlib import Path

from tests.cli.terminal import Terminal
from tests.cli.written import plan, shell, until_there, wait_for
from tests.fixtures.patience import eventually


def test_a_failed_run_says_what_failed_and_what_can_be_done(runbook: Terminal, tmp_path: Path) -> None:
    steps = (shell("a", "exit 0"), shell("b", "echo broken >&2; exit 3"), shell("c", "exit 0"))
    assert runbook("apply", plan(tmp_path, *steps)).code == 1
    name = runbook.run().name
    told = runbook("show")
    assert told.code == 0
    lines = told.out.splitlines()
    assert lines[0] == f"▸ {name}: small in here"
    assert lines[1].startswith("  failed after ")
    assert any(line.startswith("✓ a: Run a") for line in lines)
    assert any(line.startswith("✗ b: Run b") for line in lines)
    assert "    sh: exit code 3" in lines
    assert any(line.startswith("– c: Run c  (b failed)") for line in lines)
    assert any(line.startswith(f"→ runbook resume {name}") for line in lines)


def test_a_run_is_found_by_the_beginning_of_its_id(runbook: Terminal, tmp_path: Path) -> None:
    runbook("apply", plan(tmp_path, shell("a", "exit 0")))
    name = runbook.run().name
    assert runbook("show", name[:20]).code == 0
    assert runbook("show", "last").code == 0
    none = runbook("show", "1999")
    assert none.code == 2
    assert name in none.err


def test_json_has_what_the_page_has(runbook: Terminal, tmp_path: Path) -> None:
    runbook("apply", plan(tmp_path, shell("a", "exit 0"), shell("b", "exit 1")))
    told = runbook("show", "--json").json
    assert (told["plan"], told["environment"], told["status"]) == ("small", "here", "failed")
    steps = told["steps"]
    assert isinstance(steps, list)
    shown = [step for step in steps if isinstance(step, dict)]
    assert [(step["id"], step["status"], step["attempts"]) for step in shown] == [
        ("a", "succeeded", 1),
        ("b", "failed", 1),
    ]
    assert told["damage"] == []


def test_json_has_the_end_of_a_run_and_its_objectives(runbook: Terminal, tmp_path: Path) -> None:
    path = Path(plan(tmp_path, shell("a", "exit 0")))
    path.write_text(path.read_text() + "objectives: {rto: 4h}\n")
    assert runbook("apply", str(path)).code == 0
    told = runbook("show", "--json").json
    rto = told["rto"]
    assert isinstance(rto, dict) and (rto["target_s"], rto["met"]) == (4 * 3600.0, True)
    assert (told["exit_code"], told["rpo"], told["kept"]) == (0, None, [])
    assert round(float(str(told["duration_s"])), 3) == rto["actual_s"]


def test_what_a_plan_gives_is_told_at_its_end_and_later(runbook: Terminal, tmp_path: Path) -> None:
    path = Path(plan(tmp_path, shell("find", "echo 747; exit 0"), shell("late", "exit 1")))
    path.write_text(
        path.read_text() + 'outputs: {xid: "{{ steps.find.stdout }}", code: "{{ steps.late.exit_code }}"}\n'
    )
    applied = runbook("apply", str(path))
    assert applied.code == 1
    assert "= xid: 747" in applied.out.splitlines()
    assert "= code" not in applied.out
    assert "= xid: 747" in runbook("show").out.splitlines()
    outputs = runbook("show", "--json").json["outputs"]
    assert isinstance(outputs, dict)
    assert (str(outputs["xid"]).strip(), outputs["code"]) == ("747", None)
    resumed = runbook("resume")
    assert resumed.code == 1
    assert "= xid: 747" in resumed.out.splitlines()


def test_a_running_run_says_what_runs_now(runbook: Terminal, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    engine = runbook.start("apply", plan(tmp_path, shell("a", f"echo on; {until_there(seen)}")))
    eventually(lambda: list(runbook.state.glob("runs/*/logs/a.1.1.run.log")))
    wait_for(runbook.run() / "logs" / "a.1.1.run.log", "on")
    told = runbook("show")
    seen.touch()
    engine.communicate()
    assert "  running; begun " in told.out
    assert "▶ a: Run a  run  for " in told.out
    assert f"→ runbook logs {runbook.run().name} -f" in told.out
    assert "resume" not in told.out


def test_a_damaged_journal_is_shown_as_far_as_it_goes(runbook: Terminal, tmp_path: Path) -> None:
    runbook("apply", plan(tmp_path, shell("a", "exit 0"), shell("b", "exit 0")))
    journal = runbook.run() / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    begun = next(at for at, line in enumerate(lines) if b'"step.started"' in line and b'"step":"b"' in line)
    lines[begun] = lines[begun].replace(b'"attempt":1', b'"attempt":7')
    journal.write_bytes(b"".join(lines))
    told = runbook("show")
    assert told.code == 7
    assert "✓ a: Run a" in told.out
    assert "· b: Run b" in told.out
    assert "error[E701]: the journal is damaged" in told.err
    assert f"ends with record {begun}; {len(lines) - begun - 1} readable ones stand after it" in told.err
    assert runbook("show", "--json").json["damage"] != []


def test_a_frozen_plan_that_was_changed_or_lost_is_said(runbook: Terminal, tmp_path: Path) -> None:
    runbook("apply", plan(tmp_path, shell("a", "exit 0")))
    frozen = next((runbook.run() / "frozen").glob("plan-*"))
    frozen.write_text(frozen.read_text().replace("exit 0", "exit 9"))
    assert (runbook("show").code, "E720" in runbook("show").err) == (7, True)
    frozen.unlink()
    lost = runbook("show")
    assert (lost.code, "E721" in lost.err) == (7, True)
