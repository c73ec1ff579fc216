"""Space: of the state directory, of stores, of data directories, against what the newest backup and the database need.

Owns the judgement. Pure. The factors are those by which the actions refuse: a dump needs half of its tables' size, a restore beside
needs the database once more and a fifth.
"""

from __future__ import annotations

from collections.abc import Iterator

from runbook.doctor.facts import UNKNOWN, Facts, Seen, ServerFacts, StateDirectory, StoreFacts
from runbook.doctor.finding import Code, Finding, Group, Mark, good, look, marked
from runbook.units import show_size

_GROUP = Group.SPACE
STATE_LEAST = 64 * 1024 * 1024
"""Below this a run's journal and its reserve may not find room."""
STATE_EASY = 1024 * 1024 * 1024
"""Below this the programs' logs of a long restore may fill the disk."""
RESTORE_FACTOR = 1.2
STORE_EASY = 2.0
"""Room for the next backup and the one after."""


def judge(facts: Facts) -> Iterator[Finding]:
    """Findings on every place whose free space could be told."""
    yield from state(facts.state)
    for seen, store in facts.stores():
        yield from _store(seen, store)
    for seen, server in facts.servers():
        yield from _server(seen, server)


def state(found: StateDirectory) -> Iterator[Finding]:
    """The state directory: journals, logs, what a run has to remember."""
    if found.free_bytes == UNKNOWN:
        return
    says = f"{show_size(found.free_bytes)} free"
    if found.free_bytes >= STATE_EASY:
        yield good(_GROUP, found.path, says)
        return
    mark = Mark.FAILS if found.free_bytes < STATE_LEAST else Mark.LOOK
    why = "A run stops where its journal can't be written (exit 7), and programs' logs are cut."
    fix = "runbook runs prune --older 30d    # or --state DIR on a larger disk"
    yield marked(mark, Code.SPACE, _GROUP, found.path, says, why=why, fix=fix)


def _store(seen: Seen, store: StoreFacts) -> Iterator[Finding]:
    if store.free_bytes == UNKNOWN:
        return
    says = f"{show_size(store.free_bytes)} free"
    if store.newest_bytes == UNKNOWN:
        yield good(_GROUP, seen.system, f"{says}; no backup yet")
        return
    newest = f"{says}; the newest backup ({store.newest}) has {show_size(store.newest_bytes)}"
    if store.free_bytes >= STORE_EASY * store.newest_bytes:
        yield good(_GROUP, seen.system, newest)
        return
    full = store.free_bytes < store.newest_bytes
    mark = Mark.FAILS if full and seen.changed else Mark.LOOK
    why = "The next backup finds no room." if full else "The next backup fits, and the one after may not."
    fix = "runbook apply plans/prune-backups.yaml    # or a larger disk"
    yield marked(mark, Code.SPACE, _GROUP, seen.system, newest, why=why, fix=fix)


def _server(seen: Seen, server: ServerFacts) -> Iterator[Finding]:
    if server.free_bytes == UNKNOWN:
        return
    says = f"{show_size(server.free_bytes)} free beside {server.data_directory}"
    if server.database_bytes == UNKNOWN or not server.database_there:
        yield good(_GROUP, seen.system, says)
        return
    needed = int(server.database_bytes * RESTORE_FACTOR)
    says += f"; {server.database} has {show_size(server.database_bytes)}"
    if server.free_bytes >= needed:
        yield from _cluster(seen, server, says)
        return
    mark = Mark.FAILS if seen.changed else Mark.LOOK
    why = f"A restore makes the new database beside the present one, and needs {show_size(needed)} for that."
    fix = f"make room there, or restore on another server    # df -h {server.data_directory}"
    yield marked(mark, Code.SPACE, _GROUP, seen.system, says, why=why, fix=fix)


def _cluster(seen: Seen, server: ServerFacts, says: str) -> Iterator[Finding]:
    """There is room for the database once more; is there for the whole cluster, as a recovery to a moment needs it?"""
    if server.cluster_bytes <= server.free_bytes:
        yield good(_GROUP, seen.system, says)
        return
    why = f"A recovery to a moment makes the whole cluster beside the present one: {show_size(server.cluster_bytes)}."
    fix = f"make room there, or recover on another server    # df -h {server.data_directory}"
    yield look(
        Code.SPACE, _GROUP, seen.system, f"{says}, and the cluster {show_size(server.cluster_bytes)}", why=why, fix=fix
    )
