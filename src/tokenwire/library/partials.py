"""The growing value of an answer: one after each delta that brought something, and at last the whole one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tokenwire.dialects.deltas import ToolResult
from tokenwire.errors import InvalidJson, SchemaViolation, StreamClosed
from tokenwire.library.output import NOTHING
from tokenwire.library.text import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

    from tokenwire.client import Update
    from tokenwire.library.output import Growth, Output
    from tokenwire.library.streams import Stream
    from tokenwire.library.sync import SyncStream

T = TypeVar("T")
V = TypeVar("V")


class Partials(Generic[V]):
    """``Stream.partial``: for ``async for``, or ``for``. The last value is the whole one, validated."""

    def __init__(self, stream: Stream[Any], output: Output[V]) -> None:
        self._stream = stream
        self._output = output
        self._reading: Reading[V] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> V:
        reading = self._reading
        if reading is None:
            reading = self._reading = Reading(self._stream, self._output)
        try:
            while not reading.over:
                try:
                    update = await anext(self._stream)
                except StopAsyncIteration:
                    value = reading.end()
                else:
                    value = reading.take(update)
                if value is not NOTHING:
                    return value
        except (InvalidJson, SchemaViolation):
            await self._stream.cancel()  # what comes after it is worth nothing, and costs
            raise
        raise StopAsyncIteration

    def __iter__(self) -> Iterator[V]:
        return read(self._stream.sync(), self._output)


def read(stream: SyncStream[Any], output: Output[V]) -> Iterator[V]:
    """The same for programs without a loop."""
    reading = Reading(stream.asynchronous, output, ahead=stream.ahead)
    try:
        for update in stream:
            value = reading.take(update)
            if value is not NOTHING:
                yield value
        value = reading.end()
        if value is not NOTHING:
            yield value
    except (InvalidJson, SchemaViolation):
        stream.cancel()
        raise


class Reading(Generic[V]):
    """The text of one answer on its way to a value. Where tools are called, the last turn's text is what counts:
    what is said beside a call need not be JSON."""

    def __init__(self, stream: Stream[Any], output: Output[V], ahead: Sequence[Update] = ()) -> None:
        """*ahead*: what is in the stream's answer already, and will be taken yet."""
        self.over = False
        self._output = output
        self._patient = stream.has_tools
        self._stream = stream
        self._wrong: InvalidJson | SchemaViolation | None = None
        self._growth: Growth[V] = output.growth()
        said = stream.answer.turns[-1].choice().text  # what was read in another way before
        if any(isinstance(update, ToolResult) for update in ahead):
            said = ""  # what was read is of a turn that is over
        else:
            said = said[: len(said) - sum([len(text_of(update)) for update in ahead])]
        if said:
            self._feed(said)

    def take(self, update: Update) -> V:
        """The value after *update*; ``NOTHING`` where it did not change."""
        if isinstance(update, ToolResult):
            self._growth = self._output.growth()
            self._wrong = None
            return NOTHING  # type: ignore[no-any-return]
        text = text_of(update)
        return self._feed(text) if text else NOTHING

    def end(self) -> V:
        """The answer is over: its value. Raises ``StreamClosed`` if it was cancelled before."""
        self.over = True
        if self._stream.cancelled:
            raise StreamClosed("cancelled")
        if self._wrong is not None:
            raise self._wrong
        return self._growth.close()

    def _feed(self, text: str) -> V:
        if self._wrong is None:
            try:
                return self._growth.feed(text)
            except (InvalidJson, SchemaViolation) as error:
                if not self._patient:
                    raise
                self._wrong = error
        return NOTHING  # type: ignore[no-any-return]
