"""Bad inputs, B1 to B37: files that can't be read, that don't say what they mean, or that mean harm."""

from __future__ import annotations

from tests.matrix import without
from tests.matrix import without_checks as checks
from tests.matrix.row import Row

P = "tests/plan"
SAID = f"{P}/test_bad_inputs.py::test_a_bad_plan_says_what_is_wrong"
ESCAPES = f"{P}/test_escapes.py"


def golden(*names: str) -> tuple[str, ...]:
    """The cases of the table of bad plans, whose messages are held word for word."""
    return tuple(f"{SAID}[{name}]" for name in names)


BAD_FILES = (
    Row(
        "B1",
        "a bomb of aliases",
        "values are counted as they are expanded",
        golden("alias-bomb"),
        checks.expanded,
        golden("alias-bomb"),
    ),
    Row(
        "B1 size",
        "more values than a plan has",
        "values are counted as they are read",
        (f"{P}/test_yaml.py",),
        without.budgets,
        (f"{P}/test_yaml.py::test_too_many_values_and_too_large_a_file",),
    ),
    Row(
        "B2",
        "an alias inside of what it names",
        "an anchor is there once it has ended",
        golden("recursive-alias"),
        checks.recursion,
        golden("recursive-alias"),
    ),
    Row(
        "B3",
        "nesting without end",
        "levels are counted; nothing recurses",
        golden("deep-nesting", "deep-nesting-block"),
        checks.depth,
        golden("deep-nesting-block"),
    ),
    Row(
        "B4", "a bomb of merge keys", "there are no merge keys", golden("merge-key"), checks.merges, golden("merge-key")
    ),
    Row(
        "B6",
        "a key that stands twice",
        "both places are named",
        golden("duplicate-key"),
        without.duplicate_keys,
        golden("duplicate-key"),
    ),
    Row(
        "B7",
        "an anchor that is set twice",
        "both places are named",
        golden("reused-anchor"),
        checks.anchors,
        golden("reused-anchor"),
    ),
    Row(
        "B8",
        "another version of YAML",
        "directives are refused",
        golden("directive", "directive-future"),
        checks.directives,
        golden("directive"),
    ),
    Row(
        "B10",
        "numbers that two readers read differently",
        "they have to be quoted",
        golden("ambiguous-scalars"),
        checks.ambiguous,
        golden("ambiguous-scalars"),
    ),
    Row(
        "B11",
        "keys that are no text",
        "each is named with its kind",
        golden("keys-not-text"),
        checks.text_keys,
        golden("keys-not-text"),
    ),
    Row(
        "B12",
        "tags that construct and run something",
        "no tag is obeyed; an audit hook hears no execution",
        (*golden("python-tag"), f"{ESCAPES}::test_no_tag_is_obeyed"),
        without.tags,
        golden("python-tag"),
    ),
    Row(
        "B13", "tags that others know", "no tag is ignored", golden("unknown-tag"), without.tags, golden("unknown-tag")
    ),
    Row("B14", "a tab in the indentation", "its column is named", golden("tab"), checks.tabs, golden("tab")),
    Row(
        "B15",
        "two documents",
        "the second is named",
        golden("two-documents"),
        checks.documents,
        golden("two-documents"),
    ),
    Row(
        "B16",
        "control characters, other encodings, broken UTF-8",
        "bytes are checked before anything is read, and told by line and column",
        (*golden("control-characters", "not-utf-8", "utf-16"), f"{P}/test_text.py"),
        checks.encoding,
        golden("not-utf-8"),
    ),
    Row(
        "B18",
        "a bracket or quotation that is never closed",
        "where it was opened is told",
        golden("unclosed-bracket", "unclosed-quote"),
        checks.opened,
        golden("unclosed-bracket"),
    ),
    Row(
        "B19",
        "a colon in a value",
        "the remedy is to quote it",
        golden("colon-in-value", "comma-in-value"),
        checks.unquoted,
        golden("colon-in-value"),
    ),
    Row(
        "B20",
        "an unknown key",
        "the nearest one is named",
        golden("unknown-keys"),
        checks.nearest,
        golden("unknown-keys"),
    ),
    Row(
        "B21",
        "values of other types",
        "what is expected is told",
        golden("wrong-types", "missing-keys", "input-defaults"),
        checks.durations,
        golden("wrong-types"),
    ),
    Row(
        "B22",
        "no version, or a future one",
        "nothing else is judged",
        golden("no-version", "future-version"),
        checks.versions,
        golden("future-version"),
    ),
    Row(
        "B23",
        "an id that stands twice",
        "both places are named",
        golden("duplicate-step"),
        checks.same_id,
        golden("duplicate-step"),
    ),
    Row(
        "B24",
        "a step that isn't there",
        "the nearest one is named",
        golden("unknown-need"),
        checks.nearest,
        golden("unknown-need"),
    ),
    Row(
        "B25",
        "steps that wait for each other",
        "the whole circle, with its lines",
        golden("cycle"),
        checks.same_circle,
        golden("cycle"),
    ),
    Row(
        "B27",
        "a name that isn't there",
        "its place, and the nearest name",
        golden("undefined-variable"),
        checks.unknown_names,
        golden("undefined-variable"),
    ),
    Row(
        "B28",
        "an output that is used before the step that gives it",
        "who reads an output waits for it; what can't come true is a circle",
        golden("used-before-run", "may-not-have-run"),
        checks.same_circle,
        golden("used-before-run"),
    ),
    Row(
        "B29",
        "a template with a fault of syntax",
        "line and column of the file",
        golden("template-syntax", "template-elsewhere"),
        checks.template_places,
        golden("template-syntax"),
    ),
    Row(
        "B30",
        "ways out of the sandbox",
        "mappings are read and nothing is called; an audit hook hears no execution",
        (*golden("unsafe-templates"), ESCAPES, f"{P}/test_render.py::test_an_object_is_never_touched"),
        checks.template_names,
        (f"{P}/test_render.py::test_what_must_not_be_done_is_not_done",),
    ),
    Row(
        "B31",
        "templates that grow or run without end",
        "bounded arithmetic, bounded output",
        (*golden("templates-without-end"), f"{P}/test_render.py::test_limits_are_as_documented"),
        without.limits,
        (f"{P}/test_render.py::test_what_must_not_be_done_is_not_done",),
    ),
    Row(
        "B31 early",
        "the same, where nothing of it is known only in a run",
        "rendered when it is loaded",
        (*golden("templates-without-end"), "tests/cli/test_mistakes.py"),
        checks.known_early,
        golden("templates-without-end"),
    ),
    Row(
        "B35",
        "ids that are paths, or too long",
        "one pattern for every name",
        (*golden("bad-names"), "tests/literal/test_paths.py", "tests/test_catalogue.py"),
        checks.identifiers,
        golden("bad-names"),
    ),
    Row(
        "B36",
        "characters that hide, turn text round or look like others",
        "named by code point, never shown",
        (*golden("hidden-characters", "bad-names"), f"{P}/test_text.py"),
        without.hidden_characters,
        (f"{P}/test_text.py::test_characters_that_hide_or_command_are_refused_and_never_shown",),
    ),
)
