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
"""What a full disk took of a log is not told."""

first_signal = Mutation("runbook/runner/execution.py", "if caught.count == 2:", "if caught.count == 1:")
"""The first signal ends what runs."""

kill_after_grace = Mutation(
    f"{SUPERVISOR}/job.py", "signal.SIGKILL if now >= self._kill_at else signal.SIGTERM", "signal.SIGTERM"
)
"""What ignores TERM is asked and never made to."""

handled_signals = Mutation(
    "runbook/runner/execution.py", "(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)", "(signal.SIGINT,)"
)
"""TERM and HUP do what they do to any program."""

held_until_recorded = Mutation(f"{SUPERVISOR}/members.py", '[] if request["daemon"] else None', "None")
"""What starts a daemon executes at once."""

asked_cluster = Mutation(
    "runbook/runner/execution.py",
    "    if isinstance(system, Postgres):\n",
    "    if isinstance(system, Postgres) and run is None:\n",
)
"""A cluster is locked by files of this machine alone."""

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

synced_names = Mutation(f"{SUPERVISOR}/ledger.py", "self._named = False", "self._named = True")
"""The supervisor's records are synced, and their name isn't."""

synced_there = Mutation(
    f"{SUPERVISOR}/worker.sh", 'sync "$home/start" "$home" "${home%/*}" "${home%/*/*}" "${home%/*/*/*}"', "true"
)
"""The worker's record is written and not synced."""

hash_compared = Mutation("runbook/transports/process.py", "if wanted and ended.sha256 != wanted:", "if not ended:")
"""What was read is hashed, and the hash is not compared."""

archive_head = Mutation(
    "runbook/actions/postgres/verify_dump.py", "if head.database != manifest.database:", "if not head:"
)
"""An archive may be of another database than its manifest says."""

known_events = Mutation("runbook/engine/events.py", "if set(given) != set(keys):", "if given is None:")
"""An event of another version is taken for ours."""

pinned_login = Mutation(
    "runbook/actions/postgres/create_login.py",
    "role: str = pinned()\n    former: str = pinned()",
    "role: str = current()\n    former: str = current()",
)
"""A resume chooses anew which of the two logins it makes ready."""

private_directory = Mutation(
    "runbook/cli/plan.py", 'TemporaryDirectory(prefix="runbook-plan-")', 'TemporaryDirectory(dir=".")'
)
"""A dry-run keeps what it needs where it was called."""

read_only = Mutation("runbook/transports/look.py", 'link.execute("BEGIN READ ONLY")', 'link.execute("BEGIN")')
"""An observer's SQL runs in a transaction that may write."""

told_syntax = Mutation(
    "runbook/plan/yaml.py",
    "except MarkedYAMLError as fault:\n            self._stop(explain_syntax(self._text, fault))\n        except YAMLError:",
    "except ZeroDivisionError:",
)
"""What the YAML parser refuses ends the program."""
