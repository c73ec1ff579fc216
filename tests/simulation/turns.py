"""Threads whose order a seed decides: each runs only while it is its turn.

Owns :class:`Turns`, which stands in for a loop's pool and its queue of ended steps. Promises: one thread runs at any moment, it
gives its turn back wherever it touches the world, and the same seed gives the same order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from random import Random
from threading import Semaphore, Thread, current_thread


class _Task:
    """A step's thread, the future of its end, and the two hands of the turn."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.future: Future[None] = Future()
        self.mine = Semaphore(0)
        self.given_back = Semaphore(0)
        self.over = False
        self.outcome: BaseException | None = None
        self.thread = Thread(target=self._run, args=(work,), daemon=True)
        self.thread.start()

    def _run(self, work: Callable[[], None]) -> None:
        self.mine.acquire()
        try:
            work()
        except BaseException as error:  # a crash too is how a task ends
            self.outcome = error
        self.over = True
        self.given_back.release()


class Turns:
    """See the module."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._tasks: list[_Task] = []
        self._ended: deque[Future[None]] = deque()

    def submit(self, work: Callable[..., None], *given: object, **named: object) -> Future[None]:
        """A new thread; it begins when its turn comes."""
        task = _Task(lambda: work(*given, **named))
        self._tasks.append(task)
        return task.future

    def shutdown(self, *, wait: bool) -> None:
        """Let every thread come to its end."""
        while self._tasks:
            self._advance()

    def put(self, future: Future[None]) -> None:
        """A thread has ended."""
        self._ended.append(future)

    def get(self) -> Future[None]:
        """Give turns until a thread ends."""
        while not self._ended:
            assert self._tasks, "the loop waits, and nothing runs"
            self._advance()
        return self._ended.popleft()

    def turn(self) -> None:
        """Called by whoever touches the world: another may go on now. The engine's own thread keeps its turn."""
        for task in self._tasks:
            if task.thread is current_thread():
                task.given_back.release()
                task.mine.acquire()
                return

    def _advance(self) -> None:
        task = self._chance.choice(self._tasks)
        task.mine.release()
        task.given_back.acquire()
        if not task.over:
            return
        self._tasks.remove(task)
        task.thread.join()
        if task.outcome is None:
            task.future.set_result(None)
        else:
            task.future.set_exception(task.outcome)
