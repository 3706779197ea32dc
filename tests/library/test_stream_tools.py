"""Tools in ``tokenwire.stream``: one answer of several turns, on both vendors' simulators, directly and by a relay."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from tests.library.conftest import Ask, Asked, Way, both_ways, paced

import tokenwire
from tokenwire.dialects.deltas import Finished, Started, TextDelta, ToolResult
from tokenwire.errors import BadArgument, BadTool, InvalidJson, TooManyTurns
from tokenwire.simulator import Simulator
from tokenwire.testing.rig import until


def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


@both_ways
@pytest.mark.parametrize("model", ["up/gpt-4o", "up/claude-sonnet-4-5"])
def test_one_answer_of_two_turns(asked: Asked, way: Way, model: str) -> None:
    async def main(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        stream = ask(model, "weather in Paris?", tools=[weather], request=paced())
        updates = [update async for update in stream]
        assert sum(isinstance(update, Started) for update in updates) == 1
        assert [update.reason for update in updates if isinstance(update, Finished)] == ["stop"]
        [result] = [update for update in updates if isinstance(update, ToolResult)]
        assert result.content.startswith("sunny in ")
        answer = stream.answer
        assert len(answer.turns) == 2
        assert "".join(u.text for u in updates if isinstance(u, TextDelta)) == answer.text
        assert [message["role"] for message in answer.messages] == ["user", "assistant", "tool", "assistant"]
        assert [call.name for call in answer.tool_calls] == ["weather"]
        assert answer.usage is not None
        assert answer.usage.output is not None
        assert answer.timing.ttft_ms is not None
        assert simulator.stats.requests == 2
        more = ask(model, [*answer.messages, {"role": "user", "content": "and now?"}], tools=[weather], request=paced())
        assert await more.text()

    asked(main, way)


@both_ways
def test_leaving_in_the_middle_of_a_tool_stops_it_and_asks_no_more(asked: Asked, way: Way) -> None:
    async def main(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        began, ended = asyncio.Event(), asyncio.Event()

        @tokenwire.tool(name="weather")
        async def slow(city: str) -> str:
            """Slow."""
            began.set()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                ended.set()
            return ""

        async def read() -> None:
            async with ask("up/gpt-4o", "weather in Paris?", tools=[slow], request=paced()) as stream:
                await stream.final()

        task = asyncio.ensure_future(read())
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()
        dropped = ask("up/gpt-4o", "weather in Paris?", tools=[slow], request=paced())
        began.clear()
        ended.clear()
        reading = asyncio.ensure_future(dropped.final())
        await began.wait()
        dropped.abandon()
        await until(ended.is_set)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await until(lambda: simulator.stats.active == 0)
        assert simulator.stats.requests == 2

    asked(main, way)


def test_turns_are_bounded_and_approval_is_asked(asked: Asked) -> None:
    async def main(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        with pytest.raises(TooManyTurns):
            await ask("up/gpt-4o", "weather in Paris?", tools=[weather], max_turns=1, request=paced()).final()
        refused = ask(
            "up/gpt-4o", "weather in Paris?", tools=[weather], approve=lambda call: "not today", request=paced()
        )
        results = [update async for update in refused if isinstance(update, ToolResult)]
        assert [result.error for result in results] == [True]
        assert "not today" in results[0].content
        sent = json.loads(simulator.recent[-1].body)["messages"][-1]
        assert "not today" in sent["content"]

    asked(main)


def test_a_growing_value_waits_for_the_last_turn(asked: Asked) -> None:
    async def main(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        stream = ask("up/gpt-4o", "weather in Paris?", tools=[weather], request=paced())
        with pytest.raises(InvalidJson):
            async for _ in stream.partial():
                pass
        assert len(stream.answer.turns) == 2, "read to its end: the text of a turn that calls tools need not be JSON"

    asked(main)


def test_a_sync_program_has_tools_too() -> None:
    from tokenwire.library.sync import background

    @tokenwire.tool(name="weather")
    def patient(city: str) -> str:
        """Blocks a thread, not the loop."""
        time.sleep(0)
        return city

    stream = tokenwire.stream("sim/gpt-4o", "weather in Paris?", tools=[patient], request=paced()).sync()
    assert stream.text()
    assert any(message["role"] == "tool" for message in stream.answer.messages)
    background().close()


def test_what_cannot_be_a_tool_is_said_at_once() -> None:
    with pytest.raises(BadTool):
        tokenwire.stream("sim/gpt-4o", "hi", tools=[lambda x: x])
    with pytest.raises(BadArgument, match="max_turns"):
        tokenwire.stream("sim/gpt-4o", "hi", max_turns=0)
    with pytest.raises(BadArgument, match="tool_timeout"):
        tokenwire.stream("sim/gpt-4o", "hi", tool_timeout=0)
