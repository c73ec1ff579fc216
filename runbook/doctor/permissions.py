"""Permissions: who may read or change the state directory, plans, stores and secrets; whether the Docker Engine may be used.

Owns the judgement. Pure. Promises: what a run would refuse is called so in the run's own words.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator

from runbook.doctor.facts import Engine, Facts, PlanFile, SecretFacts, Seen, StateDirectory, StoreFacts
from runbook.doctor.finding import Code, Finding, Group, Mark, fails, good, look, marked
from runbook.quoting import shell_word

_GROUP = Group.PERMISSIONS
_OTHERS = 0o077


def judge(facts: Facts) -> Iterator[Finding]:
    """Findings on everything whose owner or mode matters."""
    yield state(facts.state, facts.user)
    for file in facts.plans:
        yield from plan(file)
    for seen, store in facts.stores():
        yield from _store(seen, store)
    yield from _secrets(facts.secrets)
    yield from engine(facts.engine, needed=facts.engine_needed, asked=facts.plans_given or bool(facts.environment))


def state(found: StateDirectory, user: int) -> Finding:
    """The state directory: journals name people and systems, escrow holds secrets."""
    here, path = found.path, shell_word(found.path)
    if found.problem is not None:
        fix = found.problem.fix or f"ls -ld {path}"
        return fails(Code.PERMISSION, _GROUP, here, found.problem.summary, why=found.problem.detail, fix=fix)
    if not found.writable:
        says = "can't be written to" if found.there else "can't be made"
        fix = f"--state DIR that you own, or: chown {user} {path}"
        return fails(Code.PERMISSION, _GROUP, here, says, why="No run can begin without a journal.", fix=fix)
    if not found.there:
        return good(_GROUP, here, "will be made at the first run (mode 0700)")
    if found.owner != user:
        why = "Its owner can change what a resume believes; runs of two users mix there."
        return look(
            Code.PERMISSION,
            _GROUP,
            here,
            f"belongs to user {found.owner}, not to you ({user})",
            why=why,
            fix=f"sudo -u '#{found.owner}' runbook …    # or: chown -R {user} {path}",
        )
    if found.mode & _OTHERS:
        why = "Others can read journals and logs, which name systems, people and commands."
        says = f"has mode {found.mode:04o}, not 0700"
        return look(Code.PERMISSION, _GROUP, here, says, why=why, fix=f"chmod 0700 {path}")
    return good(_GROUP, here, "mode 0700, your own")


def plan(found: PlanFile) -> Iterator[Finding]:
    """A plan's file or folder that everybody may change: a plan is code, and runs as you."""
    if found.mode & stat.S_IWOTH and not found.sticky:
        says = f"is writable for all (mode {found.mode:o})"
        why = "Anybody on this machine may change what runs as you; runbook refuses such a plan (exit 4)."
        yield fails(Code.PERMISSION, _GROUP, found.path, says, why=why, fix=f"chmod o-w {shell_word(found.path)}")


def _store(seen: Seen, store: StoreFacts) -> Iterator[Finding]:
    mark = Mark.FAILS if seen.changed else Mark.LOOK
    if not store.there:
        fix = f"mount it, or: mkdir -m 0700 {shell_word(seen.says)}"
        why = "Backups can't be written there or read from there."
        yield marked(mark, Code.PERMISSION, _GROUP, seen.system, f"{seen.says} is not there", why=why, fix=fix)
    elif store.writable is False:
        why = "No backup can be written there; restoring from it works."
        fix = f"run runbook as the store's owner, or: chown $(id -u) {shell_word(seen.says)}"
        yield marked(mark, Code.PERMISSION, _GROUP, seen.system, f"{seen.says} can't be written to", why=why, fix=fix)
    elif store.mode & stat.S_IWOTH:
        why = "Anybody on this machine may exchange a backup before it is restored."
        says = f"{seen.says} is writable for all (mode {store.mode:o})"
        yield look(Code.PERMISSION, _GROUP, seen.system, says, why=why, fix=f"chmod o-w {shell_word(seen.says)}")
    elif store.writable:
        yield good(_GROUP, seen.system, f"{seen.says} can be written to")


def _secrets(found: tuple[SecretFacts, ...]) -> Iterator[Finding]:
    """Each secret once, with the systems that need it."""
    for ref, problem in dict.fromkeys((secret.ref, secret.problem) for secret in found):
        systems = ", ".join(secret.system for secret in found if secret.ref == ref)
        if problem is None:
            yield good(_GROUP, systems, f"{ref} can be read")
        else:
            why = problem.detail or "What needs it can't begin."
            fix = problem.fix or "put the secret where the environment says"
            yield fails(Code.PERMISSION, _GROUP, systems, f"{ref} can't be read", why=why, fix=fix)


def engine(found: Engine, *, needed: bool, asked: bool) -> Iterator[Finding]:
    """The Docker Engine's socket: needed where a system's host is a container, else only told of."""
    if found.answered:
        yield good(_GROUP, "Docker Engine", f"answers at {found.address}")
        return
    if asked and not needed:
        return
    why = "Systems whose host is a container can't be reached, nor can their programs be run."
    fix = "systemctl start docker; usermod -aG docker $USER    # or set DOCKER_HOST"
    says = f"can't be used at {found.address}: {found.problem}"
    mark = Mark.FAILS if needed else Mark.LOOK
    yield marked(mark, Code.PERMISSION, _GROUP, "Docker Engine", says, why=why, fix=fix)
