"""Bad inputs, B32 to B58: values, archives, secrets, targets, people and command lines; and the threats that they are."""

from __future__ import annotations

from tests.matrix import without
from tests.matrix import without_checks as checks
from tests.matrix.row import Row

P, L, CHECK = "tests/plan", "tests/literal", "tests/check/test_faults.py::test_a_fault_says_what_is_wrong"
MISTAKE = "tests/cli/test_mistakes.py::test_a_mistake_says_what_is_wrong_and_what_to_do"
PLAN = f"{P}/test_bad_inputs.py::test_a_bad_plan_says_what_is_wrong"
ENVIRONMENT = f"{P}/test_bad_inputs.py::test_a_bad_environment_says_what_is_wrong_and_shows_no_secret"
UNPACKING = "tests/actions/postgres/test_unpacking.py"
BOMBS = "tests/actions/postgres/test_unpacking_real.py"
PUMP, ADOPTING = "tests/transports/supervisor/test_pump.py", "tests/actions/backup/test_adopt_real.py"
TERMINAL = f"{L}/test_terminal.py::test_what_a_plan_holds_is_text_in_every_command"
ONCE = "a value is rendered once, by the one function there is: no second one could be taken out"


def typed(*names: str) -> tuple[str, ...]:
    """The cases of the table of mistakes, whose messages and exit codes are held word for word."""
    return tuple(f"{MISTAKE}[{name}]" for name in names)


BAD_VALUES = (
    Row(
        "B32",
        "an input that holds a template",
        "rendered once",
        (*typed("template-in-a-value"), f"{P}/test_render.py::test_no_value_is_ever_rendered_again"),
        owed=ONCE,
    ),
    Row(
        "B33",
        "an output that holds a template or a tag",
        "rendered once",
        (
            *typed("template-in-a-value", "tag-in-a-value"),
            f"{L}/test_process.py::test_inputs_become_arguments_variables_and_input",
        ),
        owed=ONCE,
    ),
    Row(
        "B38",
        "values that a shell would read",
        "arguments are a list; what is to be pasted is quoted",
        (*typed("command-in-a-value"), f"{L}/test_process.py"),
        checks.shell_quotes,
        (f"{L}/test_process.py::test_a_line_of_the_dry_run_is_read_back_by_a_shell_as_it_was",),
    ),
    Row(
        "B39",
        "an unquoted value in a script",
        "refused, with the filter to use",
        (f"{CHECK}[unquoted-in-a-shell]",),
        checks.shell_values,
        (f"{CHECK}[unquoted-in-a-shell]",),
    ),
    Row(
        "B40",
        "a value that may be an option",
        "refused without --",
        (f"{CHECK}[value-as-option]",),
        checks.option_values,
        (f"{CHECK}[value-as-option]",),
    ),
    Row(
        "B41",
        "names and values that would end a statement",
        "quoted as libpq quotes them, on a real server",
        (f"{L}/test_sql.py", "tests/test_quoting.py"),
        checks.identifier_quotes,
        ("tests/test_quoting.py::test_an_identifier_is_what_libpq_makes_of_it",),
    ),
    Row(
        "B43",
        "a tar file with links, devices, set-id files and names that lead out",
        "plain files in an empty directory, or nothing",
        (UNPACKING,),
        checks.plain_members,
        (f"{UNPACKING}::test_what_no_backup_of_a_cluster_has_is_refused_and_nothing_stays",),
    ),
    Row(
        "B44",
        "a bomb: a small file out of which far more comes than the backup had",
        "its manifest says how much, else a bound for all; counted on the way, and stopped there",
        (BOMBS, f"{PUMP}::test_what_never_stops_coming_is_stopped", f"{ADOPTING}::test_a_bomb_is_not_adopted"),
        checks.unpacked_bound,
        (f"{BOMBS}::test_a_bomb_in_the_place_of_a_backup_is_stopped_and_removed[zstd]",),
    ),
    Row(
        "B44 holes",
        "known holes of unpackers",
        "Python's unpacker is used by nothing; an old one is named by the doctor",
        (
            f"{UNPACKING}::test_nothing_else_unpacks_an_archive_that_somebody_may_have_written",
            "tests/doctor/test_machine.py",
        ),
        owed="nothing is there that could be taken out: the hole would be a call that nobody makes",
    ),
    Row(
        "B45",
        "included plans that lead out, through links too, or round",
        "names are resolved below the root",
        (*typed("include-through-a-link"), f"{PLAN}[include-outside]", f"{PLAN}[include-cycle]"),
        checks.linked_root,
        typed("include-through-a-link"),
    ),
    Row(
        "B45 upwards",
        "an included plan above the root",
        "names may not climb above it",
        (f"{PLAN}[include-outside]",),
        checks.plan_root,
        (f"{PLAN}[include-outside]",),
    ),
    Row(
        "B46",
        "a secret that is written out",
        "found before the first message, masked in every place",
        (f"{PLAN}[secrets-in-plan]", f"{P}/test_leak.py"),
        without.found_secrets,
        (f"{PLAN}[secrets-in-plan]",),
    ),
    Row(
        "B47",
        "a secret in a command, a URL, a description",
        "the same",
        (f"{PLAN}[secrets-in-plan]", f"{CHECK}[secret-in-a-field]"),
        without.found_secrets,
        (f"{PLAN}[secrets-in-plan]",),
    ),
    Row(
        "B48",
        "a secret of another type",
        "its kind is told, not its value",
        (f"{ENVIRONMENT}[secret-literals]", f"{ENVIRONMENT}[broken-secret]"),
        owed="no message is given the value: there is nothing that keeps one from it",
    ),
    Row(
        "B50",
        "a removal of what is not the run's own",
        "no step names a path to be removed; a removal needs the run's name in its path, links and mounts are refused",
        (
            "tests/transports/test_files.py::test_what_does_not_carry_the_name_is_refused",
            "tests/transports/test_files.py::test_a_linked_parent_is_refused",
        ),
        checks.removals,
        ("tests/transports/test_files.py::test_what_does_not_carry_the_name_is_refused",),
    ),
    Row(
        "B51",
        "another target than the run began on",
        "each target says who it is, and is asked again",
        (*typed("another-target"), "tests/runner/test_targets.py"),
        without.targets,
        typed("another-target"),
    ),
    Row(
        "B52",
        "a destructive step without a proof or a question",
        "a rule, and a question that is asked in any case where it is live",
        (*typed("yes-is-no-name"), "tests/check/test_rules.py", "tests/runner/test_consent.py"),
        checks.asked_by_name,
        typed("yes-is-no-name"),
    ),
    Row(
        "B53",
        "an approval of a stranger, or twice by one person",
        "who may, and who has",
        (*typed("approval-of-a-stranger", "approval-twice", "approval-of-nothing"), "tests/cli/test_approve.py"),
        checks.approvers,
        typed("approval-of-a-stranger"),
    ),
    Row(
        "B53 signed",
        "an approval that has expired, or is of another plan",
        "signatures",
        owed="waits for signed approvals",
    ),
    Row(
        "B54",
        "words that no command knows",
        "exit code 2, or 3 for the plan's own; the nearest is named",
        typed(
            "no-command",
            "no-option",
            "no-plan",
            "no-such-step",
            "no-such-input",
            "input-without-a-value",
            "no-such-environment",
        ),
        checks.nearest,
        typed("no-such-input"),
    ),
    Row(
        "B55",
        "a run that isn't there, isn't the only one, or is over",
        "exit code 2, with the candidates",
        typed("no-runs", "no-such-run", "more-than-one-run", "finished-run"),
        checks.runs_by_id,
        typed("more-than-one-run"),
    ),
    Row(
        "B56",
        "--yes where a name is asked for",
        "a destructive step is answered by the name of what it replaces",
        typed("yes-is-no-name", "another-name"),
        checks.asked_by_name,
        typed("yes-is-no-name"),
    ),
    Row(
        "B58",
        "what anybody may write; a network file system",
        "refused with exit code 4 and the remedy",
        (
            *typed(
                "plan-that-anybody-may-write",
                "folder-that-anybody-may-write",
                "environment-that-anybody-may-write",
                "state-that-anybody-may-write",
            ),
            "tests/journal/test_layout.py::test_a_network_file_system_is_refused",
        ),
        checks.others_write,
        typed("plan-that-anybody-may-write"),
    ),
)

LITERAL = (
    Row(
        "T2",
        "the wrong target",
        "as B51, B52 and B56",
        typed("another-target", "yes-is-no-name", "another-name"),
        without.targets,
        typed("another-target"),
    ),
    Row(
        "T3",
        "a plan that means harm",
        "a plan is code: it is read by people; two of them approve",
        ("tests/cli/test_approve.py",),
        owed="signed plans and approvals are to come; nobody but a reader tells harm from use",
    ),
    Row(
        "T4",
        "data that would be a template",
        "as B32 and B33",
        (*typed("template-in-a-value", "tag-in-a-value"), f"{P}/test_render.py::test_no_value_is_ever_rendered_again"),
        owed=ONCE,
    ),
    Row(
        "T5 process",
        "a value in an argument or a variable",
        "refused where no process can take it, before the supervisor",
        (f"{L}/test_process.py",),
        checks.argument_nul,
        (f"{L}/test_process.py::test_what_no_process_can_be_given_is_a_failure_in_words",),
    ),
    Row(
        "T5 path",
        "a value in a path",
        "names are plain",
        (f"{L}/test_paths.py",),
        checks.backup_names,
        (f"{L}/test_paths.py::test_a_name_that_a_backup_is_written_under_is_a_plain_one",),
    ),
    Row(
        "T5 terminal",
        "a value on a terminal",
        "escaped where lines are shown",
        (f"{L}/test_terminal.py",),
        checks.shown_escapes,
        (TERMINAL,),
    ),
    Row(
        "T5 direction",
        "a value that turns text round",
        "the same",
        (f"{L}/test_terminal.py",),
        checks.code_points,
        (TERMINAL,),
    ),
    Row(
        "T5 picture",
        "a title in a picture",
        "without what no reader sees",
        (f"{L}/test_terminal.py::test_what_is_drawn_for_a_browser_is_text",),
        checks.shown_in_svg,
        (f"{L}/test_terminal.py::test_what_is_drawn_for_a_browser_is_text",),
    ),
    Row(
        "T6",
        "an archive that means harm",
        "as B43",
        (UNPACKING,),
        checks.plain_members,
        (f"{UNPACKING}::test_what_no_backup_of_a_cluster_has_is_refused_and_nothing_stays",),
    ),
    Row(
        "T7",
        "a dump that means harm",
        "its SHA-256 is compared; it goes into a new database, by pg_restore",
        ("tests/actions/postgres/test_verify_dump.py", "tests/actions/postgres/test_restore.py"),
        owed="what a dump's own functions and triggers do, they do: a dump that nobody signed is as good as its store",
    ),
)
