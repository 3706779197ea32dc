"""HTTP/1.0 clients: no chunks, the end of the connection is the end of the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK
from tokenwire.testing.http_client import Client
from tokenwire.testing.relay import STREAM_HEAD, Relay, chat, chunks, streamed
from tokenwire.testing.rig import settle, until
from tokenwire.testing.upstream import REQUEST, RESET, ScriptedUpstream, Step

CHAT = "/v1/chat/completions"
FIRST = STREAM_HEAD + chunks(frames.role(), frames.text("one"))
REST = chunks(frames.text(" two"), frames.finish(), frames.DONE) + LAST_CHUNK


def gated(gate: asyncio.Event) -> list[Step]:
    """A script that answers "one", and " two" when the test opens the gate."""
    return [REQUEST, FIRST, gate, REST]


def test_an_http_1_0_answer_ends_with_its_connection(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.request("POST", CHAT, chat(), version="1.0").blocks_of(2)
        assert "transfer-encoding" not in stream.fields
        assert stream.fields["connection"] == "close"
        gate.set()
        await stream.whole()
        assert await client.gone() == "fin"
        assert stream.complete
        assert stream.text == "one two"
        assert stream.data[-1] == "[DONE]"

    gate = asyncio.Event()
    relayed(main, gated(gate))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_http_1_0_answer_of_known_length_says_it(relayed: Any, method: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        health = await client.request(method, "/healthz", version="1.0").whole()
        assert health.fields["content-length"] == "15"
        assert await client.gone() == "fin"
        assert bytes(health.body) == (b'{"status":"ok"}' if method == "GET" else b"")

    relayed(main)


def test_an_http_1_0_head_of_a_stream_has_no_body(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        starter, client = await relay.connect(), await relay.connect()
        await starter.post("/v1/streams", {"dialect": "openai.chat", "request": chat()}).whole()
        stream = await relay.stream()
        head = client.request("HEAD", f"/v1/streams/{stream.id}/events", version="1.0")
        assert await client.gone() == "fin"
        assert head.fields["x-tokenwire-stream"] == stream.id
        assert head.body == b""

    relayed(main, streamed("one"))


def test_an_http_1_0_stream_that_was_cut_says_so(relayed: Any) -> None:
    """The end of the connection is no sign of anything there: the error event is the only one."""

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.request("POST", CHAT, chat(), version="1.0").whole()
        assert stream.data[-1]["error"]["code"] == "upstream_closed"

    relayed(main, [REQUEST, FIRST, RESET])


def test_an_http_1_0_client_that_leaves_is_noticed(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        await client.request("POST", CHAT, chat(), version="1.0").blocks_of(2)
        client.close()
        assert await (await upstream.peer()).gone() is not None

    relayed(main, [REQUEST, FIRST])


@pytest.mark.parametrize("kept", [True, False], ids=["asks to be kept", "does not"])
@pytest.mark.parametrize("together", [True, False], ids=["in one segment", "later"])
def test_what_follows_an_http_1_0_request_is_ignored(relayed: Any, kept: bool, together: bool) -> None:
    """Its answer ends with the connection, so nothing after it can be answered; and it may not hide the FIN."""

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        fields = {"connection": "keep-alive"} if kept else {}
        request = client.encode("POST", CHAT, chat(), fields, version="1.0")
        behind = client.encode("POST", CHAT, chat("x" * 100_000), fields)
        client.send(request + behind if together else request)
        stream = await client.expect().blocks_of(2)
        if not together:
            client.send(behind)
        await settle()
        assert len(relay.streams) == 1
        assert not stream.over
        client.close()
        assert await (await upstream.peer()).gone() is not None
        assert len(relay.streams) == 1

    relayed(main, [REQUEST, FIRST])


def test_an_http_1_0_client_that_reads_nothing_holds_little(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect(receive_buffer=4096)
        answer = await client.request("POST", CHAT, chat(), version="1.0").blocks_of(1)
        client.pause()
        stream = await relay.stream()
        await until(lambda: stream.terminal is not None)
        await settle()
        (edge,) = relay.edges
        assert edge.transport.get_write_buffer_size() < 512 * 1024
        assert stream.statistics().furthest_lag > 100
        assert stream.statistics().unsent < 512 * 1024
        client.resume()
        await answer.whole()
        assert answer.text.count("<") == 1000
        assert answer.data[-1] == "[DONE]"

    pieces = [f"<{n}>" + "x" * 4000 for n in range(1000)]
    relayed(main, streamed(*pieces))


@pytest.mark.parametrize("leave", [Client.half_close, Client.close, Client.reset])
def test_an_http_1_0_client_that_leaves_with_a_full_socket(relayed: Any, leave: Callable[[Client], None]) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect(receive_buffer=4096)
        await client.request("POST", CHAT, chat(), version="1.0").blocks_of(1)
        client.pause()
        stream = await relay.stream()
        await until(lambda: stream.statistics().furthest_lag > 100)
        leave(client)
        await until(lambda: stream.state.value == "cancelled")

    pieces = [frames.text(f"<{n}>" + "x" * 4000) for n in range(1000)]
    relayed(main, [REQUEST, STREAM_HEAD + chunks(frames.role(), *pieces)])
