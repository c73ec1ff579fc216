"""Servers as they would answer, for tests of facts."""

from __future__ import annotations

from dataclasses import replace

from runbook.actions.postgres.cluster import Server
from runbook.actions.postgres.fencing import Directory
from runbook.actions.postgres.replication import Node
from runbook.actions.postgres.standby_status import ASSUMED


def primary_node(*, timeline: int = 1, flushed: int = 0, checkpoint_timeline: int = 0) -> Node:
    """A primary that answers."""
    return replace(
        ASSUMED,
        in_recovery=False,
        timeline=timeline,
        checkpoint_timeline=checkpoint_timeline or timeline,
        flushed=flushed,
        receiver="",
    )


def directory(server: Server = Server.STOPPED, *, marked: bool = False) -> Directory:
    """Its data directory."""
    return Directory("/pg/data", "postgres", "/pg/bin", ("-p", "5433"), server, marked)
