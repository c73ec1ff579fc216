"""Children: a described stage becomes a process, with its own session and nothing inherited that it wasn't given.

Promises: the child leads a new session (a terminal's Ctrl-C reaches the engine alone), has default signal dispositions,
the marks of its operation in its environment, and no open files but its three streams and its secret files. ``posix_spawn``
is used where no other user is asked for: it costs half of a fork. The caller has recorded the start, synced, before. What
starts a daemon is held until it is on record too: what outlives it must never be taken for it.
"""

from __future__ import annotations

import errno
import os

from .processes import OPERATION, RUN_DIR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .wire import StageWire, UserWire


NOT_EXECUTED = 127
"""The exit code of a process that could not become its program, or was not let go."""


class CouldNotStart(Exception):
    """The program was not executed; the text says why."""


class Held:
    """A process that was forked and executes nothing before it is let go. It ends by itself when its parent does."""

    def __init__(self, pid: int, word: int, answer: int) -> None:
        self.pid = pid
        self._word = word
        self._answer = answer

    def go(self) -> None:
        """Let it execute. Raises :class:`OSError` with the reason where the kernel refuses; it has ended then."""
        try:
            os.write(self._word, b"g")
            refused = os.read(self._answer, 16)
        finally:
            self.drop()
        if refused:
            raise OSError(int(refused), os.strerror(int(refused)))

    def drop(self) -> None:
        """Close what it waits at: it ends and has executed nothing, unless it was let go."""
        for fd in (self._word, self._answer):
            if fd >= 0:
                os.close(fd)
        self._word = self._answer = -1


def memory_file(content: bytes, owner: int | None = None) -> int:
    """A file that no directory names, mode 0600, with this content, at its beginning. It never reaches a disk."""
    fd = os.memfd_create("runbook")
    os.fchmod(fd, 0o600)
    if owner is not None:
        os.fchown(fd, owner, -1)
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def find_program(name: str, path: str, cwd: str | None) -> str:
    """The file that ``name`` means with this ``PATH``. :class:`CouldNotStart` if there is none."""
    if "/" in name:
        return name
    for folder in (path or os.defpath).split(":"):
        file = f"{folder or cwd or '.'}/{name}"
        if os.access(file, os.X_OK) and not os.path.isdir(file):
            return file
    raise CouldNotStart(f"{name or 'a program without a name'}: not found in PATH ({path or os.defpath})")


def start(
    stage: StageWire, operation: str, run_dir: str, streams: tuple[int, int, int], held: list[Held] | None = None
) -> int:
    """Start the stage with these descriptors as its standard streams; its pid. Raises :class:`CouldNotStart`.

    Where ``held`` is given the process is put there, for the caller to let go or to drop.
    """
    argv, user, cwd = stage["argv"], stage["user"], stage["cwd"]
    env = {**stage["env"], OPERATION: operation, RUN_DIR: run_dir}
    program = find_program(argv[0], env.get("PATH", ""), cwd)
    files = []
    try:
        for variable, content in stage["files"].items():
            fd = memory_file(content.encode(), user["uid"] if user else None)
            files.append(fd)
            os.set_inheritable(fd, True)  # noqa: FBT003 - positional only
            env[variable] = f"/proc/self/fd/{fd}"
        if user is None and held is None:
            return _spawn((program, argv, env), streams, (cwd, stage["umask"]))
        child = _fork((program, argv, env), streams, (cwd, stage["umask"]), user)
        if held is None:
            _let_go(child)
        else:
            held.append(child)
        return child.pid
    except OSError as error:
        raise CouldNotStart(f"{argv[0]}: {error.strerror}") from None
    except ValueError as error:  # what no program can be given; whatever it is, the other children need us
        raise CouldNotStart(f"{argv[0]}: {error}") from None
    finally:
        for fd in files:
            os.close(fd)


_Program = tuple[str, list[str], dict[str, str]]


def _spawn(program: _Program, streams: tuple[int, int, int], where: tuple[str | None, int]) -> int:
    """Without a fork: the kernel lends the child our memory until it executes."""
    cwd, umask = where
    back = os.open(".", os.O_RDONLY | os.O_DIRECTORY) if cwd else -1
    ours = os.umask(umask)
    try:
        if cwd:
            os.chdir(cwd)
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(streams)]
        return os.posix_spawn(*program, file_actions=actions, setsid=True)
    finally:
        os.umask(ours)
        if cwd:
            os.fchdir(back)
            os.close(back)


def _fork(
    program: _Program, streams: tuple[int, int, int], where: tuple[str | None, int], user: UserWire | None
) -> Held:
    """What ``posix_spawn`` can't do: as another user, or held."""
    fds: list[int] = []
    try:
        fds += os.pipe()
        fds += os.pipe()
        pid = os.fork()
    except OSError:
        for fd in fds:
            os.close(fd)
        raise
    gate, word, answer, refusal = fds
    if pid == 0:
        try:
            os.close(word)  # else it would wait for itself
            os.setsid()
            for number, fd in enumerate(streams):
                os.dup2(fd, number)
            if user is not None:
                os.setgroups(user["groups"])
                os.setgid(user["gid"])
                os.setuid(user["uid"])
            os.umask(where[1])
            if where[0]:
                os.chdir(where[0])
            if os.read(gate, 1):
                os.execve(*program)  # noqa: S606 - no shell is the point
        except OSError as error:
            os.write(refusal, str(error.errno).encode())
        except ValueError:  # what no program can be given
            os.write(refusal, str(errno.EINVAL).encode())
        finally:
            os._exit(NOT_EXECUTED)
    os.close(gate)
    os.close(refusal)
    return Held(pid, word, answer)


def _let_go(child: Held) -> None:
    try:
        child.go()
    except OSError:
        os.waitpid(child.pid, 0)
        raise
