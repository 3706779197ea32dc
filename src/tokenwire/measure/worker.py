"""Work that the event loop must not wait for: one thread, a bounded queue, and results that are looked up later."""

from __future__ import annotations

from concurrent.futures import Future, wait
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
#: A result to be, and how it is had; None: no more will come.
_Job: TypeAlias = "tuple[Future[Any], Callable[..., Any], tuple[object, ...]] | None"

#: Jobs that wait. A tick of a thousand streams makes so many; beyond it, whoever asks has to do without.
MOST_WAITING: Final = 1024


class Worker:
    """One thread, begun with the first job. All methods are called in one other thread, the loop's.

    It is a daemon, which an executor's are not: no process stays for a vocabulary that a dead network does not bring.
    """

    __slots__ = ("_closed", "_queue", "_thread", "_waiting")

    def __init__(self) -> None:
        self._queue: SimpleQueue[_Job] = SimpleQueue()
        self._thread: Thread | None = None
        self._waiting: list[Future[Any]] = []
        self._closed = False

    def submit(self, work: Callable[..., T], *arguments: object) -> Future[T] | None:
        """Run *work* in the thread; None if too much waits already. Nobody is woken by the result."""
        if len(self._waiting) >= MOST_WAITING:
            self._waiting = [job for job in self._waiting if not job.done()]
        if self._closed or len(self._waiting) >= MOST_WAITING:
            return None
        job: Future[T] = Future()
        self._waiting.append(job)
        self._queue.put((job, work, arguments))
        if self._thread is None:
            self._thread = Thread(target=_run, args=(self._queue,), name="tokenwire-count", daemon=True)
            self._thread.start()
        return job

    def drain(self) -> None:
        """Wait until nothing waits any more: for tests and for the end of a program, never in a loop."""
        wait(self._waiting)

    def close(self) -> None:
        """Drop what waits; a job under way ends by itself. Idempotent."""
        self._closed = True
        for job in self._waiting:
            job.cancel()
        self._waiting.clear()
        self._queue.put(None)


def _run(queue: SimpleQueue[_Job]) -> None:
    while (job := queue.get()) is not None:
        result, work, arguments = job
        if result.set_running_or_notify_cancel():
            try:
                result.set_result(work(*arguments))
            except Exception as error:  # whoever asked is told when it looks
                result.set_exception(error)
