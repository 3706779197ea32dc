"""The edge's bounds: heads and bodies that are slow, endless or too large. Short limits; nothing here sleeps."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK, http_chunk
from tokenwire.testing.http_client import Client
from tokenwire.testing.relay import STREAM_HEAD, Relay, chat, chunks, streamed
from tokenwire.testing.rig import settle, until
from tokenwire.testing.upstream import REQUEST, ScriptedUpstream

CHAT = "/v1/chat/completions"
FIRST = STREAM_HEAD + chunks(frames.role(), frames.text("one"))
REST = chunks(frames.text(" two"), frames.finish(), frames.DONE) + LAST_CHUNK


async def flood(client: Client, piece: bytes) -> int:
    """Send *piece* again and again until the server has had enough; how many bytes were sent."""
    sent = 0
    while client.left is None and sent < 64_000_000:
        if client.transport.get_write_buffer_size() < 1_000_000:
            client.send(piece)
            sent += len(piece)
        await asyncio.sleep(0)
    return sent


# ---------------------------------------------------------------------- heads


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"GET / HTTP/1.1\r\n", b"x-more: 1\r\n" * 1000),
        (b"GET / HTTP/1.1\r\nx-long: ", b"x" * 10_000),
        (b"GET /", b"x" * 10_000),
        (b"G", b"G" * 10_000),
    ],
    ids=["fields", "one field", "the target", "the method"],
)
def test_an_endless_head_is_cut_off(relayed: Any, start: bytes, piece: bytes) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        refused = client.expect()
        client.send(start)
        # What the kernel's buffers hold comes on top of what the edge read.
        assert await flood(client, piece) < 16_000_000
        assert refused.status in (0, 400, 431)  # the answer may be lost: the server closed with input unread
        await until(lambda: relay.connections == 0)

    relayed(main, head_bytes=10_000)


def test_a_head_that_is_too_large_is_told_so(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        refused = client.expect()
        client.send(b"GET / HTTP/1.1\r\n")
        await until(lambda: relay.connections == 1)
        await settle()
        client.send(b"x: " + b"y" * 2000)
        await refused.whole()
        assert refused.status == 431
        assert refused.fields["connection"] == "close"
        assert refused.body == b"request head too large"

    relayed(main, head_bytes=1000)


def test_a_head_that_is_both_wrong_and_too_large_is_refused_once(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        refused = client.expect()
        client.send(b"GET / HTTP/1.1\r\n")
        await until(lambda: relay.connections == 1)
        await settle()
        client.send(b"no header at all" + b"\r\n" * 1000)
        await refused.whole()
        assert refused.status == 400
        await client.gone()

    relayed(main, head_bytes=1000)


def test_a_large_body_before_a_pipelined_head_is_not_counted_as_that_head(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        request = client.encode("POST", CHAT, b'{"model": "' + b"x" * 5000 + b'"}')
        following = client.encode("GET", "/healthz")
        client.send(request + following[:20])
        refused, health = client.expect(), client.expect()
        await refused.whole()
        client.send(following[20:])
        assert (await health.whole()).status == 200

    relayed(main, head_bytes=1000)


def test_a_slow_head_is_refused_in_time(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        refused = client.expect()
        client.send(b"GET / HTTP/1.1\r\nx-slow: ")
        while not refused.over:  # a byte now and then does not help
            client.send(b"x")
            await asyncio.sleep(0)
        assert refused.status == 408
        assert await client.gone()

    relayed(main, head_seconds=0.05, head_bytes=10_000_000)


def test_a_slow_second_head_is_refused_in_time(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        assert (await client.get("/healthz").whole()).status == 200
        client.send(b"GET")
        refused = await client.expect().whole()
        assert refused.status == 408

    relayed(main, head_seconds=0.05)


@pytest.mark.parametrize("said", [b"", b"\r\n", b"\r\n\r\n"])
def test_a_client_that_asks_nothing_is_closed_without_a_word(relayed: Any, said: bytes) -> None:
    """Browsers open connections ahead of need: an answer to no question would be taken for that of the first one."""

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        if said:
            client.send(said)
        assert await client.gone() == "fin"
        assert client.received == 0

    relayed(main, head_seconds=0.05)


def test_blank_lines_between_requests_do_not_keep_a_connection(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        assert (await client.get("/healthz").whole()).status == 200
        client.send(b"\r\n")
        assert await client.gone() == "fin"

    relayed(main, head_seconds=0.05)


def test_a_request_in_time_is_served_after_its_heads_deadline(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post(CHAT, chat()).blocks_of(2)
        relay.gateway.hub.wheel.after(0.1, gate.set)
        await stream.whole()
        assert (stream.text, stream.complete) == ("one two", True)

    gate = asyncio.Event()
    relayed(main, [REQUEST, FIRST, gate, REST], head_seconds=0.04, body_seconds=0.04)


# ---------------------------------------------------------------------- bodies


def test_a_slow_body_is_refused_in_time(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        client.send(client.encode("POST", CHAT, chat())[:-5])
        refused = await client.expect().whole()
        assert refused.status == 408
        assert refused.body == b"request not complete in time"
        assert await client.gone() == "fin"
        assert upstream.peers == []

    relayed(main, body_seconds=0.05)


def test_a_body_that_goes_on_coming_is_taken(relayed: Any) -> None:
    """The deadline is for silence, not for the whole of a large upload."""

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        request = client.encode("POST", CHAT, chat("x" * 40))
        client.send(request[:-40])
        stream = client.expect()
        for byte in request[-40:]:
            tick = asyncio.Event()
            relay.gateway.hub.wheel.after(0.001, tick.set)  # 20 ms, the wheel's granularity: 0.8 s in all
            await tick.wait()
            client.send(bytes([byte]))
        await stream.whole()
        assert stream.text == "one"

    relayed(main, streamed("one"), body_seconds=0.5)


@pytest.mark.parametrize("path", [CHAT, "/v1/streams"])
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "found out"])
def test_a_body_that_is_too_large_is_refused_in_the_dialect(relayed: Any, path: str, declared: bool) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        body = json.dumps(chat("x" * 300_000)).encode()
        if declared:
            refused = client.post(path, body)
        else:
            fields = {"transfer-encoding": "chunked", "content-type": "application/json"}
            refused = client.request("POST", path, None, fields)
            client.send(http_chunk(body) + LAST_CHUNK)
        await refused.whole()
        assert refused.status == 413
        error = refused.json["error"]
        assert error["code"] == "request_too_large"
        assert "100000 bytes" in error["message"]
        # What was sent of it was taken and thrown away: the connection is good for another request.
        assert (await client.get("/healthz").whole()).status == 200

    relayed(main, request_body=100_000)


def test_the_default_limit_of_a_body_is_what_vendors_take(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        fields = {"transfer-encoding": "chunked", "content-type": "application/json"}
        refused = client.request("POST", CHAT, None, fields)
        piece = http_chunk(b" " * (1 << 20))
        for _ in range(32):
            client.send(piece)
            await until(lambda: client.transport.get_write_buffer_size() < len(piece))
        assert not refused.over
        client.send(piece + LAST_CHUNK)
        await refused.whole()
        assert refused.status == 413
        assert f"{32 << 20} bytes" in refused.json["error"]["message"]

    relayed(main)


def test_a_refused_body_that_never_ends_is_not_taken_for_ever(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        fields = {"transfer-encoding": "chunked", "content-type": "application/json"}
        refused = client.request("POST", CHAT, None, fields)
        sent = 0
        while client.left is None:
            if client.transport.get_write_buffer_size() < 1_000_000:
                client.send(http_chunk(b"x" * 1000))
                sent += 1000
            await asyncio.sleep(0)
        assert refused.status == 413
        await until(lambda: relay.connections == 0)

    relayed(main, request_body=10_000, body_seconds=0.1)
