"""Clients that leave, at every moment and in every way: the upstream is closed at once, and nobody else is touched."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK
from tokenwire.testing.http_client import Client
from tokenwire.testing.relay import STREAM_HEAD, Relay, chat, chunks, streamed
from tokenwire.testing.rig import settle, until
from tokenwire.testing.upstream import REQUEST, ScriptedUpstream

CHAT = "/v1/chat/completions"
LEAVE: dict[str, Callable[[Client], None]] = {
    "closes": Client.close,
    "half-closes": Client.half_close,
    "resets": Client.reset,
}

pytestmark = pytest.mark.parametrize("leave", LEAVE.values(), ids=LEAVE)


async def _gone_at_once(relay: Relay, upstream: ScriptedUpstream, leave: Callable[[], None]) -> None:
    peer = await upstream.peer()
    began = time.monotonic_ns()
    leave()
    assert await peer.gone() in ("fin", "reset")
    assert peer.left_ns is not None
    # The budget is 5 ms; a machine that does other things as well gets a second.
    assert peer.left_ns - began < 1_000_000_000
    stream = await relay.stream()
    assert stream.state.value == "cancelled"
    assert not stream.readers


def test_a_client_that_leaves_in_mid_stream(relayed: Any, leave: Callable[[Client], None]) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        await client.post(CHAT, chat()).blocks_of(2)
        await _gone_at_once(relay, upstream, lambda: leave(client))

    relayed(main, [REQUEST, STREAM_HEAD + chunks(frames.role(), frames.text("one"))])


@pytest.mark.parametrize(
    "answered", [b"", STREAM_HEAD, STREAM_HEAD + chunks(frames.role())], ids=["no head", "a head", "an opening"]
)
def test_a_client_that_leaves_before_the_first_token(
    relayed: Any, leave: Callable[[Client], None], answered: bytes
) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        client.post(CHAT, chat())
        peer = await upstream.peer()
        await until(lambda: peer.requests)
        await settle()
        await _gone_at_once(relay, upstream, lambda: leave(client))

    relayed(main, [REQUEST, answered])


def test_a_client_that_leaves_an_answer_that_does_not_stream(relayed: Any, leave: Callable[[Client], None]) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        client.post(CHAT, chat(stream=False))
        peer = await upstream.peer()
        await until(lambda: peer.requests)
        await _gone_at_once(relay, upstream, lambda: leave(client))

    relayed(main, [REQUEST])


def test_a_client_that_leaves_after_a_large_body_that_came_late(relayed: Any, leave: Callable[[Client], None]) -> None:
    """Stock uvicorn pauses reading above 64 KiB and forgets to resume: it would never see this client leave."""

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        head, _, body = client.encode("POST", CHAT, chat("x" * 200_000)).partition(b"\r\n\r\n")
        client.send(head + b"\r\n\r\n")
        await until(lambda: relay.connections == 1)
        await settle()
        client.send(body)
        await client.expect().blocks_of(2)
        await _gone_at_once(relay, upstream, lambda: leave(client))

    relayed(main, [REQUEST, STREAM_HEAD + chunks(frames.role(), frames.text("one"))])


@pytest.mark.parametrize("together", [True, False], ids=["in one segment", "later"])
def test_a_client_that_leaves_with_a_request_pipelined_behind(
    relayed: Any, leave: Callable[[Client], None], together: bool
) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        request = client.encode("POST", CHAT, chat())
        client.send(request * 2 if together else request)
        await client.expect().blocks_of(2)
        if not together:
            client.send(request)
            await settle()
        await _gone_at_once(relay, upstream, lambda: leave(client))
        await settle()
        assert len(relay.streams) == 1, "the second request was begun for nobody"

    relayed(main, [REQUEST, STREAM_HEAD + chunks(frames.role(), frames.text("one"))])


def test_a_client_that_leaves_with_its_request_asks_nobody(relayed: Any, leave: Callable[[Client], None]) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        client.send(client.encode("POST", CHAT, chat()))
        leave(client)
        await client.gone()
        await until(lambda: relay.connections == 0)
        await settle()
        assert all(stream.state.value == "cancelled" for stream in relay.streams)

    relayed(main, [REQUEST])


def test_a_client_that_leaves_in_mid_request_asks_nobody(relayed: Any, leave: Callable[[Client], None]) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        client.send(client.encode("POST", CHAT, chat())[:-5])
        await until(lambda: relay.connections == 1)
        await settle()
        leave(client)
        await until(lambda: relay.connections == 0)
        assert relay.streams == []
        assert upstream.peers == []

    relayed(main, [REQUEST])


def test_a_client_that_leaves_in_mid_write_touches_no_other(relayed: Any, leave: Callable[[Client], None]) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        starter, good, bad = await relay.connect(), await relay.connect(), await relay.connect(receive_buffer=4096)
        events = (await starter.post("/v1/streams", {"dialect": "openai.chat", "request": chat()}).whole()).json[
            "events"
        ]
        answer = good.get(events)
        await bad.get(events).head()
        bad.pause()
        stream = await relay.stream()
        await until(lambda: stream.log.last > 0 and stream.statistics().furthest_lag > 0)  # it takes no more
        leave(bad)
        await until(lambda: relay.connections == 2)
        more.set()
        await answer.whole()
        assert answer.complete
        assert answer.events[-1] == "done"
        assert [answer.body.count(b"<%d>" % part) for part in (0, 999)] == [1, 1]
        assert stream.state.value == "completed"

    more = asyncio.Event()
    pieces = [frames.text(f"<{n}>" + "x" * 4000) for n in range(1000)]
    first, second = (
        STREAM_HEAD + chunks(frames.role(), *pieces[:500]),
        chunks(*pieces[500:], frames.finish(), frames.DONE),
    )
    relayed(main, [REQUEST, first, more, second + LAST_CHUNK])


def test_a_reader_that_leaves_after_the_finish_cancels_nothing(relayed: Any, leave: Callable[[Client], None]) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        await client.post(CHAT, chat()).blocks_of(3)
        leave(client)
        stream = await relay.stream()
        await until(lambda: not stream.readers)
        rest.set()
        await until(lambda: stream.terminal is not None)
        assert stream.state.value == "completed"
        assert stream.terminal is not None
        assert stream.terminal.usage is not None

    rest = asyncio.Event()
    begun = STREAM_HEAD + chunks(frames.role(), frames.text("one"), frames.finish())
    relayed(main, [REQUEST, begun, rest, chunks(frames.usage(), frames.DONE) + LAST_CHUNK])


def test_a_client_that_leaves_between_two_answers(relayed: Any, leave: Callable[[Client], None]) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        assert (await client.post(CHAT, chat()).whole()).complete
        leave(client)
        await until(lambda: relay.connections == 0)
        assert relay.streams[0].state.value == "completed"

    relayed(main, streamed("one"))
