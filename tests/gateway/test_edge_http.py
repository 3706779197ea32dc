"""The edge's HTTP: one connection for many requests, pipelined or one after the other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tokenwire.engine.stream import Stream
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK
from tokenwire.testing.relay import STREAM_HEAD, Relay, chat, chunks, streamed
from tokenwire.testing.rig import settle, until
from tokenwire.testing.upstream import REQUEST, Peer, ScriptedUpstream, Step

CHAT = "/v1/chat/completions"
FIRST = STREAM_HEAD + chunks(frames.role(), frames.text("one"))
REST = chunks(frames.text(" two"), frames.finish(), frames.DONE) + LAST_CHUNK


def gated(gate: Step) -> list[Step]:
    """A script that answers "one", and " two" when the test opens the gate."""
    return [REQUEST, FIRST, gate, REST]


def test_a_connection_serves_one_request_after_the_other(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        for _ in range(2):
            stream = await client.post(CHAT, chat()).whole()
            assert (stream.status, stream.text, stream.complete) == (200, "one two", True)
            assert (await client.get("/healthz").whole()).json == {"status": "ok"}
            assert (await client.post(CHAT, b"{").whole()).status == 400
        assert relay.connections == 1

    relayed(main, streamed("one", " two") * 2)


@pytest.mark.parametrize("together", [True, False], ids=["in one segment", "later"])
def test_a_pipelined_request_is_answered_after_the_first(relayed: Any, together: bool) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        second = client.encode("GET", "/healthz") + client.encode("GET", "/v1/models")
        client.send(client.encode("POST", CHAT, chat()) + (second if together else b""))
        stream, health, models = client.expect(), client.expect(), client.expect()
        await stream.blocks_of(2)
        if not together:
            client.send(second[:20])
            await settle()
            client.send(second[20:])
        await settle()
        assert not health.status, "answered in the middle of another answer"
        gate.set()
        await models.whole()
        assert stream.text == "one two"
        assert stream.complete
        assert health.json == {"status": "ok"}
        assert models.json["object"] == "list"

    gate = asyncio.Event()
    relayed(main, gated(gate))


def test_a_second_stream_pipelined_behind_the_first_streams_too(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        client.send(client.encode("POST", CHAT, chat()) * 2)
        one, two = client.expect(), client.expect()
        await one.blocks_of(2)
        client.send(client.encode("GET", "/healthz"))  # and a third behind the second, held back by the first
        three = client.expect()
        await settle()
        gates[0].set()
        await two.blocks_of(2)
        assert not two.over
        assert not three.status
        gates[1].set()
        await three.whole()
        assert [one.text, two.text, three.json] == ["one two", "one two", {"status": "ok"}]

    async def its_gate(peer: Peer) -> None:  # over whichever connection it comes
        await waiting.pop(0).wait()

    gates = [asyncio.Event(), asyncio.Event()]
    waiting = list(gates)
    relayed(main, [*gated(its_gate), *gated(its_gate)])


def test_more_pipelined_input_than_a_browser_sends_cuts_the_connection(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post(CHAT, chat()).blocks_of(2)
        client.send(b"x" * 70_000)
        await client.gone()
        assert not stream.complete
        assert await (await upstream.peer()).gone() is not None
        assert (await relay.stream()).state.value == "cancelled"

    relayed(main, [REQUEST, FIRST])


def test_input_that_follows_while_held_input_waits_stays_behind_it(relayed: Any) -> None:
    """What was held while an answer ended is parsed a turn later: bytes that come in between may not overtake it."""

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post(CHAT, chat()).blocks_of(2)
        requests = client.encode("GET", "/v1/models/up%2Fabc") * 200
        answers = [client.expect() for _ in range(200)]
        gate.set()
        for start in range(0, len(requests), 100):  # some of it comes before the end of the answer, some after
            client.send(requests[start : start + 100])
            await asyncio.sleep(0)
        await answers[-1].whole()
        assert stream.complete
        assert {each.status for each in answers} == {200}

    gate = asyncio.Event()
    relayed(main, gated(gate))


def test_the_client_may_ask_for_the_connection_to_end(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post(CHAT, chat(), {"connection": "close"}).whole()
        assert stream.complete
        assert stream.fields["connection"] == "close"
        assert await client.gone() == "fin"

    relayed(main, streamed("one"))


def test_what_follows_the_end_of_a_connection_is_dropped(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post(CHAT, chat(), {"connection": "close"}).blocks_of(2)
        client.send(client.encode("GET", "/healthz"))
        await settle()
        gate.set()
        await stream.whole()
        assert stream.complete
        assert await client.gone() == "fin"

    gate = asyncio.Event()
    relayed(main, gated(gate))


def test_what_was_held_for_a_client_that_is_gone_is_dropped(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        await client.post(CHAT, chat()).blocks_of(2)
        client.send(client.encode("GET", "/healthz"))
        await settle()
        (edge,) = relay.edges
        client.reset()
        await until(lambda: relay.connections == 0)
        await settle()
        edge._parse_held()  # as the loop would call it, had the answer ended in the very turn before

    relayed(main, [REQUEST, FIRST])


def test_an_offer_of_http2_is_declined_by_answering(relayed: Any) -> None:
    """Java's HttpClient offers h2c with its first request."""

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        offer = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAMAAABkAAQAAP__"}
        stream = await client.post(CHAT, chat(), offer).whole()
        assert (stream.status, stream.text, stream.complete) == (200, "one", True)

    relayed(main, streamed("one"))


def test_a_client_that_is_lost_while_its_route_is_found_is_no_reader(
    relayed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        body = {"dialect": "openai.chat", "request": chat(), "on_disconnect": "finish"}
        events = (await client.post("/v1/streams", body).whole()).json["events"]
        hub = relay.gateway.hub
        get = hub.get

        def lost_meanwhile(stream_id: str, owner: str) -> Stream:
            (edge,) = relay.edges
            edge.transport.abort()
            return get(stream_id, owner)

        monkeypatch.setattr(hub, "get", lost_meanwhile)
        answer = await client.get(events).whole()
        assert not answer.status
        stream = await relay.stream()
        assert not stream.readers
        assert stream.terminal is None

    relayed(main, [REQUEST])
