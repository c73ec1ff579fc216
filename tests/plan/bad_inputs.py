"""The table of bad inputs: for each, the files; ``golden/NAME.txt`` holds what has to come out, word for word."""

from __future__ import annotations

from tests.plan.given import steps

Files = dict[str, str | bytes]
STEP = "- id: one\n  uses: shell.run\n"


def _plan(text: str | bytes, **others: str) -> Files:
    return {"plan.yaml": text, **{f"{name}.yaml": body for name, body in others.items()}}


def _environment(body: str) -> Files:
    return {"lab.yaml": f"environment: lab\n{body}"}


def _bomb(*, levels: int) -> str:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for number in range(1, levels):
        name, before = chr(97 + number), chr(96 + number)
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
    return "\n".join(lines) + "\n"


PLANS: dict[str, Files] = {
    "alias-bomb": _plan(_bomb(levels=9)),
    "recursive-alias": _plan(steps(STEP + "  with: &a {x: *a}")),
    "deep-nesting": _plan("[" * 5000),
    "deep-nesting-block": _plan("".join(" " * n + "a:\n" for n in range(100))),
    "merge-key": _plan(steps("- &base\n  id: one\n  uses: shell.run\n- <<: *base\n  id: two")),
    "duplicate-key": _plan(steps(STEP + "  title: A\n  timeout: 1m\n  title: B")),
    "reused-anchor": _plan(steps(STEP + "  with: {a: &x 1, b: &x 2, c: *x}")),
    "unknown-alias": _plan(steps(STEP + "  with: {a: *nothing}")),
    "directive": _plan("%YAML 1.1\n---\n" + steps(STEP)),
    "directive-future": _plan("%YAML 2.0\n---\n" + steps(STEP)),
    "ambiguous-scalars": _plan(
        steps(
            STEP
            + "  with: {a: 010, b: 1_000, d: .inf, e: 1e999}\n  timeout: =\n  retry: {attempts: 010}\n  title: 12:30"
        )
    ),
    "keys-not-text": _plan(
        steps(STEP + '  with:\n    1: a\n    "1": b\n    null: c\n    true: d\n    [x]: e\n    {y: z}: f')
    ),
    "python-tag": _plan(steps(STEP + "  with: !!python/object/apply:os.system [touch canary]")),
    "unknown-tag": _plan(steps(STEP + "  with: {a: !vault x}")),
    "tab": _plan(steps("- id: one\n\tuses: shell.run")),
    "two-documents": _plan(steps(STEP) + "---\n" + steps(STEP)),
    "control-characters": _plan(steps(STEP + "  title: bell \x07 and nul \x00")),
    "not-utf-8": _plan(b"runbook: 1\nname: caf\xe9\n"),
    "utf-16": _plan("runbook: 1\n".encode("utf-16")),
    "unclosed-bracket": _plan(steps(STEP + "  needs: [a, b\n  title: x")),
    "unclosed-quote": _plan(steps(STEP + '  title: "no end\n  timeout: 1m')),
    "colon-in-value": _plan(steps(STEP + "  title: echo a: b")),
    "comma-in-value": _plan(steps(STEP, head="inputs:\n  a: {type: string, help: One, or another}\n")),
    "empty-file": _plan(""),
    "not-a-mapping": _plan("- a\n- b\n"),
    "unknown-keys": _plan(steps(STEP + "  titel: x\n  retry: {attempt: 2}\n  wiht: {a: 1}", head="inputz: {}\n")),
    "wrong-types": _plan(
        steps(
            STEP + "  timeout: soon\n  retry: {attempts: many, delay: 5}\n  needs: pick\n  phase: restor\n"
            "  on_failure: go\n  with: []\n  description:",
            head="objectives: {rto: 4}\nschedule: nightly\nreview_by: soon\n",
        )
    ),
    "missing-keys": _plan("runbook: 1\nsteps:\n  - title: x\n    uses: shell.run\n"),
    "no-version": _plan("name: tried\nsteps:\n  - {id: one, uses: shell.run}\n"),
    "future-version": _plan("runbook: 2\nname: tried\nsteps:\n  - {id: one, uses: shell.run, later: x}\n"),
    "duplicate-step": _plan(steps(STEP + STEP)),
    "unknown-need": _plan(steps(STEP + "- id: two\n  uses: shell.run\n  needs: [won]")),
    "cycle": _plan(
        steps(
            "- id: a\n  uses: shell.run\n  needs: [c]\n- id: b\n  uses: shell.run\n"
            "- id: c\n  uses: shell.run\n- id: d\n  uses: shell.run"
        )
    ),
    "undefined-variable": _plan(
        steps(
            STEP + '  with: {a: "{{ inputs.bakcup }}", b: "{{ backup }}", c: "x {{ env.HOME }}"}\n'
            "- id: two\n  uses: shell.run\n  with:\n    script: |\n      set -e\n      echo {{ steps.oen.stdout }}\n"
            '    more: "{{ systems.db.password }} {{ item }} {{ run.started }}"',
            head="inputs: {backup: {type: string}}\nsystems: {db: postgres}\n",
        )
    ),
    "used-before-run": _plan(
        steps('- id: a\n  uses: shell.run\n  with: {x: "{{ steps.b.stdout }}"}\n- id: b\n  uses: shell.run')
    ),
    "template-syntax": _plan(
        steps(STEP + '  with:\n    a: "{{ inputs. }}"\n    b: |\n      one\n      {{ 1 + }}\n    c: "{% for %}"')
    ),
    "templates-without-end": _plan(
        steps(
            STEP + "  with:\n"
            "    a: \"{{ 'a' * 10 ** 9 }}\"\n"
            '    b: "{{ 9 ** 9 ** 9 }}"\n'
            '    c: "{{ [0] * 10 ** 8 }}"\n'
            '    d: "{% for a in [1] * 9 %}{% endfor %}"\n'
            "    e: \"{{ 'aaa' | replace('a', 'b' * 500000) }}\"\n"
            '    f: "{{ 1 / 0 }}"\n'
            "    g: \"{{ '%1000000000d' % 1 }}\"\n"
            "    h: \"{{ 'fine' | upper }}\""
        )
    ),
    "unsafe-templates": _plan(
        steps(
            STEP + "  with:\n"
            "    a: \"{{ ''.__class__.__mro__ }}\"\n"
            "    b: \"{{ inputs['__class__'] }}\"\n"
            "    c: \"{{ inputs | attr('x') }}\"\n"
            "    d: \"{{ '%s'.format(inputs) }}\"\n"
            "    e: \"{% include 'x' %}\"\n"
            '    f: "{% set x = 1 %}"\n'
            '    g: "{{ range(10) }}"'
        )
    ),
    "bad-names": _plan(
        steps(
            "- id: ../../etc/x\n  uses: shell.run\n- id: a/b\n  uses: shell.run\n"
            f"- id: {'x' * 300}\n  uses: shell.run\n- id: pi\u0441k\n  uses: shell.run",
            head="inputs: {Backup: {type: string}}\n",
        )
    ),
    "hidden-characters": _plan(steps(STEP + "  title: safe \u202etxet\n  confirm: zero\u200bwidth")),
    "unknown-systems": _plan(steps(STEP + "  on: dbb", head="systems: {db: postgres, cache: rediss}\n")),
    "unknown-on": _plan(steps(STEP + "  on: dbb", head="systems: {db: postgres}\n")),
    "holds": _plan(
        steps(
            "- id: stop\n  uses: shell.run\n  foreach: [a, b]\n- id: go\n  uses: shell.run\n  releases: stop\n"
            "- id: again\n  uses: shell.run\n  releases: again\n- id: more\n  uses: shell.run\n  releases: stpo"
        )
    ),
    "two-releases": _plan(
        steps("- id: stop\n  uses: shell.run\n- id: go\n  uses: shell.run\n  releases: stop")
        + "finally:\n  - id: again\n    uses: shell.run\n    releases: stop\n"
    ),
    "timeout-of-nothing": _plan(steps(STEP + "  timeout: 0s")),
    "key-with-a-nul": _plan(steps(STEP + '  with: {env: {"\\0A": x}}')),
    "steps-by-a-name-that-is-not-known": _plan(
        steps(
            STEP
            + "- id: two\n  uses: shell.run\n  with: {a: \"{{ steps[inputs.which].stdout }}\", b: '{{ steps | length }}'}",
            head="inputs: {which: {type: string}}\n",
        )
    ),
    "foreach-items": _plan(
        steps(
            "- id: a\n  uses: shell.run\n  foreach: [x, '{{ inputs.no }}']\n"
            "- id: b\n  uses: shell.run\n  foreach: ['{{ steps.a }}']"
        )
    ),
    "foreach": _plan(
        steps(
            '- id: a\n  uses: shell.run\n  foreach: [x, x, ""]\n- id: b\n  uses: shell.run\n  foreach: "{{ steps.a }}"\n'
            "- id: c\n  uses: shell.run\n  foreach: {x: 1}\n- id: d\n  uses: shell.run\n  foreach: abc"
        )
    ),
    "may-not-have-run": _plan(
        steps(
            "- id: a\n  uses: shell.run\n  when: inputs.x\n- id: b\n  uses: shell.run\n  on_failure: continue\n"
            '- id: c\n  uses: shell.run\n  with: {a: "{{ steps.a.stdout }}", b: "{{ steps.b.stdout }}"}\n'
            '- id: d\n  uses: shell.run\n  when: inputs.x\n  with: {a: "{{ steps.a.stdout }}"}\n'
            "- id: e\n  uses: shell.run\n  with: {a: \"{{ steps.a.stdout | default('') }}\"}",
            head="inputs: {x: {type: boolean}}\n",
        )
        + 'finally:\n  - id: end\n    uses: shell.run\n    with: {a: "{{ steps.e.stdout }}"}\n    needs: [e]\n'
    ),
    "include-outside": _plan(
        steps(
            "- id: a\n  uses: ../../x.yaml\n- id: b\n  uses: /etc/x.yaml\n- id: c\n  uses: ./x.txt\n- id: d\n  uses: ./gone.yaml"
        )
    ),
    "include-cycle": _plan(
        steps("- id: a\n  uses: ./other.yaml"),
        other=steps("- id: b\n  uses: ./third.yaml"),
        third=steps("- id: c\n  uses: ./plan.yaml"),
    ),
    "include-misfit": _plan(
        steps(
            "- id: inner\n  uses: ./other.yaml\n  with: {nmae: x, count: many}\n  systems: {store: db, more: db}\n  timeout: 1m\n"
            '- id: after\n  uses: shell.run\n  with: {a: "{{ steps.inner.reslut }}"}\n  systems: {a: b}',
            head="systems: {db: postgres}\n",
        ),
        other=steps(
            STEP,
            head="inputs: {name: {type: string}, count: {type: integer}}\nsystems: {store: store, cache: redis}\n"
            'outputs: {result: "{{ steps.one.stdout }}"}\n',
        ),
    ),
    "fault-in-included": _plan(
        steps("- id: inner\n  uses: ./other.yaml"),
        other=steps("- id: one\n  uses: shell.run\n  needs: [two]\n  tiemout: 1s"),
    ),
    "input-defaults": _plan(
        steps(
            STEP,
            head="inputs:\n  a: {type: integer, default: ten}\n  b: {type: string, default: 5}\n"
            "  c: {type: list, of: duration, default: [1m, soon]}\n  d: {type: string, choices: [x, y], default: z}\n"
            '  e: {type: string, pattern: "["}\n  f: {type: datetime, default: "2026-01-01T00:00:00"}\n'
            "  db_password: {type: string}\n",
        )
    ),
    "secrets-in-plan": _plan(
        steps(
            STEP + "  description: log in with https://admin:hunter2hunter2@example.org/\n"
            "  with:\n    argv: [psql, --password=hunter2hunter2]\n    env: {AWS_ACCESS_KEY_ID: AKIAABCDEFGHIJKLMNOP}\n"
            "    password: hunter2hunter2"
        )
    ),
    "people": _plan(
        steps(
            STEP,
            head="systems: {ops: channel}\ncontacts: {dba: Ada}\nescalation: [{to: dbaa, after: 5m}]\n"
            "notify: {failed: [opps], wating: ops}\n",
        )
    ),
    "inline-environment": _plan(
        steps(
            STEP,
            head="environment:\n  live: maybe\n  systems:\n"
            "    db: {type: postgres, user: a, database: b, password: hunter2hunter2}\n",
        )
    ),
    "template-elsewhere": _plan(steps(STEP + '  title: "Restore {{ inputs.x }}"\n  confirm: "{{ inputs.x }}"')),
}

ENVIRONMENTS: dict[str, Files] = {
    "secret-literals": _environment(
        "systems:\n"
        "  db:\n    type: postgres\n    user: a\n    database: b\n    password: hunter2hunter2\n"
        "  other: {type: postgres, user: a, database: b, password: 12345678}\n"
        "  cache: {type: redis, password: {env: X, extra: hunter2hunter2}}\n"
        "  cache2: {type: redis, pasword: hunter2hunter2}\n"
        '  s3: {type: store, url: "s3://b/", access_key: AKIAABCDEFGHIJKLMNOP, secret_key: [hunter2hunter2]}\n'
        '  site: {type: web, url: "https://user:hunter2hunter2@example.org", headers: {Authorization: "Bearer hunter2hunter2"}}\n'
    ),
    "broken-secret": _environment('systems:\n  db: {type: postgres, password: "hunter2hunter2\n'),
    "bad-systems": _environment(
        "systems:\n  a: {type: postgress}\n  b: {user: x}\n  c: {type: postgres, user: 5, database: b, port: 99999, prot: 5}\n"
        "  d: {type: volume, name: v, host: {dokcer: x}}\n  E: {type: host}\n  f: {type: store, url: /srv}\n  g: [1]\n"
        "  h: {type: host, key: x}\n"
    ),
    "bad-head": {"lab.yaml": "environmnt: lab\nlive: yes\nsystems: []\n"},
    "extends-circle": {
        "lab.yaml": "environment: lab\nextends: ./base.yaml\n",
        "base.yaml": "environment: base\nextends: lab.yaml\n",
    },
    "extends-outside": _environment("extends: ../secret.yaml\n"),
}
