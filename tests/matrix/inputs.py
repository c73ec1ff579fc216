"""What a fuzzer makes of inputs, and threats; the bad inputs by their numbers are in `bad_files.py` and `bad_values.py`."""

from __future__ import annotations

from tests.matrix import elsewhere, without
from tests.matrix.row import Row

R, S, T, P = "tests/runner", "tests/transports/supervisor", "tests/transports", "tests/plan"

INPUTS = (
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
