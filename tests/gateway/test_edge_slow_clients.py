"""Clients that stall: deadlines that never speak out of turn, and what the kernel is asked to do."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from tokenwire.gateway import app
from tokenwire.gateway.answers import send_json
from tokenwire.gateway.app import Gateway
from tokenwire.gateway.edge_limits import EdgeLimits
from tokenwire.gateway.settings import LimitSettings
from tokenwire.gateway.sockets import set_user_timeout, tune
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.exchange import RecordedTransport
from tokenwire.testing.http_bytes import LAST_CHUNK
from tokenwire.testing.relay import STREAM_HEAD, Relay, chat, chunks, streamed
from tokenwire.testing.rig import settle, until
from tokenwire.testing.upstream import REQUEST, ScriptedUpstream

CHAT = "/v1/chat/completions"
FIRST = STREAM_HEAD + chunks(frames.role(), frames.text("one"))
REST = chunks(frames.text(" two"), frames.finish(), frames.DONE) + LAST_CHUNK


# ---------------------------------------------------------------------- deadlines never speak out of turn


def test_a_pipelined_body_that_stalls_leaves_the_stream_before_it_alone(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        request = client.encode("POST", CHAT, chat())
        client.send(request + request[:-5])
        stream, refused = client.expect(), client.expect()
        await stream.blocks_of(2)
        relay.gateway.hub.wheel.after(0.15, gate.set)
        await stream.whole()
        assert (stream.text, stream.complete) == ("one two", True)
        await refused.whole()
        assert refused.status == 408  # its turn, and its time

    gate = asyncio.Event()
    relayed(main, [REQUEST, FIRST, gate, REST], body_seconds=0.05)


def test_a_pipelined_head_that_stalls_leaves_the_stream_before_it_alone(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        client.send(client.encode("POST", CHAT, chat()) + b"GET / HT")
        stream, refused = client.expect(), client.expect()
        await stream.blocks_of(2)
        relay.gateway.hub.wheel.after(0.15, gate.set)
        await stream.whole()
        assert (stream.text, stream.complete) == ("one two", True)
        await refused.whole()
        assert refused.status == 408

    gate = asyncio.Event()
    relayed(main, [REQUEST, FIRST, gate, REST], head_seconds=0.05)


@pytest.mark.parametrize(
    "behind", [b"GET / HT", b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\n12"], ids=["head", "body"]
)
def test_a_deadline_behind_an_unfinished_answer_ends_without_words(
    relayed: Any, monkeypatch: pytest.MonkeyPatch, behind: bytes
) -> None:
    """A route that takes its time, and holds no transport: a 408 would be taken for its answer."""

    gate = asyncio.Event()

    async def slow(gateway: Gateway, scope: Any, receive: Any, send: Any) -> None:
        await gate.wait()
        await send_json(send, 200, {})

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        answer = client.get("/v1/streams")
        await settle()
        client.send(behind)
        await client.gone()
        assert not answer.status
        gate.set()

    monkeypatch.setattr(app, "streams", slow)
    relayed(main, head_seconds=0.05, body_seconds=0.05)


# ---------------------------------------------------------------------- the kernel's part


def test_a_client_that_reads_nothing_is_soon_noticed(relayed: Any) -> None:
    """Without TCP_NOTSENT_LOWAT the kernel would take megabytes before anybody knew."""

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect(receive_buffer=4096)
        answer = await client.post(CHAT, chat()).blocks_of(1)
        client.pause()
        stream = await relay.stream()
        await until(lambda: stream.statistics().furthest_lag > 0)
        taken = stream.log.last - stream.statistics().furthest_lag
        assert taken * 4000 < 1_000_000
        await until(lambda: stream.log.last > 1000)
        assert stream.statistics().unsent < 256 * 1024
        client.resume()
        await answer.whole()
        assert answer.text.count("<") == 1000
        assert answer.complete
        assert relay.connections == 1

    pieces = [f"<{n}>" + "x" * 4000 for n in range(1000)]
    relayed(main, streamed(*pieces))


def test_connections_are_tuned_and_the_kernel_told_when_a_client_stalls(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect(receive_buffer=4096)
        await until(lambda: relay.connections == 1)
        (connection,) = relay.edges
        sock = connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 20_000
        await client.post(CHAT, chat()).blocks_of(1)
        client.pause()
        stream = await relay.stream()
        await until(lambda: stream.statistics().furthest_lag > 0)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 75_000
        client.resume()
        await until(lambda: sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 20_000)

    pieces = [f"<{n}>" + "x" * 4000 for n in range(1000)]
    relayed(main, streamed(*pieces))


def test_a_transport_without_an_internet_socket_is_left_alone() -> None:
    tune(RecordedTransport(), unsent_bytes=1, user_timeout=1.0)
    set_user_timeout(RecordedTransport(), 1.0)


def test_tuning_a_connection_that_is_gone_is_no_error() -> None:
    class Gone(RecordedTransport):
        def get_extra_info(self, name: str, default: Any = None) -> Any:
            return sock

    with socket.socket() as sock:
        pass
    tune(Gone(), unsent_bytes=1, user_timeout=1.0)


def test_the_limits_come_from_the_settings() -> None:
    limits = LimitSettings(head_bytes=1, head_seconds=2.0, body_seconds=3.0, reader_timeout=4.0)
    assert limits.edge() == EdgeLimits(head_bytes=1, head_seconds=2.0, body_seconds=3.0, stalled_timeout=19.0)
