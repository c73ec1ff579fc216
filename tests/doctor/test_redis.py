"""A real Redis protocol server is asked: it answers, wants a password, refuses a wrong one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runbook.action import Unreachable
from runbook.doctor import redis
from runbook.secret import FromEnv, Redactor
from runbook.system import Redis
from runbook.transports.commands import Commands
from runbook.transports.database import Databases
from runbook.transports.docker import DockerEngine
from runbook.transports.look import LiveLook
from runbook.transports.secrets import SecretStore
from tests.fixtures.patience import PATIENCE_S
from tests.fixtures.redis import RedisServer


def ask(system: Redis) -> str:
    engine = DockerEngine()
    secrets = SecretStore(Path("/nonexistent"), Redactor())
    databases = Databases(secrets, engine, Redactor())
    look = LiveLook(secrets=secrets, engine=engine, databases=databases, commands=Commands(engine))
    return redis.ask(system, look, secrets, within_s=PATIENCE_S)


@pytest.fixture
def server(redis_server: Callable[..., RedisServer]) -> RedisServer:
    """One that wants a password."""
    return redis_server("--requirepass", "correct-horse-battery")


def at(port: int, name: str = "") -> Redis:
    return Redis(type="redis", key="cache", port=port, password=FromEnv(name) if name else None)


def test_it_answers(redis_server: Callable[..., RedisServer]) -> None:
    assert ask(at(redis_server().port)) == "answers"


def test_a_password_is_given_and_a_wrong_one_is_told(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOD", "correct-horse-battery")
    monkeypatch.setenv("BAD", "battery-horse-correct")
    assert ask(at(server.port, "GOOD")) == "answers"
    with pytest.raises(Unreachable) as wrong:
        ask(at(server.port, "BAD"))
    assert "WRONGPASS" in wrong.value.problem.detail
    assert "battery-horse-correct" not in str(wrong.value.problem)
    with pytest.raises(Unreachable) as none:
        ask(at(server.port))
    assert "NOAUTH" in none.value.problem.detail
