"""What checks hostile and clumsy input, each check taken out by one mutation of the source."""

from __future__ import annotations

from tests.matrix.mutation import Mutation

YAML, PLAN, REPORT = "runbook/plan/yaml.py", "runbook/plan", "runbook/report"

expanded = Mutation(YAML, "self._expanded += target.size", "self._expanded += 1")
"""Whatever an alias stands for counts as one value."""
recursion = Mutation(
    YAML, "if name in self._anchor_places:\n                self._fault(", "if not name:\n                self._fault("
)
"""An alias inside of what it names is taken for one that nothing is named by."""
depth = Mutation(YAML, "DEEPEST = 64", "DEEPEST = 4096")
merges = Mutation(YAML, 'if plain and value == "<<":', 'if plain and value == "<<<":')
anchors = Mutation(YAML, "            self._reused(name, position)\n", "")
directives = Mutation(YAML, "if event.version is not None or event.tags:", "if event.tags:")
ambiguous = Mutation(f"{PLAN}/scalar.py", 'r"[-+]?0[0-9]+")', 'r"[-+]?0[0-9]+ ")')
"""A leading zero is one of the digits."""
text_keys = Mutation(YAML, '"E125", position, f"This key is', '"E126", position, f"This key is')
"""A key that is no text is taken for a value that is ambiguous."""
tabs = Mutation(f"{PLAN}/syntax.py", 'r" *\\t"', 'r" *\\t\\t\\t"')
documents = Mutation(YAML, "if self._result is not None:\n            detail", "if not event:\n            detail")
encoding = Mutation(f"{PLAN}/text.py", 'raw.decode("utf-8")', 'raw.decode("utf-8", "replace")')
opened = Mutation(f"{PLAN}/syntax.py", "(opened := _opened(fault)) is not None", "(opened := None) is not None")
"""Where the parser gave up is told, and not where it began."""
unquoted = Mutation(f"{PLAN}/syntax.py", '"mapping values are not allowed",', '"mapping values are never allowed",')
nearest = Mutation("runbook/errors.py", "n=1, cutoff=likeness)", "n=1, cutoff=1.0)")
"""Nothing is near enough to be meant."""
durations = Mutation(
    f"{PLAN}/shape.py",
    'if not isinstance(value, str):\n        raise ValueError("expected a duration',
    'if value is None:\n        raise ValueError("expected a duration',
)
versions = Mutation(f"{PLAN}/shape.py", "if type(value) is not int or value != 1:", "if type(value) is not int:")
same_id = Mutation(
    f"{PLAN}/compose.py", "        if first is not None:\n", "        if first is not None and shape.id == '':\n"
)
same_circle = Mutation(
    f"{PLAN}/load.py", "    except CycleError as fault:\n", "    except CycleError as fault:\n        return\n"
)
unknown_names = Mutation(
    f"{PLAN}/reach.py", "if not ref.name or ref.name in known:", "if not ref.name or known is not None:"
)
template_names = Mutation(
    f"{PLAN}/sandbox.py",
    '        if name.startswith("_"):\n            raise _unsafe(name)\n        found',
    "        found",
)
template_places = Mutation(f"{PLAN}/reach.py", "marks.inside(path, fault.fragment or text)", "marks.value(path)")
"""A fault in a template is told at the value that holds it."""
known_early = Mutation(f"{PLAN}/reach.py", "            if not found:\n                render(text, _NOTHING)\n", "")
identifiers = Mutation(f"{PLAN}/names.py", "    if pattern.fullmatch(text):", "    if pattern.match(text) or text:")
code_points = Mutation("runbook/quoting.py", "\\u2028-\\u202e", "\\u2028-\\u202d")
"""What turns text round is a character like any other."""
shell_values = Mutation("runbook/check/words.py", "        if _quoted(plan, step, piece):", "        if piece:")
option_values = Mutation("runbook/check/words.py", 'word.startswith("{{") and not', 'word.startswith("{{{") and not')
identifier_quotes = Mutation("runbook/quoting.py", """'"' + name.replace('"', '""') + '"'""", """'"' + name + '"'""")
plain_members = Mutation("runbook/actions/postgres/unpacking.py", '[ -n "$odd" ] || exit 0', "exit 0")
"""Whatever a tar file made stays."""
unpacked_bound = Mutation(
    "runbook/transports/supervisor/requests.py",
    '"most": stage.most_bytes,',
    '"most": 2**62 if stage.most_bytes else 0,',
)
"""As much is unpacked as comes."""
plan_root = Mutation(f"{PLAN}/compose.py", 'if part == ".." and not parts:', 'if part == "..." and not parts:')
linked_root = Mutation(
    "runbook/cli/files.py", "if not path.is_relative_to(self.root.resolve()):", "if not path.exists():"
)
removals = Mutation(
    "runbook/transports/files.py",
    "if len(operation.marker) < SHORTEST_MARKER or operation.marker not in operation.path:",
    "if not operation:",
)
approvers = Mutation("runbook/cli/approve.py", "    if not question.approvers or {", "    if question.approvers or {")
runs_by_id = Mutation("runbook/journal/layout.py", "if len(matching) == 1 and prefix:", "if matching and prefix:")
"""Of several runs, the first is meant."""
asked_by_name = Mutation(
    "runbook/cli/person.py",
    "by_name = question.target in self.confirmed",
    "by_name = question.target in self.confirmed or self.yes",
)
"""--yes answers whatever is asked."""
others_write = Mutation(
    "runbook/cli/files.py", "if mode & stat.S_IWOTH and not sticky:", "if mode & stat.S_IWOTH and sticky:"
)
shown_escapes = Mutation(
    "runbook/cli/screen.py", "return quoting.visible(text.expandtabs())", "return text.expandtabs()"
)
shown_in_svg = Mutation(
    f"{REPORT}/diagram.py", 'char for char in " ".join(text.split()) if char.isprintable()', "char for char in text"
)
argument_nul = Mutation(
    "runbook/transports/process.py", '                    _refuse_nul(value, "a variable can\'t be passed", name)\n', ""
)
shell_quotes = Mutation("runbook/quoting.py", "    return shlex.quote(text)", "    return text")
"""In a line that is to be pasted, a value stands as it is."""
backup_names = Mutation("runbook/actions/backup/layout.py", "    if not _NAME.fullmatch(name) or", "    if not name or")
