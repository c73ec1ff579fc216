"""A value that reaches a path is the name of one file in its folder, or refused: it leads nowhere else, and nothing expands it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from runbook.actions.backup.layout import layout
from runbook.catalogue import CATALOGUE
from runbook.errors import Refused
from runbook.plan.inputs import iteration_id
from runbook.transports.process import log_name
from tests.actions.backups import scope, store
from tests.cli.terminal import Said, Terminal
from tests.literal.hostile import CANARY, VALUES, quoted

FILES = sorted({value.replace("/", ":")[:80] for value in VALUES.values()} - {""})
"""As names of files: everything that a file's name may hold."""
ITEMS = [value for value in VALUES.values() if value.isprintable() and 0 < len(value) <= 200]
OUTWARDS = ("../x", "../../etc/passwd", "/etc/passwd", "a/b", "..", ".", "", "x\0y", "~/x")
HEAD = "runbook: 1\nname: tried\nenvironment: {environment: here, live: false, systems: {}}\n"


@pytest.fixture(autouse=True, name="place")
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which commands are typed."""
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def typed(runbook: Terminal, steps: str, *words: str, head: str = HEAD) -> Said:
    """A plan of these steps, applied."""
    Path("plan.yaml").write_text(f"{head}steps:\n{steps}")
    return runbook("apply", "plan.yaml", *words)


def test_an_input_is_the_name_of_the_very_file(runbook: Terminal, place: Path) -> None:
    given = [name for name in FILES if not name.startswith("-")]
    declared = "".join(f"  f{number}: {{type: path}}\n" for number in range(len(given)))
    argv = ", ".join(f'"{{{{ inputs.f{number} }}}}"' for number in range(len(given)))
    script = f'[sh, -c, \'cd "$1" && shift 2 && touch -- "$@"\', sh, {quoted(str(place))}, --, {argv}]'
    step = f"- {{id: make, uses: shell.run, timeout: 1m, with: {{argv: {script}}}}}\n"
    words = [word for number, name in enumerate(given) for word in ("-i", f"f{number}={name}")]
    assert typed(runbook, step, *words, head=f"{HEAD}inputs:\n{declared}").code == 0
    assert sorted(path.name for path in place.iterdir()) == sorted([*given, "plan.yaml"])
    refused = runbook("apply", "plan.yaml", *words, "-i", "f0=-rf")
    assert refused.code == 3
    assert "expected a path" in refused.err


def test_a_state_directory_an_inputs_file_and_a_picture_of_any_name(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "".join(FILES)[:200].encode()[:180].decode(errors="ignore")
    Path(f"in{name}").write_text("x: 1\n")
    runbook = Terminal(place / f"state{name}", capsys)
    head = f"{HEAD}inputs: {{x: {{type: integer}}}}\n"
    step = '- {id: a, uses: shell.run, timeout: 1m, with: {argv: [echo, --, "{{ inputs.x }}"]}}\n'
    assert typed(runbook, step, "--inputs", f"in{name}", head=head).code == 0
    assert runbook("logs").code == 0
    assert runbook("show").code == 0
    found = sorted(path.name for path in place.iterdir())
    assert found == sorted([f"in{name}", f"state{name}", "plan.yaml"])


def test_an_item_of_a_foreach_is_in_its_steps_id_and_no_path(runbook: Terminal, place: Path) -> None:
    items = [*ITEMS, "../../x", "..", "."]
    head = f"{HEAD}inputs: {{items: {{type: list, of: string}}}}\n"
    step = (
        '- {id: each, uses: shell.run, timeout: 1m, foreach: "{{ inputs.items }}", '
        "with: {argv: [printf, --, '%s', '{{ item }}']}}\n"
    )
    said = typed(runbook, step, "-i", f"items={json.dumps(items)}", head=head)
    assert said.code == 0, said.err
    logs = runbook.run() / "logs"
    inside = sorted(path.relative_to(logs).as_posix() for path in logs.rglob("*"))
    assert len(inside) == len(items)
    assert all("/" not in name and name.startswith("each") for name in inside)
    assert sorted(path.read_text() for path in logs.iterdir()) == sorted(items)
    assert [path.name for path in place.parent.rglob(f"*{CANARY}*") if path.parent != logs] == []


def test_a_log_is_a_file_of_its_folder_whatever_the_operation_is_called() -> None:
    for value in VALUES.values():
        name = log_name(f"{iteration_id('each', value)}/1/1/{value}")
        assert "/" not in name
        assert not name.startswith(".")
        assert name.isascii()


@pytest.mark.parametrize("command", ["show", "logs", "resume", "abandon"])
def test_a_run_is_found_by_its_id_and_not_by_a_path(runbook: Terminal, place: Path, command: str) -> None:
    typed(runbook, "- {id: a, uses: shell.run, timeout: 1m, with: {argv: [id]}}\n")
    run = runbook.run().name
    before = {path for path in place.parent.rglob("*") if path.is_file()}
    more = ("--reason", "x") if command == "abandon" else ()
    for value in (*OUTWARDS, f"../runs/{run}", f"{run}/", f"./{run}", f"{run}\n", "*", f"{run}%00", *VALUES.values()):
        if "\0" not in value:
            refused = runbook(command, *more, "--", value)
            assert refused.code == 2, value
            assert "E900" not in refused.err
    assert {path for path in place.parent.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", OUTWARDS, ids=ascii)
def test_a_name_that_a_backup_is_written_under_is_a_plain_one(name: str) -> None:
    assert layout(store(), "plain.name", scope()).path("") == "/backups/plain.name"
    with pytest.raises(Refused, match="be the name of a backup"):
        layout(store(), name, scope())


@pytest.mark.parametrize("name", OUTWARDS, ids=ascii)
@pytest.mark.parametrize("action", ["postgres.create_login", "postgres.rotate_password"])
def test_a_name_that_a_secret_is_kept_under_is_a_plain_one(action: str, name: str) -> None:
    others = {"pair": ["a", "b"], "owner": "o"} if action.endswith("login") else {"role": "a"}
    CATALOGUE[action].inputs_type.model_validate({**others, "escrow": "plain.name"})
    with pytest.raises(ValidationError):
        CATALOGUE[action].inputs_type.model_validate({**others, "escrow": name})


def test_a_backup_is_one_of_its_store(runbook: Terminal, place: Path) -> None:
    store = place / "store"
    store.mkdir()
    (place / "outside.dump").write_text("secret")
    head = HEAD.replace("systems: {}", f"systems: {{s: {{type: store, url: {json.dumps(f'file://{store}')}}}}}")
    head += "inputs: {name: {type: string}}\nsystems: {s: store}\n"
    step = '- {id: pick, uses: backup.select, on: s, timeout: 1m, with: {name: "{{ inputs.name }}"}}\n'
    hostile = "".join(VALUES.values())
    for name in ("../outside.dump", str(place / "outside.dump"), "~/x", "-rf", "*", "", "x" * 300, hostile):
        refused = typed(runbook, step, "-i", f"name={name}", head=head)
        assert refused.code in (1, 4), (name, refused.out, refused.err)
        assert "secret" not in refused.out + refused.err
    assert list(store.iterdir()) == []
