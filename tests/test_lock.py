"""The locks are what `make lock` would accept: each requirement is pinned in its range, with hashes, for every Python."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PYTHONS = ["3.11", "3.12", "3.13"]


def pins(lock: str, python: str) -> dict[str, str]:
    """Package → version, as one Python on Linux would install it; an AssertionError where a pin lacks its hash."""
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    found: dict[str, str] = {}
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        assert "--hash=sha256:" in line, line[:80]
        requirement = Requirement(line.split("--hash")[0].strip())
        if requirement.marker is None or requirement.marker.evaluate(environment):
            found[canonicalize_name(requirement.name)] = str(requirement.specifier).removeprefix("==")
    return found


def wanted(*extras: str) -> list[Requirement]:
    """The project's own requirements with some extras, and what builds it."""
    optional = PROJECT["project"]["optional-dependencies"]
    texts = [*PROJECT["project"]["dependencies"], *(text for extra in extras for text in optional[extra])]
    return [Requirement(text) for text in [*texts, *PROJECT["build-system"]["requires"]]]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(
    ("lock", "extras"), [("requirements.lock", ("sandbox",)), ("requirements-dev.lock", ("sandbox", "dev"))]
)
def test_every_requirement_is_pinned_in_its_range(lock: str, extras: tuple[str, ...], python: str) -> None:
    pinned = pins(lock, python)
    loose = [
        str(requirement)
        for requirement in wanted(*extras)
        if not requirement.specifier.contains(pinned.get(canonicalize_name(requirement.name), "0"), prereleases=True)
    ]
    assert loose == [], "next: make lock"


@pytest.mark.parametrize("python", PYTHONS)
def test_the_tools_come_on_top_of_the_same_versions(python: str) -> None:
    run, dev = pins("requirements.lock", python), pins("requirements-dev.lock", python)
    assert {package: dev.get(package) for package in run} == run


def test_no_lock_names_an_index_or_a_machine() -> None:
    for lock in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / lock).read_text()
        assert not re.search(r"https?://|--(extra-)?index-url|--find-links|file:|\(/", text), lock
