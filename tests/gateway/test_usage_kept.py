"""What a stream used and cost, as callers see it: the record, and the end of the native stream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tokenwire.gateway.settings import RetrySettings, Settings, UpstreamSettings
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK, answer
from tokenwire.testing.relay import STREAM_HEAD, Relay, chat, chunks, serving, streamed
from tokenwire.testing.rig import run_in, until
from tokenwire.testing.upstream import REQUEST, ScriptedUpstream, Step

CHAT = "/v1/chat/completions"
#: 110 tokens of text, by the rule of measure/tokens; 14 of prompt.
BEGUN = STREAM_HEAD + chunks(frames.role(), *[frames.text("abcd")] * 121)
PROMPT = "x" * 44
PRICE = 14 * 2.5e-6 + 110 * 10e-6


def priced(main: Callable[[Relay, ScriptedUpstream], Awaitable[None]], *scripts: list[Step]) -> None:
    """*main* with a relay whose upstream is called openai, and so has its prices."""

    async def inside() -> None:
        async with ScriptedUpstream(*scripts) as upstream:
            settings = Settings(
                upstreams={
                    "openai": UpstreamSettings(base_url=upstream.base_url, models=[], retry=RetrySettings(attempts=1))
                }
            )
            async with serving(settings) as relay:
                await main(relay, upstream)

    run_in("uvloop", inside)


@pytest.mark.parametrize(("model", "cost"), [("gpt-4o", {"cost_usd": pytest.approx(PRICE)}), ("nobodys", {})])
def test_a_stream_whose_reader_left(model: str, cost: dict[str, Any]) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, other = await relay.connect(), await relay.connect()
        stream = client.post(CHAT, chat(PROMPT, model=f"openai/{model}"))
        await stream.until(lambda answer: len(answer.data) == 122)
        client.close()
        await until(lambda: relay.streams[0].terminal is not None)
        path = f"/v1/streams/{stream.fields['x-tokenwire-stream']}"
        look = (await other.get(path).whole()).json
        told = {"input": 14, "output": 110, "estimated": True, **cost}
        assert (look["state"], look["usage"]) == ("cancelled", {"cached_input": None, "reasoning": None, **told})
        assert (await other.get("/v1/streams").whole()).json["streams"] == [look]
        late = await other.get(f"{path}/events").whole()
        assert late.events[-3:] == ["usage", "error", "done"]
        assert (late.data[-3], late.data[-1]["usage"]) == (told, told)
        # The end is several events of one entry: whoever had the first of them gets the others.
        rest = await other.get(f"{path}/events", {"last-event-id": late.ids[-3]}).whole()
        assert rest.events == ["error", "done"]
        assert rest.data == late.data[-2:]

    priced(main, [REQUEST, BEGUN])


def test_a_stream_whose_provider_told() -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        vendor = await client.post(CHAT, chat(model="openai/gpt-4o")).whole()
        assert bytes(vendor.body) == b"".join(frames.answer("one")), "no word of ours in the provider's dialect"
        look = (await client.get(f"/v1/streams/{vendor.fields['x-tokenwire-stream']}").whole()).json
        expected = {"input": 3, "output": 5, "cached_input": None, "reasoning": None}
        assert look["usage"] == {**expected, "cost_usd": pytest.approx(57.5e-6)}

    wire = STREAM_HEAD + chunks(*frames.answer("one", with_usage=True)) + LAST_CHUNK
    priced(main, [REQUEST, wire])


def test_an_answer_that_does_not_stream() -> None:
    body = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"one"},"finish_reason":"stop"}],"usage":{}}'

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        whole = await client.post(CHAT, chat(PROMPT, model="openai/gpt-4o", stream=False)).whole()
        assert bytes(whole.body) == body
        look = (await client.get(f"/v1/streams/{whole.fields['x-tokenwire-stream']}").whole()).json
        assert (look["usage"]["input"], look["usage"]["output"], look["usage"]["estimated"]) == (14, 1, True)

    priced(main, [REQUEST, answer(body)])


def test_a_refusal_costs_nothing() -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        refused = await client.post(CHAT, chat(model="openai/gpt-4o")).whole()
        assert refused.status == 429
        assert (await client.get("/v1/streams").whole()).json["streams"][0]["usage"] is None

    priced(main, [REQUEST, answer(b'{"error":{"message":"slow down"}}', status=429)])


def test_without_prices_none_is_asked_for(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        await client.post(CHAT, chat()).whole()
        usage = (await client.get("/v1/streams").whole()).json["streams"][0]["usage"]
        assert "cost_usd" not in usage

    relayed(main, streamed("one"))
