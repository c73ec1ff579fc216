"""What every test can ask for; the fixtures themselves live in `tests/fixtures/`, one file a kind of server."""

pytest_plugins = (
    "tests.fixtures.needs",
    "tests.fixtures.longest_first",
    "tests.fixtures.postgres",
    "tests.fixtures.pair",
    "tests.fixtures.redis",
    "tests.fixtures.s3",
    "tests.fixtures.containers",
    "tests.fixtures.pair_in_containers",
    "tests.fixtures.language_server",
)
