"""Whoever takes a snapshot has in the end what anybody else has.

All of it was found by tests/simulation.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tokenwire.testing import chat_frames as frames
from tokenwire.testing import message_frames as message
from tokenwire.testing.http_bytes import LAST_CHUNK
from tokenwire.testing.relay import STREAM_HEAD, Relay, chat, chunks, started
from tokenwire.testing.rig import until
from tokenwire.testing.upstream import CLOSE, REQUEST, ScriptedUpstream


@pytest.mark.parametrize("first", [b"", frames.event({"choices": []})], ids=["no entry", "an entry that says nothing"])
def test_who_joins_before_anything_is_said_is_told_the_beginning_once(relayed: Any, first: bytes) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        path = await started(client)
        if first:
            stream = await relay.stream()
            await until(lambda: stream.log.last == 1)
        answer = client.get(f"{path}?from=snapshot")
        await answer.until(lambda answer: answer.ids)
        gate.set()
        await answer.whole()
        assert answer.events == ["started", "text", "text", "usage", "done"]
        assert answer.data[-2]["estimated"], "which is no event of the answer"
        assert answer.data[-1]["events"] == 3

    gate = asyncio.Event()
    rest = chunks(*frames.answer("one", " two")) + LAST_CHUNK
    relayed(main, [REQUEST, STREAM_HEAD + (chunks(first) if first else b""), gate, rest])


def test_who_joins_after_the_usage_of_a_chat_is_told_it(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        path = await started(client, request=chat(stream_options={"include_usage": True}))
        await client.get(path).whole()
        late = await client.get(f"{path}?dialect=openai.chat&from=snapshot").whole()
        assert late.text == "one two"
        assert [data["usage"]["total_tokens"] for data in late.data[:-1] if data.get("usage")] == [8]
        assert late.data[-1] == "[DONE]"

    relayed(main, [REQUEST, STREAM_HEAD + chunks(*frames.answer("one", " two", with_usage=True)) + LAST_CHUNK])


@pytest.mark.parametrize("error", [frames.error(), frames.swallowed_error()], ids=["noticed", "not noticed"])
def test_who_joins_after_the_providers_error_is_told_it(relayed: Any, error: bytes) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        path = await started(client)
        await client.get(path).whole()
        late = await client.get(f"{path}?dialect=openai.chat&from=snapshot").whole()
        assert late.text == "one"
        assert [data["error"]["message"] for data in late.data if "error" in data] == ["it broke"]

    relayed(main, [REQUEST, STREAM_HEAD + chunks(frames.role(), frames.text("one"), error), CLOSE])


def test_the_same_of_messages(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        path = await started(client, dialect="anthropic", request={**chat(), "max_tokens": 9})
        await client.get(path).whole()
        late = await client.get(f"{path}?dialect=anthropic&from=snapshot").whole()
        assert late.events[-1] == "error"
        assert late.data[-1]["error"]["message"] == "Overloaded"

    body = chunks(message.start(), message.block(), message.text("one"), message.error())
    relayed(main, [REQUEST, STREAM_HEAD + body, CLOSE], settings={"dialect": "anthropic"})
