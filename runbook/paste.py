"""Operations as lines that a person could paste into a shell.

Owns :func:`paste`. Used by dry-run, docs and reports, so that all show the same. Promises: processes keep their exact argv;
a secret is shown as the place that it is read from; late values are shown as ``<operation.field>``; nothing in the text acts
on a terminal. What no common tool can do is shown as a description that begins with ``#``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import assert_never

from runbook import condition
from runbook.host import Compose, Docker, Host, Local, Ssh
from runbook.operation import (
    UNBOUNDED,
    Arg,
    Ask,
    Call,
    Condition,
    Connection,
    CopyRows,
    Document,
    DocumentValue,
    Env,
    EnvValue,
    Generate,
    JsonText,
    MakeDirectory,
    Message,
    Operation,
    Pipeline,
    Process,
    Ref,
    Remove,
    Rename,
    SecretFile,
    Service,
    Session,
    SetPassword,
    Sql,
    Stage,
    Statement,
    Transaction,
    Wait,
    Write,
)
from runbook.quoting import copy_from, copy_to, shell_word, sql_text, visible
from runbook.secret import FromAws, FromCommand, FromEnv, FromEscrow, FromFile, SecretRef
from runbook.units import show_duration

__all__ = ["paste", "sql_text"]

LONGEST_SHOWN = 400
"""Characters of a written file's content that are shown."""


def paste(operation: Operation) -> str:
    """The operation as a line (a session: a few lines) for a POSIX shell or bash."""
    match operation:
        case Process():
            return _process(operation)
        case Pipeline():
            return _pipeline(operation)
        case Sql():
            return _sql(operation)
        case Session():
            return _session(operation)
        case CopyRows():
            return _copy_rows(operation)
        case MakeDirectory() | Write() | Rename() | Remove():
            return _file(operation)
        case Generate():
            return f"# mint a secret of {operation.length} characters into {_escrow(operation.escrow)} (kept if it is there)"
        case SetPassword():
            change = f"\\password {operation.role}"
            note = f"  # type: {visible(str(operation.password))}; the server gets a SCRAM verifier"
            return _psql(operation.connection, (change,)) + note
        case Call():
            return _docker_call(operation) if operation.service is Service.DOCKER else _http_call(operation)
        case Wait():
            return _wait(operation)
        case Message():
            channel = operation.channel if isinstance(operation.channel, str) else _word(operation.channel)
            where = "'<the channel in the environment>'" if isinstance(operation.channel, str) and channel else channel
            return f"apprise -t {shell_word(operation.title)} -b {shell_word(operation.body)} {where}"
        case Ask():
            return f"# ask: {visible(operation.instructions)}"
        case _:
            assert_never(operation)


Assignments = tuple[tuple[str, str], ...]


def on_host(
    host: Host, command: str, *, user: str = "", env: Assignments = (), cwd: str = "", reads_input: bool = False
) -> str:
    """``command`` (words, quoted already) as it is called from here; ``env`` are names with words, quoted already."""
    given = "".join(f"{name}={word} " for name, word in env)
    match host:
        case Local():
            line = f"{given}runuser -u {shell_word(user)} -- {command}" if user else given + command
            return f"(cd {shell_word(cwd)} && {line})" if cwd else line
        case Ssh(destination, via):
            line = on_host(Local(), command, user=user, env=env, cwd=cwd)
            return on_host(via, f"ssh {shell_word(destination)} {shell_word(line)}")
        case Docker(container, via):
            inner, name = f"docker exec{' -i' if reads_input else ''}", shell_word(container)
        case Compose(project, service, via):
            inner, name = f"docker compose -p {shell_word(project)} exec -T", shell_word(service)
    inner += f" -u {shell_word(user)}" if user else ""
    inner += f" -w {shell_word(cwd)}" if cwd else ""
    inner += "".join(f" -e {key}" for key, _ in env)  # by name: the value is in no argv
    return on_host(via, f"{inner} {name} {command}", env=env)


def _process(operation: Process) -> str:
    argv = _argv(operation.argv)
    env = _env(operation.env)
    line = on_host(
        operation.host, argv, user=operation.user, env=env, cwd=operation.cwd, reads_input=bool(operation.stdin)
    )
    return f"printf %s {shell_word(operation.stdin)} | {line}" if operation.stdin else line


def _pipeline(operation: Pipeline) -> str:
    parts = [_stage(stage, number, operation) for number, stage in enumerate(operation.stages)]
    if not parts:
        line = f"sha256sum {_option_safe(operation.source)}"
        if operation.sink:
            line = f"cp -- {shell_word(operation.source)} {shell_word(operation.sink)} && sync {shell_word(operation.sink)}"
    else:
        line = " | ".join(parts)
        if operation.sink:
            line += f" > {shell_word(operation.sink)} && sync {shell_word(operation.sink)}"
        if operation.source:
            line = f"< {shell_word(operation.source)} {line}"
    holds = [f"sha256 must be {operation.expect_sha256}"] if operation.expect_sha256 else []
    bounded = (one for one in operation.stages if one.most_bytes not in (0, UNBOUNDED))
    holds += [f"{visible(str(one.argv[0]))} is given {one.most_bytes} bytes at most" for one in bounded]
    return f"{line}  # {'; '.join(holds)}" if holds else line


def _stage(stage: Stage, number: int, operation: Pipeline) -> str:
    reads_input = number > 0 or bool(operation.source)
    return on_host(stage.host, _argv(stage.argv), user=stage.user, env=_env(stage.env), reads_input=reads_input)


def _option_safe(path: str) -> str:
    return shell_word(f"./{path}" if path.startswith("-") else path)


def _sql(operation: Sql) -> str:
    texts = [sql_text(statement) for statement in operation.statements]
    if operation.transaction is Transaction.ONE and not operation.session and not (operation.reads and len(texts) == 1):
        texts = ["BEGIN READ ONLY" if operation.reads else "BEGIN", *texts, "COMMIT"]
    if operation.session:
        return f"# in session {visible(operation.session)}: {visible('; '.join(texts))}{_expected(operation.expect)}"
    line = _psql(operation.connection, tuple(texts))
    if operation.into:
        line += f" > {shell_word(operation.into)}"
    return line + _expected(operation.expect)


def _session(operation: Session) -> str:
    def words(statements: tuple[Statement, ...]) -> str:
        return visible("; ".join(sql_text(statement) for statement in statements))

    lines = [
        f"{_psql(operation.connection, ())}  # session {visible(operation.name)}, held open: {words(operation.begin)}"
    ]
    lines += [f"  {line}" for inner in operation.body for line in paste(inner).splitlines()]
    if operation.end:
        lines.append(f"# end of session {visible(operation.name)}: {words(operation.end)}")
    return "\n".join(lines)


def _copy_rows(operation: CopyRows) -> str:
    """Two clients with a pipe between; run by hand, the second one is not in the session's transaction."""
    reading = (*map(sql_text, operation.before), copy_to(operation.query))
    source = _psql(operation.source, reading, quiet="-q ")
    target = _psql(operation.connection, (copy_from(operation.table, operation.columns),), reads_input=True)
    return f"{source} | {target}  # the latter in session {visible(operation.session)}"


def _psql(connection: Connection, texts: tuple[str, ...], *, quiet: str = "", reads_input: bool = False) -> str:
    pairs = [("host", connection.address)] if connection.address else []
    pairs += [("port", str(connection.port)), ("user", connection.user), ("dbname", connection.database)]
    info = " ".join(f"{key}={_conninfo(value)}" for key, value in pairs)
    env = (("PGPASSWORD", _word(connection.password)),) if connection.password is not None else ()
    commands = "".join(f" -c {shell_word(text)}" for text in texts)
    line = f"psql {quiet}{shell_word(info)} -v ON_ERROR_STOP=1{commands}"
    return on_host(connection.host if not connection.address else Local(), line, env=env, reads_input=reads_input)


def _conninfo(value: str) -> str:
    if value and value.replace("_", "a").replace(".", "a").replace("/", "a").replace("-", "a").isalnum():
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _file(operation: MakeDirectory | Write | Rename | Remove) -> str:
    match operation:
        case MakeDirectory(path=path, mode=mode, owner=owner):
            line = on_host(operation.host, f"mkdir -p -m {mode:04o} -- {shell_word(path)}")
            owned = on_host(operation.host, f"chown {shell_word(owner)} -- {shell_word(path)}")
            return f"{line} && {owned}" if owner else line
        case Write(path=path, content=content, mode=mode):
            shown = content if isinstance(content, str) else json.dumps(_shown(content), ensure_ascii=False)
            cut = f"… ({len(shown)} characters)" if len(shown) > LONGEST_SHOWN else ""
            where = "" if isinstance(operation.host, Local) else f" on {visible(str(operation.host))}"
            owner = f", owner {visible(operation.owner)}" if operation.owner else ""
            return f"# write {shell_word(path)}{where} (mode {mode:04o}{owner}): {visible(shown[:LONGEST_SHOWN])}{cut}"
        case Rename(source=source, target=target):
            return on_host(operation.host, f"mv -nT -- {shell_word(source)} {shell_word(target)}")
        case Remove(path=path):
            return on_host(operation.host, f"rm -rf --one-file-system -- {shell_word(path)}")
        case _:
            assert_never(operation)


def _docker_call(operation: Call) -> str:
    given = dict(operation.arguments.items)
    if operation.operation == "run":
        return _docker_run(operation, given)
    options = f" -t {given['timeout_s']}" if operation.operation == "stop" and "timeout_s" in given else ""
    if "container" in given:
        what = shell_word(str(_shown(given["container"])))
    elif "service" in given:
        what = _container_of(Compose(str(_shown(given.get("project", ""))), str(_shown(given["service"]))))
    else:
        what = _container_of(operation.host)
    verb = operation.operation
    if verb == "health":
        verb = f"inspect -f {shell_word('{{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{end}}')}"
    return on_host(_engine_of(operation.host), f"docker {verb}{options} {what}") + _expected(operation.expect)


def _docker_run(operation: Call, given: Mapping[str, DocumentValue]) -> str:
    """A one-off container beside a stopped one, of the very image that it was made of."""
    what, engine = _container_of(operation.host), _engine_of(operation.host)
    image = f"\"$(docker inspect -f '{{{{.Image}}}}' {what})\""
    network = f"\"$(docker inspect -f '{{{{.HostConfig.NetworkMode}}}}' {what})\"" if "network" in given else "none"
    user = "0:0"
    if "user_of" in given:
        path = shell_word(str(_shown(given["user_of"])))
        user = f'"$(docker run --rm --volumes-from {what} --entrypoint stat {image} -c %u:%g {path})"'
    secrets = [(name, _secret_word(value)) for name, value in _items(given.get("secrets"))]
    marked = [f"--label {shell_word(f'{key}={value}')}" for key, value in _items(given.get("labels"))]
    named = [f"-e {name}" for name, _ in secrets]  # by name: the value is in no argv
    program, *words = (shell_word(str(word)) for word in _tuple(given.get("argv")))
    options = ["--rm", f"--network {network}", "--no-healthcheck", f"--user {user}", *named, *marked]
    line = f"docker run {' '.join(options)} --volumes-from {what} --entrypoint {program} {image} {' '.join(words)}"
    return on_host(engine, line, env=tuple(secrets))


def _items(value: DocumentValue | None) -> tuple[tuple[str, DocumentValue], ...]:
    return value.items if isinstance(value, Document) else ()


def _secret_word(value: DocumentValue) -> str:
    match value:
        case FromEnv() | FromFile() | FromCommand() | FromAws() | FromEscrow():
            return _word(value)
        case _:
            return shell_word(str(value))


def _tuple(value: DocumentValue | None) -> tuple[DocumentValue, ...]:
    return value if isinstance(value, tuple) else ()


def _container_of(host: Host) -> str:
    match host:
        case Docker(container, _):
            return shell_word(container)
        case Compose(project, service, _):
            labels = f"label=com.docker.compose.project={project}", f"label=com.docker.compose.service={service}"
            return "$(docker ps -aq " + " ".join(f"--filter {shell_word(item)}" for item in labels) + ")"
        case _:
            return shell_word(str(host))


def _engine_of(host: Host) -> Host:
    return host.via if isinstance(host, Docker | Compose) else host


def _http_call(operation: Call) -> str:
    given = dict(operation.arguments.items)
    words = ["curl", "-sS", "-X", shell_word(operation.operation)]
    headers = given.get("headers")
    if isinstance(headers, Document):
        for key, value in headers.items:
            secret = isinstance(value, FromEnv | FromFile | FromCommand | FromAws | FromEscrow)
            shown = f"{shell_word(f'{key}: ')}{_word(value)}" if secret else shell_word(f"{key}: {_shown(value)}")  # type: ignore[arg-type]
            words += ["-H", shown]
    if (body := given.get("body")) is not None:
        shown_body = _shown(body)
        text = shown_body if isinstance(shown_body, str) else json.dumps(shown_body, ensure_ascii=False)
        words += ["--data-raw", shell_word(text)]
    return " ".join([*words, "--", shell_word(str(_shown(given.get("url", ""))))]) + _expected(operation.expect)


def _wait(operation: Wait) -> str:
    until = visible(" and ".join(condition.show(item) for item in operation.until))
    if operation.deadline_s == 0:
        return f"{paste(operation.read)}  # must hold now: {until}"
    every = f"every {show_duration(operation.interval_s)}, for at most {show_duration(operation.deadline_s)}"
    return f"{paste(operation.read)}  # repeat {every}, until {until}"


def _expected(conditions: tuple[Condition, ...]) -> str:
    return f"  # expected: {visible(' and '.join(map(condition.show, conditions)))}" if conditions else ""


def _argv(argv: tuple[Arg, ...]) -> str:
    return " ".join(str(word) if isinstance(word, Ref) else shell_word(word) for word in argv)


def _env(env: Env) -> Assignments:
    return tuple((name, _env_word(value)) for name, value in env)


def _env_word(value: EnvValue) -> str:
    match value:
        case str():
            return shell_word(value)
        case SecretFile(parts):
            shown = "".join(part if isinstance(part, str) else f"<{part}>" for part in parts)
            return shell_word(f"<a 0600 file with: {shown}>")
        case _:
            return _word(value)


def _word(ref: SecretRef) -> str:
    """A secret as a word that a shell replaces by the value, read from its own place."""
    match ref:
        case FromEnv(name):
            return f'"${name}"' if name.isidentifier() and name.isascii() else shell_word(f"<${name}>")
        case FromFile(path):
            return f'"$(cat -- {shell_word(path)})"'
        case FromCommand(argv):
            return f'"$({" ".join(map(shell_word, argv))})"'
        case FromAws(name):
            query = "--query SecretString --output text"
            return f'"$(aws secretsmanager get-secret-value --secret-id {shell_word(name)} {query})"'
        case FromEscrow(name):
            return f'"$(cat -- {_escrow(name)})"'
        case _:
            assert_never(ref)


def _escrow(name: str) -> str:
    return shell_word(f"escrow/{name}")


def _shown(value: DocumentValue) -> object:
    match value:
        case Document(items):
            return {key: _shown(item) for key, item in items}
        case tuple():
            return [_shown(item) for item in value]
        case Ref():
            return str(value)
        case JsonText(ref):
            return str(ref)
        case FromEnv() | FromFile() | FromCommand() | FromAws() | FromEscrow():
            return f"<{value}>"
        case _:
            return value
