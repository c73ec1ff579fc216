"""Broken files made from a seed: bytes of no meaning, and the shipped plans and environments with something changed in them.

Owns :func:`case`. Promises: one seed is one case, on every machine; no file is larger than 64 KiB.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runbook.plan.yaml import read_yaml

LARGEST_BYTES = 64 * 1024
ROOT = Path(__file__).parents[2]
PLANS = {path.name: path.read_bytes() for path in sorted((ROOT / "plans").glob("*.yaml"))}
ENVIRONMENTS = {path.name: path.read_bytes() for path in sorted((ROOT / "plans" / "environments").glob("*.yaml"))}

SCALARS = (
    *(
        "",
        "~",
        "null",
        "true",
        "no",
        "0",
        "-1",
        "010",
        "1_000",
        "12:30",
        "1e999",
        ".inf",
        "9" * 400,
        "=",
        "<<",
        "é",
        "🙂",
    ),
    *(
        "{{ inputs.x }}",
        "{{",
        "}}",
        "{% if %}",
        "{{ ''.__class__ }}",
        "{{ 'a'*10**9 }}",
        "{{ steps.pick }}",
        "{{ item }}",
    ),
    *(
        "{{ 1/0 }}",
        "{{ [0]*10**8 }}",
        "{#",
        "../../x.yaml",
        "./base-backup.yaml",
        "/etc/passwd",
        "./x.txt",
        "-rf",
        "--help",
    ),
    *("soon", "1h", "-5m", "99999999999d", "1TiB", "a" * 300, '"x\\e[31m\\u202e\\0"', "'it''s'", '"no end', "'no end"),
    *(
        "[1, [2, [3]]]",
        "{a: {b: c}}",
        "*anchor",
        "&anchor x",
        "!!python/object/apply:os.system [id]",
        "!x y",
        "| \n  a",
    ),
    *(
        "shell.run",
        "postgres.restore",
        "postgres.restor",
        "manual",
        "db",
        "steps",
        "2026-13-45",
        "@daily",
        "61 * * * *",
    ),
    *('"{{ inputs.x | sh }}"', "a: b", "a # b", "\\", "%s", "$(id)", "`id`", ";", "\t", "s3://x", "file:///", "ssh://"),
)
KEYS = (
    *(
        "id",
        "uses",
        "on",
        "with",
        "needs",
        "when",
        "timeout",
        "retry",
        "foreach",
        "releases",
        "confirm",
        "phase",
        "systems",
    ),
    *("inputs", "outputs", "environment", "steps", "finally", "runbook", "name", "extends", "type", "password", "argv"),
    *("script", "1", "null", "[x]", "{y: z}", "<<", "? ", "é", "a b", "", "__class__"),
)
BYTES = (
    *(
        b"\x00",
        b"\x07",
        b"\x1b[2J",
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\r",
        b"\r\n",
        b"\t",
    ),
    *(
        "\u202e".encode(),
        "\u2028".encode(),
        "\u200b".encode(),
        b"\x85",
        b"---\n",
        b"...\n",
        b"%YAML 1.1\n",
        b"%TAG ! x\n",
    ),
    *(
        b"[" * 70,
        b"{a: " * 70,
        b"- " * 70,
        b"&a [*a]",
        b": ",
        b" ",
        b"\n",
        b"#",
        b"'",
        b'"',
        b"|",
        b">-\n",
        b"!",
        b"*",
        b"&",
    ),
)


@dataclass(frozen=True, slots=True)
class Case:
    """A plan and an environment, as files; ``story`` says what was done to which of the shipped ones."""

    plan: bytes
    environment: bytes
    story: str


def case(seed: int) -> Case:
    """The case of a seed."""
    chance = random.Random(seed)
    plan_name, environment_name = chance.choice(list(PLANS)), chance.choice(list(ENVIRONMENTS))
    plan, environment = PLANS[plan_name], ENVIRONMENTS[environment_name]
    told = []
    in_environment = chance.random() < 0.25
    changed = environment if in_environment else plan
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        change = chance.choice(CHANGES)
        changed = change(changed, chance)[:LARGEST_BYTES]
        told.append(change.__name__.strip("_"))
    plan, environment = (plan, changed) if in_environment else (changed, environment)
    return Case(plan, environment, f"{environment_name if in_environment else plan_name}: {', '.join(told)}")


def _noise(raw: bytes, chance: random.Random) -> bytes:
    """Bytes of no meaning, all of the file or a part of it."""
    if chance.random() < 0.3:
        return chance.randbytes(chance.choice((0, 1, 10, 200, 4000)))
    at = chance.randrange(len(raw) + 1)
    return raw[:at] + chance.randbytes(chance.randrange(1, 20)) + raw[at + chance.randrange(20) :]


def _bits(raw: bytes, chance: random.Random) -> bytes:
    """A few bits turned round."""
    changed = bytearray(raw)
    for _ in range(min(len(changed), chance.randrange(1, 5))):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _cut(raw: bytes, chance: random.Random) -> bytes:
    """The end, or a piece in the middle, is missing."""
    start = chance.randrange(len(raw) + 1)
    return raw[:start] + raw[start + chance.choice((len(raw), 1, 5, 50, 500)) :]


def _splinter(raw: bytes, chance: random.Random) -> bytes:
    """Something that YAML, a terminal or a decoder takes for more than text."""
    at = chance.randrange(len(raw) + 1)
    return raw[:at] + chance.choice(BYTES) * chance.choice((1, 1, 1, 2, 50)) + raw[at:]


def _drop_line(raw: bytes, chance: random.Random) -> bytes:
    lines = raw.splitlines(keepends=True)
    at = chance.randrange(len(lines) or 1)
    return b"".join(lines[:at] + lines[at + chance.choice((1, 1, 2, 5)) :])


def _double_line(raw: bytes, chance: random.Random) -> bytes:
    lines = raw.splitlines(keepends=True)
    start = chance.randrange(len(lines) or 1)
    piece = lines[start : start + chance.choice((1, 1, 3, 10))]
    at = chance.randrange(len(lines) + 1)
    return b"".join(lines[:at] + piece * chance.choice((1, 1, 2, 400)) + lines[at:])


def _swap_lines(raw: bytes, chance: random.Random) -> bytes:
    lines = raw.splitlines(keepends=True)
    if lines:
        one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
        lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


def _indent(raw: bytes, chance: random.Random) -> bytes:
    lines = raw.splitlines(keepends=True)
    if lines:
        at = chance.randrange(len(lines))
        lines[at] = chance.choice((b" ", b"  ", b"\t", b"- ", b"")) + lines[at].lstrip(b" ")
    return b"".join(lines)


def _other_value(raw: bytes, chance: random.Random) -> bytes:
    """After a ``key:``, something else."""
    lines = raw.decode("utf-8", "replace").splitlines(keepends=True)
    having = [number for number, line in enumerate(lines) if ":" in line]
    if having:
        at = chance.choice(having)
        key = lines[at].partition(":")[0]
        lines[at] = f"{key}: {chance.choice(SCALARS)}\n"
    return "".join(lines).encode()


def _other_key(raw: bytes, chance: random.Random) -> bytes:
    """Before a ``:``, something else."""
    lines = raw.decode("utf-8", "replace").splitlines(keepends=True)
    having = [number for number, line in enumerate(lines) if ":" in line]
    if having:
        at = chance.choice(having)
        key, _, rest = lines[at].partition(":")
        stem = key.removesuffix(key.lstrip(" -"))
        lines[at] = f"{stem}{chance.choice(KEYS)}:{rest}"
    return "".join(lines).encode()


def _tree(raw: bytes, chance: random.Random) -> bytes:
    """The values themselves changed, and written anew: what comes out is always YAML, and never quite a plan."""
    try:
        tree: Any = read_yaml("x.yaml", raw).tree
    except Exception:
        return raw
    tree = json.loads(json.dumps(tree))
    for _ in range(chance.choice((1, 1, 2, 4))):
        _alter(tree, chance)
    return json.dumps(tree, indent=chance.choice((None, 1)), ensure_ascii=chance.random() < 0.5).encode()


def _alter(tree: Any, chance: random.Random) -> None:
    """Drop, double, swap or replace one value, wherever it stands."""
    places = list(_places(tree))
    if not places:
        return
    holder, key = chance.choice(places)
    match chance.randrange(5):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, list):
            holder.insert(key, holder[key])
        case 2:
            other, name = chance.choice(places)
            holder[key] = json.loads(json.dumps(other[name]))
        case 3 if isinstance(holder, dict):
            holder[chance.choice(KEYS)] = holder.pop(key)
        case _:
            holder[key] = chance.choice((*SCALARS, None, True, 0, -1, 1.5, 10**30, [], {}, [None], {"x": [{}]}))


def _places(tree: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    open_: list[Any] = [tree]
    while open_:
        holder = open_.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        found += [(holder, key) for key in keys]
        open_ += [holder[key] for key in keys]
    return found


CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_noise, _bits, _cut, _splinter, _drop_line, _double_line, _swap_lines, _indent),
    *(_other_value, _other_value, _other_value, _other_key, _other_key, _tree, _tree, _tree, _tree),
)
