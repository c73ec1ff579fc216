"""From a command line to something that can be run: the plan, its environment, its inputs.

Owns the rules by which an environment is found when it isn't named, and never a live one by default.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from runbook.cli.files import present, refuse_missing, refuse_writable, rooted
from runbook.errors import InvalidInput, Problem, UsageFault, suggest
from runbook.operation import Json
from runbook.plan.environment import Environment, check_fits, inline_environment, load_environment
from runbook.plan.inputs import bind
from runbook.plan.load import load_plan
from runbook.plan.model import Plan
from runbook.runner.execution import Order

if TYPE_CHECKING:
    from runbook.plan.yaml import Document

FOLDER = "environments"
NOBODY = "-"
"""Stands for a plan where there is none, and an environment is looked for."""


def read_plan(path: Path) -> Plan:
    """The plan in that file; every fault of shape at once."""
    refuse_missing(path)
    refuse_writable(path)
    files, name = rooted(path)
    return load_plan(name, files)


def open_order(path: Path, *, env: str, given: dict[str, Json], state: Path) -> Order:
    """The plan of ``path`` bound to an environment and to its inputs."""
    plan = read_plan(path)
    environment = find_environment(plan, path, env, state)
    faults = check_fits(plan, environment)
    if faults:
        raise InvalidInput(*faults)
    bound = bind(plan, environment, given)
    return Order(bound.plan, environment, bound.inputs, root=str(rooted(path)[0].root))


def named_environment(env: str, path: Path, state: Path) -> Environment:
    """The environment of that name or path; a name is looked for beside ``path`` and in the folders above it."""
    return _named(env, path, state)


def find_environment(plan: Plan, path: Path, env: str, state: Path) -> Environment:
    """The environment that is meant: named, inline, of ``RUNBOOK_ENV``, or the only one that fits and isn't live."""
    if env:
        return _named(env, path, state)
    inline = inline_environment(plan)
    if inline is not None:
        return inline
    if named := os.environ.get("RUNBOOK_ENV", ""):
        return _named(named, path, state)
    found = list(_around(path, state))
    fitting = [environment for environment in found if not environment.live and not check_fits(plan, environment)]
    if len(fitting) == 1:
        return fitting[0]
    listed = "\n".join(f"{e.name}{' (live)' if e.live else ''}" for e in found) or "there is none beside the plan"
    raise InvalidInput(
        Problem("E160", "say which environment", listed, "--env NAME, or --env PATH; a live one is never the default")
    )


def environment_at(path: Path) -> Environment:
    """The environment in that file."""
    if present(path):
        refuse_writable(path)
    files, name = rooted(path)
    return load_environment(name, files)


def parse_inputs(given: Iterable[str], inputs_file: str) -> dict[str, Json]:
    """``-i NAME=VALUE`` on top of what the file says."""
    found: dict[str, Json] = {}
    if inputs_file:
        document = _inputs_document(Path(inputs_file))
        if document.problems or not isinstance(document.tree, dict):
            raise InvalidInput(
                *document.problems
                or (Problem("E161", "inputs are a mapping", inputs_file, "write one line for each: NAME: VALUE"),)
            )
        found |= document.tree
    for pair in given:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise UsageFault(Problem("E206", "an input is NAME=VALUE", f"-i {pair}", f"-i {name or 'NAME'}=VALUE"))
        found[name] = value
    return found


def _inputs_document(path: Path) -> Document:
    """The document of ``--inputs``, which may come out of a pipe: a run keeps the values, not the file."""
    from runbook.plan.file import read_document
    from runbook.plan.yaml import read_yaml

    if present(path) and not path.is_file() and not path.is_dir():
        return read_yaml(str(path), path.read_bytes())
    files, name = rooted(path)
    return read_document(name, files)


def _named(env: str, path: Path, state: Path) -> Environment:
    if "/" in env or env.endswith((".yaml", ".yml")):
        return environment_at(Path(env))
    for candidate in _candidates(env, path, state):
        if present(candidate):
            return environment_at(candidate)
    known = [*(found.stem for found in _files(path)), *(["sandbox"] if present(_sandbox(state)) else [])]
    if env == "sandbox":
        raise InvalidInput(
            Problem("E162", "the sandbox is not there", f"{_sandbox(state)} does not exist", "runbook sandbox up")
        )
    beside = f"beside {path}" if path.name != NOBODY else f"in {path.parent.resolve()}"
    looked = f"{env}: looked for {FOLDER}/{env}.yaml {beside}, and in the folders above"
    fix = suggest(env, known) or (f"known: {', '.join(known)}" if known else "--env PATH")
    raise InvalidInput(Problem("E162", "there is no such environment", looked, fix))


def _candidates(env: str, path: Path, state: Path) -> Iterable[Path]:
    if env == "sandbox":
        yield _sandbox(state)
    for folder in path.resolve().parents:
        yield folder / FOLDER / f"{env}.yaml"


def _sandbox(state: Path) -> Path:
    return state / "sandbox" / "environment.yaml"


def _files(path: Path) -> list[Path]:
    return sorted((path.resolve().parent / FOLDER).glob("*.yaml"))


def _around(path: Path, state: Path) -> Iterable[Environment]:
    places = [*_files(path), _sandbox(state)]
    return (environment_at(place) for place in places if present(place))
