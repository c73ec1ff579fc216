"""Steps that are skipped, and those after them."""

from __future__ import annotations

from tests.outcomes.case import Case, Group, Refusal, Resume
from tests.outcomes.steps import HELD, check, restore, start, step, stop
from tests.runner.world import Fate

WANTED = "inputs:\n  wanted: {type: boolean, default: false}\n"
IF = "{{ inputs.wanted }}"
VALUE = {"thing": "index", "value": "{{ steps.dump.value }}"}
DEFAULT = {"thing": "index", "value": "{{ steps.dump.value | default('none') }}"}

SKIPS = Group(
    "Skipped",
    (
        "A step skipped by `when` satisfies its successors.",
        "To use its outputs without `default()` is a fault of the plan, unless both share the `when`.",
        "A person may skip a step that didn't succeed: `runbook resume --skip STEP --reason …`.",
    ),
    {
        "skipped-by-when": Case(
            "A step's `when` is false",
            step("dump", when=IF) + restore() + WANTED,
            "dump skipped, restore succeeded",
            "succeeded",
            (0,),
        ),
        "skipped-with-default": Case(
            "A step's `when` is false; what uses its output has a `default()`",
            step("dump", when=IF) + step("index", with_=DEFAULT) + WANTED,
            "dump skipped, index succeeded",
            "succeeded",
            (0,),
        ),
        "skipped-together": Case(
            "Two steps share their `when`, which is false; the second uses an output of the first",
            step("dump", when=IF) + step("index", when=IF, with_=VALUE) + check("index", when=IF) + WANTED,
            "dump skipped, index skipped, check skipped",
            "succeeded",
            (0,),
        ),
        "skipped-by-an-output": Case(
            "A `when` that an earlier step's output decides is false",
            step("find", with_={"thing": "find", "value": "whole"})
            + step("dump", when="{{ steps.find.value == 'damaged' }}")
            + restore(),
            "find succeeded, dump skipped, restore succeeded",
            "succeeded",
            (0,),
        ),
        "skipped-output-used": Refusal(
            "An output of a step that may be skipped is used without `default()`",
            step("dump", when=IF) + step("index", with_=VALUE) + WANTED,
            ("E147",),
        ),
        "skipped-output-other-when": Refusal(
            "The same, and the step that uses it has a `when` of its own",
            step("dump", when=IF) + step("index", when="{{ not inputs.wanted }}", with_=VALUE) + WANTED,
            ("E147",),
        ),
        "skipped-hold": Case(
            "A hold and its release share their `when`, which is false",
            stop(when=IF) + restore() + start(when=IF) + WANTED,
            "stop skipped, restore succeeded, start skipped",
            "succeeded",
            (0,),
        ),
        "skipped-hold-alone": Case(
            "A hold's `when` is false, its release has none: it starts nothing that was not running",
            stop(when=IF) + restore() + start() + WANTED,
            "stop skipped, restore succeeded, start succeeded",
            "succeeded",
            (0,),
            services={"web": "exited"},
            up="worker",
        ),
        "skipped-inside-a-hold": Case(
            "All steps inside a hold are skipped",
            stop() + restore(when=IF) + start() + WANTED,
            "stop succeeded, restore skipped, start succeeded",
            "succeeded",
            (0,),
        ),
        "skipped-release": Case(
            "A release's `when` is false, its hold was taken: the services stay stopped, and `show` says so",
            stop() + restore() + start(when=IF) + WANTED,
            "stop succeeded, restore succeeded, start skipped",
            "succeeded",
            (0,),
            held="stop",
            up="",
        ),
        "skipped-by-a-person": Case(
            "A step failed; a person does its work and skips it",
            step("dump") + restore(),
            "dump skipped, restore succeeded",
            "succeeded",
            (1, 0),
            (Resume(skip=("dump",)),),
            meets={"dump:make": (Fate.FAILS,)},
        ),
        "skipped-by-a-person-inside": Case(
            "A step inside a hold failed half-way; a person skips it, and the hold is released",
            HELD,
            "stop succeeded, restore skipped, start succeeded, answers succeeded",
            "succeeded",
            (1, 0),
            (Resume(skip=("restore",)),),
            meets={"restore:commit": (Fate.FAILS,)},
        ),
        "skipped-by-a-person-and-used": Case(
            "A person skips a step whose output another one needs",
            step("dump") + step("index", with_=VALUE),
            "dump skipped, index failed",
            "failed",
            (1, 1),
            (Resume(skip=("dump",)),),
            meets={"dump:make": (Fate.FAILS,)},
        ),
    },
)
