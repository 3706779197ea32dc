"""The cache in a process of one's own: ``tokenwire.stream`` with settings that keep answers."""

from __future__ import annotations

from typing import Any

import tokenwire
from tokenwire.simulator import serve
from tokenwire.testing.rig import run_in

MODEL = "up/instant"


def settings(url: str, **cache: Any) -> dict[str, Any]:
    up = {"base_url": f"{url}/v1", "dialect": ["openai.chat", "anthropic"], "api_key": "k", "models": ["instant"]}
    return {"upstreams": {"up": up}, "models": {MODEL: {"cache": {"seconds": 60, **cache}}}}


def test_the_same_answer_without_asking_anybody_and_for_nothing() -> None:
    async def main() -> None:
        simulator = await serve()
        try:
            async with tokenwire.Node(settings(simulator.url)) as node:
                first, again, other = [
                    await tokenwire.stream(MODEL, prompt, node=node).final()
                    for prompt in ("Tell me of the sea.", "Tell me of the sea.", "Tell me of the land.")
                ]
                assert first.text == again.text != other.text
                assert simulator.stats.requests == 2
                assert first.usage is not None
                assert again.usage is not None
                assert (again.usage.input, again.usage.output) == (first.usage.input, first.usage.output)
                assert (first.cost_usd, again.cost_usd) == (None, 0.0), "the simulator has no price"
                assert again.reason == first.reason == "stop"
        finally:
            await simulator.close()

    run_in("uvloop", main)


def test_a_repeated_answer_can_be_left_in_its_midst() -> None:
    async def main() -> None:
        simulator = await serve()
        try:
            async with tokenwire.Node(settings(simulator.url)) as node:
                knobs = {"metadata": {"x-sim-tokens": "1000"}}
                whole = await tokenwire.stream(MODEL, "hi", node=node, request=knobs).final()
                async with tokenwire.stream(MODEL, "hi", node=node, request=knobs) as stream:
                    async for _ in stream.text_stream:
                        break
                assert 0 < len(stream.answer.text) < len(whole.text)
                assert stream.cost_usd == 0.0
                assert [each.state.value for each in node.core.hub.running()] == []
                assert (await tokenwire.stream(MODEL, "hi", node=node, request=knobs).final()).text == whole.text
                assert simulator.stats.requests == 1
        finally:
            await simulator.close()

    run_in("uvloop", main)
