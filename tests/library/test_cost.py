"""What reading costs: in proportion to the answer, and one copy of its text."""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire import dialects
from tokenwire.engine.clock import LoopClock
from tokenwire.engine.hub import Hub
from tokenwire.engine.states import Policy
from tokenwire.engine.stream import Stream as EngineStream
from tokenwire.library.answer import Answer
from tokenwire.library.output import Output
from tokenwire.library.streams import Stream
from tokenwire.library.turn import DirectTurn
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.sinks import ScriptedSource

SHORT, LONG = 10_000, 100_000
BATCH = [chat.text(f"w{n:02} ") for n in range(50)]


class Provider:
    """A node whose provider writes *tokens* tokens of four characters, fifty at a time."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.hub = Hub(LoopClock())
        self.writing: asyncio.Task[None] | None = None

    async def open(self, model: str, begin: Callable[..., Any]) -> EngineStream:
        stream = self.hub.open(owner="o", dialect=dialects.get("openai.chat"), model="m", policy=Policy(linger=0))
        stream.connecting(ScriptedSource())
        stream.begin()
        self.writing = asyncio.get_running_loop().create_task(self._write(stream))
        return stream

    async def _write(self, stream: EngineStream) -> None:
        for _ in range(self.tokens // len(BATCH)):
            stream.append(BATCH, self.hub.clock.now_ns())
            await asyncio.sleep(0)
        stream.append([chat.finish(), chat.DONE], self.hub.clock.now_ns())
        stream.finish()


def read(tokens: int) -> tuple[float, Answer[Any]]:
    """CPU seconds of reading an answer of *tokens*, and the answer."""

    async def main() -> tuple[float, Answer[Any]]:
        provider = Provider(tokens)
        output: Output[Any] = Output(None)
        answer: Answer[Any] = Answer("m", [], output)
        turn = DirectTurn(provider, b"{}", "m", "openai.chat", [], 0.0)  # type: ignore[arg-type]
        size = 0
        begun = time.process_time()
        async for piece in Stream(answer, lambda: turn, output).text_stream:
            size += len(piece)
        spent = time.process_time() - begun
        provider.hub.close()
        assert size == 4 * tokens
        return spent, answer

    return asyncio.run(main())


@pytest.mark.alone
def test_ten_times_the_tokens_cost_ten_times_as_much() -> None:
    read(1_000)
    # Whatever else the machine does only adds: one good measurement proves it.
    assert any(read(LONG)[0] < 1.1 * 10 * min(read(SHORT)[0] for _ in range(4)) for _ in range(5))


def test_a_long_answer_is_held_once() -> None:
    tokens = 3 * SHORT
    read(1_000)
    tracemalloc.start()
    try:
        answer = read(tokens)[1]
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    text, times = 4 * tokens, 8 * tokens  # the time of each event
    assert held < 1.2 * times + 1.5 * text, "arrays grow ahead; a second copy were twice the text"
    assert len(answer.text) == text
