"""An app's own generator as the source of a stream: pulled by a task, and logged like any provider's answer.

The log's entries are native events, so what is told of any stream holds for this one: ids and resume, many readers,
every dialect, heartbeats, an estimate of the usage. The task pulls one item at a time, waits while the engine holds the
source back, and lets others run between items that come without waiting.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException

from tokenwire.dialects.deltas import Failed, Finished, Started, Terminal
from tokenwire.dialects.native.dialect import DIALECT
from tokenwire.dialects.native.encode import Encoder
from tokenwire.engine.framing import encode
from tokenwire.engine.record import AttemptRecord
from tokenwire.errors import (
    BadArgument,
    LocalProtocolError,
    RelayRefused,
    RemoteProtocolError,
    RequestRefused,
    UpstreamError,
)
from tokenwire.fastapi.items import Items

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Delta
    from tokenwire.engine.stream import Stream
    from tokenwire.engine.timers import Timer

log = logging.getLogger(__name__)

#: What the log is written in: native, but no reader's: each gets an opening and an end of its own, by the encoder.
LOGGED: Final = replace(DIALECT, loses={})
#: Items that may come without waiting before others get their turn.
_EAGER: Final = 16


class GeneratorSource:
    """Feeds *stream* from *source*, which is not touched before ``start``.

    Args:
        seconds: the whole answer's deadline.
    """

    __slots__ = ("_begun", "_encoder", "_free", "_items", "_over", "_seconds", "_source", "_stream", "_task", "_timer")

    def __init__(self, stream: Stream, source: Any, seconds: float) -> None:
        self._stream = stream
        self._source = source
        self._seconds = seconds
        self._items = Items()
        self._encoder = Encoder(stream.id, stream.created, stream.model)
        self._free = asyncio.Event()
        self._free.set()
        self._begun = False
        self._over = False
        self._task: asyncio.Task[None] | None = None
        self._timer: Timer | None = None

    def start(self) -> asyncio.Task[None]:
        """Begin; the task ends when the generator is closed."""
        stream = self._stream
        stream.connecting(self)
        stream.sent = True
        stream.attempts.append(AttemptRecord("source", stream.model, LOGGED.name, stream.clock.now_ns()))
        self._timer = stream.wheel.after(self._seconds, self._late)
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"source of {stream.id}")
        return self._task

    # ------------------------------------------------------------------ engine.states.Source

    def abort(self) -> None:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        self._stream.attempts[-1].ended_ns = self._stream.ended_ns
        task = self._task
        if task is not None and task is not asyncio.current_task():  # else it sees for itself
            task.cancel()
            if not self._begun:
                discard(self._source)

    def pause(self) -> None:
        self._free.clear()

    def resume(self) -> None:
        self._free.set()

    # ------------------------------------------------------------------ inside

    async def _run(self) -> None:
        self._begun = True
        stream = self._stream
        opened: list[Any] = []  # what is to be closed, the innermost last
        try:
            stream.begin()
            self._tell([Started()])
            async for item in await _open(self._source, opened):
                if self._over or not self._tell(self._items.read(item)):
                    break
                if not self._free.is_set():
                    await self._free.wait()
                elif stream.log.last % _EAGER == 0:
                    await asyncio.sleep(0)
            else:
                self._end()
        except asyncio.CancelledError:
            if not self._over:
                stream.fail(Failed("source_failed", "the answer was broken off where it is made", retryable=True))
        except Exception as error:
            if not self._over:
                stream.fail(failure_of(error, stream.id))
        finally:
            for each in reversed(opened):
                await _close(each, stream.id)

    def _tell(self, deltas: list[Delta]) -> bool:
        """Append them. False: the stream is over."""
        stream = self._stream
        now = stream.clock.now_ns()
        frames: list[bytes] = []
        for delta in deltas:
            if isinstance(delta, Failed):
                if frames:
                    stream.append(frames, now)
                stream.fail(delta)
                return False
            if isinstance(delta, Finished) and delta.native_reason is None:
                delta = Finished(delta.reason, delta.reason, delta.choice)  # else the end would read the whole log
            frames += [encode([frame], LOGGED, None) for frame in self._encoder.feed(delta)]
        if frames:
            stream.append(frames, now)
        return not self._over  # the log may be full

    def _end(self) -> None:
        if self._tell(self._items.end()):
            done = self._encoder.close(Terminal("completed"))
            self._stream.append([encode(done, LOGGED, None)], self._stream.clock.now_ns())
            self._stream.finish()

    def _late(self) -> None:
        self._stream.fail(Failed("upstream_timeout", f"no whole answer within {self._seconds:g} s", retryable=True))


def check_source(source: object) -> None:
    """Raises ``BadArgument`` for what nothing can be pulled from."""
    if not (isinstance(source, AsyncIterable) or inspect.isawaitable(source) or callable(source)):
        raise BadArgument(
            "source",
            f"an async generator (or a function that returns one) is wanted, not {type(source).__name__}",
        )


def discard(source: object) -> None:
    """*source* is not needed. A coroutine that nobody awaits would warn."""
    if inspect.iscoroutine(source):
        source.close()


async def _open(source: Any, opened: list[Any]) -> AsyncIterator[Any]:
    """What to pull from, whatever was given. Each of *opened* is to be closed."""
    if isinstance(source, Callable) and not isinstance(source, AsyncIterable):  # type: ignore[arg-type]
        source = source()
    if inspect.isawaitable(source):
        source = await source
    if not isinstance(source, AsyncIterable):
        raise TypeError(f"a source gives an async iterable, not {type(source).__name__}")
    opened.append(source)
    iterator = aiter(source)
    if iterator is not source:
        opened.append(iterator)
    return iterator


async def _close(opened: Any, stream_id: str) -> None:
    close = getattr(opened, "aclose", None) or getattr(opened, "close", None)
    if close is None:
        return
    try:
        closing = close()
        if inspect.isawaitable(closing):
            await closing
    except Exception:
        log.exception("closing the source of %s failed", stream_id)


def failure_of(error: Exception, stream_id: str) -> Failed:
    """What readers are told of *error*. What is not meant for them is logged and not told."""
    if isinstance(error, RequestRefused):
        return Failed(error.code, str(error), retryable=error.status == 503, upstream_status=error.status)
    if isinstance(error, UpstreamError | RelayRefused):
        return Failed(error.code, str(error), retryable=error.retryable, upstream_status=error.status)
    if isinstance(error, HTTPException):
        return Failed(
            "source_failed", str(error.detail), retryable=error.status_code in (429, 503),
            upstream_status=error.status_code,
        )  # fmt: skip
    log.error("the source of %s failed", stream_id, exc_info=error)
    if isinstance(error, LocalProtocolError):
        return Failed("source_failed", str(error))
    if isinstance(error, RemoteProtocolError):
        return Failed(_code(error), str(error))
    return Failed("source_failed", f"the answer could not be made ({type(error).__name__})")


def _code(error: Exception) -> str:
    """The machine word of an error that has none of its own: its name."""
    word = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in type(error).__name__)
    return word.lstrip("_")
