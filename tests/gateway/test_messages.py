"""``POST /v1/messages``: what goes up, what comes back, and when."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from tokenwire.testing import message_frames as m
from tokenwire.testing.http_bytes import LAST_CHUNK, answer, head
from tokenwire.testing.relay import STREAM_HEAD, Relay, chunks, message
from tokenwire.testing.rig import settle, until
from tokenwire.testing.upstream import REQUEST, ScriptedUpstream, Step

MESSAGES = "/v1/messages"
UP: dict[str, Any] = {"dialect": "anthropic"}
SSE = ("content-type", "text/event-stream")
WHOLE = (
    b'{"id": "msg_1", "type":"message", "role":"assistant", "model":"m", "content":[{"type":"text","text":"one"}],'
    b' "stop_reason":"end_turn", "stop_sequence":null, "x": [1.0], "usage":{"input_tokens":3,"output_tokens":2}}'
)


def streamed(*pieces: str) -> list[Step]:
    return [REQUEST, STREAM_HEAD + chunks(*m.answer(*pieces)) + LAST_CHUNK]


def text_of(stream: Any) -> str:
    return "".join(item["delta"].get("text", "") for item in stream.data if item["type"] == "content_block_delta")


# ---------------------------------------------------------------------- streams


def test_the_providers_bytes_come_through_as_they_are(relayed: Any) -> None:
    odd = (
        b'event: content_block_delta\ndata: {"unknown" : 1e2, "type":"content_block_delta", "index":0, "delta":{}}\n\n'
    )
    wire = [m.start(), m.PING, m.block(), m.text("a", padding=5), odd, m.event("new"), m.end(), m.finish(), m.STOP]

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post(MESSAGES, message()).whole()
        assert bytes(stream.body) == b"".join(wire)
        assert stream.complete
        assert stream.fields["content-type"].partition(";")[0] == "text/event-stream"

    relayed(main, [REQUEST, STREAM_HEAD + chunks(*wire, m.text("late")) + LAST_CHUNK], settings=UP)


@pytest.mark.parametrize("edge", ["tokenwire", "httptools", "h11"])
def test_every_token_is_passed_on_at_once(relayed: Any, edge: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = client.post(MESSAGES, message())
        for count, gate in enumerate(gates, start=3):
            await stream.blocks_of(count)
            assert len(stream.blocks) == count
            gate.set()
        await stream.whole()
        assert text_of(stream) == "x" * len(gates)

    gates = [asyncio.Event() for _ in range(40)]  # past the point from which they take the lane, in an envelope
    script: list[Any] = [REQUEST, STREAM_HEAD + chunks(m.start(), m.block())]
    for number, gate in enumerate(gates):
        script += [chunks(m.text("x", padding=number % 12)), gate]
    relayed(main, [*script, chunks(m.end(), m.finish(), m.STOP) + LAST_CHUNK], edge=edge, settings=UP)


def test_the_head_waits_for_the_first_token_and_no_longer_than_it_may(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = client.post(MESSAGES, message())
        held = await relay.stream()
        await until(lambda: held.log.last == 3)
        await settle()
        assert not stream.status
        gate.set()
        assert text_of(await stream.whole()) == "one"

    gate = asyncio.Event()
    opening = STREAM_HEAD + chunks(m.start(), m.block(), m.PING)
    rest = chunks(m.text("one"), m.end(), m.finish(), m.STOP) + LAST_CHUNK
    relayed(main, [REQUEST, opening, gate, rest], settings=UP)


def test_heartbeats_are_the_dialects_own_pings(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post(MESSAGES, message()).until(lambda answer: answer.body.count(m.PING) >= 2)
        assert bytes(stream.body).startswith(m.PING * 2)  # nothing of the provider's yet
        gate.set()
        await stream.whole()
        assert bytes(stream.body).replace(m.PING, b"") == b"".join(m.answer("one"))
        with_ids = await client.post(MESSAGES, message(), {"X-Tokenwire-Ids": "1"}).whole()
        assert with_ids.ids == [f"1-{number + 1}" for number in range(6)]
        assert m.PING not in with_ids.body

    gate = asyncio.Event()
    late = [REQUEST, gate, STREAM_HEAD + chunks(*m.answer("one")) + LAST_CHUNK]
    relayed(main, [*late, *streamed("two")], settings=UP, hold=0.02, heartbeat=0.03)


def test_leaving_cancels_the_provider_and_lingering_does_not(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        await client.post(MESSAGES, message()).blocks_of(3)
        client.close()
        assert await (await upstream.peer(0)).gone() in ("fin", "reset")
        staying = await relay.connect()
        await staying.post(MESSAGES, message(), {"X-Tokenwire-On-Disconnect": "finish"}).blocks_of(3)
        staying.close()
        gate.set()
        stream = await relay.stream(1)
        await until(lambda: stream.terminal is not None)
        assert stream.terminal is not None
        assert (stream.terminal.state, stream.terminal.reason) == ("completed", "stop")

    gate = asyncio.Event()
    begun = STREAM_HEAD + chunks(m.start(), m.block(), m.text("one"))
    rest = chunks(m.end(), m.finish(), m.STOP) + LAST_CHUNK
    relayed(main, [REQUEST, begun], [REQUEST, begun, gate, rest], settings=UP)


def test_a_key_starts_once(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        for _ in range(2):
            stream = await client.post(MESSAGES, message(), {"Idempotency-Key": "k"}).whole()
            assert text_of(stream) == "one"
        assert len(relay.streams) == 1
        other = await client.post(MESSAGES, message("other"), {"Idempotency-Key": "k"}).whole()
        assert (other.status, other.json["error"]["type"]) == (422, "invalid_request_error")

    relayed(main, streamed("one"), settings=UP)


# ---------------------------------------------------------------------- what goes up

SENT: Mapping[str, str] = {
    "Anthropic-Beta": "a,b",
    "OpenAI-Project": "p",
    "traceparent": "00-1-2-01",
    "x-stainless-lang": "python",
    "cookie": "secret",
    "authorization": "Bearer caller",
    "x-api-key": "caller-key",
}


def test_what_is_sent_upstream(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        body = (
            b'{"model":"up/claude/4", "stream":true, "max_tokens":9, "messages":[{"content":"\\u00e9"}], "top_p":1.0}'
        )
        await client.post(MESSAGES, body, SENT).whole()
        request = upstream.peers[0].requests[0]
        assert (request.method, request.target) == ("POST", "/v1/messages")
        assert request.fields.pop("content-length") == str(len(request.body))
        assert request.fields == {
            "host": f"127.0.0.1:{upstream.port}",
            "content-type": "application/json",
            "accept": "text/event-stream",
            "accept-encoding": "identity",
            "user-agent": "tokenwire",
            "x-api-key": "sk-ours",
            "x-extra": "1",
            "anthropic-version": "2023-06-01",
            "anthropic-beta": "a,b",
            "openai-project": "p",
            "traceparent": "00-1-2-01",
        }
        assert request.body == (
            b'{"model":"claude/4","stream":true,"max_tokens":9,"messages":[{"content":"\\u00e9"}],"top_p":1.0}'
        )

    relayed(main, streamed("one"), settings={**UP, "api_key": "sk-ours", "headers": {"x-extra": "1"}})


@pytest.mark.parametrize(
    ("sent", "configured", "version"),
    [
        ({}, {}, "2023-06-01"),
        ({"anthropic-version": "2027-01-01"}, {}, "2027-01-01"),
        ({}, {"Anthropic-Version": "2025-01-01"}, "2025-01-01"),
    ],
)
def test_the_version_is_the_callers_the_settings_or_the_usual_one(
    relayed: Any, sent: dict[str, str], configured: dict[str, str], version: str
) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        await client.post(MESSAGES, message(), sent).whole()
        received = bytes(upstream.peers[0].received).lower()
        assert received.count(b"anthropic-version:") == 1
        assert upstream.peers[0].requests[0].fields["anthropic-version"] == version

    relayed(main, streamed("one"), settings={**UP, "headers": configured})


@pytest.mark.parametrize(
    ("api_key", "sent", "expected"),
    [
        ("passthrough", ["x-api-key"], {"x-api-key": "caller-key"}),
        ("passthrough", ["authorization"], {"authorization": "Bearer caller"}),
        ("passthrough", [], {}),
        (None, ["x-api-key", "authorization"], {}),
    ],
)
def test_the_callers_own_key(relayed: Any, api_key: str | None, sent: list[str], expected: dict[str, str]) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        await client.post(MESSAGES, message(), {name: SENT[name] for name in sent}).whole()
        fields = upstream.peers[0].requests[0].fields
        assert {name: fields[name] for name in ("x-api-key", "authorization") if name in fields} == expected

    relayed(main, streamed("one"), settings={**UP, "api_key": api_key})


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/", "/anthropic", "/anthropic/v1"])
def test_a_base_url_with_or_without_the_version(relayed: Any, suffix: str) -> None:
    """As Anthropic's SDK takes it, or as OpenAI's does: so that one address serves an upstream that speaks both."""

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        settings = relay.gateway.settings.upstreams["up"]
        assert settings.base_url == upstream.base_url
        await client.post(MESSAGES, message()).whole()
        assert upstream.peers[0].requests[0].target == "/v1/messages"
        from tokenwire.gateway.upstreams import upstream_of

        made = upstream_of("x", type(settings)(base_url=f"http://host{suffix}", dialect="anthropic"))
        wanted = "/anthropic/v1/messages" if "anthropic" in suffix else "/v1/messages"
        assert made.first.request("/messages", b"").path == wanted

    relayed(main, streamed("one"), settings=UP)


def test_the_headers_that_come_back(relayed: Any) -> None:
    given = [
        ("request-id", "req_1"),
        ("anthropic-ratelimit-requests-remaining", "3999"),
        ("anthropic-organization-id", "org"),
        ("retry-after", "2"),
        ("x-should-retry", "true"),
        ("set-cookie", "secret"),
    ]
    passed = {name: value for name, value in given if "organization" not in name and "cookie" not in name}

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        for body in (message(), message(stream=False)):
            got = await client.post(MESSAGES, body).whole()
            ours = {"content-type", "cache-control", "x-accel-buffering", "x-tokenwire-stream"}
            framing = {"transfer-encoding", "content-length"}
            assert {name: value for name, value in got.fields.items() if name not in ours | framing} == passed
            assert got.fields["x-tokenwire-stream"].startswith("st_")

    whole = answer(WHOLE, fields=given)
    chunked = ("transfer-encoding", "chunked")
    stream = head(200, SSE, chunked, *given) + chunks(*m.answer("one")) + LAST_CHUNK
    relayed(main, [REQUEST, stream, REQUEST, whole], settings=UP)


# ---------------------------------------------------------------------- answers that do not stream


def test_a_whole_answer_comes_back_verbatim(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        whole = await client.post(MESSAGES, message(stream=False)).whole()
        assert (whole.status, bytes(whole.body)) == (200, WHOLE)
        assert upstream.peers[0].requests[0].fields["accept"] == "application/json"
        terminal = relay.streams[0].terminal
        assert terminal is not None
        assert terminal.usage is not None
        assert (terminal.state, terminal.reason, terminal.usage.output) == ("completed", "stop", 2)

    relayed(main, [REQUEST, answer(WHOLE)], settings=UP)


def test_a_whole_answer_where_a_stream_was_asked_for_becomes_one(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post(MESSAGES, message()).whole()
        assert stream.events == [
            "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
            "message_stop",
        ]  # fmt: skip
        assert text_of(stream) == "one"
        assert stream.data[-2]["usage"]["output_tokens"] == 2

    relayed(main, [REQUEST, answer(WHOLE)], settings=UP)


# ---------------------------------------------------------------------- the native routes


def test_a_native_stream_is_started_in_this_dialect_and_followed_in_any(relayed: Any) -> None:
    wire = [
        m.start(), m.block(0, "thinking"), m.thinking("hm"), m.delta("signature_delta", signature="s"), m.end(),
        m.block(1), m.text("one", 1), m.end(1), m.block(2, "tool_use"), m.tool_input('{"a":1}', 2), m.end(2),
        m.finish("tool_use"), m.STOP,
    ]  # fmt: skip

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        order = {"dialect": "anthropic", "request": message(stream=False), "session": "s"}
        started = await client.post("/v1/streams", order).whole()
        assert started.status == 201
        events = started.json["events"]
        native = await client.get(events).whole()
        assert json.loads(upstream.peers[0].requests[0].body)["stream"] is True
        assert native.events == [
            "started", "usage", "reasoning", "reasoning_signature", "text", "tool_call", "tool_args", "tool_end",
            "usage", "done",
        ]  # fmt: skip
        assert native.data[-1]["reason"] == "tool_use"
        own = await client.get(events + "?dialect=anthropic").whole()
        assert b"".join(wire) == b"".join(
            line + b"\n" for line in bytes(own.body).split(b"\n")[:-1] if not line.startswith(b"id: ")
        )
        chat = await client.get(events + "?dialect=openai.chat").whole()
        assert chat.text == "one"
        described = await client.get(f"/v1/streams/{started.json['id']}").whole()
        assert (described.json["dialect"], described.json["state"]) == ("anthropic", "completed")
        assert described.json["usage"] == {"input": 3, "output": 5, "cached_input": None, "reasoning": None}

    relayed(main, [REQUEST, STREAM_HEAD + chunks(*wire) + LAST_CHUNK], settings=UP)


@pytest.mark.parametrize("start", ["start", "snapshot"])
def test_a_stream_of_another_dialect_is_followed_in_this_one(relayed: Any, start: str) -> None:
    from tokenwire.testing import chat_frames
    from tokenwire.testing.relay import chat

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        order = {"dialect": "openai.chat", "request": chat()}
        events = (await client.post("/v1/streams", order).whole()).json["events"]
        await until(lambda: relay.streams[0].log.last == 3)
        follower = client.get(f"{events}?dialect=anthropic&from={start}")
        await follower.blocks_of(3)
        gate.set()
        await follower.whole()
        assert follower.events[0] == "message_start"
        assert follower.events[-2:] == ["message_delta", "message_stop"]
        assert text_of(follower) == "one two"
        assert follower.data[-2]["usage"] == {"input_tokens": 3, "output_tokens": 5}
        resumed = await client.get(f"{events}?dialect=anthropic&after={follower.ids[2]}").whole()
        assert resumed.data == follower.data[3:] if start == "start" else resumed.status in (200, 409)

    gate = asyncio.Event()
    begun = chunks(chat_frames.role(), chat_frames.text("one"), chat_frames.text(" "))
    rest = chunks(chat_frames.text("two"), chat_frames.finish(), chat_frames.usage(), chat_frames.DONE) + LAST_CHUNK
    relayed(main, [REQUEST, STREAM_HEAD + begun, gate, rest])


def test_a_late_joiner_of_the_same_dialect_can_follow_the_numbers(relayed: Any) -> None:
    """Blocks that are passed on whole count, too: who gets a snapshot goes on with the provider's own frames."""
    use = {"id": "s", "name": "web_search", "input": {}}
    begun = [
        m.start(), m.block(0, "server_tool_use", **use), m.tool_input("{}"), m.end(), m.block(1), m.text("a", 1),
        m.text("b", 1),
    ]  # fmt: skip
    rest = [m.text("c", 1), m.end(1), m.finish(), m.STOP]

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        order = {"dialect": "anthropic", "request": message(), "on_disconnect": "finish"}
        events = (await client.post("/v1/streams", order).whole()).json["events"]
        await until(lambda: relay.streams[0].log.last == len(begun))
        follower = client.get(f"{events}?dialect=anthropic&from=snapshot")
        await follower.blocks_of(6)
        gate.set()
        await follower.whole()
        assert [item["content_block"]["type"] for item in follower.data if "content_block" in item] == [
            "server_tool_use", "text"
        ]  # fmt: skip
        deltas = [
            (item["index"], item["delta"].get("text")) for item in follower.data if "index" in item and "delta" in item
        ]
        assert deltas == [(0, None), (1, "ab"), (1, "c")]
        assert follower.events[-3:] == ["content_block_stop", "message_delta", "message_stop"]
        assert follower.ids[0] == f"1-{len(begun)}"
        whole = await client.get(f"{events}?dialect=anthropic&from=snapshot").whole()
        assert whole.events[-2:] == ["message_delta", "message_stop"]
        assert text_of(whole) == "abc"

    gate = asyncio.Event()
    script = [REQUEST, STREAM_HEAD + chunks(*begun), gate, chunks(*rest) + LAST_CHUNK]
    relayed(main, script, settings=UP)
