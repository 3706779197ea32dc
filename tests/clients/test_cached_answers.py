"""The official SDKs read a repeated answer as they read the first: relay and simulator are real processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from tokenwire.testing.processes import Running, running_relay, running_simulator, without_proxies

CONFIG = """
[upstreams.up]
base_url = "{simulator}/v1"
dialect = ["openai.chat", "anthropic", "openai.responses"]
api_key = "k"
[models."up/instant".cache]
seconds = 60
"""
TOOL: dict[str, Any] = {
    "name": "get_weather",
    "description": "Weather in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
ASKED: list[Any] = [{"role": "user", "content": "What is the weather in Oslo?"}]


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("cached")
    with (
        without_proxies(),
        running_simulator(folder) as simulator,
        running_relay(CONFIG.format(simulator=simulator.url), folder) as running,
    ):
        yield running


def test_openai_chat(relay: Running) -> None:
    with openai.OpenAI(base_url=f"{relay.url}/v1", api_key="none") as sdk:

        def ask() -> tuple[str, list[Any], Any]:
            tools: Any = [{"type": "function", "function": TOOL}]
            options: Any = {"include_usage": True}
            raw = sdk.chat.completions.with_raw_response.create(
                model="up/instant", messages=ASKED, tools=tools, stream=True, stream_options=options
            )
            return raw.headers["x-tokenwire-cache"], *folded(list(raw.parse()))

        first, again = ask(), ask()
        assert (first[0], again[0]) == ("miss", "hit")
        assert again[1:] == first[1:]
        assert [name for name, _ in first[1]] == ["get_weather"]
        tools: Any = [{"type": "function", "function": TOOL}]
        whole = sdk.chat.completions.create(model="up/instant", messages=ASKED, tools=tools)
        calls: Any = whole.choices[0].message.tool_calls
        assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == first[1]


def folded(chunks: list[Any]) -> tuple[list[Any], Any]:
    """Calls and usage, as the SDK's users put them together."""
    calls: dict[int, list[str]] = {}
    usage: Any = None
    for chunk in chunks:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            for call in choice.delta.tool_calls or ():
                entry = calls.setdefault(call.index, ["", ""])
                entry[0] += call.function.name or ""
                entry[1] += call.function.arguments or ""
    return [(name, json.loads(arguments)) for name, arguments in calls.values()], usage.model_dump()


def test_openai_responses(relay: Running) -> None:
    with openai.OpenAI(base_url=f"{relay.url}/v1", api_key="none") as sdk:

        def ask() -> Any:
            events = sdk.responses.create(model="up/instant", input=ASKED, stream=True)
            return [event.model_dump() for event in events]

        first, again = ask(), ask()
        assert again == first, "their ids too: what goes on with one goes on with the provider's"
        assert first[-1]["type"] == "response.completed"


def test_anthropic_messages(relay: Running) -> None:
    with anthropic.Anthropic(base_url=relay.url, api_key="none") as sdk:

        def ask() -> tuple[str | None, Any]:
            with sdk.messages.stream(model="up/instant", max_tokens=200, messages=ASKED) as stream:
                return stream.response.headers.get("x-tokenwire-cache"), stream.get_final_message().model_dump()

        first, again = ask(), ask()
        assert (first[0], again[0]) == ("miss", "hit")
        assert again[1] == first[1]
        whole = sdk.messages.create(model="up/instant", max_tokens=200, messages=ASKED).model_dump()
        assert [part["text"] for part in whole["content"]] == [part["text"] for part in first[1]["content"]]
        assert (whole["usage"]["output_tokens"], whole["stop_reason"]) == (
            first[1]["usage"]["output_tokens"],
            first[1]["stop_reason"],
        )
