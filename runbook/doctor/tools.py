"""Tools: programs that the plan's steps call and a host lacks, and clients that are older than the server they serve.

Owns the judgement. Pure. Promises: what is missing is named with the steps that need it and the package that brings it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runbook.doctor.facts import Facts, Need, Program
from runbook.doctor.finding import Code, Finding, Group, Mark, good, marked
from runbook.doctor.programs import Side, known, package
from runbook.doctor.versions import postgres_version
from runbook.host import Local
from runbook.quoting import shell_word

_GROUP = Group.TOOLS
_BOUND = ("pg_dump", "pg_dumpall", "pg_restore", "pg_basebackup")
"""What runbook refuses to use with a newer server."""


def judge(facts: Facts) -> Iterator[Finding]:
    """Findings on every program that is needed."""
    majors = {seen.system: server.major for seen, server in facts.servers()}
    there: dict[str, list[str]] = {}
    for need in facts.needs:
        host = str(need.host)
        if host in facts.silent:
            continue
        found = facts.programs.get(need.key)
        if found is None:
            continue
        trouble = missing(need, found, majors)
        troubles = [trouble] if trouble is not None else list(older(need, found, majors))
        if troubles:
            yield from troubles
        else:
            there.setdefault(need.where, []).append(need.name)
    for where, names in there.items():
        yield good(_GROUP, where, ", ".join(dict.fromkeys(names)))
    said = [seen.problem for seen in facts.seen]
    for host, problem in facts.silent.items():
        if problem in said:
            continue  # its system is as silent, and is told of as such
        wanted = ", ".join(need.name for need in facts.needs if str(need.host) == host)
        why = f"Whether it has {wanted} is not known. {problem.detail}".strip()
        yield marked(
            Mark.FAILS if facts.plans_given else Mark.LOOK,
            Code.UNTOLD,
            _GROUP,
            host,
            "could not be asked for its programs",
            why=why,
            fix=problem.fix or "make it reachable, and run `runbook doctor` again",
        )


def missing(need: Need, found: Program, majors: Mapping[str, int]) -> Finding | None:
    """What is to be said of a program that isn't where it is called; None where it is."""
    side = known(need.name).side
    if found.path and not (found.aside and side is not Side.SERVER):
        return None
    mark = known(need.name).absent if need.steps else Mark.LOOK
    why = known(need.name).why or _wanted(need)
    if found.path:
        folder = found.path.rpartition("/")[0]
        fix = f"binaries: {folder}    # of {', '.join(need.systems) or 'the system'}, in the environment"
        says = f"is not on the PATH of {need.where}, and lies in {folder}"
        return marked(mark, Code.MISSING, _GROUP, need.name, says, why=why, fix=fix)
    says = f"is missing on {need.where}" + (f" ({need.asked})" if need.asked != need.name else "")
    return marked(mark, Code.MISSING, _GROUP, need.name, says, why=why, fix=_install(need, _major(need, majors)))


def older(need: Need, found: Program, majors: Mapping[str, int]) -> Iterator[Finding]:
    """A client whose major version is below that of a server that it is for: it may not be used with it."""
    version = postgres_version(found.version)
    if need.name not in _BOUND or version is None:
        return
    mark = Mark.FAILS if need.steps else Mark.LOOK
    why = "An older program doesn't know what a newer server has; runbook refuses it before a step begins."
    for system in need.systems:
        major = majors.get(system)
        if major is not None and version[0] < major:
            says = f"is version {version[0]} on {need.where}; {system} is version {major}"
            yield marked(mark, Code.OLDER, _GROUP, need.name, says, why=why, fix=_install(need, major))


def _major(need: Need, majors: Mapping[str, int]) -> int | None:
    """The newest version that the program has to serve."""
    return max((majors[system] for system in need.systems if system in majors), default=None)


def _wanted(need: Need) -> str:
    if not need.steps:
        return f"Plans that dump or restore {', '.join(need.systems) or 'a database of this machine'} call it."
    steps = ", ".join(need.steps[:4]) + (" and others" if len(need.steps) > 4 else "")
    return f"{'The step calls' if len(need.steps) == 1 else 'These steps call'} it: {steps}."


def _install(need: Need, major: int | None) -> str:
    named = package(need.name, major)
    if not named:
        return f"install {shell_word(need.name)} on {need.where}, or correct the step's argv"
    if isinstance(need.host, Local):
        return f"apt-get install {named}"
    return f"use an image with {named}, or run {need.name} here: host: local and `address`"
