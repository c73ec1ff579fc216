"""Plans with faults that only the actions, or an environment, can show. Each gives the message of its golden file."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.check.given import HEAD


@dataclass(frozen=True)
class Case:
    """Steps with faults, and what stands round them."""

    steps: str
    head: str = HEAD
    environment: str = ""
    more: dict[str, str] = field(default_factory=dict)


PICK = "- {id: pick, uses: backup.select, on: backups}\n"
LAB = """\
environment: lab
systems:
  db: {type: postgres, user: admin, database: shop}
  side: {type: postgres, user: admin, database: side}
  app: {type: compose, project: shop}
  site: {type: web, url: "https://shop.example"}
  backups: {type: store, url: "file:///srv/backups"}
"""
INNER = """\
runbook: 1
name: inner
inputs: {artifact: {type: string}}
systems: {base: postgres}
steps:
- {id: prove, uses: postgres.verify_dump, on: base, with: {artifact: "{{ inputs.artifact }}"}}
outputs: {artifact: "{{ steps.prove.artefact }}"}
"""

CASES = {
    "unknown-action": Case(
        "- {id: a, uses: postgres.restor, on: db}\n- {id: b, uses: postgres.fly, on: db}\n- {id: c, uses: fly}\n"
    ),
    "no-system": Case("- {id: ask, uses: postgres.query, with: {query: SELECT 1}}\n- {id: look, uses: http.check}\n"),
    "needless-system": Case("- {id: run, uses: shell.run, on: app, with: {argv: [id]}}\n"),
    "system-of-wrong-type": Case("- {id: ask, uses: postgres.query, on: app, with: {query: SELECT 1}}\n"),
    "unknown-field": Case(PICK.replace("backups}", 'backups, with: {patern: "*.dump", colour: red}}')),
    "missing-field": Case(
        "- {id: ask, uses: postgres.query, on: db}\n- {id: prove, uses: postgres.verify_dump, on: db, with: {level: read}}\n"
    ),
    "wrong-literals": Case(
        PICK.replace("backups}", "backups, with: {name: 5, before: tomorrow}}")
        + "- id: dump\n  uses: postgres.dump\n  on: db\n"
        + "  with: {to: backups, jobs: many, compress: 12, format: tar, counts: maybe}\n"
    ),
    "wrong-below": Case(
        "- id: check\n  uses: postgres.assert\n  on: db\n"
        "  with: {checks: [{query: SELECT 1}, {query: SELECT 2, at_lest: 1, equals: 2}]}\n"
        "- id: ask\n  uses: manual\n  with: {instructions: Look, fields: {By: {}, size: {type: text}}, verify: {argv: []}}\n"
    ),
    "fields-together": Case(
        "- {id: a, uses: shell.run, with: {script: id}}\n- {id: b, uses: shell.run}\n- {id: c, uses: postgres.assert, on: db}\n"
    ),
    "secret-in-a-field": Case(
        "- {id: run, uses: shell.run, with: {argv: [id], env: {TOKEN: {env: A, file: b}, PGHOST: db}}}\n"
    ),
    "system-in-a-field": Case(
        "- {id: a, uses: postgres.dump, on: db, with: {to: backup}}\n"
        "- {id: b, uses: postgres.dump, on: db, with: {to: side}}\n"
        '- {id: c, uses: postgres.dump, on: db, with: {to: "{{ inputs.text }}"}}\n'
        "- {id: d, uses: postgres.dump, on: db, with: {to: 5}}\n"
    ),
    "unknown-output": Case(
        PICK
        + '- {id: prove, uses: postgres.verify_dump, on: db, with: {artifact: "{{ steps.pick.artefact }}"}}\n'
        + '- {id: tell, uses: shell.run, when: steps.prove.proven, with: {argv: [echo, "age: {{ steps.pick.age }}"]}}\n'
        + "- {id: id, uses: notify, on: pager, with: {title: x}}\n"
        + '- {id: last, uses: shell.run, with: {argv: [echo, "x{{ steps.id.sent }}"]}}\n'
        + 'outputs: {backup: "{{ steps.prove.backup }}"}\n',
        head=HEAD.replace("backups: store}", "backups: store, pager: channel}"),
    ),
    "unknown-output-of-an-included-plan": Case(
        PICK + "- id: inner\n  uses: ./inner.yaml\n  systems: {base: db}\n"
        '  with: {artifact: "{{ steps.pick.backup }}"}\n',
        more={"inner.yaml": INNER},
    ),
    "release-of-nothing": Case(
        PICK
        + "- {id: stop, uses: compose.stop, on: app, with: {services: [web]}}\n"
        + "- {id: release_a_look, uses: compose.start, on: app, releases: pick}\n"
        + "- {id: look, uses: http.check, on: site, releases: stop}\n"
    ),
    "release-elsewhere": Case(
        "- {id: stop, uses: compose.stop, on: app, with: {services: [web]}}\n"
        "- {id: start, uses: compose.start, on: other, releases: stop}\n",
        head=HEAD.replace("site: web", "site: web, other: compose"),
    ),
    "unquoted-in-a-shell": Case(
        "- id: run\n  uses: shell.run\n  with:\n    shell: true\n    script: |\n"
        "      echo {{ inputs.text }} {{ inputs.count }} {{ inputs.mode }}\n"
        "      echo {{ inputs.text | sh }} {{ inputs.text | upper }} {{ systems.db.database }}\n"
        '- {id: again, uses: shell.run, with: {argv: [bash, -ec, "rm {{ inputs.file }}"]}}\n'
    ),
    "value-as-option": Case(
        '- {id: a, uses: shell.run, with: {argv: [rm, "{{ inputs.text }}", "{{ inputs.file }}", "{{ inputs.count }}"]}}\n'
        '- {id: b, uses: shell.run, with: {argv: [rm, --, "{{ inputs.text }}"], probe: [test, "{{ inputs.text | trim }}x"]}}\n'
    ),
    "schedule": Case("- {id: run, uses: shell.run, with: {argv: [id]}}\n", head=HEAD + 'schedule: "0 25 * * *"\n'),
    "not-built": Case(
        "- {id: run, uses: shell.run, with: {argv: [id], host: {docker: db, via: {ssh: ops@db1}}}}\n",
        environment=LAB.replace(
            "database: shop}", 'database: shop, host: {ssh: ops@db1}, archive: "s3://wal/"}'
        ).replace('"file:///srv/backups"', '"s3://shop-backups/", encrypt_to: age1xyz'),
        head=HEAD + "escalation: [{to: ops}]\ncontacts: {ops: Ops}\nschedule: '@daily'\n",
    ),
    "notify-is-not-built": Case(
        "- {id: run, uses: shell.run, with: {argv: [id]}}\n",
        head=HEAD.replace("backups: store}", "backups: store, pager: channel}") + "notify: {failed: pager}\n",
    ),
    "environment-that-does-not-fit": Case(
        PICK,
        environment=LAB.replace("  app: {type: compose, project: shop}\n", "").replace(
            "  site: {type: web, url", "  site: {type: channel, url"
        ),
    ),
}
