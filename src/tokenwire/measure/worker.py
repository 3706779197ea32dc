"""Work that the event loop must not wait for: one thread, a bounded queue, and results that are looked up later."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

T = TypeVar("T")

#: Jobs that wait. A tick of a thousand streams makes so many; beyond it, whoever asks has to do without.
MOST_WAITING: Final = 1024


class Worker:
    """One thread, begun with the first job. ``submit`` and ``close`` are called in one thread, the loop's."""

    __slots__ = ("_closed", "_pool", "_waiting")

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: list[Future[Any]] = []
        self._closed = False

    def submit(self, work: Callable[..., T], *arguments: object) -> Future[T] | None:
        """Run *work* in the thread; None if too much waits already. Nobody is woken by the result."""
        if len(self._waiting) >= MOST_WAITING:
            self._waiting = [job for job in self._waiting if not job.done()]
        if self._closed or len(self._waiting) >= MOST_WAITING:
            return None
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "tokenwire-count")
        job = self._pool.submit(work, *arguments)
        self._waiting.append(job)
        return job

    def drain(self) -> None:
        """Wait until nothing waits any more: for tests and for the end of a program, never in a loop."""
        wait(self._waiting)

    def close(self) -> None:
        """Drop what waits; a job under way ends by itself. Idempotent."""
        self._closed = True
        self._waiting.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
