"""Answers: which systems of the environment can be reached, in how much time, and what a plan would miss there.

Owns the judgement. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from runbook.doctor.facts import Facts, Seen, ServerFacts
from runbook.doctor.finding import Code, Finding, Group, fails, good, look

_GROUP = Group.SYSTEMS


def judge(facts: Facts) -> Iterator[Finding]:
    """Findings on every system that was asked."""
    for plan, problem in facts.misfits:
        fix = problem.fix or "look at it in its own environment"
        why = f"It can't run there, and was left out. {problem.detail}".strip()
        yield look(Code.UNTOLD, _GROUP, plan, f"does not fit {facts.environment}", why=why, fix=fix)
    if facts.plans_given and not facts.environment:
        why = "Its systems are not known, so neither are the hosts on which its programs run."
        fix = "runbook doctor PLAN -e NAME"
        yield look(Code.UNTOLD, _GROUP, "the plan", "was looked at without an environment", why=why, fix=fix)
    told = {secret.problem for secret in facts.secrets if secret.problem is not None}
    for seen in facts.seen:
        if (
            seen.problem not in told
        ):  # else it could not be asked for want of a secret, which is said among the permissions
            yield from answer(seen)


def answer(seen: Seen) -> Iterator[Finding]:
    """One system: its silence, or what it said."""
    subject = f"{seen.system} ({seen.kind})"
    if seen.problem is not None:
        why = seen.problem.detail or "Steps on it can't begin."
        fix = seen.problem.fix or "correct the environment, or start the system"
        yield fails(Code.UNREACHED, _GROUP, subject, seen.problem.summary, why=why, fix=fix)
        return
    timed = bool(seen.elapsed_s) and seen.kind != "store"
    yield good(_GROUP, subject, f"{seen.says} in {seen.elapsed_s * 1000:.0f} ms" if timed else seen.says)
    if isinstance(seen.detail, ServerFacts):
        yield from _server(subject, seen.detail)


def _server(subject: str, server: ServerFacts) -> Iterator[Finding]:
    if not server.database_there:
        says = f"has no database {server.database}"
        why = "Dumps of it fail; a restore makes it anew."
        yield look(Code.UNREACHED, _GROUP, subject, says, why=why, fix="psql -l    # is `database` right?")
    if not server.superuser:
        why = "A restore, base backups and what reads the server's own files need more than this role may do."
        fix = "name a superuser as `user` of the environment for such plans"
        yield look(Code.PERMISSION, _GROUP, subject, "its user is no superuser", why=why, fix=fix)
