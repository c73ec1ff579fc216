"""What a dry-run printed and what a run wrote into its journal, in one form; and their lines taken apart again.

A line is taken apart as a shell would do it, by the tests' own code: nothing of the program has a part in it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_TAG = re.compile(r"rb_(?:plan|\d{1,8}_\d{6}_[a-z0-9_]+?_[0-9a-f]{4})_")
_RUN = re.compile(
    r"\bplan/|\b(?:\d{1,8}-)?\d{1,6}-[a-z][a-z0-9-]*-[0-9a-f]{4}/"
)  # cut in front where a name may not be long
_ID = re.compile(
    r"\b\d{8}-\d{6}-[a-z0-9-]+-[0-9a-f]{4}\b|(?:(?<=\brun )|(?<=\bresume )|(?<=\.run=)|(?<='))plan(?=,|'| --|\\|$)"
)
_MOMENT = re.compile(r"\d{8}T\d{6}Z")
_STATE = re.compile(r"/\S*?/(?:runbook-plan-\w+|state/runs/[\w-]+)/")
_LENGTH = re.compile(r"\(\d+ characters\)")
_SNAPSHOT = re.compile(r"^[0-9A-F]{8}-[0-9A-F]{8}-\d+$")
_C_QUOTED = re.compile(r"\$'((?:[^'\\]|\\.)*)'")
_PLACEHOLDER = re.compile(r"""(?:'"'"'|'|")?<(?=\S)[^<>]+(?<=\S)>(?:'"'"'|'|")?|["']…["']""")
_CUT = "… (N characters)"
"""What stands at the end of a long text: how much of it is shown depends on the names in it."""
_WORDS = '"?[^"]*"?'
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"'}


@dataclass(frozen=True)
class Told:
    """An operation as it was told: its kind, its line, whether it only reads."""

    kind: str
    text: str
    reads: bool

    @property
    def lines(self) -> list[str]:
        """Its lines: one, and for a session those of its body."""
        return self.text.splitlines()

    @property
    def words(self) -> list[str]:
        """The words of all its lines, as a shell takes them."""
        return [word for line in self.lines for word in words_of(line)]

    @property
    def statements(self) -> list[str]:
        """What a line for psql gives it, statement by statement."""
        words = self.words
        return [flat(words[at + 1]) for at, word in enumerate(words[:-1]) if word == "-c"]


def placeless(text: str) -> str:
    """The text with what is never the same in two runs replaced: the run's own names, its folder, its moment."""
    text = _TAG.sub("rb_RUN_", text)
    text = _STATE.sub("/RUN/", text)
    text = _RUN.sub("RUN/", text)
    text = _ID.sub("RUN", text)
    text = _LENGTH.sub("(N characters)", text)
    return _MOMENT.sub("MOMENT", text)


def shown_steps(dry: Mapping[str, Any]) -> dict[str, tuple[str, list[Told]]]:
    """Of each step of a dry-run: how well it is known, and its operations. A session's body stands in its own line."""
    found = {}
    for step in (step for step in dry["steps"] if not step["skipped"]):
        operations: list[Told] = []
        for one in step["operations"]:
            told = Told(one["kind"], placeless(one["text"]), one["reads"])
            inside = operations and operations[-1].kind == "session" and told.text in operations[-1].text
            operations += [] if inside else [told]
        found[step["id"]] = (step["known"], operations)
    return found


def matches(shown: Sequence[Told], ran: Sequence[Told]) -> bool:
    """Whether those ran that were shown, in that order; a placeholder (``<…>``, ``"…"``) in what was shown stands for any text.

    A look that was shown may have become needless meanwhile. Nothing that ran may be missing in what was shown, not even a look.
    """
    left = list(ran)
    for told in shown:
        if left and alike(told, left[0]):
            del left[0]
        elif not told.reads:
            return False
    return not left


def alike(shown: Told, ran: Told) -> bool:
    """Whether it is what was told, with something in the place of a placeholder."""
    if (shown.kind, shown.reads) != (ran.kind, ran.reads):
        return False
    if ran.text.endswith(_CUT):
        return _begins_alike(shown.text.removesuffix(_CUT), ran.text.removesuffix(_CUT))
    return re.fullmatch(_pattern(shown.text, ".*"), ran.text) is not None


def _begins_alike(shown: str, ran: str) -> bool:
    """The same for texts of which only the beginning is there, each cut where its length let it."""
    if re.match(_pattern(shown, _WORDS), ran):
        return True
    return any(re.fullmatch(_pattern(shown[:cut], _WORDS), ran) for cut in range(len(shown), len(shown) // 2, -1))


def _pattern(shown: str, anything: str) -> str:
    return anything.join(re.escape(part) for part in _PLACEHOLDER.split(shown))


def planned_steps(events: Sequence[Mapping[str, Any]]) -> dict[str, list[Told]]:
    """The operations that each step of a run planned, all rounds; what a resume planned once more is there once."""
    found: dict[str, dict[tuple[str, str], Told]] = {}
    for event in events:
        if event["event"] == "step.planned":
            step = found.setdefault(event["step"], {})
            for one in event["operations"]:
                step.setdefault((one["name"], one["digest"]), Told(one["kind"], placeless(one["text"]), one["reads"]))
    return {step: list(told.values()) for step, told in found.items()}


def digests_planned(events: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """By step and operation: the digest that was planned."""
    return {
        (event["step"], one["name"]): one["digest"]
        for event in events
        if event["event"] == "step.planned"
        for one in event["operations"]
    }


def digests_performed(events: Sequence[Mapping[str, Any]]) -> Iterator[tuple[tuple[str, str], str]]:
    """By step and operation: the digest of the form that was journalled when it was begun, where it changes something.

    Bounds are journalled, and no part of what is approved.
    """
    for event in events:
        if event["event"] == "operation.started" and event["form"] is not None:
            form = dict(event["form"])
            if "stages" in form:
                form["stages"] = [{key: one[key] for key in one if key != "most_bytes"} for one in form["stages"]]
            text = json.dumps(form, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            yield (event["step"], event["operation"]), hashlib.sha256(text.encode()).hexdigest()


def argv_of(words: Iterable[str]) -> list[str]:
    """An executed argument list with the run's own values replaced."""
    return ["<snapshot.snapshot>" if _SNAPSHOT.match(word) else placeless(word) for word in words]


def holds(line: Sequence[str], argv: Sequence[str]) -> bool:
    """Whether the line runs exactly that: the arguments stand in it, and behind them is no further one."""
    ends = {"|", ">", "<", "&&", "#", ")"}
    count = len(argv)
    for at in range(len(line) - count + 1):
        after = line[at + count] if at + count < len(line) else "#"
        same = all(map(_alike_word, line[at : at + count], argv))
        if same and (after in ends or "=" in after or "/" in after):
            return True
    return False


def _alike_word(told: str, ran: str) -> bool:
    """A late value stands in a line as a placeholder."""
    return told == ran or ("<" in told and re.fullmatch(_pattern(told, ".+"), ran, re.DOTALL) is not None)


def words_of(line: str) -> list[str]:
    """The words of one line, as a shell takes them."""
    text = _C_QUOTED.sub(lambda found: shlex.quote(re.sub(r"\\(.)", _unescaped, found[1])), line.strip())
    if text.startswith("#"):
        return text.split()
    if text.startswith("(cd "):
        body, closed, comment = text[1:].rpartition(")  # ")
        text = f"( {body} ) # {comment}" if closed else f"( {text[1:].removesuffix(')')} )"
    return shlex.split(text, comments=False)


def flat(statement: str) -> str:
    """A statement on one line."""
    return " ".join(statement.split())


@dataclass(frozen=True)
class Said:
    """A session of the server as its log has it: the application's name and its statements."""

    application: str
    statements: tuple[str, ...]

    @property
    def of_a_tool(self) -> bool:
        """A session of PostgreSQL's own client programs: they begin with a safe search path, pg_rewind after limits of its own."""
        limits = (
            "SET statement_timeout = 0",
            "SET lock_timeout = 0",
            "SET idle_in",
            "SET transaction_timeout = 0",
            "SET default_",
        )
        began = next((one for one in self.statements if not one.startswith(limits)), "")
        return began.startswith("SELECT pg_catalog.set_config('search_path'")

    @property
    def reads_only(self) -> bool:
        """The server itself was told to allow no change."""
        return "BEGIN READ ONLY" in self.statements[:2]


def sessions(log: str) -> list[Said]:
    """The sessions of a log with ``log_line_prefix = '%c|%a|%d|'``, in the order of their first statements."""
    found: dict[tuple[str, str], list[str]] = {}
    current: list[str] | None = None
    for line in log.splitlines():
        head = re.match(r"^([0-9a-f.]+)\|([^|]*)\|([^|]*)\|LOG:  (?:statement|execute [^:]*): (.*)$", line)
        if head is not None:
            current = found.setdefault((head[1], head[2]), [])
            current.append(head[4])
        elif line.startswith("\t") and current:
            current[-1] += "\n" + line[1:]
        else:
            current = None
    return [Said(key[1], tuple(map(flat, statements))) for key, statements in found.items()]


def _unescaped(found: re.Match[str]) -> str:
    return _ESCAPES.get(found[1], found[1])
