"""Versions: of Python, of the libraries that stand between a plan and this machine, of PostgreSQL's programs and servers.

Owns the judgement. Pure. Promises: every old version is named with the one that mends it, and with why it matters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date

from runbook.doctor.facts import HERE, Facts, Filter, Library, Python, Seen, ServerFacts
from runbook.doctor.finding import Code, Finding, Group, fails, good, look
from runbook.doctor.holes import (
    JINJA,
    OLDEST_PYTHON,
    PARSER,
    POSTGRES_ENDS,
    PYTHON_ENDS,
    SERVER,
    TARFILE_MENDED,
    first_whole,
    holes,
)
from runbook.doctor.programs import package

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)(?:\.(\d+))?")
_GROUP = Group.VERSIONS


def judge(facts: Facts) -> Iterator[Finding]:
    """Findings on every version that is known."""
    today = facts.clock.wall.date()
    yield python(facts.python, today)
    yield from _libraries(facts.libraries)
    for (where, version), names in _clients(facts).items():
        yield from clients(names, version, where, today)
    for seen, server in facts.servers():
        yield _server(seen, server, today)


def postgres_version(words: str) -> tuple[int, int] | None:
    """Major and minor version out of what a program says of itself; None where it says none."""
    found = _VERSION.search(words)
    return (int(found[1]), int(found[2] or 0)) if found else None


def python(found: Python, today: date) -> Finding:
    """The interpreter: too old to run plans, a hole in tarfile's filter, or out of support."""
    branch, subject = found.version[:2], f"Python {found}"
    if branch < OLDEST_PYTHON:
        why = "runbook is written for 3.11 and newer, and isn't tried with anything older."
        return fails(Code.AGE, _GROUP, subject, "is older than 3.11", why=why, fix="apt-get install python3.11")
    if found.filter is not Filter.MENDED:
        first = TARFILE_MENDED.get(branch)
        newer = f"Python {branch[0]}.{branch[1]}.{first} or newer" if first is not None else "a newer Python"
        says = (
            "has no extraction filter in tarfile" if found.filter is Filter.ABSENT else "has CVE-2025-4517 and its kin"
        )
        why = "A crafted archive that is unpacked with tarfile writes outside its folder: a backup could take this machine over."
        return look(
            Code.HOLE, _GROUP, subject, says, why=why, fix=f"install {newer}, or your distribution's mended one"
        )
    ends = PYTHON_ENDS.get(branch)
    if ends is not None and today > ends:
        why = "Holes that are found now stay open in it."
        fix = "install a Python that is supported, and runbook in it"
        return look(Code.AGE, _GROUP, subject, f"is out of support since {ends}", why=why, fix=fix)
    return good(_GROUP, subject, "CVE-2025-4517 and its kin are mended")


def _libraries(found: Iterable[Library]) -> Iterator[Finding]:
    there = []
    for library in found:
        match library.name:
            case "jinja2":
                yield jinja(library)
            case "ruamel.yaml.clib":
                yield _parser(library)
            case name if library.version:
                there.append(f"{name} {library.version}")
            case _:
                yield _absent(library)
    if there:
        yield good(_GROUP, "libraries", ", ".join(there))


def jinja(found: Library) -> Finding:
    """The template engine, which is what stands between a plan's text and Python."""
    fix = f"pip install 'jinja2>={JINJA}'"
    if _numbers(found.version) < _numbers(JINJA):
        why = "A template gets out of the sandbox by the attr filter (CVE-2025-27516) and runs what it likes as you."
        says = f"is older than {JINJA}" if found.version else "is not installed"
        return fails(Code.HOLE, _GROUP, f"Jinja2 {found.version}".strip(), says, why=why, fix=fix)
    return good(_GROUP, f"Jinja2 {found.version}", "its sandbox holds")


def _parser(found: Library) -> Finding:
    fix = f"pip install 'ruamel.yaml.clib>={PARSER}'"
    if not found.version:
        why = "Plans are read by the slow parser: a plan of 5,000 steps takes ten seconds instead of one."
        return look(Code.MISSING, _GROUP, found.name, "is not installed", why=why, fix=fix)
    return good(_GROUP, f"{found.name} {found.version}", "plans are read by the quick parser")


def _absent(found: Library) -> Finding:
    why = "runbook was installed without it, and what needs it will stop."
    return fails(Code.MISSING, _GROUP, found.name, "is not installed", why=why, fix=f"pip install {found.name}")


def _clients(facts: Facts) -> dict[tuple[str, tuple[int, int]], list[str]]:
    """PostgreSQL's programs by host and version."""
    told: dict[tuple[str, tuple[int, int]], list[str]] = {}
    for need in facts.needs:
        found = facts.programs.get(need.key)
        version = postgres_version(found.version) if found else None
        if version is not None:
            names = told.setdefault((need.where, version), [])
            names += [] if need.name in names else [need.name]
    return told


def clients(names: Sequence[str], version: tuple[int, int], where: str, today: date) -> Iterator[Finding]:
    """PostgreSQL's programs of one version on one host: known holes, or the branch's end; those alike are told of together."""
    major, minor = version
    alike: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        alike.setdefault(tuple(hole.cve for hole in holes(name, major, minor)), []).append(name)
    for same in alike.values():
        subject = f"{', '.join(same)} {major}.{minor} on {where}"
        fix = _newer(same[0], major, package(same[0], major), where)
        yield _aged(subject, (same[0], major, minor), fix=fix, today=today)


def _server(seen: Seen, server: ServerFacts, today: date) -> Finding:
    subject = f"{seen.system}: PostgreSQL {server.major}.{server.minor}"
    fix = _newer(SERVER, server.major, f"postgresql-{server.major}", seen.where)
    return _aged(subject, (SERVER, server.major, server.minor), fix=fix, today=today)


def _aged(subject: str, which: tuple[str, int, int], *, fix: str, today: date) -> Finding:
    program, major, minor = which
    known = list(holes(program, major, minor))
    if known:
        says = f"has {', '.join(hole.cve for hole in known)}"
        whys = [hole.why if len(known) == 1 else f"{hole.cve}: {hole.why}" for hole in known]
        return look(Code.HOLE, _GROUP, subject, says, why="\n".join(whys), fix=fix)
    ends = POSTGRES_ENDS.get(major)
    if ends is not None and today > ends:
        why = "Holes and lost data that are found now are no longer mended in it."
        return look(Code.AGE, _GROUP, subject, f"is out of support since {ends}", why=why, fix=fix)
    return good(_GROUP, subject, "no hole is known")


def _newer(program: str, major: int, named: str, where: str) -> str:
    """What to install: the branch's mended version, or a supported branch where there is none."""
    first = first_whole(program, major)
    if where != HERE and first is not None:
        return f"recreate {where} from an image with {named} {major}.{first} or newer"
    if first is None:
        newest = max(POSTGRES_ENDS)
        return f"go to a supported version: {named.replace(str(major), str(newest))}"
    return f"apt-get update && apt-get install --only-upgrade {named}    # {major}.{first} or newer"


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version; a pre-release counts as its release."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
