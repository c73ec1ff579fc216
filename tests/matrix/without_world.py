"""Defences against failures of the world, each taken out by one mutation of the source."""

from __future__ import annotations

from tests.matrix.mutation import Mutation

told_as_the_machines = Mutation(
    "runbook/cli/main.py",
    'machine_fault(error) or _nowhere() or Bug(f"{type(error).__name__}: {error}")',
    "Bug(str(error))",
)
"""What the machine lacks is said to be a bug of ours."""

asked_again = Mutation("runbook/transports/objects.py", '"max_attempts": _ATTEMPTS', '"total_max_attempts": 1')
"""A service that is busy is asked once."""

hashed_on_the_way = Mutation(
    "runbook/walstore/objects.py", "if expected != digest.hexdigest():", "if not digest.hexdigest():"
)
"""What comes out of a bucket is hashed, and the hash is not compared."""

half_is_no_copy = Mutation(
    "runbook/actions/postgres/swap.py",
    "known.get(new.comment, Standing.UNFINISHED)",
    "known.get(new.comment, Standing.LOADED)",
)
"""A copy that nobody has marked is taken for one that was loaded to its end."""

lost_is_unknown = Mutation(
    "runbook/transports/postgres.py", "if is_lost(link) and not work.operation.reads:", "if work.operation.reads:"
)
"""A statement whose connection broke is taken for one that was refused."""

failed_pump = Mutation(
    "runbook/transports/supervisor/pump.py",
    'tell({"error": _explain(error)})\n            return 1',
    'tell({"eof": True, "bytes": 0, "sha256": ""})\n            return 0',
)
"""Bytes that could not be written are taken for the end."""

asked_there = Mutation(
    "runbook/transports/fence.py",
    "if isinstance(state, worker.Running) or (state is None and self._far.lives(handle)):",
    "if isinstance(state, worker.Running):",
)
"""What can't be asked in a container is taken for ended."""

another_container = Mutation(
    "runbook/transports/far.py", "worker.Unknown() if gone else state", "state if gone else state"
)
"""A container that was started anew, or replaced, is believed that nothing was ever begun in it."""

begun_is_touched = Mutation(
    "runbook/runner/step.py",
    "return Adrift(state.problem) if self._state.touched else Broke(state.problem)",
    "return Broke(state.problem)",
)
"""A system that can't be asked is a failure, also when something had begun."""

named_clock = Mutation("runbook/transports/http.py", "if cause.verify_code in _OF_THE_CLOCK:", "if not cause:")
"""Nobody is told that the clock may be wrong."""

lost_supervisor = Mutation(
    "runbook/transports/process.py",
    "problem = error.problems[0]\n                return Failed(problem) if operation.reads else Lost(problem)",
    "return Failed(error.problems[0])",
)
"""What a supervisor was doing as it died is taken for failed."""

other_boots = Mutation(
    "runbook/transports/supervisor/records.py", "if key not in ends and boots[key] == now", "if key not in ends"
)
"""Records of before a reboot are looked up among the processes of now."""
