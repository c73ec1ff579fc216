"""The table of what people type wrongly, and of what is refused before or while a run goes: each with what it has to say.

``golden/NAME.txt`` holds the command, its exit code and every line that it prints, word for word; what differs from run to run
(ids, times, places) is told by a name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from runbook.operation import Json
from tests.cli.written import shell

Words = tuple[str, ...]


@dataclass(frozen=True)
class Mistake:
    """What is typed, after which commands, in a folder with which files. ``user``: who says so; ``modes``: of files and folders.

    ``gone``: a folder that is made anew, with the same name, before the last command. ``links``: names that lead elsewhere.
    """

    typed: Words
    before: tuple[Words, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    user: str = "ada"
    modes: Mapping[str, int] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    gone: str = ""


def plan(*steps: Mapping[str, Json], live: bool = False, head: str = "", systems: str = "{}") -> str:
    """A plan of these steps, with an environment of its own."""
    listed = "".join(f"  - {json.dumps(step)}\n" for step in steps)
    where = f"environment: {{environment: here, live: {str(live).lower()}, systems: {systems}}}\n"
    return f"runbook: 1\nname: tried\ntitle: A plan that is tried\n{where}{head}steps:\n{listed}"


HELLO = shell("hello", "echo hello")
WAITS: dict[str, Json] = {"id": "look", "title": "Look", "uses": "manual", "with": {"instructions": "Look at it."}}
ASKS: dict[str, Json] = {
    **WAITS,
    "with": {"instructions": "Look.", "fields": {"verdict": {"choices": ["good", "bad"]}}},
}
AGREE: dict[str, Json] = {
    "id": "agreed",
    "title": "They agree",
    "uses": "approval",
    "with": {"subject": "Lose the last hour.", "approvers": ["ada", "grace"], "needed": 2},
}
WIPE: dict[str, Json] = shell("wipe", "exit 0", effect="destroys", replaces="disk-7")
SAYS: dict[str, Json] = {
    "id": "says",
    "uses": "shell.run",
    "timeout": "1m",
    "with": {"argv": ["printf", "--", "%s", "{{ inputs.word }}"]},
}
AGAIN: dict[str, Json] = {**SAYS, "id": "again", "with": {"argv": ["printf", "--", "%s", "{{ steps.says.stdout }}"]}}
WORD = "inputs: {word: {type: string, default: x}, mode: {type: string, choices: [fast, slow], default: fast}}\n"
SHOWN = 'outputs: {said: "{{ steps.again.stdout }}"}\n'
PLAN = {"plan.yaml": plan(HELLO, head=WORD)}
SAYING = {"plan.yaml": plan(SAYS, AGAIN, head=WORD + SHOWN)}
APPLY = ("apply", "plan.yaml")
STORE = "{s: {type: store, url: 'file://{place}/store'}}"
PICK: dict[str, Json] = {"id": "pick", "uses": "backup.select", "on": "s", "timeout": "1m", "with": {}}

MISTAKES: dict[str, Mistake] = {
    # B31 to B33: a template is bounded, and data is never one
    "template-without-end": Mistake(
        APPLY, files={"plan.yaml": plan({**SAYS, "with": {"argv": ["echo", "--", "{{ 'a' * 10 ** 9 }}"]}}, head=WORD)}
    ),
    "template-in-a-value": Mistake((*APPLY, "-i", "word={{ 7 * 7 }}{% if %}{# x #}"), files=SAYING),
    "tag-in-a-value": Mistake((*APPLY, "-i", "word=!!python/object/apply:os.system [id]"), files=SAYING),
    # B38: values that a shell would read
    "command-in-a-value": Mistake((*APPLY, "-i", "word=x; touch canary; $(touch canary) `touch canary`"), files=SAYING),
    "value-of-another-type": Mistake((*APPLY, "-i", "mode=fats"), files=PLAN),
    # B45: included plans
    "include-through-a-link": Mistake(
        ("validate", "plan.yaml"),
        files={"plan.yaml": plan({"id": "a", "uses": "./inner.yaml"})},
        links={"inner.yaml": "../elsewhere.yaml"},
    ),
    # what is worked on has to be what it was (B51, targets)
    "another-target": Mistake(
        ("resume", "last"),
        before=(APPLY,),
        files={
            "plan.yaml": plan(WAITS, PICK, systems=STORE, head="systems: {s: store}\n"),
            "store/x": "",
        },
        gone="store",
    ),
    # who may say what, and how often (B53, people)
    "approval-of-a-stranger": Mistake(
        ("approve", "last", "agreed"), (APPLY,), {"plan.yaml": plan(AGREE)}, user="mallory"
    ),
    "approval-twice": Mistake(
        ("approve", "last", "agreed", "--as", "grace"),
        (APPLY, ("approve", "last", "agreed")),
        {"plan.yaml": plan(AGREE)},
    ),
    "approval-of-nothing": Mistake(("approve", "last", "look"), (APPLY,), {"plan.yaml": plan(WAITS)}),
    # B54: the command line
    "no-command": Mistake(("aply", "plan.yaml"), files=PLAN),
    "another-word-for-a-command": Mistake(("run", "plan.yaml"), files=PLAN),
    "no-option": Mistake((*APPLY, "--dryrun"), files=PLAN),
    "no-plan": Mistake(("apply", "plna.yaml"), files=PLAN),
    "input-without-a-value": Mistake((*APPLY, "-i", "word"), files=PLAN),
    "no-such-input": Mistake((*APPLY, "-i", "wrd=x"), files=PLAN),
    "no-such-environment": Mistake((*APPLY, "-e", "prod"), files=PLAN),
    "no-such-step": Mistake(("logs", "last", "helo"), (APPLY,), PLAN),
    "too-many-at-once": Mistake((*APPLY, "--parallel", "0"), files=PLAN),
    "inputs-that-are-a-list": Mistake((*APPLY, "--inputs", "list.yaml"), files={**PLAN, "list.yaml": "- word\n"}),
    "inputs-file-with-a-fault": Mistake((*APPLY, "--inputs", "i.yaml"), files={**PLAN, "i.yaml": "word: a\nword: b\n"}),
    # which run is meant (B55, runs)
    "no-runs": Mistake(("resume", "last")),
    "no-such-run": Mistake(("resume", "2019"), (APPLY,), PLAN),
    "more-than-one-run": Mistake(("resume", "2"), (APPLY, APPLY), PLAN),
    "finished-run": Mistake(("resume", "last"), (APPLY,), PLAN),
    "finished-run-after-one-that-is-not": Mistake(
        ("resume",), ((*APPLY[:1], "waits.yaml"), APPLY), {**PLAN, "waits.yaml": plan(WAITS)}
    ),
    "confirmed-twice": Mistake(
        ("confirm", "last", "look"), (APPLY, ("confirm", "last", "look")), {"plan.yaml": plan(WAITS)}
    ),
    "answer-that-is-nearly-one": Mistake(
        ("confirm", "last", "look", "-i", "verdict=bd"), (APPLY,), {"plan.yaml": plan(ASKS)}
    ),
    "confirmed-too-late": Mistake(("confirm", "last", "hello"), (APPLY,), PLAN),
    # B52 and B56: confirmations
    "yes-is-no-name": Mistake((*APPLY, "--yes"), files={"plan.yaml": plan(WIPE, live=True)}),
    "another-name": Mistake((*APPLY, "--confirm", "disk-9"), files={"plan.yaml": plan(WIPE, live=True)}),
    # B58: what others may write
    "plan-that-anybody-may-write": Mistake(APPLY, files=PLAN, modes={"plan.yaml": 0o666}),
    "folder-that-anybody-may-write": Mistake(APPLY, files=PLAN, modes={".": 0o777}),
    "environment-that-anybody-may-write": Mistake(
        (*APPLY, "-e", "lab"),
        files={**PLAN, "environments/lab.yaml": "environment: lab\nsystems: {}\n"},
        modes={"environments/lab.yaml": 0o666},
    ),
    "state-that-anybody-may-write": Mistake(("runs",), (APPLY,), PLAN, modes={"../state": 0o777}),
}
