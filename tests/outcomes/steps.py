"""Steps that many of the cases are made of, as they stand in a plan."""

from __future__ import annotations

import json
from collections.abc import Mapping

TITLES = {
    "find": "Choose the backup",
    "stop": "Stop the services that write",
    "isolate": "Stop the worker",
    "restore": "Restore the database",
    "index": "Build the index",
    "check": "Look at the restored data",
    "start": "Start the services again",
    "rejoin": "Start the worker again",
    "answers": "The service answers",
    "mail": "Send the mail",
    "ask": "A person decides",
    "agree": "Two people agree",
    "warn": "Tell the people on call",
    "tidy": "Remove what was only needed meanwhile",
    "report": "Write the report",
    "load": "Load the tables",
    "dump": "Keep a dump",
    "sync": "Bring the replica up to date",
}
STOP_ALL = {"services": ["web", "worker", "beat"], "timeout_s": 10}


def step(name: str, uses: str = "make", *, with_: Mapping[str, object] | None = None, **keys: object) -> str:
    """A step in one line; a thing of its own name is what it makes, unless it says otherwise."""
    inputs = with_ if with_ is not None else {"thing": name}
    told: dict[str, object] = {"id": name, "title": TITLES[name], "uses": uses, **keys}
    return f"  - {json.dumps(told | ({'with': inputs} if inputs else {}))}\n"


def stop(name: str = "stop", **keys: object) -> str:
    """The services are stopped."""
    return step(name, "compose.stop", with_=STOP_ALL, on="app", **keys)


def start(name: str = "start", hold: str = "stop", **keys: object) -> str:
    """They are started again: those that ran."""
    return step(name, "compose.start", with_={}, on="app", releases=hold, **keys)


def restore(**keys: object) -> str:
    """The database is put in place of the damaged one, which is kept."""
    return step("restore", "recover", with_={"thing": "db"}, **keys)


def check(thing: str = "db", **keys: object) -> str:
    """The data is read."""
    return step("check", "check", with_={"thing": thing}, **keys)


def mail(**keys: object) -> str:
    """A program whose effect nobody can see afterwards."""
    return step("mail", "once", with_={}, **keys)


def ask(**keys: object) -> str:
    """A person is asked."""
    return step("ask", "manual", with_={"instructions": "Look at the numbers."}, **keys)


HELD = stop() + restore() + start() + step("answers")
"""Services are stopped, the database is restored, they are started, and asked."""
