"""The secrets that a run watches for from its beginning: all that its plan and environment name."""

from __future__ import annotations

from runbook.plan.environment import inline_environment
from runbook.plan.load import load_plan
from runbook.runner.watched import named_secrets
from runbook.secret import FromAws, FromCommand, FromEnv, FromFile
from tests.plan.given import reader

PLAN = """\
runbook: 1
name: watched
systems: {db: postgres, site: web}
environment:
  environment: here
  systems:
    db: {type: postgres, user: u, database: d, password: {file: /run/secrets/db}}
    site: {type: web, url: "http://h", headers: {A: {env: TOKEN}, B: plain}}
    bucket: {type: store, url: "s3://b/p", access_key: {command: [pass, key]}, secret_key: {aws_secret: s3}}
steps:
  - id: one
    title: One
    uses: shell.run
    with: {argv: [env], env: {A: {env: IN_STEP}, B: "text", C: {file: "/run/{{ run.id }}"}, D: {env: TOKEN}}}
    timeout: 1m
"""


def test_every_reference_that_is_known_now_is_named_and_nothing_else() -> None:
    plan = load_plan("plan.yaml", reader({"plan.yaml": PLAN}))
    environment = inline_environment(plan)
    assert environment is not None
    assert set(named_secrets(plan, environment)) == {
        FromFile("/run/secrets/db"),
        FromEnv("TOKEN"),
        FromCommand(("pass", "key")),
        FromAws("s3"),
        FromEnv("IN_STEP"),
    }
