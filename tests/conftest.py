"""What every test can ask for; the fixtures themselves live in `tests/fixtures/`, one file a kind of server."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# An example takes as long as the machine needs for it: how slow one was says nothing about the program. All else is as Hypothesis
# has it: in CI its examples are the same each time.
settings.register_profile("any machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

pytest_plugins = (
    "tests.fixtures.needs",
    "tests.fixtures.longest_first",
    "tests.fixtures.kill_points",
    "tests.fixtures.postgres",
    "tests.fixtures.pair",
    "tests.fixtures.redis",
    "tests.fixtures.s3",
    "tests.fixtures.containers",
    "tests.fixtures.pair_in_containers",
    "tests.fixtures.language_server",
)
