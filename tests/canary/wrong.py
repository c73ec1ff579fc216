"""Bad input with a secret in it: written out where a reference belongs, of a wrong type, misspelt, in a URL, in an argv.

All of it is refused, and what is shown of it is the place. And sources that are there and can't be used.
"""

from __future__ import annotations

from tests.canary import plans
from tests.canary.canaries import Canary, made, word
from tests.canary.house import House

NUMBER = "".join(str(ord(letter) % 10) for letter in word() + word())
"""A password of digits: YAML takes it for a number."""
_PLAN = """\
runbook: 1
name: {name}
{inputs}
environment:
  environment: written
  systems:
    {system}
steps:
  - {{id: one, uses: shell.run, with: {with_}, timeout: 1m}}
"""
_DB = "db: {{type: postgres, user: u, database: d, {field}}}"
FIELDS = {
    "literal": "password: 'SECRET'",
    "plain": "password: PLAIN",
    "number": "password: NUMBER",
    "list": "password: ['SECRET']",
    "long": "password: {env: X, value: 'SECRET'}",
    "vault": "password: {vault: 'SECRET'}",
    "deep": "password: {file: ['SECRET']}",
    "empty": "password: {'SECRET': }",
    "misspelt": "pasword: 'SECRET'",
    "twice": "password: 'SECRET', password: 'SECRET'",
    "open": 'password: "SECRETPLAIN',
    "tagged": "password: !vault 'SECRET'",
    "anchored": "password: &p 'SECRET'",
    "folded": "password: >-\n      SECRET",
}
WEBS = {
    "url": 'site: {type: web, url: "http://you:PLAIN@host/"}',
    "header": "site: {type: web, url: 'http://h', headers: {Authorization: ['SECRET']}}",
    "bearer": "site: {type: web, url: 'http://h', headers: {Authorization: 'Bearer PLAIN'}}",
    "token": "site: {type: web, url: 'http://h', headers: {X-Api-Token: {is: 'SECRET'}}}",
    "key": "bucket: {type: store, url: 's3://b/p', secret_key: 'SECRET', access_key: 'PLAIN'}",
    "channel": "on_call: {type: channel, url: ['SECRET']}",
}
WITHS = {
    "env": "{argv: [\"true\"], env: {TOKEN: ['SECRET']}}",
    "source": "{argv: [\"true\"], env: {TOKEN: {env: ['SECRET']}}}",
    "other": "{argv: [\"true\"], env: {OTHER: ['SECRET']}}",
    "more": "{argv: [\"true\"], env: {TOKEN: {file: a, password: 'SECRET'}}}",
    "option": '{argv: [mysqldump, "--password=PLAIN"]}',
    "redis": '{argv: [sh, -c, "redis-cli -a PLAIN ping"]}',
    "prefix": '{shell: true, script: "PGPASSWORD=PLAIN psql"}',
}
INPUTS = {"default": "inputs: {api_token: {type: integer, default: 'SECRET'}}"}


def validate(house: House) -> None:
    """All of them at once, for people and for programs."""
    canary, plain = made("written", '"%& ü'), made("written plainly", "-")
    number = Canary("a number", NUMBER, (NUMBER[:14], NUMBER[-14:]))
    for one in (canary, plain, number):
        house.canaries[one.kind] = one
    texts = {name: _text(name, system=_DB.format(field=field)) for name, field in FIELDS.items()}
    texts |= {name: _text(name, system=system) for name, system in WEBS.items()}
    texts |= {f"with_{name}": _text(name, with_=with_) for name, with_ in WITHS.items()}
    texts |= {name: _text(name, inputs=inputs) for name, inputs in INPUTS.items()}
    folder = house.root / "written"
    folder.mkdir(mode=0o700)
    for name, text in texts.items():
        filled = text.replace("SECRET", canary.value).replace("PLAIN", plain.value).replace("NUMBER", NUMBER)
        (folder / f"{name}.yaml").write_text(filled)
    paths = sorted(folder.glob("*.yaml"))
    for form in ("text", "sarif"):
        ended = house.run("validate", "--format", form, *paths)
        assert ended.code == 3, ended.said
        assert all(path.name in ended.out + ended.err for path in paths), f"not all are told of:\n{ended.said}"


def apply(house: House) -> None:
    """A plan that is refused leaves nothing; an environment's file, and an input of the command line."""
    environment = house.root / "written.yaml"
    environment.write_text(
        f"environment: x\nsystems:\n  db:\n    type: postgres\n    password: '{house.canaries['written'].value}'\n"
    )
    plan = house.plan(_text("fine", system="site: {type: web, url: 'http://h'}"))
    ended = house.run("apply", plan, "--env", environment)
    assert ended.code == 3, ended.said
    text = _text("asks", system="site: {type: web, url: 'http://h'}", inputs="inputs: {api_token: {type: integer}}")
    ended = house.apply(text, "-i", f"api_token={house.canaries['written'].value}")
    assert ended.code == 3, ended.said


def sources(house: House) -> None:
    """Sources that are there and can't be used: a run in which every step fails for its own."""
    folder, value = house.root / "sources", house.canaries["file"].value
    for name, content in (
        ("open", value.encode()),
        ("bytes", value.encode() + b"\xff"),
        ("long", value.encode() * 3000),
    ):
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o644 if name == "open" else 0o600)
    ended = house.apply(plans.wrong_sources(folder))
    assert ended.code == 1, ended.said
    failed = [event for event in house.events() if event["event"] == "step.failed"]
    assert len(failed) == 6, ended.said


def _text(
    name: str, *, system: str = "site: {type: web, url: 'http://h'}", with_: str = '{argv: ["true"]}', inputs: str = ""
) -> str:
    return _PLAN.format(name=name, system=system, with_=with_, inputs=inputs)
