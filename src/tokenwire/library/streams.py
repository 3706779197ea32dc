"""``tokenwire.stream``: one answer, to be read like a list while it is being written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from tokenwire.errors import LocalProtocolError
from tokenwire.library.answer import Answer
from tokenwire.library.output import Output
from tokenwire.library.partials import Partials
from tokenwire.library.text import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from tokenwire.client import Update
    from tokenwire.dialects.deltas import Usage
    from tokenwire.library.sync import SyncStream
    from tokenwire.library.turn import Turn
    from tokenwire.measure.timing import Timing

T = TypeVar("T")
V = TypeVar("V")


class Stream(Generic[T]):
    """An answer that is asked for when it is first read. Made by ``tokenwire.stream``.

    Iterating gives deltas as they come (``tokenwire.deltas``), and what happens to the connection (``Dropped``,
    ``Resumed``, ``Notice``); ``text_stream``, ``partial`` and ``final`` read the same answer in other ways, each from
    where the one before it stopped. One task at a time may read. A cancelled read loses nothing.

    With ``async with`` the upstream is closed at once wherever the block is left; without it, when the answer is over
    or the object is gone. With plain ``with`` and ``for`` it is a ``SyncStream``.

    Reading raises:
        AnswerFailed: the provider's failure, or ours; its subclasses say of which kind. What came stays in ``answer``.
        RequestRefused: no upstream serves the model, or none that can be asked this.
        RelayError: the relay refuses, or was out of reach for too long.

    Attributes:
        answer: what was read so far, whole: text, tool calls, usage, times.
        output: what its text is to be.
        has_tools: the model was given tools, so that there may be several turns.
        cancelled: it was left before its end.
        failure: what reading raised, if it did.
    """

    def __init__(
        self, answer: Answer[T], begin: Callable[[], Turn], output: Output[T], *, has_tools: bool = False
    ) -> None:
        self.answer = answer
        self.has_tools = has_tools
        self.cancelled = False
        self.output = output
        self._begin: Callable[[], Turn] | None = begin
        self._source: Turn | None = None
        self._plain: SyncStream[T] | None = None
        self.failure: Exception | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # in which it is read
        self._over = False

    # ------------------------------------------------------------------ reading

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Update:
        if self._over:
            raise StopAsyncIteration
        source = self._source or self._ask()
        try:
            update = await anext(source)
        except StopAsyncIteration:
            self._over = True
            self._note(source)
            raise
        except LocalProtocolError:  # of this reader; another one may be reading
            raise
        except Exception as error:  # not a cancelled wait, after which the reader may go on
            self._over = True
            self.failure = error
            self._note(source)
            raise
        self._note(source)
        self.answer.apply(update, source.arrived_ns)
        return update

    @property
    def text_stream(self) -> TextStream[T]:
        """The text alone, piece by piece, for ``async for`` or ``for``.

        Iterating also raises ``CursorLost``, where a relay could not prove that what comes continues what was read.
        """
        return TextStream(self)

    @overload
    def partial(self) -> Partials[T]: ...

    @overload
    def partial(self, wanted: type[V]) -> Partials[V]: ...

    @overload
    def partial(self, wanted: Mapping[str, Any]) -> Partials[Any]: ...

    def partial(self, wanted: type[V] | Mapping[str, Any] | None = None) -> Partials[Any]:
        """The text as a value that grows, for ``async for`` or ``for``: one after each delta that changed it, the last
        one whole and validated.

        Args:
            wanted: a type (a msgspec struct, a pydantic model, a dataclass, ``list[Item]`` …) or a JSON Schema; by
                default what ``output`` said, else any JSON. Of a type, instances: what is not known yet is None, or
                the default. Values grow in place: what was given out before is the same object.

        Iterating also raises ``InvalidJson`` and ``SchemaViolation``, as soon as they are certain: the upstream is
        closed then. Where the model has tools, when its last turn is over.
        """
        return Partials(self, self.output if wanted is None else Output(wanted))

    async def final(self) -> Answer[T]:
        """Read the rest; the whole answer. Raises what reading does, also if it was raised before."""
        async for _ in self:
            pass
        if self.failure is not None:  # told before, and yet what there is is not the whole answer
            raise self.failure
        return self.answer

    async def text(self) -> str:
        """Read the rest; the whole text. Raises what reading does."""
        return (await self.final()).text

    # ------------------------------------------------------------------ what is known

    @property
    def id(self) -> str | None:
        """Of the stream; None before it began. With it a relay's stream can be followed by others."""
        return self.answer.id

    @property
    def usage(self) -> Usage | None:
        """Tokens so far, as the provider told them, or estimated and marked so; None before the first event."""
        growing = self._source.usage() if self._source is not None and not self._over else None
        return growing or self.answer.usage

    @property
    def cost_usd(self) -> float | None:
        """What they cost; None where no price is known."""
        usage = self.usage
        return None if usage is None else usage.cost_usd

    @property
    def timing(self) -> Timing:
        """When what came: ``ttft_ms``, ``e2e_ms``, ``itl_ms`` and others, by arrival and not by reading."""
        return self.answer.timing

    # ------------------------------------------------------------------ ends

    async def cancel(self) -> None:
        """Stop generation; the rest is never read. Returns when the upstream is closed. Idempotent."""
        self._leave()
        source, self._source, self._begin = self._source, None, None
        if source is not None:
            await source.close()
            self._settle(source)

    async def close(self) -> None:
        """``cancel``, under the name that everything that can be closed has."""
        await self.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.cancel()

    def abandon(self) -> None:
        """``cancel`` without waiting: in this process the upstream is closed when it returns; a relay is told soon."""
        self._leave()
        source, self._source, self._begin = self._source, None, None
        if source is not None:
            source.abandon()
            self._settle(source)

    # ------------------------------------------------------------------ without await

    def sync(self) -> SyncStream[T]:
        """The same without ``await``, for programs that have no loop: one in a thread of ours runs it."""
        if self._plain is not None:
            return self._plain
        if self._source is not None or self._over:
            raise LocalProtocolError("this stream has begun in its loop: read it there, with async for")
        from tokenwire.library.sync import SyncStream

        self._plain = SyncStream(self)
        return self._plain

    def __enter__(self) -> SyncStream[T]:
        return self.sync()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sync().close()

    def __iter__(self) -> Iterator[Update]:
        return iter(self.sync())

    # ------------------------------------------------------------------ inside

    @property
    def waiting(self) -> bool:
        """Whether the next update is there already."""
        return self._source is not None and self._source.waiting

    def _settle(self, source: Turn) -> None:
        """What it used until it was left."""
        usage = source.usage()
        if usage is not None:
            self.answer.apply(usage, source.arrived_ns)

    @property
    def begun(self) -> bool:
        """Whether it was asked for, and is not over."""
        return self._source is not None and not self._over

    def _leave(self) -> None:
        self.cancelled = self.cancelled or not self._over
        self._over = True

    def _ask(self) -> Turn:
        assert self._begin is not None
        self._loop = asyncio.get_running_loop()
        self._source = self._begin()
        return self._source

    def _note(self, source: Turn) -> None:
        answer = self.answer
        if answer.id is None and source.id is not None:
            answer.id = source.id
            answer.timing.asked_ns = source.asked_ns

    def __del__(self) -> None:
        source, loop = getattr(self, "_source", None), getattr(self, "_loop", None)
        if source is None or loop is None or self._over:
            return
        if running_loop() is loop:
            source.abandon()
        elif not loop.is_closed():  # the garbage collector runs in whatever thread
            loop.call_soon_threadsafe(source.abandon)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs in this thread, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class TextStream(Generic[T]):
    """The text of a stream, in pieces, none empty."""

    def __init__(self, stream: Stream[T]) -> None:
        self._stream = stream

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while True:
            text = text_of(await anext(self._stream))
            if text:
                return text

    def __iter__(self) -> Iterator[str]:
        return self._stream.sync().text_stream
