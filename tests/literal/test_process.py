"""A value that reaches a process is one argument, one variable or bytes of its input: a real child says what it was given."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runbook.host import Docker
from runbook.operation import Process
from runbook.paste import paste
from runbook.transports.outcome import Failed, Succeeded
from runbook.transports.world import World
from tests.cli.terminal import Terminal
from tests.literal.hostile import CANARY, VALUES, quoted
from tests.transports.conftest import Uses, redactor, run_directory, uses, world

if TYPE_CHECKING:
    from docker.models.containers import Container

__all__ = ["redactor", "run_directory", "uses", "world"]

SAYS = "import json, os, sys; print(json.dumps([sys.argv[1:], [os.environ.get(f'V{n}') for n in range(40)], sys.stdin.read()]))"
WORDS = list(VALUES.values())
NAMES = [f"w{number}" for number in range(len(WORDS))]


@pytest.fixture(autouse=True, name="place")
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where everything runs: no canary may appear in it."""
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("HOME", str(place))
    return place


def ends_of(runbook: Terminal) -> dict[str, str]:
    """What each step printed, by step, as the journal has it."""
    records = [json.loads(line) for line in (runbook.run() / "journal.jsonl").read_bytes().splitlines()]
    return {one["step"]: one["fields"]["stdout"] for one in records if one["event"] == "operation.finished"}


def plan_of(steps: str, place: Path) -> str:
    """A plan of these steps, which is given every value."""
    declared = "".join(f"  {name}: {{type: string}}\n" for name in (*NAMES, "says"))
    head = "runbook: 1\nname: tried\nenvironment: {environment: here, live: false, systems: {}}\n"
    path = place / "plan.yaml"
    path.write_text(f"{head}inputs:\n{declared}steps:\n{steps}")
    return str(path)


def given() -> list[str]:
    """Every value as an input, and the program that says what it was given."""
    pairs = [*zip(NAMES, WORDS, strict=True), ("says", SAYS)]
    return [word for name, value in pairs for word in ("-i", f"{name}={value}")]


def no_canary(place: Path) -> None:
    """Nothing was executed, wherever it would have run."""
    assert [path.name for path in place.parent.rglob(f"*{CANARY}*")] == []
    assert not Path("/tmp", CANARY).exists()


def test_inputs_become_arguments_variables_and_input(runbook: Terminal, place: Path) -> None:
    argv = ", ".join(f'"{{{{ inputs.{name} }}}}"' for name in NAMES)
    variables = ", ".join(f'V{number}: "{{{{ inputs.{name} }}}}"' for number, name in enumerate(NAMES))
    stdin = "".join(f"{{{{ inputs.{name} }}}}" for name in NAMES)
    step = (
        f"- {{id: says, uses: shell.run, timeout: 1m, with: {{argv: [{quoted(sys.executable)}, -c, {quoted(SAYS)}, --, {argv}], "
        f'env: {{{variables}}}, stdin: "{stdin}"}}}}\n'
        f'- {{id: again, uses: shell.run, timeout: 1m, with: {{argv: [printf, --, "%s", "{{{{ steps.says.stdout }}}}"]}}}}\n'
    )
    said = runbook("apply", plan_of(step, place), *given())
    assert said.code == 0, said.err
    printed = ends_of(runbook)
    arguments, environment, read = json.loads(printed["says"])
    assert arguments == ["--", *WORDS]
    assert environment[: len(WORDS)] == WORDS
    assert read == "".join(WORDS)
    assert printed["again"] == printed["says"], "what a step printed is an argument like any other"
    no_canary(place)


def test_values_that_stand_in_a_plan_become_arguments(runbook: Terminal, place: Path) -> None:
    words = [value for name, value in VALUES.items() if name != "braces"]
    step = (
        f"- {{id: says, uses: shell.run, timeout: 1m, with: {{argv: [{quoted(sys.executable)}, -c, {quoted(SAYS)}, "
        f"{', '.join(map(quoted, words))}]}}}}\n"
    )
    (place / "plan.yaml").write_text(
        f"runbook: 1\nname: t\nenvironment: {{environment: here, systems: {{}}}}\nsteps:\n{step}"
    )
    assert runbook("apply", "plan.yaml").code == 0
    assert json.loads(ends_of(runbook)["says"])[0] == words
    no_canary(place)


def test_quoted_for_a_shell_they_are_words_of_it(runbook: Terminal, place: Path) -> None:
    words = " ".join(f"{{{{ inputs.{name} | sh }}}}" for name in NAMES)
    script = f"{sys.executable} -c {{{{ inputs.says | sh }}}} -- {words}"
    step = f"- {{id: says, uses: shell.run, timeout: 1m, with: {{shell: true, script: {json.dumps(script)}}}}}\n"
    plan = plan_of(step, place)
    said = runbook("apply", plan, *given())
    assert said.code == 0, said.err
    assert json.loads(ends_of(runbook)["says"])[0] == ["--", *WORDS]
    no_canary(place)


def test_a_value_in_a_script_that_is_not_quoted_is_refused(runbook: Terminal, place: Path) -> None:
    step = '- {id: says, uses: shell.run, timeout: 1m, with: {shell: true, script: "echo {{ inputs.w0 }}"}}\n'
    said = runbook("apply", plan_of(step, place), *given())
    assert said.code == 3
    assert "error[E222]: unquoted value in a shell script" in said.err
    no_canary(place)


def test_a_line_of_the_dry_run_is_read_back_by_a_shell_as_it_was(place: Path) -> None:
    operation = Process(name="says", argv=(sys.executable, "-c", SAYS, *WORDS))
    ended = subprocess.run(
        ["bash", "-c", paste(operation)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        env={"LC_ALL": "C.UTF-8"},
    )
    assert json.loads(ended.stdout)[0] == WORDS
    no_canary(place)


IMPOSSIBLE = {
    "argument": (("printf", "a\0b"), (), "E304"),
    "program": (("a\0b",), (), "E304"),
    "variable": (("true",), (("V", "a\0b"),), "E304"),
    "name of a variable": (("true",), (("V\0", "a"),), "E301"),
    "no name": (("",), (), "E301"),
    "long name": (("x" * 5000,), (), "E301"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_no_process_can_be_given_is_a_failure_in_words(name: str, world: World, uses: Uses) -> None:
    argv, variables, code = IMPOSSIBLE[name]
    outcome = world.perform(Process(name="p", argv=argv, env=variables), uses())
    assert isinstance(outcome, Failed)
    assert outcome.problem.code == code
    assert outcome.problem.fix
    after = world.perform(Process(name="p", argv=("echo", "goes on")), uses("step/1/1/after"))
    assert isinstance(after, Succeeded), "whoever starts the children is still there"


@pytest.mark.docker
def test_in_a_container_they_are_the_same(
    run_container: Callable[..., Container], world: World, uses: Uses, place: Path
) -> None:
    box = run_container()
    assert box.name is not None
    script = 'for word in "$@" "$V0"; do printf "%s" "$word" | od -An -v -tx1 | tr -d " \\n"; echo; done; cat'
    for value in ("", "--help", VALUES["every-quote"], VALUES["escape"]):
        operation = Process(
            name="p", argv=("sh", "-c", script, "sh", *WORDS), host=Docker(box.name), env=(("V0", value),), stdin="read"
        )
        outcome = world.perform(operation, uses(f"step/1/1/{WORDS.index(value) if value in WORDS else 99}"))
        assert isinstance(outcome, Succeeded), outcome
        *words, read = str(outcome.fields["stdout"]).split("\n")
        assert [bytes.fromhex(word).decode() for word in words] == [*WORDS, value]
        assert read == "read"
    code, found = box.exec_run(["sh", "-c", f"ls -d /{CANARY} /tmp/{CANARY} /root/{CANARY} 2>/dev/null; true"])
    assert (code, found) == (0, b"")
    no_canary(place)
