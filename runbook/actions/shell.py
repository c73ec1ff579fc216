"""The way out: a program or script of the plan's author, with what runbook has to know of it said in the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from runbook.action import Action, Done, Effect, Inputs, Interrupted, Look, Outputs, Scope, Undecidable, current
from runbook.errors import Problem
from runbook.host import LOCAL, Host, named_programs
from runbook.operation import Json, Operations, Process
from runbook.quoting import shell_word
from runbook.system import HostField, SecretField

_DONE, _NOT_DONE = 0, 1


def _word(value: object) -> object:
    """A number of a template's becomes its digits; nothing else is turned into text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and "\0" in value:
        raise ValueError("an argument can't hold a NUL character")
    return value


Word: TypeAlias = Annotated[str, BeforeValidator(_word)]
Variable: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class RunInputs(Inputs):
    """What is run, and what runbook may think of it."""

    argv: tuple[Word, ...] = Field(default=(), description="Program and arguments; no shell reads them")
    script: str = Field(default="", description="A POSIX shell script, run by `sh -eu`; needs `shell: true`")
    shell: bool = Field(default=False, description="Says that `script` is meant to be read by a shell")
    host: HostField = Field(default=LOCAL, description="Where: local, {docker: …}, {compose: …} or {ssh: …}")
    env: dict[Variable, Word | SecretField] = Field(
        default_factory=dict, description="Environment variables; a secret is named: {env: …} or {file: …}"
    )
    stdin: str = Field(default="", description="Text for its standard input")
    ok_codes: tuple[int, ...] = Field(default=(0,), min_length=1, description="Exit codes that mean success")
    effect: Effect = Field(default=Effect.CHANGES, description="What it does: reads, creates, changes or destroys")
    interrupted: Literal["ask", "repeat"] = Field(
        default="ask", description="After it was cut off without a record of its end: ask a person, or run it again"
    )
    probe: tuple[Word, ...] = Field(
        default=(), description="A program on the same host that tells whether it is done: exit code 0 = done, 1 = not"
    )
    replaces: str = Field(
        default="", description="With effect destroys: the name that --confirm has to give; default: the program's"
    )

    @model_validator(mode="after")
    def _one_way(self) -> RunInputs:
        if bool(self.argv) == bool(self.script):
            raise ValueError("give either argv or script")
        if bool(self.script) != self.shell:
            raise ValueError("script needs `shell: true`, and argv goes without it: no shell reads it")
        return self

    @property
    def words(self) -> tuple[str, ...]:
        """The argv that is run."""
        return self.argv or ("sh", "-eu", "-c", self.script)


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Whether the probe, asked where the program may have run already, said that it is done."""

    done: bool = current()


class Exited(Outputs):
    """How it ended."""

    exit_code: int | None = Field(description="Its exit code; null where only the probe tells that it is done")
    stdout: str = Field(description="The end of its standard output, at most 64 KiB")
    log: str = Field(description="The file below the run's directory that has its whole output")


class Run(Action[None, RunInputs, RunFacts, Exited]):
    """Run a program or a script of your own. A dry-run prints it and never runs it.

    runbook can't know what it does, so the plan says so: `effect`, and what a resume may do when it was cut off and its end is
    not on record. `interrupted: ask` (the default) waits for a person, `repeat` runs it once more; a `probe` tells whether it is
    done, is asked after the program and on a resume only, and goes before both. A probe that ends with neither 0 nor 1 can't
    tell, and a person decides. A pipeline in a `script` ends with its last program's code: check the others yourself.
    """

    effect = Effect.CHANGES
    interrupted = Interrupted.ASK
    example = """\
- id: clear_cache
  title: Drop the rendered pages
  uses: shell.run
  with:
    host: {docker: civicq-backend}
    argv: [python, manage.py, clear_cache]
    effect: changes
    interrupted: repeat
  timeout: 2m
"""

    def effect_of(self, inputs: RunInputs) -> Effect:
        """As the plan says."""
        return inputs.effect

    def interrupted_of(self, inputs: RunInputs) -> Interrupted:
        """A read may be repeated; a probe is asked; else as the plan says."""
        if inputs.effect is Effect.READS:
            return Interrupted.REPEATABLE
        if inputs.probe:
            return Interrupted.OBSERVE
        return Interrupted.REPEATABLE if inputs.interrupted == "repeat" else Interrupted.ASK

    def programs_named(self, written: Mapping[str, Json]) -> tuple[tuple[Host, str], ...]:
        """The program and the probe, where they stand in the plan as they are called."""
        return named_programs(written, "argv", "probe")

    def replaces(self, system: None, inputs: RunInputs) -> str:
        """What the plan says that it destroys, else the program's name."""
        return inputs.replaces or inputs.words[0].rsplit("/", 1)[-1]

    def observe(self, look: Look, system: None, inputs: RunInputs, scope: Scope) -> RunFacts:
        """Asks the probe where the program may have run already, and only there."""
        if not inputs.probe or not scope.resumed:
            return RunFacts(done=False)
        ran = look.probe(inputs.host, inputs.probe)
        if ran.exit_code not in (_DONE, _NOT_DONE):
            said = (ran.stderr or ran.stdout).strip()[-300:]
            raise Undecidable(
                Problem(
                    "E671",
                    "the probe can't tell whether the step is done",
                    f"{' '.join(map(shell_word, inputs.probe))} ended with {ran.exit_code} (0 = done, 1 = not done). {said}",
                    f"look at the system, then `runbook resolve {scope.run} {scope.step} --as done|not-done --reason …`",
                )
            )
        return RunFacts(done=ran.exit_code == _DONE)

    def assume(self, system: None, inputs: RunInputs, scope: Scope) -> RunFacts:
        """It has still to be done."""
        return RunFacts(done=False)

    def plan(self, system: None, inputs: RunInputs, facts: RunFacts, scope: Scope) -> Operations:
        """The program, unless it is done."""
        if facts.done:
            return ()
        return (
            Process(
                name="run",
                argv=inputs.words,
                host=inputs.host,
                env=tuple(inputs.env.items()),
                stdin=inputs.stdin,
                ok_codes=inputs.ok_codes,
                reads=inputs.effect is Effect.READS,
            ),
        )

    def verify(self, look: Look, system: None, inputs: RunInputs, done: Done[RunFacts]) -> Exited:
        """Its end was the verification; nothing is on record where only the probe tells of it."""
        result = done.results.get("run", {})
        code = result.get("exit_code")
        return Exited(
            exit_code=None if code is None else int(code),
            stdout=str(result.get("stdout") or ""),
            log=str(result.get("log") or ""),
        )
