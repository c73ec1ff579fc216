"""The environment and the plans: every kind of source in use, so that all goes well, so that each step fails, and too slowly."""

from __future__ import annotations

import sys
from pathlib import Path

CHILD = Path(__file__).with_name("child.py")
IN_CHILD = {
    "FROM_ENV": ("environment", "{env: CANARY_ENV}"),
    "FROM_FILE": ("file", "{file: SOURCES/file}"),
    "FROM_COMMAND": ("command", "{command: [cat, SOURCES/command]}"),
    "FROM_AWS": ("AWS secret", "{aws_secret: canary}"),
    "KEY": ("key of several lines", "{file: SOURCES/key}"),
}
"""Variables of the child: the kind of canary, and how the plan names it."""

ENVIRONMENT = """\
environment: canaries
systems:
  db: {type: postgres, address: 127.0.0.1, port: PGPORT, user: PGUSER, database: PGDATABASE, password: {file: SOURCES/db},
    binaries: "BINARIES"}
  cache: {type: redis, address: 127.0.0.1, port: REDISPORT, password: {command: [cat, SOURCES/redis]}}
  site: {type: web, url: "http://127.0.0.1:WEBPORT", headers: {X-Token: {file: SOURCES/header}, Authorization: {env: CANARY_AUTH}}}
  bucket: {type: store, url: "s3://canaries/wal/", endpoint: "http://127.0.0.1:WEBPORT", region: us-east-1,
    access_key: {env: CANARY_S3}, secret_key: {file: SOURCES/s3}}
  backups: {type: store, url: "file://STORE"}
  split: {type: web, url: "http://127.0.0.1:WEBPORT", headers: {X-Token: {file: SOURCES/key}}}
  on_call: {type: channel, url: {file: SOURCES/channel}}
"""
_HEAD = """\
runbook: 1
name: NAME
systems: {db: postgres, site: web, backups: store, on_call: channel}
steps:
"""
_CHILD = """\
  - id: child
    uses: shell.run
    with:
      argv: [<argv>]
      env: {<env>}
      interrupted: repeat
    timeout: <timeout>
    needs: []
    on_failure: <on_failure>
"""
WELL = (
    _HEAD.replace("NAME", "well")
    + """\
  - {id: early, uses: shell.run, with: {argv: [cat, SOURCES/s3]}, timeout: 1m, needs: []}
  - {id: rows, uses: postgres.query, on: db, with: {query: "SELECT told() AS told"}, timeout: 1m}
  - {id: rotate, uses: postgres.rotate_password, on: db, with: {role: MINTED, escrow: minted}, timeout: 1m}
  - {id: page, uses: http.check, on: site, with: {path: /page}, timeout: 1m}
  - {id: tell, uses: notify, on: on_call, with: {title: "it goes on"}, timeout: 1m}
"""
    + _CHILD
    + """\
  - {id: dump, uses: postgres.dump, on: db, with: {database: DUMPED, to: backups, format: custom}, timeout: 1m, needs: [child]}
"""
)
LIGHT = (
    _HEAD.replace("NAME", "light")
    + """\
  - {id: rows, uses: postgres.query, on: db, with: {query: "SELECT told() AS told"}, timeout: 1m}
  - {id: rotate, uses: postgres.rotate_password, on: db, with: {role: MINTED, escrow: minted}, timeout: 1m}
"""
    + _CHILD
    + """\
  - {id: page, uses: http.check, on: site, with: {path: /page}, timeout: 1m}
"""
)
"""What is quick to start, for the ends that are brought about many times."""
_FAILS = "timeout: 1m, needs: [], on_failure: continue"
BADLY = (
    _HEAD.replace("NAME", "badly")
    + _CHILD
    + f"""\
  - {{id: rows, uses: postgres.query, on: db, with: {{query: "SELECT refuse()"}}, {_FAILS}}}
  - {{id: rotate, uses: postgres.rotate_password, on: db, with: {{role: nobody_at_all, escrow: lost}}, {_FAILS}}}
  - {{id: page, uses: http.check, on: site, with: {{path: /fail, body_contains: "nothing of that"}}, {_FAILS}}}
  - {{id: fields, uses: http.check, on: site, with: {{path: /fail, status: 500, fields: {{a: 1}}}}, {_FAILS}}}
  - {{id: tell, uses: notify, on: on_call, with: {{title: "it goes on"}}, {_FAILS}}}
"""
)
SLOWLY = (
    _HEAD.replace("NAME", "slowly")
    + _CHILD
    + """\
  - {id: rows, uses: postgres.query, on: db, with: {query: "SELECT linger()"}, timeout: 2s, needs: [], on_failure: continue}
  - {id: page, uses: http.check, on: site, with: {path: /hang}, timeout: 2s, needs: [], on_failure: continue}
  - {id: probe, uses: shell.run, with: {argv: ["true"], probe: [PYTHON, "-I", PROBE]}, timeout: 1m, needs: [], on_failure: continue}
"""
)


def child(
    plan: str,
    house: Path,
    *,
    waits: bool = False,
    code: int = 0,
    timeout: str = "1m",
    go_on: bool = False,
    aws: bool = False,
) -> str:
    """The plan with its careless program: whether it waits for somebody, how it ends, and whether it takes a secret from AWS."""
    mine = {name: source for name, source in IN_CHILD.items() if aws or name != "FROM_AWS"}
    argv = [
        sys.executable,
        "-I",
        str(CHILD),
        str(house / "told"),
        str(house / "fifo") if waits else "-",
        str(code),
        *mine,
    ]
    named = {name: source for name, (_, source) in mine.items()}
    named["CANARY_IN_CHILD"] = '"' + ",".join(kind for kind, _ in mine.values()) + '"'
    return (
        plan.replace("<argv>", ", ".join(f'"{word}"' for word in argv))
        .replace("<env>", ", ".join(f"{name}: {source}" for name, source in named.items()))
        .replace("<timeout>", timeout)
        .replace("<on_failure>", "continue" if go_on else "stop")
    )


def wrong_sources(sources: Path) -> str:
    """A plan whose secrets can't be read, each for another reason."""
    ways = {
        "open": f"{{file: {sources}/open}}",
        "bytes": f"{{file: {sources}/bytes}}",
        "long": f"{{file: {sources}/long}}",
        "failing": f'{{command: [sh, -c, "cat {sources}/file; cat {sources}/file >&2; exit 3"]}}',
        "unset": "{env: CANARY_THAT_IS_NOT_THERE}",
    }
    steps = "".join(
        f'  - {{id: {name}, uses: shell.run, with: {{argv: ["true"], env: {{SECRET: {source}}}}}, {_FAILS}}}\n'
        for name, source in ways.items()
    )
    split = "  - {id: split, uses: http.check, on: split, with: {path: /page}, " + _FAILS + "}\n"
    head = _HEAD.replace("NAME", "wrong").replace("site: web,", "site: web, split: web,")
    return head + steps + split
