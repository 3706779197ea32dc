"""The tool loop through a relay, on the simulators of both vendors: real bytes, real turns."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec
import pytest

from tokenwire.client import Client, Following
from tokenwire.dialects.deltas import Failed, Finished, Started, TextDelta, ToolCallStarted, ToolResult
from tokenwire.dialects.transcript import Transcript
from tokenwire.errors import AnswerFailed, ToolError
from tokenwire.library.tool_loop import ToolLoop
from tokenwire.library.tools import ToolContext
from tokenwire.simulator import Simulator
from tokenwire.simulator import serve as simulate
from tokenwire.testing.processes import without_proxies
from tokenwire.testing.relay import Relay, serving, settings_for
from tokenwire.testing.rig import run_in, until

VENDORS = pytest.mark.parametrize("vendor", ["openai.chat", "anthropic"])

PARALLEL = "What is the weather in Oslo and Paris?"
ROUNDS = "What is the weather in Oslo and Paris and Rome, one after another?"


class RelayTurn:
    """One turn as a stream of the relay's."""

    def __init__(self, client: Client, request: dict[str, Any]) -> None:
        self._client = client
        self._request = request
        self._following: Following | None = None
        self._stream = ""

    def __aiter__(self) -> RelayTurn:
        return self

    async def __anext__(self) -> Any:
        if self._following is None:
            self._stream = await self._client.start(self._request)
            self._following = self._client.follow(self._stream)
        return await anext(self._following)

    async def close(self) -> None:
        if self._following is not None and self._following.answer.done is None:
            self._following.close()
            await self._client.cancel(self._stream)


class Scene:
    """A loop over the relay, and what it brought."""

    def __init__(self, client: Client, relay: Relay, simulator: Simulator) -> None:
        self.relay = relay
        self.simulator = simulator
        self._client = client
        self.updates: list[Any] = []
        self.loop: ToolLoop

    def begin(
        self, prompt: str, tools: Iterable[Any], *, model: str = "instant", fields: dict[str, Any] | None = None,
        **options: Any,
    ) -> ToolLoop:  # fmt: skip
        def ask(messages: list[dict[str, Any]]) -> RelayTurn:
            body = {"model": f"up/{model}", "messages": messages, "tools": self.loop.definitions, **(fields or {})}
            return RelayTurn(self._client, body)

        self.loop = ToolLoop(ask, [{"role": "user", "content": prompt}], tools, **options)
        return self.loop

    async def play(self, prompt: str, tools: Iterable[Any], **options: Any) -> list[Any]:
        async for update in self.begin(prompt, tools, **options):
            self.updates.append(update)  # what came before an error counts
        return self.updates

    @property
    def results(self) -> list[tuple[str, bool]]:
        """In the order of the calls."""
        calls = [it.id for it in self.updates if isinstance(it, ToolCallStarted)]
        found = {it.id: (it.content, it.error) for it in self.updates if isinstance(it, ToolResult)}
        return [found[id] for id in calls]

    @property
    def text(self) -> str:
        """What the model said last."""
        said: list[str] = []
        for update in self.updates:
            if isinstance(update, ToolResult):
                said.clear()
            elif isinstance(update, TextDelta):
                said.append(update.text)
        return "".join(said)

    def sent(self, number: int) -> dict[str, Any]:
        """The body of a request upstream."""
        body: dict[str, Any] = msgspec.json.decode(self.simulator.recent[number].body)
        return body


def play(vendor: str, main: Callable[[Scene], Awaitable[Any]]) -> Any:
    """*main* with a scene before a simulator of that vendor; afterwards nothing is under way upstream."""

    async def inside() -> Any:
        simulator = await simulate()
        base = simulator.url if vendor == "anthropic" else f"{simulator.url}/v1"
        try:
            async with (
                serving(settings_for(base, {"dialect": vendor, "api_key": "simulated"})) as relay,
                Client(f"http://127.0.0.1:{relay.port}") as client,
            ):
                result = await main(Scene(client, relay, simulator))
                await until(lambda: simulator.stats.active == 0)
                return result
        finally:
            await simulator.close()

    with without_proxies():
        return run_in("uvloop", inside)


async def get_weather(city: str) -> dict[str, Any]:
    """The weather in a city.

    Args:
        city: Its name.
    """
    if city == "Paris":
        raise ToolError("no weather there today")
    return {"city": city, "sky": "clear"}


@VENDORS
def test_parallel_tools_one_of_which_fails(vendor: str) -> None:
    arrived: list[str] = []

    async def main(scene: Scene) -> None:
        both = asyncio.Event()

        async def weather(city: str) -> dict[str, Any]:
            """The weather in a city."""
            arrived.append(city)
            if len(arrived) == 2:
                both.set()
            await both.wait()  # neither ends before the other began
            return await get_weather(city)

        await scene.play(PARALLEL, [weather])
        assert scene.results == [('{"city":"Oslo","sky":"clear"}', False), ("Error: no weather there today", True)]
        assert '{"city":"Oslo","sky":"clear"}' in scene.text
        assert "no weather there today" in scene.text
        kinds = [type(it) for it in scene.updates if isinstance(it, Started | Finished)]
        assert kinds == [Started, Finished]
        assert [message["role"] for message in scene.loop.messages] == [
            "user",
            "assistant",
            "tool",
            "tool",
            "assistant",
        ]
        fold = Transcript()
        for update in scene.updates:
            fold.apply(update)
        assert fold.usage == scene.loop.usage
        assert fold.usage is not None
        assert (fold.usage.output or 0) > 20

    play(vendor, main)


@VENDORS
def test_three_turns(vendor: str) -> None:
    async def main(scene: Scene) -> None:
        async def weather(city: str) -> str:
            """The weather in a city."""
            return f"sun over {city}"

        await scene.play(ROUNDS, [weather])
        assert scene.loop.turns == 4  # three of calls, and the answer
        assert scene.results == [(f"sun over {city}", False) for city in ("Oslo", "Paris", "Rome")]
        assert scene.text.count("sun over") == 3
        blocks = [it.block for it in scene.updates if hasattr(it, "block")]
        assert blocks == sorted(blocks)
        roles = [message["role"] for message in scene.loop.messages]
        assert roles == ["user", *["assistant", "tool"] * 3, "assistant"]

    play(vendor, main)


@VENDORS
def test_a_tool_over_its_time_and_a_thread_over_its_time(vendor: str) -> None:
    told = threading.Event()

    async def weather(city: str) -> None:
        """The weather in a city."""
        await asyncio.Event().wait()

    def slow_weather(city: str, context: ToolContext) -> None:
        """The weather in a city, slowly."""
        if context.cancelled.wait(5):
            told.set()

    async def main(scene: Scene) -> None:
        await scene.play("Weather in Oslo, and slow weather in Rome?", [weather, slow_weather], timeout=0.02)
        assert scene.results == [("Error: no result within 0.02 s: the call was stopped", True)] * 2
        assert "no result within 0.02 s" in scene.text

    play(vendor, main)
    assert told.wait(5)


@VENDORS
def test_malformed_arguments_are_told_and_the_tool_does_not_run(vendor: str) -> None:
    async def main(scene: Scene) -> None:
        ran: list[str] = []

        async def weather(city: str) -> None:
            """The weather in a city."""
            ran.append(city)

        await scene.play("The weather in Oslo, with garbled arguments?", [weather])
        ((content, error),) = scene.results
        assert error
        assert content.startswith("Error: the arguments are not valid JSON")
        assert content in scene.text
        assert ran == []

    play(vendor, main)


@VENDORS
@pytest.mark.parametrize("fault", ["fault-cut-tool-1", "fault-eof-2", "fault-error-mid-2"])
def test_a_stream_that_is_cut_within_arguments_raises_and_the_tool_never_runs(vendor: str, fault: str) -> None:
    async def main(scene: Scene) -> None:
        ran: list[str] = []

        async def weather(city: str) -> None:
            """The weather in a city."""
            ran.append(city)

        with pytest.raises(AnswerFailed):
            await scene.play("The weather in Oslo?", [weather], model=fault, fields={"tool_choice": "required"})
        assert any(isinstance(it, Failed) for it in scene.updates)
        assert any(isinstance(it, ToolCallStarted) for it in scene.updates)
        assert (ran, scene.loop.turns, scene.simulator.stats.requests) == ([], 1, 1)

    play(vendor, main)


@VENDORS
def test_cancelled_in_the_middle_of_a_tool(vendor: str) -> None:
    async def main(scene: Scene) -> None:
        begun, cleaned = asyncio.Event(), asyncio.Event()

        async def weather(city: str) -> None:
            """The weather in a city."""
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                cleaned.set()

        task = asyncio.ensure_future(scene.play("The weather in Oslo?", [weather]))
        await begun.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert cleaned.is_set()
        assert scene.simulator.stats.requests == 1  # nobody was told of a result

    play(vendor, main)


@VENDORS
def test_left_in_the_middle_of_a_turn_the_upstream_is_closed(vendor: str) -> None:
    async def main(scene: Scene) -> None:
        knobs = {"metadata": {"x-sim-tokens": "5000", "x-sim-interval-ms": "20"}} if vendor == "openai.chat" else {}
        model = "instant" if knobs else "fault-stall-5"
        async with scene.begin("Tell me a story.", [get_weather], model=model, fields=knobs) as loop:
            async for update in loop:
                if isinstance(update, TextDelta):
                    break
        await until(lambda: scene.simulator.stats.aborted == 1)

    play(vendor, main)


@pytest.mark.parametrize("redacted", [False, True])
def test_claude_gets_its_thoughts_back_with_their_proofs(redacted: bool) -> None:
    """The simulator refuses a thinking block that is not its own, as the API does."""

    async def main(scene: Scene) -> None:
        magic = " ANTHROPIC_MAGIC_STRING_TRIGGER_REDACTED_THINKING" if redacted else ""
        await scene.play(ROUNDS + magic, [get_weather], fields={"reasoning_effort": "high"})
        assert scene.loop.turns == 4
        last = scene.sent(-1)
        assert last["thinking"]["type"] != "disabled"
        blocks = [message["content"][0] for message in last["messages"] if message["role"] == "assistant"]
        assert [block["type"] for block in blocks] == ["redacted_thinking" if redacted else "thinking"] * 3
        assert all(block.get("signature") or block.get("data") for block in blocks)

    play("anthropic", main)


@pytest.mark.parametrize("vendor", ["gemini", "openai.responses"])
def test_other_vendors_go_on_as_well(vendor: str) -> None:
    async def main(scene: Scene) -> None:
        await scene.play("The weather in Oslo and Rome, one after another?", [get_weather])
        assert scene.loop.turns == 3
        assert [error for _, error in scene.results] == [False, False]

    play(vendor, main)
