"""Cases that the program itself carries out, by the commands that a person types: a few of each kind, on this machine."""

from __future__ import annotations

from dataclasses import dataclass

HEAD = "runbook: 1\nname: repair\ntitle: A repair\nenvironment: {environment: here, live: false, systems: {}}\nsteps:\n"


def shell(step: str, script: str, keys: str = "", **with_: str) -> str:
    """A step that runs a script; ``keys`` are further ones of the step."""
    more = "".join(f", {name}: {value}" for name, value in with_.items())
    return (
        f"  - {{id: {step}, title: Run {step}, uses: shell.run, timeout: 30s{keys},"
        f" with: {{argv: [sh, -c, '{script}']{more}}}}}\n"
    )


@dataclass(frozen=True)
class Typed:
    """``plan`` with {there} for a directory; ``typed`` are commands with their exit codes, PLAN and RUN for what they are about.

    `touch NAME` makes a file there meanwhile.
    """

    plan: str
    typed: tuple[tuple[str, int], ...]


HELD = (
    shell("stop", "touch {there}/stopped")
    + shell("work", "test -e {there}/mended")
    + shell("start", "rm {there}/stopped", ", releases: stop")
    + shell("after", "test ! -e {there}/stopped")
)
CUT = shell("work", "kill -KILL $$") + shell("after", "true")
ASKED = (
    "  - {id: ask, title: A person decides, uses: manual, with: {instructions: Look at the numbers.}, needs: []}\n"
    + shell("beside", "true", ", needs: []")
    + shell("after", "true", ", needs: [ask, beside]")
)
REPORT = "finally:\n" + shell("report", "true")

TYPED = {
    "held": Typed(HELD, (("apply PLAN", 1), ("touch mended", 0), ("resume", 0))),
    "held-abandoned": Typed(HELD, (("apply PLAN", 1), ("abandon RUN --reason enough", 0))),
    "skipped": Typed(HELD, (("apply PLAN", 1), ("resume --skip work --reason done", 0))),
    "unknown-done": Typed(CUT, (("apply PLAN", 6), ("resolve RUN work --as done --reason seen", 0), ("resume", 0))),
    "unknown-not-done": Typed(CUT, (("apply PLAN", 6), ("resolve RUN work --as not-done --reason seen", 0))),
    "waiting": Typed(ASKED, (("apply PLAN", 6), ("resume", 6), ("confirm RUN ask", 0), ("resume", 0))),
    "continued": Typed(
        shell("may_fail", "exit 1", ", on_failure: continue") + shell("after", "true") + REPORT, (("apply PLAN", 1),)
    ),
    "finally": Typed(
        shell("work", "test -e {there}/mended") + REPORT, (("apply PLAN", 1), ("touch mended", 0), ("resume", 0))
    ),
    "missed": Typed(shell("work", "sleep 1.1") + "objectives: {rto: 1s}\n", (("apply PLAN", 8),)),
}
"""By the name of the golden file."""
REFUSED = shell("a", "true", ', when: "{{ run.id == 1 }}"') + shell("b", "cat", stdin='"{{ steps.a.stdout }}"')
"""An output that may be missing: exit code 3, and nothing runs."""
