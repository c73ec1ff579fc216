"""``runbook validate``: its exit codes, its forms, and that it is quick and reaches for nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runbook.catalogue import CATALOGUE
from tests.cli.terminal import Terminal

ROOT = Path(__file__).parents[2]
PLANS = sorted((ROOT / "plans").glob("*.yaml"))
LIVE = ["civicq-production", "contract-lucidity-production"]
OF_A_PAIR = {"failover", "rejoin-standby", "switchover"}
PAIR = ["contract-lucidity-pair"]

HANGS = "runbook: 1\nname: hangs\nsystems: {site: web}\nsteps:\n- {id: look, uses: http.check, on: site}\n"
WRONG = HANGS.replace("on: site", "on: site, with: {stats: 200}").replace(
    "uses: http.check", "comand: x, uses: http.chek"
)
LAB = "environment: lab\nsystems: {site: {type: web, url: 'https://shop.example'}}\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of plans, in which the command is typed."""
    place = tmp_path / "plans"
    (place / "environments").mkdir(parents=True)
    (place / "hangs.yaml").write_text(HANGS)
    (place / "good.yaml").write_text(HANGS.replace("on: site", "on: site, timeout: 1m"))
    (place / "wrong.yaml").write_text(WRONG)
    (place / "environments" / "lab.yaml").write_text(LAB)
    monkeypatch.chdir(place)
    return place


@pytest.mark.usefixtures("here")
def test_exit_codes(runbook: Terminal) -> None:
    assert runbook("validate", "good.yaml").code == 0
    assert runbook("validate", "hangs.yaml").code == 0
    assert runbook("validate", "hangs.yaml", "--strict").code == 3
    assert runbook("validate", "good.yaml", "--strict").code == 0
    assert runbook("validate", "wrong.yaml").code == 3
    assert runbook("validate", "good.yaml", "wrong.yaml").code == 3
    assert runbook("validate", "absent.yaml").code == 2
    assert runbook("validate").code == 2
    assert runbook("validate", "good.yaml", "--format", "xml").code == 2


@pytest.mark.usefixtures("here")
def test_text_shows_every_problem_and_counts_them(runbook: Terminal) -> None:
    said = runbook("validate", "wrong.yaml", "hangs.yaml")
    assert said.out == (
        "wrong.yaml:5:14: error[E102]: unknown key 'comand'\n"
        " 5 | - {id: look, comand: x, uses: http.chek, on: site, with: {stats: 200}}\n"
        "   |              ^^^^^^ known keys: id, title, description, uses, on, with, systems, needs, when, timeout, retry, "
        "confirm, releases, on_failure, phase, foreach\n"
        "wrong.yaml:5:31: error[E220]: unknown action 'http.chek'\n"
        " 5 | - {id: look, comand: x, uses: http.chek, on: site, with: {stats: 200}}\n"
        "   |                               ^^^^^^^^^ did you mean 'http.check'?\n"
        "hangs.yaml:5:8: warning[DR004]: no timeout on a step that can hang\n"
        " 5 | - {id: look, uses: http.check, on: site}\n"
        "   |        ^^^^ add `timeout:`, longer than it ever took\n"
        "  http.check can hang, and the run would wait for it for ever.\n"
        "3 problems: 2 errors, 1 warning\n"
    )
    assert said.err == ""
    assert runbook("validate", "good.yaml").out == "nothing to find fault with in 1 plan\n"


@pytest.mark.usefixtures("here")
def test_json_is_the_contract(runbook: Terminal) -> None:
    said = runbook("validate", "hangs.yaml", "--json")
    assert said.json["valid"] is True
    assert said.json["problems"] == [
        {
            "code": "DR004",
            "severity": "warning",
            "file": "hangs.yaml",
            "line": 5,
            "column": 8,
            "summary": "no timeout on a step that can hang",
            "detail": "http.check can hang, and the run would wait for it for ever.",
            "fix": "add `timeout:`, longer than it ever took",
        }
    ]
    assert runbook("validate", "hangs.yaml", "--strict", "--format", "json").json["valid"] is False
    assert runbook("validate", "good.yaml", "--json").json == {"valid": True, "problems": []}


@pytest.mark.usefixtures("here")
def test_forges_and_scanners_get_their_own(runbook: Terminal) -> None:
    said = runbook("validate", "hangs.yaml", "--format", "github")
    assert said.out.startswith(
        "::warning file=hangs.yaml,line=5,col=8,title=DR004::no timeout on a step that can hang%0A"
    )
    log = runbook("validate", "hangs.yaml", "--format", "sarif").json
    assert log["version"] == "2.1.0"
    assert runbook("validate", "good.yaml", "--format", "github").out == ""


def test_an_environment_is_held_against_the_plan(runbook: Terminal, here: Path) -> None:
    assert runbook("validate", "good.yaml", "--env", "lab").code == 0
    assert runbook("validate", "good.yaml", "--env", "labb").code == 3
    (here / "environments" / "lab.yaml").write_text(LAB.replace("site:", "side:"))
    said = runbook("validate", "good.yaml", "--env", "lab")
    assert said.code == 3
    assert "error[E171]: the environment has no system 'site'" in said.out
    (here / "environments" / "lab.yaml").write_text(LAB.replace("type: web", "type: web, colour: red"))
    said = runbook("validate", "hangs.yaml", "--env", "lab")
    assert [line for line in said.out.splitlines() if "[" in line and "]: " in line] == [
        "environments/lab.yaml:2:29: error[E102]: unknown key 'colour'",
    ]


def test_an_inline_environment_is_checked_too(runbook: Terminal, here: Path) -> None:
    inline = HANGS.replace("steps:", "environment: {systems: {side: {type: web, url: 'https://shop.example'}}}\nsteps:")
    (here / "inline.yaml").write_text(inline)
    said = runbook("validate", "inline.yaml")
    assert said.code == 3
    assert "error[E171]: the environment has no system 'site'" in said.out


def test_a_plan_that_anybody_may_write_is_refused(runbook: Terminal, here: Path) -> None:
    (here / "good.yaml").chmod(0o666)
    said = runbook("validate", "good.yaml")
    assert said.code == 4
    assert "error[E474]" in said.err


@pytest.mark.parametrize("plan", PLANS, ids=lambda path: path.stem)
def test_what_is_shipped_is_without_fault(runbook: Terminal, plan: Path) -> None:
    assert runbook("validate", "--strict", str(plan)).code == 0
    for environment in PAIR if plan.stem in OF_A_PAIR else LIVE:
        assert runbook("validate", "--strict", str(plan), "--env", environment).code == 0


def long_plan(steps: int) -> str:
    """A plan of so many steps, of several kinds."""
    kinds = (
        "uses: postgres.assert, on: db, with: {checks: [{query: SELECT 1, equals: 1}]}",
        "uses: http.check, on: site, with: {path: /health}",
        'uses: shell.run, with: {argv: [echo, "x{{ inputs.text }}"]}',
        "uses: backup.select, on: backups",
    )
    head = "runbook: 1\nname: long\ninputs: {text: {type: string}}\nsystems: {db: postgres, site: web, backups: store}\nsteps:\n"
    return head + "".join(f"- {{id: s{n}, {kinds[n % len(kinds)]}, timeout: 1m}}\n" for n in range(steps))


def cpu_s(*argv: str) -> float:
    """The least processor time of several runs, in seconds: other work on the machine does not lengthen it."""
    spent = []
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    for _ in range(7):
        process = subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        spent.append(usage.ru_utime + usage.ru_stime)
    return min(spent)


def test_a_plan_of_twenty_steps_is_checked_before_one_notices(tmp_path: Path) -> None:
    plan = tmp_path / "long.yaml"
    plan.write_text(long_plan(20))
    loaded = cpu_s(sys.executable, "-c", "import click, jinja2, pydantic, ruamel.yaml")
    checked = cpu_s(sys.executable, "-m", "runbook.cli", "validate", str(plan))
    assert checked < 6 * loaded, "a quarter of a second, where what it is built on takes a tenth to be loaded"


def test_one_action_loads_no_other(tmp_path: Path) -> None:
    plan = tmp_path / "good.yaml"
    plan.write_text(HANGS.replace("on: site", "on: site, timeout: 1m"))
    code = "import sys; from runbook.cli.main import run; run(sys.argv[1:]); print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", code, "validate", str(plan)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = [name for name in ended.stdout.split() if name.startswith("runbook.actions.")]
    assert loaded == ["runbook.actions.http"]


def test_every_action_is_found_by_its_name_alone() -> None:
    code = (
        "import sys; from runbook.catalogue import CATALOGUE; print(CATALOGUE[sys.argv[1]].name, len(CATALOGUE._found))"
    )
    asked = [sys.executable, "-c", code]
    for name in ("postgres.assert", "postgres.restore_to_time", "manual"):
        ended = subprocess.run([*asked, name], cwd=ROOT, capture_output=True, text=True, check=True)
        found, count = ended.stdout.split()
        assert found == name
        assert int(count) < len(CATALOGUE)


def test_the_whole_of_a_large_plan_is_judged(runbook: Terminal, tmp_path: Path) -> None:
    plan = tmp_path / "large.yaml"
    plan.write_text(long_plan(2_000).replace("id: s1999, uses: backup.select", "id: s1999, uses: backup.selec"))
    said = runbook("validate", str(plan), "--json")
    problems = json.loads(said.out)["problems"]
    assert [(problem["code"], problem["line"]) for problem in problems] == [("E220", 2_005)]
