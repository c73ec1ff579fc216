"""A plan is run undisturbed, then killed at random instants and resumed: each time it has to come to the same end.

Owns the trial, whatever the ground is. A run that waits for a person is answered and goes on, in the undisturbed run and in the
killed ones alike, so that the instants lie after the answer too.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Set
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from tests.evidence.kills import SETTLES_IN_S, Trials, Victim, processes_about
from tests.evidence.program import Program, Ran
from tests.evidence.witness import until

if TYPE_CHECKING:
    from docker import DockerClient

WAITS = 6
ANSWERED_BEFORE = 4
MOST_RESUMES = 4
ENDS_WITHIN_S = 300.0
STARTS_IN_S = 0.3
"""The program starts in about that time."""
End = Mapping[str, object]
"""What a trial came to, as far as it must be the same however often the run was killed."""


class Place(Protocol):
    """Where a plan is run."""

    @property
    def program(self) -> Program:
        """The program, with a state folder of its own."""

    @property
    def consent(self) -> tuple[str, ...]:
        """Every confirmation that a plan may ask for."""

    def arguments(self, plan: str, *words: str) -> list[str | Path]:
        """The arguments of `apply` for a plan."""

    def cleared(self) -> None:
        """Away with all that earlier trials left, their runs too."""

    def struck(self, victim: Victim, engine: subprocess.Popen[bytes]) -> None:
        """Kill the newest run; servers that died with it come back as a machine that boots brings them back."""

    def found_again(self) -> None:
        """Wait until servers that somebody has started anew can be asked."""

    def left(self) -> End:
        """What there is beside the plan's own work: databases, directories, half files, services, processes."""


G = TypeVar("G", bound=Place)


@dataclass(frozen=True)
class Case(Generic[G]):
    """A plan: what is there before it (which gives the words of its inputs), and what must be there at its end."""

    plan: str
    before: Callable[[G], list[str]]
    after: Callable[[G], End]
    opened: Callable[[DockerClient], AbstractContextManager[G]]
    opened_there: Callable[[DockerClient], AbstractContextManager[G]] | None = None
    """With the database in a container; None where the plan is not swept there."""
    answer: tuple[str, ...] = ()
    """The step that waits for a person, and what it is told."""
    person: Callable[[G], None] = lambda _: None
    """What the person does before the answer."""


@dataclass
class Tally:
    """What a plan's trials came to. ``hit``: kills between a run's first record and its end. ``clean_s``: undisturbed (seconds)."""

    tried: int = 0
    held: int = 0
    hit: int = 0
    clean_s: float = 0.0


def answered(place: G, case: Case[G]) -> None:
    """The person does what is asked, and says so."""
    case.person(place)
    step, *words = case.answer
    said = place.program.run("confirm", place.program.last, step, *words)
    assert said.code in (0, ANSWERED_BEFORE), said.said


def ended(place: G, case: Case[G], ran: Ran) -> None:
    """Resume until the run is over, answering what it asks."""
    program = place.program
    for _ in range(MOST_RESUMES):
        place.found_again()
        if ran.code == 0:
            return
        if ran.code == WAITS and case.answer:
            answered(place, case)
        ran = program.run("resume", program.last, *place.consent, within_s=ENDS_WITHIN_S)
    place.found_again()
    assert ran.code == 0, ran.said


def undisturbed(place: G, case: Case[G]) -> tuple[float, End]:
    """How long the plan works (see :func:`_took`), and its end.

    A run that stops for another reason than a person's is a fault, and so is anything of the end that does not hold.
    """
    place.cleared()
    words = case.before(place)
    earlier = {*place.program.runs}
    engine = _begun(place, place.program.start("apply", *place.arguments(case.plan, *words)), earlier)
    engine = driven(place, case, engine, ENDS_WITHIN_S)
    assert engine.poll() == 0, _output(place)
    took = _took(place.program.events())
    place.found_again()
    end = {**case.after(place), **place.left()}
    wrong = {
        name: value for name, value in end.items() if value is False or (isinstance(value, list) and False in value)
    }
    assert not wrong, f"even undisturbed: {wrong}"  # an end that is wrong each time would be the same each time
    return took, end


def _begun(place: Place, engine: subprocess.Popen[bytes], earlier: Set[str]) -> subprocess.Popen[bytes]:
    """Wait until there is a run that was not there earlier, with its first record."""
    until(lambda: engine.poll() is not None or _new(place, earlier), ENDS_WITHIN_S, "the run begins")
    return engine


def _new(place: Place, earlier: Set[str]) -> bool:
    return any(run not in earlier and place.program.events(run) for run in place.program.runs)


def driven(place: G, case: Case[G], engine: subprocess.Popen[bytes], for_s: float) -> subprocess.Popen[bytes]:
    """Let a run go on for so long, answering what it asks; the engine that works then, or the one that came to the end.

    The time that a person takes doesn't count, nor that until the resumed run goes on.
    """
    program, left_s = place.program, for_s
    while True:
        try:
            code = engine.wait(max(0.0, left_s))
        except subprocess.TimeoutExpired:
            if not case.answer or program.events()[-1]["event"] != "run.waiting":
                return engine
            code = engine.wait(ENDS_WITHIN_S)  # it is on its way out, to leave the person alone
        left_s = for_s - _took(program.events())
        if code != WAITS or not case.answer:
            assert code == 0, _output(place)
            return engine
        answered(place, case)
        known, engine = len(program.events()), program.start("resume", program.last, *place.consent)
        _goes_on(place, engine, known)


def _goes_on(place: Place, engine: subprocess.Popen[bytes], known: int) -> None:
    """Wait until the run has more records than were known."""
    until(lambda: engine.poll() is not None or len(place.program.events()) > known, ENDS_WITHIN_S, "the run goes on")


def _output(place: Place) -> str:
    return (place.program.folder / "output").read_text()[-6000:]


@dataclass(frozen=True)
class Met:
    """What a kill met, '' where the run was over, or had not begun; ``over_s``: where it was over, how long it had taken."""

    what: str = ""
    over_s: float | None = None


def trial(place: G, case: Case[G], at_s: float, victim: Victim, expected: End) -> Met:
    """Begin, kill so long after the run's first record, resume, compare; an AssertionError says what did not hold."""
    place.cleared()
    program, words = place.program, case.before(place)
    earlier = {*program.runs}
    engine = _begun(place, program.start("apply", *place.arguments(case.plan, *words)), earlier)
    place.struck(victim, driven(place, case, engine, at_s))
    events = program.events()
    if any(_succeeded(event) for event in events):
        met = Met(over_s=_took(events))
    else:
        met = Met(_going_on(events))
        ended(place, case, program.run("resume", program.last, *place.consent, within_s=ENDS_WITHIN_S))
    place.found_again()
    found = {**case.after(place), **place.left()}
    assert found == expected, f"{met.what or 'nothing met'}\nexpected {expected}\nfound    {found}"
    return met


def before_its_run(place: G, case: Case[G], at_s: float, expected: End) -> Met:
    """Kill the program while it starts: what it leaves is in nobody's way. (Has one begun, it goes on.)"""
    place.cleared()
    program, words = place.program, case.before(place)
    earlier = {*program.runs}
    engine = program.start("apply", *place.arguments(case.plan, *words))
    time.sleep(at_s)
    engine.kill()
    engine.wait(30)
    runs = program.state / "runs"
    until(lambda: not processes_about(runs), SETTLES_IN_S, "a supervisor without a run leaves, and its locks with it")
    if not _new(place, earlier):
        ended(place, case, program.run("apply", *place.arguments(case.plan, *words), within_s=ENDS_WITHIN_S))
    elif not any(_succeeded(event) for event in program.events()):
        ended(place, case, program.run("resume", program.last, *place.consent, within_s=ENDS_WITHIN_S))
    found = {**case.after(place), **place.left()}
    assert found == expected, f"killed before its run\nexpected {expected}\nfound    {found}"
    return Met()


def _took(events: list[dict[str, Any]]) -> float:
    """From a run's first record to its end, without the time in which a person was waited for (seconds)."""
    took_s, before = 0.0, events[0]
    for event in events[1:]:
        if before["event"] not in ("run.waiting", "step.confirmed"):
            took_s += (datetime.fromisoformat(event["at"]) - datetime.fromisoformat(before["at"])).total_seconds()
        before = event
        if _succeeded(event):
            break
    return took_s


def _succeeded(event: dict[str, Any]) -> bool:
    return bool(event["event"] == "run.finished" and event["status"] == "succeeded")


def _going_on(events: list[dict[str, Any]]) -> str:
    """The last record: what was going on when the kill came."""
    last = events[-1]
    return ".".join(str(last[name]) for name in ("step", "operation", "event") if last.get(name))


def sweep(client: DockerClient, case: Case[G], *, there: bool, seed: int, instants: int) -> Tally:
    """Kill a plan at one random instant in each part of it, engine and everything by turns; the first while the program starts.

    After a trial that did not hold the ground is another.
    """
    tally, expected = Tally(), dict[str, object]()
    opened = case.opened_there if there else case.opened
    assert opened is not None, f"{case.plan} is not swept there"
    with ExitStack() as standing:
        place: G | None = None
        for number, part in enumerate(Trials.instants(seed, instants)):
            if place is None:
                standing.close()
                place = standing.enter_context(opened(client))
                tally.clean_s, found = undisturbed(place, case)
                expected = dict(found)
                if not tally.tried:
                    say(f"{case.plan}: {tally.clean_s:.2f} s, its end {expected}")
            tally.tried += 1
            victim = Victim.EVERYTHING if number % 2 else Victim.ENGINE
            at_s = part * tally.clean_s
            about = f"{case.plan} {number + 1}/{instants}: {victim} after {at_s:.2f} of {tally.clean_s:.2f} s"
            try:
                if number:
                    met = trial(place, case, at_s, victim, expected)
                else:
                    met = before_its_run(place, case, part * instants * STARTS_IN_S, expected)
            except Exception:
                kept = Path(tempfile.mkdtemp(prefix="runbook-sweep-"))
                shutil.copytree(place.program.folder, kept / "home", ignore=shutil.ignore_patterns("*.sock"))
                say(f"{about}: DID NOT HOLD; {kept}\n{traceback.format_exc()}")
                place = None
                continue
            tally.held += 1
            tally.hit += bool(met.what)
            tally.clean_s = min(tally.clean_s, met.over_s or tally.clean_s)  # the first one may have been slow
            say(f"{about}: held ({met.what or 'nothing met'})")
    return tally


def say(text: str) -> None:
    """A line on stderr, at once."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
