"""Streams over TLS: to the byte, in portions, and ended at once by an upstream that reads nothing."""

from __future__ import annotations

import asyncio
import select
import ssl
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenwire.engine.states import Policy
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.http_bytes import LAST_CHUNK, head, http_chunk
from tokenwire.testing.rig import Rig, rigged, run_in, until
from tokenwire.testing.upstream import CLOSE, REQUEST, Peer, ScriptedUpstream, Step

Run = Callable[..., Any]
FIELDS = ("Content-Type", "text/event-stream")
STREAM = head(200, FIELDS, ("Transfer-Encoding", "chunked"))
# A record's plain text ends here (RFC 8446 section 5.1).
RECORD = 16 * 1024

CA = trustme.CA()
SERVER = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
CA.issue_cert("127.0.0.1").configure_cert(SERVER)
CLIENT = ssl.create_default_context()
CA.configure_trust(CLIENT)


@pytest.mark.untraced
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.text(min_size=1, max_size=40) | st.sampled_from(["x" * RECORD, "\u00e9" * 9000]), max_size=12),
    sizes=st.lists(st.integers(1, 3 * RECORD), min_size=1, max_size=8),
)
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_stream_arrives_to_the_byte_however_it_is_cut(loop: str, texts: list[str], sizes: list[int]) -> None:
    frames = chat.answer(*texts)
    whole = STREAM + b"".join(map(http_chunk, frames)) + LAST_CHUNK

    async def main(rig: Rig) -> None:
        async def in_pieces(peer: Peer) -> None:
            at = 0
            while at < len(whole):
                for size in sizes:
                    peer.write(whole[at : at + size])
                    at += size
                    await asyncio.sleep(0)

        async with ScriptedUpstream([REQUEST, in_pieces], tls=SERVER) as upstream:
            asked = rig.ask(upstream.base_url)
            await asked.ended()
            assert asked.failure == ("completed", "")
            assert asked.frames == frames

    run_in(loop, rigged(main, ssl_context=CLIENT))


@pytest.mark.parametrize("framing", ["chunked", "until close"])
def test_the_end_of_the_connection_is_told(run: Run, framing: str) -> None:
    frames = chat.answer("Hel", "lo")

    async def main(rig: Rig) -> None:
        cut: list[Step] = [REQUEST, STREAM + http_chunk(frames[0]), CLOSE]
        script: list[Step] = [REQUEST, head(200, FIELDS) + b"".join(frames), CLOSE]
        async with ScriptedUpstream(cut if framing == "chunked" else script, tls=SERVER) as upstream:
            asked = rig.ask(upstream.base_url)
            await asked.ended()
            if framing == "chunked":
                assert asked.failure == ("failed", "upstream_closed")
            else:
                assert asked.failure == ("completed", "")
                assert asked.frames == frames

    run(main, ssl_context=CLIENT)


@pytest.mark.parametrize("when", ["its request is not read", "its answer has begun"])
@pytest.mark.parametrize("tls", [SERVER, None], ids=["tls", "plain"])
def test_an_upstream_that_never_reads_sees_the_end_at_once(run: Run, tls: ssl.SSLContext | None, when: str) -> None:
    """Much of our request still waits to be written, and nobody will ever take it or say goodbye: a TLS close would
    wait 30 s, and a FIN behind all that for ever."""

    async def main(rig: Rig) -> None:
        async def deaf(peer: Peer) -> None:
            peer.transport.pause_reading()

        begun: list[Step] = [STREAM + http_chunk(chat.role())] if when == "its answer has begun" else []
        async with ScriptedUpstream([deaf, *begun], tls=tls) as upstream:
            asked = rig.ask(upstream.base_url, body=b"x" * (16 << 20))
            peer = await upstream.peer()
            if begun:
                await asked.entries(1)
            watch = select.poll()
            watch.register(peer.transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
            await until(lambda: rig.connections == (0, 1))
            assert watch.poll(0) == []
            asked.stream.cancel()
            await until(lambda: watch.poll(0))
            await until(lambda: rig.connections == (0, 0))
            assert asked.failure == ("cancelled", "cancelled")

    run(main, ssl_context=CLIENT)


@pytest.mark.untraced
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_flood_is_read_in_portions(loop: str) -> None:
    """It cannot be read by hand, as a plain one is: pausing the transport must do."""
    events = [chat.text(f"{number} ") for number in range(40_000)]
    flood = STREAM + b"".join(map(http_chunk, [*events, chat.finish(), chat.DONE])) + LAST_CHUNK

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, flood], tls=SERVER) as upstream:
            asked = rig.ask(upstream.base_url, policy=Policy(max_bytes=1 << 30))
            portions = [0]
            while asked.stream.terminal is None:
                await asyncio.sleep(0)  # somebody else's turn
                portions.append(asked.stream.log.last)
            assert asked.failure == ("completed", "")
            assert asked.frames[: len(events)] == events
            assert max(after - before for before, after in pairwise(portions)) < len(events) / 4

    run_in(loop, rigged(main, ssl_context=CLIENT))
