"""Secrets: where they are looked for after every end of a run, and what keeps them from there."""

from __future__ import annotations

from tests.matrix.mutation import Mutation
from tests.matrix.row import Row

C, S, T = "tests/canary", "tests/transports/supervisor", "tests/transports"
ENDS = f"{C}/test_ends.py::test_no_secret_is_left"
SEARCH = f"{C}/test_search.py"

inherited = Mutation(
    "runbook/transports/environment.py", "if name in ALLOWED or name.startswith(_ALLOWED_PREFIX)", "if name"
)
"""A child gets all of the engine's environment."""
supervisors_environment = Mutation(
    "runbook/transports/supervisor/client.py", "for name in KEPT if name in os.environ", "for name in os.environ"
)
"""So does the supervisor."""
journal = Mutation(
    "runbook/runner/ledger.py",
    "{key: masked(value, self._redactor) for key, value in body.items()} if self._redactor.longest else body",
    "body",
)
"""Records are written as they are."""
output = Mutation(
    "runbook/transports/supervisor/output.py",
    "        if not self._forms:\n            return data\n",
    "        return data\n",
)
"""What children print is kept as it is."""
quoted = Mutation("runbook/secret.py", "    yield from (repr(value)[1:-1], repr(raw)[2:-1])\n", "")
"""Python's own way to quote is not known."""
encoded = Mutation(
    "runbook/secret.py", "for encode in (base64.b64encode, base64.urlsafe_b64encode)", "for encode in ()"
)
"""Nor is base64."""
lines = Mutation("runbook/secret.py", 'if "\\n" in value else []', "if False else []")
"""Of a key of several lines only all of it is known."""
early = Mutation("runbook/transports/secrets.py", "if isinstance(ref, FromEnv | FromFile | FromEscrow):", "if not ref:")
"""A secret is known from its first use on."""
screen = Mutation("runbook/cli/screen.py", "        text = visible(masked(text))\n", "        text = visible(text)\n")
"""What happens is shown as it is."""
said = Mutation("runbook/cli/screen.py", "put(visible(masked(text)), err=True)", "put(visible(text), err=True)")
"""Faults are shown as they are."""
answers = Mutation("runbook/transports/http.py", "text = redactor(_text(bytes(body)", "text = (_text(bytes(body)")
"""An answer is cut first, and masked later."""
places = Mutation("runbook/plan/explain.py", "_discreet(made) if path in secret else made", "made")
"""The line of a plan is shown whole."""
cores = Mutation("runbook/cli/main.py", "    discreet.keep_private()\n", "")
"""The engine may leave a core."""
escrow = Mutation("runbook/transports/secrets.py", "value.encode(), mode=0o600)", "value.encode(), mode=0o644)")
"""What a run mints may be read by others."""

SECRETS = (
    Row(
        "T8",
        "command lines and environments of all processes are read while everything runs",
        "an argument's type has no secret; a supervisor gets five variables",
        (ENDS, f"{SEARCH}::test_what_a_process_shows_is_seen", "tests/faults/test_dump.py"),
        supervisors_environment,
        (f"{ENDS}[success]",),
    ),
    Row(
        "T9",
        "a child looks at its environment",
        "an allowlist, and its own step's secrets",
        (ENDS, f"{T}/test_secrets.py::test_a_command_does_not_see_the_engines_secrets"),
        inherited,
        (f"{T}/test_secrets.py::test_a_command_does_not_see_the_engines_secrets", f"{ENDS}[success]"),
    ),
    Row(
        "T10 journal",
        "servers say secrets back, in every form, in what they answer and in every fault",
        "one filter before the journal",
        (ENDS,),
        journal,
        (f"{ENDS}[success]",),
    ),
    Row(
        "T10 output",
        "a program prints its secrets in every form, in pieces",
        "the supervisor masks across chunks, before disk and answer",
        (ENDS, f"{S}/test_output.py"),
        output,
        (f"{S}/test_output.py::test_no_form_of_a_secret_reaches_log_answer_or_record", f"{ENDS}[timeout]"),
    ),
    Row(
        "T10 quoted",
        "a secret as shells, SQL, JSON, URLs, HTML and Python quote it",
        "each way is watched for",
        (ENDS, "tests/test_secret.py", f"{SEARCH}::test_each_form_that_the_careless_program_prints_is_found"),
        quoted,
        (f"{ENDS}[timeout]",),
    ),
    Row(
        "T10 base64",
        "a secret in base64, at any alignment",
        "three alignments, both alphabets",
        (ENDS, "tests/test_secret.py"),
        encoded,
        ("tests/test_secret.py::test_every_form_is_masked",),
    ),
    Row(
        "T10 lines",
        "a key of several lines, printed with an indentation",
        "each long line is watched for",
        (ENDS, "tests/test_secret.py"),
        lines,
        ("tests/test_secret.py::test_each_long_line_of_a_key_is_masked_however_it_is_indented",),
    ),
    Row(
        "T10 early",
        "a program prints a secret that no step has used yet",
        "variables, files and what was minted are known from the run's beginning",
        (ENDS, f"{T}/test_secrets.py::test_what_costs_nothing_to_read_is_masked_before_its_first_use"),
        early,
        (f"{ENDS}[success]",),
    ),
    Row(
        "T10 screen",
        "a run is watched, listed and told of on a screen",
        "one filter before all that a command shows",
        (ENDS, "tests/cli/test_discreet.py"),
        screen,
        ("tests/cli/test_discreet.py::test_every_way_to_show_something_masks_it", f"{ENDS}[failure]"),
    ),
    Row(
        "T10 traceback",
        "an exception that nobody expected has secrets in its text and its frame",
        "it is told through the same filter, without local values",
        (f"{ENDS}[internal error]", "tests/cli/test_discreet.py"),
        said,
        (f"{ENDS}[internal error]",),
    ),
    Row(
        "T10 cut",
        "a message shows the beginning of an answer, which ends inside a secret",
        "masked before it is cut",
        (ENDS, f"{T}/test_http.py"),
        answers,
        (f"{ENDS}[failure]",),
    ),
    Row(
        "T10 input",
        "a secret stands where a reference belongs, whatever it is written as",
        "the line is shown up to there",
        (f"{ENDS}[bad input]", "tests/plan/test_bad_inputs.py"),
        places,
        (f"{ENDS}[bad input]",),
    ),
    Row(
        "T11 modes",
        "each file and folder of the state directory is looked at",
        "0600 and 0700, whatever the umask",
        (ENDS, f"{T}/test_secrets.py"),
        escrow,
        (f"{T}/test_secrets.py::test_a_minted_secret_is_kept_and_never_shown", f"{ENDS}[success]"),
    ),
    Row(
        "T10 container",
        "a program in a container prints its secrets",
        "they come with the program's first input, and the same filter stands before the log",
        (f"{C}/test_container.py",),
        output,
        (f"{C}/test_container.py",),
    ),
    Row(
        "T10 -vvv",
        "more is asked for than there is",
        "no option makes it say more",
        (f"{ENDS}[asked to say more]",),
        owed="the defence is that there is nothing: no such option, no log of the libraries",
    ),
    Row(
        "T10 kills",
        "killed at a crash point, and gone on with; the supervisor is killed",
        "what is on disk was masked before it got there",
        (
            f"{ENDS}[killed at journal.after_write:5]",
            f"{ENDS}[killed at supervisor.executed:1]",
            f"{ENDS}[supervisor killed]",
        ),
        owed="the same defences as at any other end: a kill takes none of them out",
    ),
    Row(
        "T11",
        "SIGABRT with cores wanted: the engine, then the supervisor",
        "no core by limit, none by PR_SET_DUMPABLE",
        (f"{ENDS}[aborted]", "tests/cli/test_discreet.py"),
        cores,
        (f"{ENDS}[aborted]",),
    ),
)
