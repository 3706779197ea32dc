"""A model and its tools as one answer: the tool loop, as streams read it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from tokenwire.dialects.deltas import ToolResult, Usage
from tokenwire.library.tool_loop import ToolLoop
from tokenwire.library.tool_turn import total

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Self

    from tokenwire.client import Update
    from tokenwire.library.asking import Message
    from tokenwire.library.node import Node
    from tokenwire.library.tool_run import Approve
    from tokenwire.library.tools import Tool
    from tokenwire.library.turn import Turn


class Talk:
    """A ``Turn`` of several: each is asked by *ask*, once the tools that the one before it called have answered."""

    def __init__(
        self,
        node: Node,
        ask: Callable[[Sequence[Message]], Turn],
        messages: Sequence[Message],
        tools: Iterable[Tool],
        *,
        max_turns: int,
        approve: Approve | None,
        timeout: float,
    ) -> None:
        self.id: str | None = None
        self.asked_ns: int | None = None
        self.arrived_ns = 0
        self._node = node
        self._ask = ask
        self._reading: asyncio.Future[Any] | None = None
        self._turn: Turn | None = None
        self._before: Usage | None = None  # of the turns before it
        self._loop = ToolLoop(self._asked, messages, tools, max_turns=max_turns, approve=approve, timeout=timeout)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation, as far as it can be gone on with."""
        return self._loop.messages

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Update:
        if self._reading is None:
            self._reading = asyncio.ensure_future(anext(self._loop))
            self._reading.add_done_callback(_looked_at)
        reading = self._reading
        try:
            update: Update = await asyncio.shield(reading)  # a cancelled wait leaves it to the next read, or to the end
        except asyncio.CancelledError:
            if reading.cancelled():
                self._reading = None
            raise
        except BaseException:
            self._reading = None
            raise
        self._reading = None
        turn = self._turn
        if self.id is None and turn is not None:
            self.id, self.asked_ns = turn.id, turn.asked_ns
        result = turn is None or isinstance(update, ToolResult)
        self.arrived_ns = time.monotonic_ns() if result or turn is None else turn.arrived_ns
        return update

    @property
    def waiting(self) -> bool:
        return self._turn is not None and self._turn.waiting

    def usage(self) -> Usage | None:
        growing = None if self._turn is None else self._turn.usage()
        return None if growing is None else total(self._before, growing)

    def abandon(self) -> None:
        if self._turn is not None:
            self._turn.abandon()
        self._node.keep(self._end())

    async def close(self) -> None:
        try:
            if self._turn is not None:
                await self._turn.close()  # before the tools, which may take their time to end
        finally:
            await self._end()

    async def _end(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            await asyncio.wait([reading])
        await self._loop.close()

    def _asked(self, messages: list[dict[str, Any]]) -> Turn:
        self._before = self._loop.usage
        self._turn = self._ask(messages)
        return self._turn


def _looked_at(reading: asyncio.Future[Any]) -> None:
    """How it ended is nobody's business where nobody reads any more."""
    if not reading.cancelled():
        reading.exception()
