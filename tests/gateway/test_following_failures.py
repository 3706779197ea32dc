"""Following what failed, what came whole, what is silent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK, answer
from tokenwire.testing.relay import STREAM_HEAD, Relay, chunks, started, streamed
from tokenwire.testing.rig import settle, until
from tokenwire.testing.upstream import CLOSE, REQUEST, ScriptedUpstream

FIRST = STREAM_HEAD + chunks(frames.role(), frames.text("one"))
REST = chunks(frames.text(" two"), frames.finish(), frames.DONE) + LAST_CHUNK
DIALECTS = ["native", "openai.chat"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_failure_within_the_answer(relayed: Any, dialect: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        path = f"{await started(client)}?dialect={dialect}"
        events = await client.get(path).whole()
        assert (events.status, events.complete) == (200, True)
        if dialect == "native":
            assert events.events == ["started", "text", "usage", "error", "done"]
            assert events.data[-2]["code"] == "upstream_closed"
            assert events.data[-1]["state"] == "failed"
        else:
            assert events.data[-1]["error"]["code"] == "upstream_closed"
        again = await client.get(path).whole()
        assert bytes(again.body) == bytes(events.body)
        assert (await client.get(path, {"Last-Event-ID": events.ids[-1]}).whole()).status == 204

    relayed(main, [REQUEST, FIRST, CLOSE])


def test_a_failure_before_the_first_token_in_native_is_an_event(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        events = client.get(await started(client))
        await events.head()  # native is not held
        gate.set()
        await events.whole()
        assert events.status == 200
        assert events.data[-2]["upstream_status"] == 429
        assert events.data[-1]["state"] == "failed"

    gate = asyncio.Event()
    relayed(main, [REQUEST, gate, answer(b'{"error":{"message":"slow down"}}', status=429)])


def test_a_failure_before_the_first_token_in_a_vendors_dialect_is_its_status(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        events = client.get(f"{await started(client)}?dialect=openai.chat")
        stream = await relay.stream()
        await until(lambda: stream.readers)
        gate.set()
        await events.whole()
        assert (events.status, events.json) == (429, {"error": {"message": "slow down"}})

    gate = asyncio.Event()
    relayed(main, [REQUEST, gate, answer(b'{"error":{"message":"slow down"}}', status=429)])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_whole_answer_is_followed_as_events(relayed: Any, dialect: str) -> None:
    body = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"one"},"finish_reason":"stop"}]}'

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        path = f"{await started(client)}?dialect={dialect}"
        events = await client.get(path).head()
        gate.set()
        await events.whole()
        again = await client.get(path).whole()
        for each in (events, again):
            assert (each.native_text if dialect == "native" else each.text) == "one"
        assert bytes(again.body) == bytes(events.body)

    gate = asyncio.Event()
    relayed(main, [REQUEST, gate, answer(body)], hold=0.02)


def test_a_native_reader_that_is_idle_gets_heartbeats(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        events = client.get(await started(client))
        await events.until(lambda answer: answer.body.endswith(b": hb\n: hb\n"))
        gate.set()
        await events.whole()
        assert events.events[-1] == "done"
        assert b"hb\n\n" not in events.body, "after an id, comment and blank line would dispatch an empty event"

    gate = asyncio.Event()
    relayed(main, [REQUEST, FIRST, gate, REST], heartbeat=0.03)


def test_a_reader_of_an_ended_stream_that_is_forgotten_meanwhile(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        path = await started(client)
        stream = await relay.stream()
        await until(lambda: stream.terminal is not None)
        relay.gateway.hub.forget(stream)
        await settle()
        assert (await client.get(path).whole()).status == 404

    relayed(main, streamed("one"))
