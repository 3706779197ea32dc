"""``POST /v1/chat/completions``: policies, bodies and bounds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK, head
from tokenwire.testing.relay import STREAM_HEAD, Relay, chat, chunks, streamed
from tokenwire.testing.rig import until
from tokenwire.testing.upstream import CLOSE, REQUEST, ScriptedUpstream

CHAT = "/v1/chat/completions"
SSE = ("content-type", "text/event-stream")


# ---------------------------------------------------------------------- when the reader leaves


@pytest.mark.parametrize(
    ("policy", "outcome"),
    [(None, "cancelled"), ("cancel", "cancelled"), ("linger=0.5", "cancelled"), ("finish", "completed")],
)
def test_the_policy_when_the_reader_leaves(relayed: Any, policy: str | None, outcome: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        fields = {} if policy is None else {"X-Tokenwire-On-Disconnect": policy}
        await client.post(CHAT, chat(), fields).blocks_of(2)
        stream = await relay.stream()
        client.close()
        await until(lambda: not stream.readers)
        if policy in ("linger=0.5", "finish"):
            assert stream.terminal is None
        if policy == "finish":
            gate.set()
        await until(lambda: stream.terminal is not None)
        assert stream.state.value == outcome

    gate = asyncio.Event()
    first = STREAM_HEAD + chunks(frames.role(), frames.text("one"))
    relayed(main, [REQUEST, first, gate, chunks(frames.finish(), frames.DONE) + LAST_CHUNK])


@pytest.mark.parametrize(
    "value", ["", "linger", "linger=", "linger=-1", "linger=x", "linger=1.2.3", "linger=1e3", "no"]
)
def test_a_policy_that_is_none_is_refused(relayed: Any, value: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        request = client.encode("POST", CHAT, chat()).replace(
            b"\r\n\r\n", b"\r\nx-tokenwire-on-disconnect: %b\r\n\r\n" % value.encode(), 1
        )
        client.send(request)
        refused = await client.expect().whole()
        assert refused.status == 400
        assert refused.json["error"]["code"] == "bad_on_disconnect"
        assert "linger=SECONDS" in refused.json["error"]["message"]
        assert upstream.peers == []

    relayed(main, streamed("one"))


def test_a_slow_reader_is_let_go_and_told_how_to_go_on(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect(receive_buffer=4096)
        fields = {"X-Tokenwire-Ids": "1", "X-Tokenwire-On-Disconnect": "finish"}
        slow = await client.post(CHAT, chat(), fields).blocks_of(1)
        client.pause()
        stream = await relay.stream()
        await until(lambda: not stream.readers)
        client.resume()
        await slow.whole()
        error = slow.data[-1]["error"]
        assert error["code"] == "reader_timeout"
        assert "[DONE]" not in slow.data
        last = slow.ids[-1]
        assert f"resume after {last}" in error["message"]
        other = await relay.connect()
        path = f"/v1/streams/{stream.id}/events?dialect=openai.chat"
        rest = await other.get(path, {"Last-Event-ID": last}).whole()
        assert slow.text + rest.text == "".join(pieces)
        assert rest.data[-1] == "[DONE]"

    pieces = [f"<{n}>" + "x" * 4000 for n in range(500)]
    relayed(main, streamed(*pieces), reader_timeout=0.1)


# ---------------------------------------------------------------------- bodies


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"", "invalid_json", None),
        (b"{", "invalid_json", None),
        (b"\xff", "invalid_json", None),
        (b"[]", "invalid_request", None),
        (b"{}", "missing_required_parameter", "model"),
        (b'{"model":"up/x"}', "missing_required_parameter", "messages"),
        (b'{"model":3,"messages":[]}', "invalid_request", "model"),
        (b'{"model":"up/x","messages":{}}', "invalid_request", "messages"),
        (b'{"model":"up/x","messages":[],"stream":"yes"}', "invalid_request", "stream"),
        (b'{"model":"up/x","messages":[],"stream_options":3}', "invalid_request", "stream_options"),
        (b'{"model":"up/x","messages":' + b"[" * 100_000, "invalid_json", None),
    ],
)
def test_a_body_that_cannot_be_sent_on_is_refused(relayed: Any, body: bytes, code: str, param: str | None) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        refused = await client.post(CHAT, body).whole()
        assert refused.status == 400
        error = refused.json["error"]
        assert (error["code"], error["param"], error["type"]) == (code, param, "invalid_request_error")
        assert error["message"]
        assert upstream.peers == []

    relayed(main, streamed("one"))


def test_a_full_process_says_so(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, other = await relay.connect(), await relay.connect()
        await client.post(CHAT, chat()).blocks_of(2)
        refused = await other.post(CHAT, chat()).whole()
        assert refused.status == 503
        assert refused.fields["retry-after"] == "1"
        error = refused.json["error"]
        assert (error["code"], error["type"]) == ("overloaded", "server_error")

    relayed(main, [REQUEST, STREAM_HEAD + chunks(frames.role(), frames.text("one"))], streams=1)


@pytest.mark.parametrize("off", [True, False])
def test_pacing_can_be_turned_off(relayed: Any, off: bool) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post(CHAT, chat(), {"X-Tokenwire-Pacing": "off"} if off else {}).blocks_of(2)
        peer = await upstream.peer()
        for _ in range(200):  # as fast as the relay reads them: well over 250 reads a second
            peer.write(chunks(frames.text("x")))
            await asyncio.sleep(0)
        await until(lambda: relay.streams[0].log.last == 202)
        assert len(relay.gateway.pacing) == (0 if off else 1)
        assert stream.status == 200

    relayed(main, [REQUEST, STREAM_HEAD + chunks(frames.role(), frames.text("one"))])


def test_an_upstream_that_ends_with_its_connection(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post(CHAT, chat()).whole()
        assert (stream.text, stream.data[-1]) == ("one", "[DONE]")

    relayed(main, [REQUEST, head(200, SSE) + b"".join(frames.answer("one")), CLOSE])
