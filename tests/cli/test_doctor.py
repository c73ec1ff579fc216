"""``runbook doctor``: the page as it is shown, the exit codes, and what it takes for its environment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runbook.doctor import gather as gathering
from runbook.doctor.facts import Facts, Filter, Library, Program, Python
from runbook.operation import Json
from tests.cli.terminal import Said, Terminal
from tests.cli.written import plan, shell
from tests.doctor.given import RESTORES, STATE, healthy

GOLDEN = """\
✗ versions     Jinja2 3.1.5: is older than 3.1.6  [E950]
               A template gets out of the sandbox by the attr filter (CVE-2025-27516) and runs what it likes as you.
               → pip install 'jinja2>=3.1.6'
✗ tools        pg_restore: is missing on docker:pg  [E952]
               The step calls it: restore.
               → use an image with postgresql-client-17, or run pg_restore here: host: local and `address`
! versions     Python 3.11.12: has CVE-2025-4517 and its kin  [E950]
               A crafted archive that is unpacked with tarfile writes outside its folder: a backup could take this machine over.
               → install Python 3.11.13 or newer, or your distribution's mended one
! permissions  /srv/.runbook: has mode 0755, not 0700  [E955]
               Others can read journals and logs, which name systems, people and commands.
               → chmod 0700 /srv/.runbook
✓ versions     db: PostgreSQL 17.11: no hole is known
✓ space        /srv/.runbook: 42.9 GB free
✓ space        backups: 32.2 GB free; the newest backup (d.dump) has 1.1 GB
✓ space        db: 32.2 GB free beside /var/lib/postgresql/data; civicq has 2.1 GB
✓ permissions  backups: /backups can be written to
✓ permissions  Docker Engine: answers at unix:///var/run/docker.sock
✓ clock        this machine: 2026-12-01 03:00:00Z
✓ clock        db: its clock is this machine's, to 0.0s
✓ systems      db (postgres): answers in 12 ms
✓ systems      backups (store): /backups
= 2 will fail, 2 to look at, 10 good
"""
ENVIRONMENT = """\
environment: {name}
live: {live}
systems: {{backups: {{type: store, url: "file://{store}"}}}}
"""


def ill() -> Facts:
    """A machine with something of each mark."""
    return replace(
        healthy(),
        python=Python((3, 11, 12), Filter.HOLED),
        libraries=(Library("jinja2", "3.1.5"),),
        state=replace(STATE, mode=0o755),
        programs={RESTORES.key: Program("")},
    )


def given(monkeypatch: pytest.MonkeyPatch, facts: Facts) -> None:
    """The machine is in that state."""
    monkeypatch.setattr(gathering, "gather", lambda *_, **__: facts)


def checks(said: Said) -> list[dict[str, Json]]:
    found = said.json["checks"]
    assert isinstance(found, list)
    return [one for one in found if isinstance(one, dict)]


def test_the_page(runbook: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, ill())
    said = runbook("doctor")
    assert (said.code, said.err) == (1, "")
    assert said.out == GOLDEN


def test_for_a_program(runbook: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, ill())
    said = runbook("doctor", "--json")
    assert (said.code, said.json["ready"]) == (1, False)
    assert len(checks(said)) == 14
    assert {check["mark"] for check in checks(said)} == {"fails", "look", "good"}


def test_what_should_be_looked_at_counts_if_one_is_strict(runbook: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, replace(healthy(), state=replace(STATE, mode=0o755)))
    assert runbook("doctor").code == 0
    assert runbook("doctor", "--strict").code == 1
    given(monkeypatch, healthy())
    healthy_ = runbook("doctor", "--strict")
    assert (healthy_.code, healthy_.out.splitlines()[-1]) == (0, "= nothing to find fault with in 17 checks")


def test_this_machine_as_it_is(runbook: Terminal) -> None:
    said = runbook("doctor", "--json")
    groups = {check["group"] for check in checks(said)}
    assert {"versions", "tools", "space", "permissions", "clock"} <= groups
    assert not runbook.state.exists(), "nothing is made"


def test_a_plan_in_its_own_environment(runbook: Terminal, tmp_path: Path) -> None:
    said = runbook("doctor", plan(tmp_path / "plans", shell("a", "true"), name="calls"), "--json")
    assert {"group": "tools", "subject": "this machine", "detail": "sh"}.items() <= _of(said, "tools").items()
    absent = plan(tmp_path / "plans", {**shell("a", ""), "with": {"argv": ["no-such-program"]}}, name="lacks")
    missing = runbook("doctor", absent, "--json")
    assert missing.code == 1
    assert (_of(missing, "tools")["subject"], _of(missing, "tools")["code"]) == ("no-such-program", "E952")


def _of(said: Said, group: str) -> dict[str, Json]:
    return next(check for check in checks(said) if check["group"] == group)


def test_a_plan_that_everybody_may_change(runbook: Terminal, tmp_path: Path) -> None:
    path = plan(tmp_path / "plans", shell("a", "true"))
    Path(path).chmod(0o666)
    said = runbook("doctor", path)
    assert said.code == 1
    assert f"→ chmod o-w {path}" in said.out


def test_an_environment_alone_by_its_name(runbook: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "work" / "plans" / "environments"
    place.mkdir(parents=True)
    text = ENVIRONMENT.format(name="production", live="true", store=tmp_path / "none")
    (place / "production.yaml").write_text(text)
    monkeypatch.chdir(tmp_path / "work")
    said = runbook("doctor", "-e", "production", "--json")
    assert {"subject": "backups", "mark": "look", "detail": f"{tmp_path}/none is not there"}.items() <= next(
        check for check in checks(said) if check["subject"] == "backups"
    ).items()
    unknown = runbook("doctor", "-e", "productoin")
    assert (unknown.code, "did you mean 'production'?" in unknown.err) == (3, True)


def test_without_an_environment_a_plan_is_half_looked_at(runbook: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(
        "runbook: 1\nname: p\ntitle: P\nsystems: {db: postgres}\nsteps:\n"
        "  - {id: a, title: A, uses: postgres.assert, on: db, with: {checks: [{query: SELECT 1, at_least: 1}]}, timeout: 1m}\n"
    )
    said = runbook("doctor", str(path), "--json")
    assert [check["code"] for check in checks(said) if check["group"] == "systems"] == ["E958"]


def test_a_plan_that_is_invalid_is_none(runbook: Terminal, tmp_path: Path) -> None:
    assert runbook("doctor", str(tmp_path / "none.yaml")).code == 2
    said = runbook("doctor", plan(tmp_path, {"id": "a", "title": "A", "uses": "postgres.restrore"}))
    assert (said.code, "E220" in said.err) == (3, True)


def test_of_several_plans_one_that_does_not_fit_is_left_out(runbook: Terminal, tmp_path: Path) -> None:
    environment = tmp_path / "e.yaml"
    environment.write_text(ENVIRONMENT.format(name="small", live="false", store=tmp_path))
    fits, misfits = tmp_path / "fits.yaml", tmp_path / "misfits.yaml"
    for path, system in ((fits, "backups: store"), (misfits, "db: postgres")):
        path.write_text(
            f"runbook: 1\nname: p\ntitle: P\nsystems: {{{system}}}\nsteps:\n"
            "  - {id: a, title: A, uses: shell.run, with: {argv: [sh]}, timeout: 1m}\n"
        )
    alone = runbook("doctor", str(misfits), "-e", str(environment))
    assert (alone.code, "E171" in alone.err) == (3, True)
    said = runbook("doctor", str(fits), str(misfits), "-e", str(environment), "--json")
    assert said.code == 0
    (left_out,) = [check for check in checks(said) if check["subject"] == str(misfits)]
    assert (left_out["mark"], left_out["detail"]) == ("look", "does not fit small")
