"""The codes of what can be wrong with a plan, an environment or an input, each with its constant summary.

Owns the range E100 to E199. Promises: one code means one kind of fault for ever; a summary names what is wrong and never
holds a value from the file (names of keys, steps and inputs excepted).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from runbook.errors import Place, Problem

SUMMARIES = {
    "E100": "the file can't be read",
    "E101": "the file is too large",
    "E102": "unknown key '{name}'",
    "E103": "wrong value for '{name}'",
    "E104": "missing key '{name}'",
    "E105": "unsupported format version",
    "E106": "invalid name",
    "E107": "this is {name}",
    "E110": "not UTF-8 text",
    "E111": "forbidden character",
    "E112": "the YAML can't be read",
    "E113": "tab in the indentation",
    "E114": "duplicate key '{name}'",
    "E115": "reused anchor '{name}'",
    "E116": "recursive alias '{name}'",
    "E117": "unknown alias '{name}'",
    "E118": "aliases expand to too many values",
    "E119": "nesting is too deep",
    "E120": "too many values",
    "E121": "merge keys aren't supported",
    "E122": "tags aren't supported",
    "E123": "directives aren't supported",
    "E124": "more than one document",
    "E125": "keys must be text",
    "E126": "ambiguous value",
    "E127": "the file is empty",
    "E130": "duplicate step '{name}'",
    "E131": "unknown step '{name}'",
    "E132": "the steps wait for each other",
    "E133": "step '{name}' is in another section",
    "E134": "step '{name}' can't be a hold",
    "E135": "invalid foreach",
    "E136": "unknown system '{name}'",
    "E137": "unknown contact or channel '{name}'",
    "E140": "template syntax error",
    "E141": "unknown name '{name}' in a template",
    "E142": "unsafe template",
    "E143": "template exceeds a limit",
    "E144": "the template can't be rendered",
    "E145": "output '{name}' is missing",
    "E146": "templates aren't rendered in '{name}'",
    "E147": "output of a step that may not have run",
    "E150": "invalid include path",
    "E151": "include is outside the plan root",
    "E152": "include cycle",
    "E153": "includes make too many steps",
    "E154": "key '{name}' has no meaning here",
    "E155": "the included plan needs system '{name}'",
    "E160": "unknown input '{name}'",
    "E161": "wrong value for input '{name}'",
    "E162": "missing input '{name}'",
    "E170": "unknown system type",
    "E171": "the environment has no system '{name}'",
    "E172": "system '{name}' has the wrong type",
    "E173": "environments extend each other in a circle",
    "E180": "a secret is written out",
    "E181": "an input can't be a secret",
    "E199": "more of the same",
}

SHOWN_PER_CODE = 20
"""More faults of one code than this have one cause; they are counted instead of shown."""


def problem(code: str, detail: str = "", *, fix: str = "", where: Place | None = None, name: str = "") -> Problem:
    """A fault of that code; ``name`` fills the summary's gap."""
    return Problem(code, SUMMARIES[code].replace("{name}", name), detail, fix, where)


def orderly(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """The problems by file and position, each once, those without a position last; crowds cut short and counted."""
    once = {(_rank(p), p.code, p.summary, p.detail if p.code != "E180" else ""): p for p in problems}
    ranked = sorted(once.values(), key=_rank)
    shown: list[Problem] = []
    seen: Counter[str] = Counter()
    for found in ranked:
        seen[found.code] += 1
        if seen[found.code] <= SHOWN_PER_CODE:
            shown.append(found)
    for code, count in seen.items():
        if count > SHOWN_PER_CODE:
            left = count - SHOWN_PER_CODE
            shown.append(problem("E199", f"{left} more faults {code} are not shown; they may have one cause"))
    return tuple(shown)


def _rank(found: Problem) -> tuple[bool, str, int, int]:
    where = found.where
    return (True, "", 0, 0) if where is None else (False, where.file, where.line, where.column)
