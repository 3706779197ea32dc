"""Turns of a model that are scripts, and what a loop makes of them."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any, TypeVar

from tokenwire.dialects.deltas import (
    Delta,
    Finished,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
)
from tokenwire.library.tool_loop import ToolLoop

T = TypeVar("T")


def call(id: str, name: str, arguments: str, *, block: int = 0) -> list[Delta]:
    """A call whose arguments come in two pieces."""
    half = len(arguments) // 2
    pieces: list[Delta] = [ToolCallDelta(piece, block=block) for piece in (arguments[:half], arguments[half:])]
    return [ToolCallStarted(id, name, block=block), *pieces, ToolCallEnded(block=block)]


def calling(*calls: list[Delta], reason: Any = "tool_use") -> list[Delta]:
    return [Started(), *(delta for each in calls for delta in each), Finished(reason)]


def saying(text: str, *more: Delta) -> list[Delta]:
    return [Started(), TextDelta(text), *more, Finished("stop")]


class ScriptedTurn:
    """Plays updates, each after a turn of the event loop; an exception in the script is raised."""

    def __init__(self, script: Sequence[Any]) -> None:
        self.closed = 0
        self.left = list(script)
        self._wake = asyncio.Event()

    def __aiter__(self) -> ScriptedTurn:
        return self

    async def __anext__(self) -> Any:
        await asyncio.sleep(0)
        if self.closed or not self.left:
            raise StopAsyncIteration
        update = self.left.pop(0)
        if update is ...:  # silence, until somebody closes it
            await self._wake.wait()
            raise StopAsyncIteration
        if isinstance(update, Exception):
            raise update
        return update

    async def close(self) -> None:
        self.closed += 1
        self._wake.set()
        await asyncio.sleep(0)


class Model:
    """Answers with one script after the other, and keeps what it was asked."""

    def __init__(self, *scripts: Sequence[Any]) -> None:
        self.scripts = list(scripts)
        self.asked: list[list[dict[str, Any]]] = []
        self.turns: list[ScriptedTurn] = []

    def __call__(self, messages: list[dict[str, Any]]) -> ScriptedTurn:
        self.asked.append(messages)
        self.turns.append(ScriptedTurn(self.scripts[len(self.turns)]))
        return self.turns[-1]

    @property
    def clean(self) -> bool:
        """Every turn was closed, once."""
        return all(turn.closed == 1 for turn in self.turns)


async def collect(loop: ToolLoop) -> list[Any]:
    return [update async for update in loop]


@types.coroutine
def counted(scenario: Coroutine[Any, Any, T], suspended: Callable[[], object]) -> Generator[Any, Any, T]:
    """Run *scenario*, and call *suspended* each time that it waits."""
    step: Callable[[Any], Any] = scenario.send
    value: Any = None
    while True:
        try:
            waits_for = step(value)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        suspended()
        try:
            value = yield waits_for
            step = scenario.send
        except BaseException as error:
            value, step = error, scenario.throw
