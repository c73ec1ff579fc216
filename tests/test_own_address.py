"""What leads to a machine itself: its own tables tell, and a name is what that machine resolves it to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runbook.action import Look
from runbook.host import LOCAL
from runbook.own_address import addresses_of, is_own, own_addresses
from runbook.secret import Redactor
from runbook.transports.world import World

ELSEWHERE = "192.0.2.7"
"""An address of documentation (RFC 5737): no machine's own."""


@pytest.fixture
def look(tmp_path: Path) -> Iterator[Look]:
    world = World(tmp_path, run="20260214-120000-address-4f3a", redactor=Redactor())
    yield world.look
    world.close()


def test_a_machines_own_addresses() -> None:
    trie = "  |-- 10.0.0.0\n     /24 link UNICAST\n  |-- 10.0.0.11\n     /32 host LOCAL\n"
    found = own_addresses(trie, "fe80000000000000b04073fffe42f9db 1a38 40 20 80 veth\n\n")
    assert {str(one) for one in found} == {"10.0.0.11", "fe80::b040:73ff:fe42:f9db"}


@pytest.mark.parametrize("address", ["", "/var/run/postgresql", "127.0.0.1", "::1", "localhost"])
def test_what_leads_to_this_machine(look: Look, address: str) -> None:
    assert is_own(look, LOCAL, address)


@pytest.mark.parametrize("address", [ELSEWHERE, "2001:db8::7", "no.such.name.invalid", "--version"])
def test_what_does_not_or_can_not_be_told(look: Look, address: str) -> None:
    assert not is_own(look, LOCAL, address)


@pytest.mark.parametrize("address", [ELSEWHERE, "no.such.name.invalid", "/var/run/postgresql"])
def test_what_is_no_name_means_itself(look: Look, address: str) -> None:
    assert addresses_of(look, LOCAL, address) == (address,)
