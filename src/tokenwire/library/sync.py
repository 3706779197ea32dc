"""Streams without ``await``: a loop in a thread of ours runs them, for all programs that have none of their own.

One thread for the whole process, begun with the first stream: connections stay open between answers, deadlines and
arrival times hold while the program does something else.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from tokenwire.errors import LocalProtocolError
from tokenwire.library.output import Output
from tokenwire.library.partials import read
from tokenwire.library.text import text_of

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from types import TracebackType
    from typing import Self

    from tokenwire.client import Update
    from tokenwire.dialects.deltas import Usage
    from tokenwire.library.answer import Answer
    from tokenwire.library.streams import Stream
    from tokenwire.measure.timing import Timing

T = TypeVar("T")
R = TypeVar("R")
V = TypeVar("V")

#: Updates that are handed over at a time, when so many have come: a handover costs as much as reading fifty.
_BATCH = 256


class SyncStream(Generic[T]):
    """A ``Stream`` for programs without a loop; what it does and raises is the same.

    Attributes:
        asynchronous: what runs in the thread's loop; not to be read here.
    """

    def __init__(self, stream: Stream[T]) -> None:
        self.asynchronous = self._stream = stream
        self._loop = background()
        self._ready: deque[Update] = deque()  # what has come, and was not read yet
        self._error: BaseException | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Update:
        while not self._ready:
            if self._error is not None:
                error, self._error = self._error, StopIteration()
                raise error
            self._loop.run(self._batch())
        return self._ready.popleft()

    @property
    def ahead(self) -> list[Update]:
        """What is in the ``answer`` already, and was not read yet."""
        return list(self._ready)

    @property
    def text_stream(self) -> Iterator[str]:
        """The text alone, piece by piece."""
        for update in self:
            text = text_of(update)
            if text:
                yield text

    @overload
    def partial(self) -> Iterator[T]: ...

    @overload
    def partial(self, wanted: type[V]) -> Iterator[V]: ...

    @overload
    def partial(self, wanted: Mapping[str, Any]) -> Iterator[Any]: ...

    def partial(self, wanted: type[V] | Mapping[str, Any] | None = None) -> Iterator[Any]:
        """The text as a value that grows; see ``Stream.partial``."""
        return read(self, self._stream.output if wanted is None else Output(wanted))

    def final(self) -> Answer[T]:
        """Read the rest; the whole answer."""
        for _ in self:
            pass
        if self._stream.failure is not None:  # told before, and yet what there is is not the whole answer
            raise self._stream.failure
        return self.answer

    def text(self) -> str:
        """Read the rest; the whole text."""
        return self.final().text

    @property
    def answer(self) -> Answer[T]:
        """What has come so far. May be a few updates ahead of what was read."""
        return self._stream.answer

    @property
    def id(self) -> str | None:
        return self._stream.id

    @property
    def usage(self) -> Usage | None:
        """Tokens so far; see ``Stream.usage``."""
        return self._loop.run(self._usage()) if self._stream.begun else self._stream.usage

    @property
    def cost_usd(self) -> float | None:
        """What they cost; None where no price is known."""
        usage = self.usage
        return None if usage is None else usage.cost_usd

    @property
    def timing(self) -> Timing:
        return self._stream.timing

    def cancel(self) -> None:
        """Stop generation; the rest is never read. Returns when the upstream is closed. Idempotent."""
        self._ready.clear()
        self._error = StopIteration()
        if not self._loop.foreign:
            self._loop.run(self._stream.cancel())

    def close(self) -> None:
        """``cancel``, under the name that everything that can be closed has."""
        self.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    def __del__(self) -> None:
        loop = getattr(self, "_loop", None)
        if loop is not None:
            loop.soon(self._stream.abandon)

    async def _usage(self) -> Usage | None:
        return self._stream.usage  # what grows is looked at in its own thread

    async def _batch(self) -> None:
        """Have the next update ready, and those that have come with it. An interrupt leaves what was taken."""
        try:
            self._ready.append(await anext(self._stream))
            while self._stream.waiting and len(self._ready) < _BATCH:
                self._ready.append(await anext(self._stream))
        except StopAsyncIteration:
            self._error = StopIteration()
        except Exception as error:
            self._error = error


class _Handle(Generic[R]):
    """Work that can be cancelled before it has begun, while it runs, and after it."""

    def __init__(self, work: Coroutine[Any, Any, R]) -> None:
        self._work = work
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = False

    async def run(self) -> R:
        if self._cancelled:
            self._work.close()
            raise asyncio.CancelledError
        self._task = asyncio.current_task()
        try:
            return await self._work
        finally:
            self._task = None

    def cancel(self) -> None:
        """To be called in the loop."""
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()


class Background:
    """An event loop in a daemon thread. ``over``: it has been ended."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self.over = False
        self._thread = threading.Thread(target=self._run, name="tokenwire", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """Do *work* there, and wait for it. An exception in the wait (Ctrl-C) cancels it."""
        if threading.current_thread() is self._thread:
            work.close()
            raise LocalProtocolError("this is the thread that reads such streams: here use async for, or await")
        if self.foreign:
            work.close()
            raise LocalProtocolError("this stream was begun before the process was forked: begin another")
        handle = _Handle(work)
        try:  # an interrupt may come between any two steps of this
            return asyncio.run_coroutine_threadsafe(handle.run(), self._loop).result()
        except BaseException:
            self.soon(handle.cancel)
            raise

    @property
    def foreign(self) -> bool:
        """Whether its thread stayed behind in the process that this one was forked from."""
        return os.getpid() != self._pid

    def soon(self, call: Any) -> None:
        """Call it there, if there still is a loop. Never waits."""
        if not self.over and not self.foreign:
            self._loop.call_soon_threadsafe(call)

    def close(self) -> None:
        """End it, and everything that runs there. Idempotent."""
        if not self.over:
            self.over = True
            atexit.unregister(self.close)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()


_lock = threading.Lock()
_background: Background | None = None


def background() -> Background:
    """The one of this process."""
    global _background
    with _lock:
        if _background is None or _background.over:
            _background = Background()
        return _background


def _forked() -> None:
    """Threads do not survive a fork: the child has to begin anew."""
    global _background, _lock
    _background = None
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
