"""A thread that does one thing after another for an event loop.

``concurrent.futures`` would do, at three times the price: a lock, a condition and a second future for each call.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

_T = TypeVar("_T")


class Job:
    """One call, and who waits for what comes of it."""

    __slots__ = ("call", "error", "future", "loop", "result")

    def __init__(self, call: Callable[[], Any], loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any]) -> None:
        self.call = call
        self.loop = loop
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """In the thread: do it, and wake the loop."""
        try:
            self.result = self.call()
        except BaseException as error:
            self.error = error
        try:
            self.loop.call_soon_threadsafe(self._settle)
        except RuntimeError:  # the loop is closed, and nobody waits any more
            pass

    def _settle(self) -> None:
        if self.future.done():  # cancelled: what was done is done
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Worker:
    """Calls in a thread of their own, in the order in which they came.

    The thread is a daemon: a process that ends without ``stop`` is not held up by a disk that does not answer.

    Args:
        after: called in the thread when a call was answered and no other waits; again as long as it returns True.
    """

    def __init__(self, name: str, after: Callable[[], bool] | None = None) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._after = after
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def run(self, call: Callable[[], _T]) -> _T:
        """What *call* returns or raises. Cancelled, it is done all the same."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()
        self._jobs.put(Job(call, loop, future))
        return await future

    def stop(self) -> None:
        """End the thread when it has done what waits. Does not wait for that."""
        self._jobs.put(None)

    def join(self) -> None:
        """Wait for the thread's end."""
        self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()
            del job  # with what it returned
            while self._after is not None and self._after() and self._jobs.empty():
                pass
