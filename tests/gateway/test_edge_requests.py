"""The edge's HTTP: HEAD, Expect, and what is no HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tokenwire.gateway import app
from tokenwire.gateway.answers import send_json
from tokenwire.gateway.app import Gateway
from tokenwire.gateway.port import EXTENSION
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK, answer
from tokenwire.testing.relay import STREAM_HEAD, Relay, chat, chunks, streamed
from tokenwire.testing.rig import until
from tokenwire.testing.upstream import CLOSE, REQUEST, ScriptedUpstream

CHAT = "/v1/chat/completions"
FIRST = STREAM_HEAD + chunks(frames.role(), frames.text("one"))
REST = chunks(frames.text(" two"), frames.finish(), frames.DONE) + LAST_CHUNK


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
