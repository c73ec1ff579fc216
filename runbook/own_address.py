"""Whether an address is the machine's own: only then what listens there may be looked for among the machine's files.

Owns that judgement, and what an address means to the machine that uses it. Promises: it asks the machine in question, through
the look, and never this one in its place; what can't be told counts as elsewhere.
"""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress

from runbook.action import Look
from runbook.host import Host

_LOCAL = re.compile(r"\|-- (\S+)\n\s+/32 host LOCAL")


def is_own(look: Look, host: Host, address: str) -> bool:
    """Whether ``address`` (a name, an address, a socket's directory, or '' for the default socket) leads to ``host`` itself."""
    if not address or address.startswith("/"):
        return True
    meant = _resolved(look, host, address)
    if any(one.is_loopback for one in meant):
        return True
    return bool(
        meant & own_addresses(look.text(host, "/proc/net/fib_trie") or "", look.text(host, "/proc/net/if_inet6") or "")
    )


def addresses_of(look: Look, host: Host, address: str) -> tuple[str, ...]:
    """What the address is as ``host`` resolves it, in one order; the text itself where it is nothing that can be resolved."""
    return tuple(sorted(str(one) for one in _resolved(look, host, address))) or (address,)


def own_addresses(fib_trie: str, if_inet6: str) -> frozenset[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The machine's addresses, from the kernel's own tables (proc(5))."""
    of_v4 = {ipaddress.ip_address(found) for found in _LOCAL.findall(fib_trie)}
    of_v6 = {ipaddress.ip_address(int(line[:32], 16)) for line in if_inet6.splitlines() if len(line) > 32}
    return frozenset(of_v4 | of_v6)


def _resolved(look: Look, host: Host, address: str) -> frozenset[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    found = set()
    with suppress(ValueError):
        return frozenset({ipaddress.ip_address(address)})
    for word in (line.split()[0] for line in _asked(look, host, address) if line.split()):
        try:
            found.add(ipaddress.ip_address(word))
        except ValueError:
            continue
    return frozenset(found)


def _asked(look: Look, host: Host, name: str) -> list[str]:
    if not name or name.startswith(("-", "/")):  # a socket is no name
        return []
    ran = look.run(host, ("getent", "ahosts", name))
    return ran.stdout.splitlines() if ran.exit_code == 0 else []
