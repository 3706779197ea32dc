"""The edge's HTTP: pipelining, HEAD, Expect, what is no HTTP, and one connection for many requests."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tokenwire.engine.stream import Stream
from tokenwire.gateway import app
from tokenwire.gateway.answers import send_json
from tokenwire.gateway.app import Gateway
from tokenwire.gateway.port import EXTENSION
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK, answer
from tokenwire.testing.relay import STREAM_HEAD, Relay, chat, chunks, streamed
from tokenwire.testing.rig import settle, until
from tokenwire.testing.upstream import CLOSE, REQUEST, ScriptedUpstream, Step

CHAT = "/v1/chat/completions"
FIRST = STREAM_HEAD + chunks(frames.role(), frames.text("one"))
REST = chunks(frames.text(" two"), frames.finish(), frames.DONE) + LAST_CHUNK


def gated(gate: asyncio.Event) -> list[Step]:
    """A script that answers "one", and " two" when the test opens the gate."""
    return [REQUEST, FIRST, gate, REST]


# ---------------------------------------------------------------------- one connection, many requests


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

    gates = [asyncio.Event(), asyncio.Event()]
    relayed(main, [*gated(gates[0]), *gated(gates[1])])


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


# ---------------------------------------------------------------------- HEAD


def test_head_says_what_get_would_and_reads_nothing(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        starter = await relay.connect()
        await starter.post(CHAT, chat()).blocks_of(2)
        stream = await relay.stream()
        for path in (f"/v1/streams/{stream.id}/events", f"/v1/streams/{stream.id}"):
            head = await (await relay.connect()).request("HEAD", path).whole()
            assert head.status == 200
        assert len(stream.readers) == 1
        assert stream.state.value == "streaming", "looking is not leaving"

    relayed(main, [REQUEST, FIRST])


def test_head_of_a_stream_that_nobody_reads_leaves_its_linger_alone(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        starter, client = await relay.connect(), await relay.connect()
        body = {"dialect": "openai.chat", "request": chat(), "on_disconnect": "linger=0.05"}
        events = (await starter.post("/v1/streams", body).whole()).json["events"]
        assert (await client.request("HEAD", events).whole()).status == 200
        stream = await relay.stream()
        await until(lambda: stream.terminal is not None)
        assert stream.state.value == "cancelled"

    relayed(main, [REQUEST, FIRST])


@pytest.mark.parametrize(
    ("method", "version", "offered"), [("GET", "1.1", True), ("HEAD", "1.1", False), ("GET", "1.0", False)]
)
def test_the_transport_is_offered_where_chunks_can_be_written(
    relayed: Any, monkeypatch: pytest.MonkeyPatch, method: str, version: str, offered: bool
) -> None:
    scopes: list[Any] = []

    async def look(gateway: Gateway, scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await send_json(send, 200, {})

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        await client.request(method, "/v1/streams", version=version).whole()

    monkeypatch.setattr(app, "streams", look)
    relayed(main)
    assert (EXTENSION in scopes[0].get("extensions", {})) is offered


def test_a_route_that_waits_for_its_client_is_told_though_a_request_is_pipelined(
    relayed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    async def wait(gateway: Gateway, scope: Any, receive: Any, send: Any) -> None:
        while not told or told[-1] != "http.disconnect":
            told.append((await receive())["type"])

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        client.send(client.encode("GET", "/v1/streams") * 2)
        await until(lambda: told)
        client.close()
        await until(lambda: told[-1] == "http.disconnect")

    monkeypatch.setattr(app, "streams", wait)
    relayed(main)


# ---------------------------------------------------------------------- Expect


def test_a_body_that_waits_to_be_asked_for_is_asked_for(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        head, _, body = client.encode("POST", CHAT, chat(), {"expect": "100-continue"}).partition(b"\r\n\r\n")
        client.send(head + b"\r\n\r\n")
        stream = client.expect()
        await until(lambda: client.interim == [100])
        client.send(body)
        await stream.whole()
        assert (stream.status, stream.text, stream.complete) == (200, "one", True)

    relayed(main, streamed("one"))


def test_a_body_that_would_be_refused_is_not_asked_for(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        fields = {"expect": "100-continue", "content-length": "1001", "content-type": "application/json"}
        refused = await client.request("POST", CHAT, None, fields).whole()
        assert refused.status == 413
        assert client.interim == []
        # The body may come or not: where the next request would begin, nobody knows.
        assert refused.fields["connection"] == "close"
        assert await client.gone() == "fin"

    relayed(main, request_body=1000)


# ---------------------------------------------------------------------- what is no HTTP


@pytest.mark.parametrize(
    "sent",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS hello
    ],
)
def test_what_is_no_http_is_refused(relayed: Any, sent: bytes) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        refused = client.expect()
        client.send(sent)
        await refused.whole()
        assert refused.status == 400
        await client.gone()

    relayed(main)


def test_a_body_with_broken_chunks_asks_nobody(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        client.request("POST", CHAT, None, {"transfer-encoding": "chunked", "content-type": "application/json"})
        client.send(b"5\r\nhello\r\nnonsense\r\n")
        await client.gone()
        assert upstream.peers == []

    relayed(main)


def test_an_upstream_answer_of_any_framing_becomes_chunks(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        for _ in range(3):
            stream = await client.post(CHAT, chat()).whole()
            assert (stream.text, stream.complete) == ("one", True)
            assert stream.fields["transfer-encoding"] == "chunked"

    body = frames.answer("one")
    relayed(
        main,
        [REQUEST, answer(b"".join(body), content_type="text/event-stream"), CLOSE],
        [REQUEST, answer(body, content_type="text/event-stream", framing="close"), CLOSE],
        [REQUEST, answer(body, content_type="text/event-stream", framing="chunked")],
    )
