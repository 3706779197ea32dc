"""The tool loop: the model speaks, its tools run, the model is told what came of it and goes on; one stream throughout.

A call is never run before its turn has ended cleanly: arguments of a stream that was cut do not exist. Then all calls
of the turn run at once, and each result is told as it comes; the model is told all of them, in the order of its calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from tokenwire.client.updates import Dropped, Notice, Reset, Resumed
from tokenwire.dialects.deltas import Delta, ToolResult, Usage
from tokenwire.errors import LocalProtocolError, TooManyTurns
from tokenwire.library.tool_messages import says_something, tool_message
from tokenwire.library.tool_run import Approve, Runner
from tokenwire.library.tool_turn import TurnFold
from tokenwire.library.tools import Tool, tools_of

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from tokenwire.dialects.transcript import ToolCall

#: What the loop brings.
LoopUpdate: TypeAlias = Delta | Notice | Reset | Dropped | Resumed


class Turn(Protocol):
    """One turn of a model: an asynchronous iterator of its updates (deltas, and what happens to the connection).

    One that ends cleanly says so, by ``Finished`` or by ``Done``; anything else counts as cut. ``close`` stops it at
    once, whatever it is doing; iterating ends then, also in another task. Idempotent.
    """

    def __aiter__(self) -> AsyncIterator[Any]: ...

    def close(self) -> Awaitable[None]: ...


#: Asks the model to answer the messages. Nothing need be sent before the turn is iterated.
Ask: TypeAlias = Callable[[list[dict[str, Any]]], Turn]


class ToolLoop:
    """An asynchronous iterator of the deltas of all turns, with a ``ToolResult`` for each call that was answered.

    Started once, finished once; blocks go on counting, ``Usage`` is that of all turns so far. What the model is told of
    a call stands in its ``ToolResult``: errors, too, for the loop goes on after them.

    Args:
        ask: asks the model for one turn.
        messages: the conversation so far, as a chat request has it.
        tools: what the model may call, and was told of (``definitions``). Without any, calls are left to the caller.
        max_turns: of the model, at most. If it calls tools in the last of them, these do not run: ``TooManyTurns``.
        approve: asked before each call runs; see ``Runner``.
        timeout: seconds that one call may take; waiting to be allowed does not count.
        parallel: calls that run at the same time, at most.
        thoughts: see ``assistant_message``.

    Iterating raises:
        AnswerFailed: a turn failed or was cut; no tool of it ran.
        TooManyTurns: after everything that was said was told.

    and whatever a turn or *approve* raises. After that, and after the last turn, the iteration is over. One task at a
    time may iterate. If that is cancelled, or ``close`` is called, the turn is closed, running tools are cancelled (an
    async one is awaited: it may clean up; a thread is told by its ``ToolContext`` and left alone) and it is over.

    Attributes:
        tools: by name.
        messages: the conversation, which can be gone on with: it grows by a turn and its results when these are there,
            and by the last answer at the end.
        turns: how many began.
        usage: of all of them; None while nobody told.
    """

    def __init__(
        self,
        ask: Ask,
        messages: Sequence[Mapping[str, Any]],
        tools: Iterable[Tool | Callable[..., Any]] = (),
        *,
        max_turns: int = 8,
        approve: Approve | None = None,
        timeout: float = 60.0,
        parallel: int = 8,
        thoughts: str | None = "reasoning_content",
    ) -> None:
        if max_turns < 1 or parallel < 1 or not timeout > 0:
            raise LocalProtocolError("max_turns, parallel and timeout must be more than 0")
        self.tools = tools_of(tools)
        self.messages: list[dict[str, Any]] = [dict(message) for message in messages]
        self.turns = 0
        self.usage: Usage | None = None
        self._ask = ask
        self._thoughts = thoughts
        self._max_turns = max_turns
        self._runner = Runner(self.tools, approve=approve, timeout=timeout, parallel=parallel)
        self._ids: set[str] = set()
        self._turn: Turn | None = None
        self._running: _Running | None = None
        self._closed = False
        self._iterating = False
        self._updates = self._loop()

    @property
    def definitions(self) -> list[dict[str, Any]]:
        """The tools as ``tools`` of a chat request."""
        return [tool.definition() for tool in self.tools.values()]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LoopUpdate:
        self._iterating = True
        try:
            return await anext(self._updates)
        finally:
            self._iterating = False

    async def close(self) -> None:
        """Stop everything, at once. Idempotent; from whatever task: one that iterates comes to the end then."""
        self._closed = True
        if not self._iterating:
            await self._updates.aclose()
            return
        if self._running is not None:
            self._running.cancel()
        if self._turn is not None:
            await self._turn.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _loop(self) -> AsyncGenerator[LoopUpdate, None]:
        base = 0
        while True:
            self.turns += 1
            fold = TurnFold(first=self.turns == 1, base=base, before=self.usage, ids=self._ids)
            self._turn = turn = self._ask(list(self.messages))
            try:
                async for update in turn:
                    told = fold.take(update)
                    self.usage = fold.usage
                    if told is not None:
                        yield told
            finally:
                self._turn = None
                await turn.close()
            if self._closed:
                return
            for settled in fold.settle():
                yield settled
            calls = fold.calls()
            if not calls or not self.tools or self.turns == self._max_turns:
                for end in fold.ends.values():
                    yield end
                self._end(fold, calls if self.tools else ())
                return
            results: dict[str, ToolResult] = {}
            self._running = running = _Running(self._runner, calls, fold.base)
            try:
                while (result := await running.next()) is not None:
                    results[result.id] = result
                    yield result
            finally:
                self._running = None
                await running.stop()
            if len(results) < len(calls):
                return  # closed
            answered = [call.result or results[call.id] for call in fold.transcript.choice().tool_calls.values()]
            self.messages += [fold.message(calls=True, thoughts=self._thoughts), *map(tool_message, answered)]
            base = fold.next

    def _end(self, fold: TurnFold, calls: Sequence[ToolCall]) -> None:
        """The last turn is over."""
        if calls:
            raise TooManyTurns(self.turns, [call.name for call in calls], self.messages)
        found = fold.transcript.choice().tool_calls.values()
        calling = not self.tools or all(call.result is not None for call in found)
        message = fold.message(calls=calling, thoughts=self._thoughts)
        if says_something(message):
            self.messages.append(message)
            self.messages += [tool_message(call.result) for call in found if call.result is not None]


class _Running:
    """The calls of one turn, each in a task of its own."""

    __slots__ = ("_ended", "_news", "_stopped", "_tasks", "_told")

    def __init__(self, runner: Runner, calls: Sequence[ToolCall], base: int) -> None:
        self._ended: list[asyncio.Task[ToolResult]] = []
        self._told = 0
        self._stopped = False
        self._news = asyncio.Event()
        self._tasks = [
            asyncio.ensure_future(runner.run(call.id, call.name, call.arguments, block=base + call.block))
            for call in calls
        ]
        for task in self._tasks:
            task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[ToolResult]) -> None:
        if not task.cancelled():
            task.exception()  # looked at: after a cancellation nobody is to hear of it any more
        self._ended.append(task)
        self._news.set()

    async def next(self) -> ToolResult | None:
        """The next result, in the order in which they come; None after the last, and if they were cancelled. Raises
        what the hook raised that was to allow a call."""
        if self._told == len(self._tasks):
            return None
        while len(self._ended) == self._told:
            self._news.clear()
            await self._news.wait()
        task = self._ended[self._told]
        self._told += 1
        return None if self._stopped else task.result()

    def cancel(self) -> None:
        self._stopped = True
        for task in self._tasks:
            task.cancel()

    async def stop(self) -> None:
        """Cancel what still runs, and wait until it has ended."""
        self.cancel()
        if left := [task for task in self._tasks if not task.done()]:
            await asyncio.wait(left)
