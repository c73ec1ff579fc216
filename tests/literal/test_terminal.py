"""On a terminal, what a plan, a program or a command line holds is text: nothing of it moves a cursor, turns or hides anything."""

from __future__ import annotations

import json
import os
import pty
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbook.cli.main import run
from tests.cli.terminal import Terminal
from tests.cli.test_running import Typist
from tests.literal.hostile import ACTING, CANARY, VALUES, quoted

OWN = re.compile(r"\x1b\[(?:0|1|2|22|31|32|33)m|\r\x1b\[2K|\r(?=\n)")
"""The program's own colours, the line that it draws anew, and what a terminal makes of a line's end."""
SCRIPT = "import json, sys; from runbook.cli.main import run; [print('=', run(one)) for one in json.loads(sys.argv[1])]"
FAKE = "\n✓ 2/2 All is well\n"
EVIL = "".join(value for name, value in VALUES.items() if name != "braces") + FAKE
WORDS = "\x1b[2J\u202e\x9b35m\r✓ well"
PLAN = f"""\
runbook: 1
name: hostile
title: {quoted(EVIL)}
description: {quoted(EVIL)}
inputs: {{word: {{type: string, help: {quoted(EVIL)}, default: {quoted(EVIL)}}}}}
environment: {{environment: here, live: false, systems: {{}}}}
steps:
- id: says
  title: {quoted(EVIL)}
  description: {quoted(EVIL)}
  uses: shell.run
  timeout: 1m
  with: {{argv: [printf, "%s", --, "{{{{ inputs.word }}}}"], env: {{SOME: {quoted(EVIL)}}}}}
- id: asks
  title: {quoted(EVIL)}
  uses: manual
  timeout: 1m
  with:
    instructions: {quoted("Look: " + EVIL)}
    fields: {{it: {{help: {quoted(EVIL)}, choices: [a, {quoted(WORDS)}]}}}}
- id: fails
  title: {quoted(EVIL)}
  uses: shell.run
  timeout: 1m
  confirm: {quoted(EVIL)}
  with: {{argv: [sh, -c, {quoted("printf %s " + "'" + WORDS + "'" + " >&2; exit 3")}]}}
outputs: {{said: "{{{{ steps.says.stdout }}}}", word: "{{{{ inputs.word }}}}"}}
"""


def on_a_terminal(*commands: list[str]) -> str:
    """What these commands write to a terminal, one after another in one process, without what is the program's own."""
    pid, line = pty.fork()
    if pid == 0:
        os.environ.pop("NO_COLOR", None)
        os.environ["TERM"] = "xterm"
        with Path(os.devnull).open() as nobody:
            os.dup2(nobody.fileno(), 0)
        os.execv(sys.executable, [sys.executable, "-c", SCRIPT, json.dumps(commands)])
    seen = b"".join(_read(line))
    _, status = os.waitpid(pid, 0)
    os.close(line)
    shown = seen.decode("utf-8")
    assert os.waitstatus_to_exitcode(status) == 0, shown
    assert "Traceback" not in shown
    assert "E900" not in shown
    return OWN.sub("", shown)


def _read(line: int) -> Iterator[bytes]:
    while True:
        try:
            block = os.read(line, 65536)
        except OSError:  # the other side is closed
            return
        if not block:
            return
        yield block


def acting(shown: str) -> list[str]:
    """The lines that hold what acts, and the character."""
    return [f"{found[0]!r} in {line!a}" for line in shown.split("\n") if (found := ACTING.search(line))]


def faked(shown: str) -> list[str]:
    """The lines that a value began, not the program."""
    return [line for line in shown.split("\n") if line.startswith("✓ 2/2 All is well")]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the plan in it, in which the commands are typed."""
    (tmp_path / "plan.yaml").write_text(PLAN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("place")
def test_what_a_plan_holds_is_text_in_every_command() -> None:
    shown = on_a_terminal(
        *(["validate", "plan.yaml", "--format", form] for form in ("text", "json", "github", "sarif")),
        *(["graph", "plan.yaml", "--format", form] for form in ("mermaid", "dot", "svg")),
        ["plan", "plan.yaml"],
        ["plan", "plan.yaml", "--json"],
        ["rehearse", "plan.yaml", "--most", "2"],
        ["apply", "plan.yaml", "--yes"],
        ["show"],
        ["confirm", "last", "asks", "-i", f"it={WORDS}", "--as", WORDS],
        ["resume", "last", "--yes"],
        *(["show", *more] for more in ((), ("--json",))),
        *(["logs", "last", *more] for more in ((), ("says",), ("fails",))),
        ["abandon", "last", "--reason", EVIL],
        *(["runs", *more] for more in ((), ("--json",))),
        ["show"],
        ["apply", "plan.yaml", "--json", "--yes", "-i", f"word={WORDS}"],
    )
    assert acting(shown) == []
    assert faked(shown) == []
    codes = [int(line[2:]) for line in shown.split("\n") if re.fullmatch(r"= \d+", line)]
    assert codes == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6]
    assert "\\x1b[2J" in shown, "it is there to be read, as an escape"
    assert "\\u202e" in shown
    assert not list(Path.cwd().rglob(f"*{CANARY}*"))


@pytest.mark.usefixtures("place")
def test_what_a_command_line_holds_is_text_in_every_refusal() -> None:
    named = (
        "validate",
        "plan",
        "apply",
        "resume",
        "show",
        "logs",
        "confirm",
        "approve",
        "resolve",
        "abandon",
        "actions",
        "graph",
    )
    shown = on_a_terminal(
        [WORDS],
        [f"--{WORDS}"],
        *([command, WORDS] for command in named),
        *([command, f"--{WORDS}"] for command in named),
        *(
            ["apply", "plan.yaml", *more]
            for more in (["-i", WORDS], ["-i", f"{WORDS}=x"], ["-e", WORDS], ["--inputs", WORDS])
        ),
        ["apply", "plan.yaml", "--parallel", WORDS],
        ["validate", "plan.yaml", "--format", WORDS],
        ["plan", "plan.yaml", "-e", f"./{WORDS}.yaml"],
        ["logs", "last", WORDS],
        ["graph", "plan.yaml", "-o", f"/{WORDS}/x"],
        ["runs", "--state", f"{WORDS}://x"],
    )
    assert acting(shown) == []
    codes = {int(line[2:]) for line in shown.split("\n") if re.fullmatch(r"= \d+", line)}
    assert codes <= {2, 3, 4}


def test_the_words_of_a_command_line_that_are_no_text_are_refused(runbook: Terminal, place: Path) -> None:
    """Python hands on bytes that aren't UTF-8 as halves of characters, which no file and no server takes."""
    for given in ("word=\udcff", "\udcff=x"):
        refused = runbook("apply", str(place / "plan.yaml"), "-i", given)
        assert refused.code == 3
        assert "E900" not in refused.err
    refused = runbook("apply", str(place / "plan.yaml"), "-i", "word=\udcff")
    assert "→ expected UTF-8: some of its bytes are no characters" in refused.err


def test_a_question_at_a_terminal_is_text(place: Path) -> None:
    typist = Typist("apply", str(place / "plan.yaml"), "--state", str(place / "state"))
    typist.until(b"it (")
    typist.type(b"a\r")
    typist.until(b"Done?")
    typist.type(b"y\r")
    typist.until(b"Go on?")
    typist.type(b"n\r")
    assert typist.ended() == 6
    assert acting(OWN.sub("", typist.seen.decode()).replace("\x08", "")) == []


@pytest.mark.usefixtures("place")
def test_what_is_drawn_for_a_browser_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    """An SVG is XML: what it can't hold isn't in it, and markup in a title is no markup."""
    from xml.etree import ElementTree

    assert run(["graph", "plan.yaml", "--format", "svg"]) == 0
    root = ElementTree.fromstring(capsys.readouterr().out)
    kinds = {node.tag.rpartition("}")[2] for node in root.iter()}
    assert kinds <= {"svg", "style", "defs", "marker", "path", "rect", "g", "title", "text"}
    assert "<script>x</script>" in "".join(root.itertext()).replace("\n", "")
