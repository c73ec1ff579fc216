"""Ways out of a template that are known from elsewhere: each is refused, and nothing is executed, imported or opened on the way.

The attempts would run ``touch canary``; an audit hook hears of every execution there is in this process, whoever asks for it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbook.errors import InvalidInput
from runbook.plan.environment import load_environment
from runbook.plan.load import load_plan
from runbook.plan.scope import Scope, render
from runbook.plan.template import TemplateFault
from tests.plan.given import reader, steps

RUN = "touch canary"
ATTEMPTS = (
    "''.__class__.__mro__[1].__subclasses__()",
    "''['__class__']['__mro__'][1]['__subclasses__']()",
    "''|attr('__class__')",
    "''|attr('\\x5f\\x5fclass\\x5f\\x5f')",
    "''['\\x5f\\x5fclass\\x5f\\x5f']",
    "''[['__cl','ass__']|join]",
    "()['__cl' ~ 'ass__']",
    "('__class__'|list)[0]",
    "inputs.__init__.__globals__.__builtins__.__import__('os').system('RUN')",
    "inputs['__init__']['__globals__']['os']['popen']('RUN')",
    "self.__init__.__globals__",
    "self._TemplateReference__context.cycler.__init__.__globals__.os.system('RUN')",
    "cycler.__init__.__globals__.os.popen('RUN').read()",
    "joiner.__init__.__globals__.os.popen('RUN').read()",
    "namespace.__init__.__globals__.os.popen('RUN').read()",
    "lipsum.__globals__.os.popen('RUN').read()",
    "lipsum|attr('__globals__')",
    "get_flashed_messages.__globals__['os'].system('RUN')",
    "url_for.__globals__['os'].system('RUN')",
    "config.__class__.from_envvar('x')",
    "request.application.__globals__.__builtins__.__import__('os').system('RUN')",
    "range.__class__.__base__.__subclasses__()",
    "dict.__base__.__subclasses__()",
    "'%s'|format(inputs)",
    "'{0.__class__}'.format(inputs)",
    "'{0.__class__.__init__.__globals__}'.format_map({'0': inputs})",
    "('{0.__class__}'|string).format(inputs)",
    "'{x.__class__}' % {'x': 1}",
    "inputs.keys().__class__",
    "inputs.items()",
    "[].append.__self__",
    "[]|map('__class__')",
    "[1]|map(attribute='__class__')|list",
    "[inputs]|selectattr('__class__')|list",
    "[1]|groupby('__class__')",
    "[1]|sort(attribute='__class__')",
    "[1]|sum(attribute='__class__')",
    "[1]|unique(attribute='__class__')",
    "[1]|min(attribute='__class__')",
    "[1]|join(attribute='__class__')",
    "1|default(inputs.__class__)",
    "(1).__class__",
    "1.0.__class__",
    "none.__class__",
    "true.__class__.__base__",
    "inputs.x.__class__",
    "steps.a.stdout.__class__",
    "(lambda: 1)()",
    "__import__('os').system('RUN')",
    "eval('1')",
    "open('canary', 'w')",
    "inputs|pprint",
    "inputs|tojson|safe",
    "inputs|xmlattr",
    "caller()",
    "super()",
    "loop.__class__",
    "varargs.__class__",
    "inputs._x",
    "inputs['_x']",
    "inputs['_' ~ 'x']",
    "inputs[('_','x')|join]",
)
STATEMENTS = (
    "{% set x = ''.__class__ %}{{ x }}",
    "{% for c in [].__class__.__base__.__subclasses__() %}{{ c }}{% endfor %}",
    "{% import 'os' as os %}{{ os.system('RUN') }}",
    "{% from 'os' import system %}{{ system('RUN') }}",
    "{% include '/etc/passwd' %}",
    "{% extends '/etc/passwd' %}",
    "{% with x = ''.__class__ %}{{ x }}{% endwith %}",
    "{% macro m() %}{{ caller.__globals__ }}{% endmacro %}{{ m() }}",
    "{% call x() %}{% endcall %}",
    "{% filter attr('__class__') %}x{% endfilter %}",
    "{% do inputs.update({}) %}",
    "{% debug %}",
    "{% block x %}{{ self.x.__func__ }}{% endblock %}",
    "{% autoescape false %}{{ inputs.__class__ }}{% endautoescape %}",
    "{% trans %}{{ inputs.__class__ }}{% endtrans %}",
)
TEMPLATES = (
    *(f"{{{{ {one} }}}}".replace("RUN", RUN) for one in ATTEMPTS),
    *(one.replace("RUN", RUN) for one in STATEMENTS),
)
COMPUTED = ("{{ inputs['_' ~ 'x'] }}", "{{ inputs[('_','x')|join] }}")
"""Names that are known only when they are made: refused then."""
EXECUTIONS = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.forkpty",
    "subprocess.Popen",
    "pty.spawn",
    "ctypes.dlopen",
)

heard: list[str] = []
listening = False


def _hear(event: str, _arguments: object) -> None:
    if listening and event in EXECUTIONS:
        heard.append(event)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which the canary would be, with an ear for executions; afterwards there is neither."""
    global listening
    if not getattr(sys, "_runbook_heard", False):
        sys.addaudithook(_hear)  # can't be taken away again: it is there once, and deaf but for these tests
        sys._runbook_heard = True  # type: ignore[attr-defined]
    monkeypatch.chdir(tmp_path)
    heard.clear()
    listening = True
    yield tmp_path
    listening = False
    assert heard == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("template", TEMPLATES)
def test_no_way_out_is_rendered(template: str) -> None:
    scope = Scope({"x": "a", "_x": "hidden"}, {}, {"a": {"stdout": "s"}})
    with pytest.raises(TemplateFault) as caught:
        render(template, scope)
    assert caught.value.code in ("E140", "E141", "E142", "E144", "E145")


@pytest.mark.parametrize("template", [one for one in TEMPLATES if one not in COMPUTED])
def test_no_way_out_is_loaded(template: str) -> None:
    quoted = template.replace("'", "''")
    text = steps(f"- id: a\n  uses: shell.run\n  with:\n    x: '{quoted}'", head="inputs: {x: {type: string}}\n")
    with pytest.raises(InvalidInput) as caught:
        load_plan("plan.yaml", reader({"plan.yaml": text}))
    assert {problem.code for problem in caught.value.problems} <= {"E131", "E132", "E140", "E141", "E142", "E144"}
    assert all(
        problem.where and (problem.where.line, problem.where.column >= 9) == (8, True)
        for problem in caught.value.problems
    )


TAGGED = (
    f"!!python/object/apply:os.system [{RUN}]",
    f"!!python/object/new:subprocess.Popen [[{RUN}]]",
    "!!python/name:os.system",
    "!!python/module:os",
    f"!!python/object/apply:subprocess.check_output [[{RUN}]]",
    "!!python/tuple [1]",
    "!!binary aGk=",
    "!!set {a}",
    "!!timestamp 2026-01-01",
    "!!omap [a: 1]",
    "!!str 1",
    "!include /etc/passwd",
    "!ENV ${HOME}",
    "!<tag:yaml.org,2002:python/object/apply:os.system> [x]",
)


@pytest.mark.parametrize("value", TAGGED)
def test_no_tag_is_obeyed(value: str) -> None:
    plan = steps(f"- id: a\n  uses: shell.run\n  with:\n    x: {value}")
    with pytest.raises(InvalidInput) as caught:
        load_plan("plan.yaml", reader({"plan.yaml": plan}))
    assert [(problem.code, str(problem.where)) for problem in caught.value.problems] == [("E122", "plan.yaml:7:10")]
    with pytest.raises(InvalidInput):
        load_environment("lab.yaml", reader({"lab.yaml": f"environment: lab\ninputs:\n  x: {value}\n"}))


def test_the_ear_hears(place: Path) -> None:
    import subprocess

    subprocess.run(["true"], check=True)
    assert heard
    heard.clear()
