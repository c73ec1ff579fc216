"""What a person is told of a process that did not end well: its last words, and where to look.

Owns those sentences, and nothing of what the end means. Promises: what a program said is shown without what would act
on a terminal.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from runbook.errors import Problem
from runbook.host import Host
from runbook.operation import Pipeline, Process, Stage
from runbook.paste import paste
from runbook.quoting import shell_word, visible
from runbook.transports.supervisor.requests import Ended
from runbook.units import show_size

LONGEST_TAIL = 2_000
"""Characters of a failed process's last words that a message shows; the log has more."""
MOST_FILES = 12
"""Changed files that are named."""
LOOK_THERE = "docker ps --all    # does the container still run?"


def ended_there(hosts: Sequence[Host]) -> str:
    """Whose programs were ended, where they ran elsewhere: what ran here was only their client."""
    return f"It ran in {', '.join(map(str, hosts))}, and was ended there, or with the container." if hosts else ""


def look_there(hosts: Sequence[Host]) -> str:
    """How a person looks whether the container is still there."""
    return LOOK_THERE if hosts else ""


def start_remedy(said: str) -> str:
    """What a person looks at when a program could not be started."""
    if any(os.strerror(code) in said for code in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)):
        return "raise what this machine is short of (`ulimit -a`, `free -m`), and try again a few seconds later"
    return "is the program there, and may this user run it? Then try again"


def look_at_sink(operation: Process | Pipeline, ended: Ended) -> str:
    """Where the file that was written could not take the bytes: which file system that is, and what it has left."""
    sink = operation.sink if isinstance(operation, Pipeline) else ""
    return f"df -h {shell_word(str(Path(sink).parent))}" if sink and f"pump: {sink}" in ended.detail else ""


def changed_files(operation: Process | Pipeline, ended: Ended) -> str:
    """What a checksum program found changed: that says nothing against the program; '' where it found nothing."""
    if not isinstance(operation, Process) or operation.argv[:2] != ("sha256sum", "--check"):
        return ""
    lines = [
        line for line in ended.stdout.text.splitlines() if line.rstrip().endswith(("FAILED", "FAILED open or read"))
    ]
    more = f"\n… and {len(lines) - MOST_FILES} more" if len(lines) > MOST_FILES else ""
    where = f"in {operation.cwd}:\n" if lines and operation.cwd else ""
    return where + "\n".join(lines[:MOST_FILES]) + more


def exceeded(operation: Process | Pipeline) -> Problem:
    """More came out of a packed file than it says: which, how much that is, and how a person tells whose fault it is."""
    stages = operation.stages if isinstance(operation, Pipeline) else ()
    source = operation.source if isinstance(operation, Pipeline) else ""
    at = next((number for number, one in enumerate(stages) if one.most_bytes), 0)
    most = stages[at].most_bytes if stages else 0
    what = source or f"what {operation.name} reads"
    detail = (
        f"{what}: after {most} bytes ({show_size(most)}) more were to come. The rest was not taken, and what came is not used.\n"
        "It is damaged, or was packed to fill a disk."
    )
    counted = paste(Pipeline(name="count", source=source, stages=(*stages[:at], Stage(argv=("wc", "--bytes")))))
    fix = (
        f"choose another one, in a new run. One that you trust: `{counted}` tells what it unpacks to, "
        "and that goes into its manifest, as `unpacked_bytes` of the piece"
    )
    return Problem("E308", "more came out of a packed file than was to be expected", detail, fix)


def last_words(ended: Ended) -> str:
    """How it ended, and what those that failed said last."""
    return f"{ended.detail}\n{tail(ended)}".strip()


def tail(ended: Ended) -> str:
    """The last words of those that failed."""
    said = [one.stderr.text.strip() for one in ended.exits if one.code != 0 and one.stderr.text.strip()]
    text_ = "\n".join(said) or ended.stdout.text.strip()
    return visible_lines(text_[-LONGEST_TAIL:])


def visible_lines(shown: str) -> str:
    """The text with what would act on a terminal escaped, line by line."""
    return "\n".join(visible(line) for line in shown.splitlines())
