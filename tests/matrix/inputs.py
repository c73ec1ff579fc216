"""Bad inputs, and threats."""

from __future__ import annotations

from tests.matrix import elsewhere, without
from tests.matrix.row import Row

R, S, T, P = "tests/runner", "tests/transports/supervisor", "tests/transports", "tests/plan"

INPUTS = (
    Row(
        "B1-B4",
        "bombs of aliases, depth and merging",
        "values are counted as they are expanded",
        (f"{P}/test_yaml.py", f"{P}/test_bad_inputs.py"),
        without.budgets,
        (f"{P}/test_yaml.py::test_too_many_values_and_too_large_a_file",),
    ),
    Row(
        "B6",
        "a key that stands twice",
        "both places are named",
        (f"{P}/test_bad_inputs.py",),
        without.duplicate_keys,
        (f"{P}/test_bad_inputs.py",),
    ),
    Row(
        "B12-B13",
        "tags",
        "no tag is obeyed, and none is ignored",
        (f"{P}/test_bad_inputs.py",),
        without.tags,
        (f"{P}/test_bad_inputs.py",),
    ),
    Row(
        "B16, B36",
        "characters that hide or command, other encodings",
        "named by code point, never shown",
        (f"{P}/test_text.py",),
        without.hidden_characters,
        (f"{P}/test_text.py::test_characters_that_hide_or_command_are_refused_and_never_shown",),
    ),
    Row(
        "B31",
        "templates that grow or run without end",
        "bounded arithmetic, bounded output",
        (
            f"{P}/test_render.py::test_limits_are_as_documented",
            f"{P}/test_render.py::test_what_must_not_be_done_is_not_done",
        ),
        without.limits,
        (f"{P}/test_render.py::test_what_must_not_be_done_is_not_done",),
    ),
    Row(
        "B46-B48",
        "secrets written into a plan or an environment",
        "found before the first message, masked in every place",
        (f"{P}/test_leak.py", f"{P}/test_text.py::test_a_place_shows_no_secret", f"{P}/test_environment.py"),
        without.found_secrets,
        (f"{P}/test_bad_inputs.py",),
    ),
    Row(
        "fuzz",
        "any bytes, and valid plans with a mutation",
        "what the parser and the readers after it say is a problem with a place",
        (f"{P}/test_fuzz.py",),
        elsewhere.told_syntax,
        (f"{P}/test_fuzz.py::test_mutated_plans",),
    ),
)

THREATS = (
    Row(
        "T10",
        "a secret in outputs, logs, journal, reports",
        "one redactor before every sink",
        (f"{R}/test_redaction.py", f"{S}/test_output.py", f"{T}/test_secrets.py"),
        without.redaction,
        (f"{R}/test_redaction.py",),
    ),
)
