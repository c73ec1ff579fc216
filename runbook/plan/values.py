"""Values of inputs: what each type accepts, as text from a command line and as a value from a file.

Owns the types of inputs. The JSON form of a datetime is RFC 3339 in UTC; durations, sizes and paths stay the text that was
written, checked. Promises: what isn't of its type is a ``ValueError`` that says what is expected and never what was given.
"""

from __future__ import annotations

import json
import math
import re

from runbook.errors import suggest
from runbook.operation import Json
from runbook.plan.model import InputSpec
from runbook.plan.patterns import fits
from runbook.plan.scalar import kind
from runbook.units import parse_duration, parse_instant, parse_size

LONGEST_TEXT = 64 * 1024
_HALVES = re.compile("[\ud800-\udfff]")
"""What Python makes of bytes that aren't UTF-8 on a command line, and of one half of a pair in JSON."""
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBER = re.compile(r"[-+]?[0-9]{1,18}(?:\.[0-9]{1,18})?(?:[eE][-+]?[0-9]{1,2})?")


def from_text(spec: InputSpec, text: str) -> Json:
    """The value that ``-i NAME=text`` gives. Lists are written ``a,b`` or as JSON; an empty text is an empty list."""
    if spec.type != "list":
        return _chosen(spec, _parsed(spec.type, text))
    if text.startswith("["):
        try:
            return from_value(spec, json.loads(text))
        except (json.JSONDecodeError, RecursionError):
            raise ValueError("expected a list: a,b,c or JSON") from None
    return [_chosen(spec, _parsed(spec.of, part)) for part in text.split(",")] if text else []


def from_value(spec: InputSpec, value: Json) -> Json:
    """The value that stands in a file; nothing is coerced."""
    if spec.type != "list":
        return _chosen(spec, _typed(spec.type, value))
    if not isinstance(value, list):
        raise ValueError(f"expected a list, this is {kind(value)}")  # noqa: TRY004 - the caller's one kind of refusal
    return [_chosen(spec, _typed(spec.of, item)) for item in value]


def _chosen(spec: InputSpec, value: Json) -> Json:
    if spec.choices and value not in spec.choices:
        known = [str(choice) for choice in spec.choices]
        near = suggest(str(value), known)
        raise ValueError(f"expected one of {', '.join(known)}" + (f"; {near}" if near else ""))
    if spec.pattern and isinstance(value, str) and not fits(spec.pattern, value):
        raise ValueError(f"must match {spec.pattern}")
    return value


def _typed(wanted: str, value: Json) -> Json:
    match wanted, value:
        case "integer", bool():
            pass
        case ("integer", int()) | ("boolean", bool()):
            return value
        case "number", int() | float() if not isinstance(value, bool):
            return value
        case (("integer" | "number" | "boolean"), _):
            pass
        case _, str():
            return _parsed(wanted, value)
    quoting = ": quote it" if wanted not in ("integer", "number", "boolean") and isinstance(value, int | float) else ""
    raise ValueError(f"{_EXPECTED[wanted]}, this is {kind(value)}{quoting}")


_EXPECTED = {
    "string": "expected text",
    "integer": "expected a whole number",
    "number": "expected a number",
    "boolean": "expected true or false",
    "datetime": "expected a time like 2026-02-14T12:00:00Z",
    "duration": "expected a duration like 30s, 5m, 1h30m or 2d",
    "size": "expected a size like 512B, 10MB or 1.5GiB",
    "path": "expected a path",
}


def _parsed(wanted: str, text: str) -> Json:
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"expected at most {LONGEST_TEXT:,} characters")
    if _HALVES.search(text):
        raise ValueError("expected UTF-8: some of its bytes are no characters")
    match wanted:
        case "integer" if _INTEGER.fullmatch(text):
            return int(text)
        case "number" if _NUMBER.fullmatch(text) and math.isfinite(float(text)):
            return float(text) if re.search(r"[.eE]", text) else int(text)
        case "boolean" if text in ("true", "false"):
            return text == "true"
        case "datetime":
            return parse_instant(text).isoformat().replace("+00:00", "Z")
        case "duration":
            parse_duration(text)
            return text.strip()
        case "size":
            parse_size(text)
            return text.strip()
        case "path" if text and "\0" not in text and not text.startswith("-"):
            return text
        case "string":
            return text
    raise ValueError(_EXPECTED[wanted])
