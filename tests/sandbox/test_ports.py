"""Ports: kept where free, different from each other, and a pair where a server needs one."""

from __future__ import annotations

import socket
from pathlib import Path

from runbook.sandbox.ports import claim


def test_a_known_port_is_kept_and_a_taken_one_is_not() -> None:
    known = claim({"a": 0, "b": 0}, {})
    assert known["a"] != known["b"]
    assert claim({"a": 0, "b": 0}, known) == known
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", known["a"]))
        taken.listen()
        again = claim({"a": 0, "b": 0}, known)
    assert again["a"] != known["a"]
    assert again["b"] == known["b"]


def test_a_derived_port_is_free_too() -> None:
    port = claim({"pair": 10_000}, {})["pair"]
    assert port + 10_000 < 65_536
    with socket.socket() as second:
        second.bind(("127.0.0.1", port + 10_000))
        second.listen()
        assert claim({"pair": 10_000}, {"pair": port})["pair"] != port


def test_many_at_once_all_differ() -> None:
    chosen = claim({str(number): 0 for number in range(50)}, {})
    assert len(set(chosen.values())) == 50


def test_chosen_ports_are_out_of_the_way_of_outgoing_connections() -> None:
    lowest, highest = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    chosen = claim({str(number): 0 for number in range(20)}, {})
    assert not any(lowest <= port <= highest for port in chosen.values()) or lowest < 24_000
