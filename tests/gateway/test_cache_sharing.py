"""``share = true``: identical requests at the same time are one request to the upstream, and nobody notices."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.gateway.caching import CHAT, cached, scripted

from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK, answer
from tokenwire.testing.relay import STREAM_HEAD, Relay, chat, chunks, message, started, streamed
from tokenwire.testing.rig import until
from tokenwire.testing.upstream import CLOSE, REQUEST, ScriptedUpstream, Step

FIRST = STREAM_HEAD + chunks(frames.role(), frames.text("one"))
REST = chunks(frames.text(" two"), frames.finish(), frames.usage(), frames.DONE) + LAST_CHUNK


def test_five_at_once_are_one() -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        clients = [await relay.connect() for _ in range(5)]
        answers = [client.post(CHAT, chat()) for client in clients[:3]]
        await until(lambda: len(relay.streams) == 3)
        gates[0].set()
        for each in answers:
            await each.blocks_of(2)
        answers.append(clients[3].post(CHAT, chat(stream_options={"include_usage": True})))
        answers.append(clients[4].post(CHAT, chat(), {"x-tokenwire-dialect": "native"}))
        for each in answers[3:]:
            await each.until(lambda answer: b"one" in answer.body)
        gates[1].set()
        for each in answers:
            await each.whole()
        assert {each.text for each in answers[:4]} == {"one two"}
        assert answers[4].native_text == "one two"
        assert [cached(each) for each in answers] == ["miss", *["shared"] * 4]
        assert [b'"usage":{' in each.body for each in answers] == [False, False, False, True, True]
        assert len({each.fields["x-tokenwire-stream"] for each in answers}) == 5
        assert len(upstream.requests) == 1
        assert len(relay.streams) == 5
        assert relay.gateway.hub.statistics().streams == 5, "the one that asked is nobody's, and gone"
        later = await clients[0].post(CHAT, chat()).whole()
        assert (cached(later), later.body) == ("hit", answers[0].body)
        figures = relay.gateway.cache.statistics()
        assert (figures.shared, figures.running, figures.stored) == (4, 0, 1)

    gates = [asyncio.Event(), asyncio.Event()]
    scripted(main, [REQUEST, gates[0], FIRST, gates[1], REST], share=True)


def test_alone_nothing_is_kept() -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        for word in ("one", "two"):
            told = await client.post(CHAT, chat()).whole()
            assert (cached(told), told.text) == ("miss", word)
        assert relay.gateway.cache.statistics().stored == 0

    scripted(main, streamed("one") + streamed("two"), share=True, seconds=0)


def test_stopping_one_stops_nobody_else_and_the_last_one_stops_the_upstream() -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        clients = [await relay.connect() for _ in range(4)]
        answers = [client.post(CHAT, chat()) for client in clients[:3]]
        for each in answers:
            await each.blocks_of(2)
        path = f"/v1/streams/{answers[0].fields['x-tokenwire-stream']}/cancel"
        assert (await clients[3].post(path).whole()).json["state"] == "cancelled"
        await answers[0].whole()
        assert b"cancelled" in answers[0].body
        clients[1].close()
        await until(lambda: relay.streams[1].terminal is not None)
        peer = await upstream.peer()
        assert peer.left is None
        clients[2].close()
        assert await peer.gone() in ("fin", "reset")
        assert [stream.state.value for stream in relay.streams] == ["cancelled"] * 3
        assert relay.gateway.cache.statistics().stored == 0

    scripted(main, [REQUEST, FIRST], share=True)


def test_one_that_lingers_keeps_the_upstream() -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, other = await relay.connect(), await relay.connect()
        events = await started(client)
        first = other.post(CHAT, chat())
        await first.blocks_of(2)
        other.close()
        await until(lambda: relay.streams[1].terminal is not None)
        gate.set()
        whole = await client.get(events).whole()
        assert whole.native_text == "one two"
        assert len(upstream.requests) == 1

    gate = asyncio.Event()
    scripted(main, [REQUEST, FIRST, gate, REST], share=True)


def test_a_refusal_is_told_to_all_in_the_providers_words() -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        clients = [await relay.connect() for _ in range(2)]
        answers = [client.post(CHAT, chat()) for client in clients]
        await until(lambda: len(relay.streams) == 2)
        gate.set()
        for each in answers:
            await each.whole()
            assert (each.status, each.json["error"]["message"]) == (429, "slow down")
            assert each.fields["retry-after"] == "7"
        assert [cached(each) for each in answers] == ["miss", "shared"]
        assert len(upstream.requests) == 1
        again = await clients[0].post(CHAT, chat()).whole()
        assert (again.status, again.text) == (200, "one")

    gate = asyncio.Event()
    refusal = answer(b'{"error":{"message":"slow down"}}', status=429, fields=[("retry-after", "7")])
    scripted(main, [REQUEST, gate, refusal, *streamed("one")], share=True)


def test_a_cut_is_told_to_all() -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        clients = [await relay.connect() for _ in range(2)]
        answers = [client.post(CHAT, chat()) for client in clients]
        for each in answers:
            await each.blocks_of(2)
        gate.set()
        for each in answers:
            await each.whole()
            assert b"upstream_closed" in each.body
        assert answers[0].body == answers[1].body

    gate = asyncio.Event()
    scripted(main, [REQUEST, FIRST, gate, CLOSE], share=True)


def test_whole_answers_are_shared_among_themselves() -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        clients = [await relay.connect() for _ in range(3)]
        answers = [client.post(CHAT, chat(stream=False)) for client in clients[:2]]
        await until(lambda: len(relay.streams) == 2)
        stream = clients[2].post(CHAT, chat())
        await stream.whole()
        assert (cached(stream), stream.text) == ("miss", "streamed")
        gate.set()
        for each in answers:
            await each.whole()
            assert bytes(each.body) == body
        assert [cached(each) for each in answers] == ["miss", "shared"]
        assert len(upstream.requests) == 2

    gate = asyncio.Event()
    body = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"one"},"finish_reason":"stop"}]}'
    scripted(main, [REQUEST, gate, answer(body)], streamed("streamed"), share=True)


@pytest.mark.parametrize("second", [chat("other"), chat(temperature=0.5)])
def test_another_question_is_another_request(second: dict[str, Any]) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        clients = [await relay.connect() for _ in range(2)]
        first = clients[0].post(CHAT, chat())
        await first.blocks_of(2)
        other = await clients[1].post(CHAT, second).whole()
        assert (cached(other), other.text) == ("miss", "two")

    scripted(main, [REQUEST, FIRST], streamed("two"), share=True)


def test_translated_ones_too() -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        clients = [await relay.connect() for _ in range(2)]
        answers = [client.post("/v1/messages", message(model="up/instant")) for client in clients]
        whole = (await relay.connect()).post("/v1/messages", message(model="up/instant", stream=False))
        await until(lambda: len(relay.streams) == 3)
        gate.set()
        for each in answers:
            await each.whole()
            assert each.events[-1] == "message_stop"
        await whole.whole()
        assert whole.json["content"] == [{"type": "text", "text": "one two"}]
        assert [cached(each) for each in (*answers, whole)] == ["miss", "shared", "shared"]
        assert len(upstream.requests) == 1

    gate = asyncio.Event()
    script: list[Step] = [REQUEST, gate, FIRST + REST]
    scripted(main, script, share=True)


def test_at_the_end_of_the_relay_all_are_told() -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        clients = [await relay.connect() for _ in range(2)]
        answers = [client.post(CHAT, chat()) for client in clients]
        for each in answers:
            await each.blocks_of(2)
        relay.gateway.drain()
        relay.gateway.cut()
        for each in answers:
            await each.whole()
            assert b"shutting_down" in each.body

    scripted(main, [REQUEST, FIRST], share=True)
