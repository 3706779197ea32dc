"""Requests: what is sent, and upstreams that give no answer to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.engine.states import Policy
from tokenwire.errors import LocalProtocolError
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.rig import Rig, until
from tokenwire.testing.upstream import CLOSE, LAST_CHUNK, REQUEST, RESET, ScriptedUpstream, Step, head, http_chunk
from tokenwire.upstream.pool import Origin
from tokenwire.upstream.request import Request

Run = Callable[..., Any]

EVENTS = ("Content-Type", "text/event-stream; charset=utf-8")
STREAM = head(200, EVENTS, ("Transfer-Encoding", "chunked"))
FRAMES = chat.answer("Hel", "lo", with_usage=True)


def chunked(*frames: bytes) -> bytes:
    return b"".join(map(http_chunk, frames))


def test_the_request_as_the_upstream_sees_it(run: Run) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, STREAM + chunked(*FRAMES) + LAST_CHUNK]) as upstream:
            asked = rig.ask(upstream.base_url, body=b'{"stream":true}', fields=(("authorization", "Bearer k"),))
            await asked.ended()
            (request,) = upstream.peers[0].requests
            assert request.method == "POST"
            assert request.target == "/v1/chat/completions"
            assert request.body == b'{"stream":true}'
            assert request.fields == {
                "host": f"127.0.0.1:{upstream.port}",
                "authorization": "Bearer k",
                "content-length": "15",
            }

    run(main)


# ---------------------------------------------------------------------- no stream at all

NOT_HTTP: dict[str, tuple[list[Step], str]] = {
    "nothing": ([CLOSE], "closed the connection before it answered"),
    "a reset": ([RESET], "closed the connection before it answered: [Errno 104]"),
    "half a head": ([STREAM[:20], CLOSE], "closed the connection in its answer's head"),
    "another protocol": ([b"SSH-2.0-OpenSSH_9.6\r\n"], "does not speak HTTP/1.1 here"),
    "a switch of protocols": ([b"HTTP/1.1 101 Switching\r\n\r\n"], "switched protocols (101)"),
    "an endless head": ([b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 80_000], "larger than 65536 bytes"),
}


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize(("script", "message"), NOT_HTTP.values(), ids=NOT_HTTP)
def test_an_upstream_that_gives_no_answer(run: Run, script: list[Step], message: str, streaming: bool) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, *script]) as upstream:
            asked = rig.ask(upstream.base_url, streaming=streaming)
            await asked.ended()
            assert asked.failure == ("failed", "upstream_closed")
            assert message in asked.error.message
            assert asked.error.retryable
            assert (asked.heads, asked.frames) == ([], [])
            assert len(upstream.peers) == 1, "a connection of its own is not asked twice"

    run(main)


def test_a_connection_that_cannot_be_made(run: Run, closed_port: int) -> None:
    async def main(rig: Rig) -> None:
        asked = rig.ask(f"http://127.0.0.1:{closed_port}/v1")
        await asked.ended()
        assert asked.failure == ("failed", "connect_failed")
        assert asked.error.message == f"http://127.0.0.1:{closed_port}: connect failed: Connection refused"
        assert rig.hub.statistics().failed == 1

    run(main)


def test_a_request_waits_for_its_whole_answer_only_as_long_as_its_reader(run: Run) -> None:
    """No reader follows, and the policy says that a stream without one is cancelled at once."""

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST]) as upstream:
            asked = rig.ask(upstream.base_url, policy=Policy(linger=0))
            peer = await upstream.peer()
            await until(lambda: peer.requests)
            asked.stream.leaving.left(asked.stream)
            assert asked.failure == ("cancelled", "client_left")
            assert await peer.gone() in ("fin", "reset")

    run(main)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/x HTTP/1.1\r\nX-Own: 1", ("a", "b")),
        ("/v1", ("authorization", "Bearer key\n")),
        ("/v1", ("authorization", "Bearer key\r\nX-Own: 1")),
        ("/v1", ("x", "nul\0")),
        ("/v1", ("x", "em dash \u2014")),
        ("/v1", ("x\r\n", "y")),
    ],
)
def test_no_line_of_its_own_can_be_put_into_a_head(path: str, field: tuple[str, str]) -> None:
    origin = Origin("http", "127.0.0.1", 80)
    with pytest.raises(LocalProtocolError, match="in a request's head"):
        Request(origin=origin, path=path, fields=[field], body=b"")


def test_the_bytes_of_a_request() -> None:
    origin = Origin("https", "::1", 443)
    request = Request(origin=origin, path="/v1/models", fields=[("x", "caf\xe9\tau lait")], body=b"", method="GET")
    assert (
        request.encode()
        == b"GET /v1/models HTTP/1.1\r\nhost: [::1]\r\nx: caf\xe9\tau lait\r\ncontent-length: 0\r\n\r\n"
    )
