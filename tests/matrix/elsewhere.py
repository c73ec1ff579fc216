"""Defences that work in other processes than the test's own, each taken out by one mutation of the source."""

from __future__ import annotations

from tests.matrix.mutation import Mutation

SUPERVISOR = "runbook/transports/supervisor"

begun_records = Mutation(
    f"{SUPERVISOR}/records.py",
    "State.RUNNING if alive else State.UNKNOWABLE",
    "State.RUNNING if alive else State.NEVER_STARTED",
)
"""What was begun and whose end nobody saw reads as never started."""

logs_may_fail = Mutation(
    f"{SUPERVISOR}/output.py",
    'except OSError as error:\n            self.fault = error.strerror or "write failed"',
    "except BlockingIOError:\n            return",
)
"""A log that can't be written ends the supervisor."""

first_signal = Mutation("runbook/runner/execution.py", "if caught.count == 2:", "if caught.count == 1:")
"""The first signal ends what runs."""

kill_after_grace = Mutation(
    f"{SUPERVISOR}/job.py", "signal.SIGKILL if now >= self._kill_at else signal.SIGTERM", "signal.SIGTERM"
)
"""What ignores TERM is asked and never made to."""

counting_handler = Mutation("runbook/runner/execution.py", "        loop.stop()\n", "        raise KeyboardInterrupt\n")
"""A signal breaks off whatever the engine is at."""

subreaper = Mutation(
    f"{SUPERVISOR}/server.py", "prctl(set_child_subreaper, 1, 0, 0, 0)", "prctl(set_child_subreaper, 0, 0, 0, 0)"
)
"""Orphans go to the machine's first process."""

frozen_plan = Mutation(
    "runbook/runner/frozen.py",
    '(self._run.frozen / Path(entry["file"]).name).read_bytes()',
    "Path(name).read_bytes()",
)
"""A resume reads the plan where it is now."""
