"""``POST /v1/chat/completions``: what goes up, what comes back, and when."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK, answer, head
from tokenwire.testing.relay import STREAM_HEAD, Relay, chat, chunks, streamed
from tokenwire.testing.rig import settle, until
from tokenwire.testing.upstream import REQUEST, ScriptedUpstream

CHAT = "/v1/chat/completions"
SSE = ("content-type", "text/event-stream")
WHOLE = (
    b'{"id": "chatcmpl-1", "object":"chat.completion", "created":1, "model":"m", "x": [1.0],'
    b' "choices":[{"index":0,"message":{"role":"assistant","content":"one"},"finish_reason":"stop"}],'
    b' "usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}'
)


# ---------------------------------------------------------------------- streams


def test_the_providers_bytes_come_through_as_they_are(relayed: Any) -> None:
    odd = b'data: {"choices":[{"index":0,"delta":{"content":"a\\u00e9"}}], "unknown" : 1e2}\n\n'
    wire = [frames.role(), odd, b"event: chunk\n" + frames.text("b"), frames.finish(), frames.DONE]

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post(CHAT, chat()).whole()
        assert bytes(stream.body) == b"".join(wire)
        assert stream.complete

    relayed(main, [REQUEST, STREAM_HEAD + chunks(*wire) + LAST_CHUNK])


def test_every_token_is_passed_on_at_once(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = client.post(CHAT, chat())
        for count, gate in enumerate(gates, start=2):
            await stream.blocks_of(count)
            assert len(stream.blocks) == count
            gate.set()
        await stream.whole()

    gates = [asyncio.Event() for _ in range(3)]
    script: list[Any] = [REQUEST, STREAM_HEAD + chunks(frames.role())]
    for gate in gates:
        script += [chunks(frames.text("x")), gate]
    relayed(main, [*script, chunks(frames.finish(), frames.DONE) + LAST_CHUNK])


def test_the_headers_of_a_stream(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post(CHAT, chat()).whole()
        fields = stream.fields
        assert fields.pop("content-type").partition(";")[0] == "text/event-stream"
        assert fields.pop("x-tokenwire-stream") == relay.streams[0].id
        assert fields == {
            "cache-control": "no-cache, no-transform",
            "x-accel-buffering": "no",
            "transfer-encoding": "chunked",
            "x-request-id": "req_1",
            "x-ratelimit-remaining-tokens": "5",
            "anthropic-ratelimit-requests-limit": "6",
            "retry-after-ms": "7",
            "x-should-retry": "false",
        }

    given = [
        ("x-request-id", "req_1"),
        ("X-RateLimit-Remaining-Tokens", "5"),
        ("anthropic-ratelimit-requests-limit", "6"),
        ("retry-after-ms", "7"),
        ("x-should-retry", "false"),
        ("set-cookie", "secret"),
        ("openai-organization", "somebody"),
        ("server", "x"),
        ("connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
    ]
    relayed(main, [REQUEST, head(200, SSE, *given) + chunks(*frames.answer("one")) + LAST_CHUNK])


def test_what_is_sent_upstream(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        sent = {
            "OpenAI-Project": "p",
            "Anthropic-Beta": "b",
            "traceparent": "00-1-2-01",
            "traceparent-not": "x",
            "cookie": "secret",
            "authorization": "Bearer caller",
            "x-forwarded-for": "1.2.3.4",
        }
        body = b'{"model":"up/gpt/4", "stream":true, "messages":[{"role":"user","content":"\\u00e9"}], "top_p":1.0}'
        await client.post(CHAT, body, sent).whole()
        request = upstream.peers[0].requests[0]
        assert (request.method, request.target) == ("POST", "/v1/chat/completions")
        assert request.fields.pop("content-length") == str(len(request.body))
        assert request.fields == {
            "host": f"127.0.0.1:{upstream.port}",
            "content-type": "application/json",
            "accept": "text/event-stream",
            "accept-encoding": "identity",
            "user-agent": "tokenwire",
            "authorization": "Bearer sk-ours",
            "x-extra": "1",
            "openai-project": "p",
            "anthropic-beta": "b",
            "traceparent": "00-1-2-01",
        }
        assert request.body == (
            b'{"model":"gpt/4","stream":true,"messages":[{"role":"user","content":"\\u00e9"}],"top_p":1.0,'
            b'"stream_options":{"include_usage":true}}'
        )

    relayed(main, streamed("one"), settings={"api_key": "sk-ours", "headers": {"x-extra": "1"}})


@pytest.mark.parametrize(
    ("api_key", "sent", "expected"),
    [
        ("passthrough", {"authorization": "Bearer caller"}, "Bearer caller"),
        ("passthrough", {}, None),
        (None, {"authorization": "Bearer caller"}, None),
    ],
)
def test_the_callers_own_key(relayed: Any, api_key: str | None, sent: dict[str, str], expected: str | None) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        await client.post(CHAT, chat(), sent).whole()
        assert upstream.peers[0].requests[0].fields.get("authorization") == expected

    relayed(main, streamed("one"), settings={"api_key": api_key})


@pytest.mark.parametrize("asked", [True, False])
def test_the_usage_chunk_is_shown_to_who_asked_for_it(relayed: Any, asked: bool) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        options: dict[str, Any] = {"stream_options": {"include_usage": True}} if asked else {}
        stream = await client.post(CHAT, chat(**options)).whole()
        assert any("usage" in item for item in stream.data if item != "[DONE]") is asked
        assert stream.data[-1] == "[DONE]"
        sent = json.loads(upstream.peers[0].requests[0].body)
        assert sent["stream_options"] == {"include_usage": True}
        terminal = relay.streams[0].terminal
        assert terminal is not None
        assert terminal.usage is not None
        assert terminal.usage.output == 5

    wire = frames.answer("one", with_usage=True)
    relayed(main, [REQUEST, STREAM_HEAD + chunks(*wire) + LAST_CHUNK])


def test_an_upstream_that_refuses_stream_options_is_not_sent_any(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        await client.post(CHAT, chat()).whole()
        assert "stream_options" not in json.loads(upstream.peers[0].requests[0].body)

    relayed(main, streamed("one"), settings={"usage": False})


def test_ids_are_there_when_asked_for(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post(CHAT, chat(), {"X-Tokenwire-Ids": "1"}).whole()
        assert stream.ids == ["1-1", "1-2", "1-3", "1-4"]
        for block in stream.blocks:
            lines = block.split("\n")
            assert [line.partition(":")[0] for line in lines] == ["data", "id"]  # the id directly before the blank line
        plain = await client.post(CHAT, chat(), {"X-Tokenwire-Ids": "0"}).whole()
        assert plain.ids == []
        assert b"retry:" not in stream.body

    relayed(main, streamed("one") * 2)


@pytest.mark.parametrize(("ids", "comment"), [("0", b": hb\n\n"), ("1", b": hb\n")], ids=["without ids", "with ids"])
def test_heartbeats_while_nothing_comes(relayed: Any, ids: str, comment: bytes) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post(CHAT, chat(), {"X-Tokenwire-Ids": ids}).blocks_of(2)
        before = len(stream.body)
        await stream.until(lambda answer: answer.body.count(b": hb\n") >= 2)
        assert stream.body[before:].startswith(comment * 2)
        gate.set()
        await stream.whole()
        assert stream.text == "one two"

    gate = asyncio.Event()
    first = STREAM_HEAD + chunks(frames.role(), frames.text("one"))
    rest = chunks(frames.text(" two"), frames.finish(), frames.DONE) + LAST_CHUNK
    relayed(main, [REQUEST, first, gate, rest], heartbeat=0.05)


# ---------------------------------------------------------------------- the held head


def test_the_head_waits_for_the_first_token(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = client.post(CHAT, chat())
        held = await relay.stream()
        await until(lambda: held.log.last == 1)
        await settle()
        assert not stream.status
        gate.set()
        await stream.whole()
        assert (stream.status, stream.text) == (200, "one")

    gate = asyncio.Event()
    rest = chunks(frames.text("one"), frames.finish(), frames.DONE) + LAST_CHUNK
    relayed(main, [REQUEST, STREAM_HEAD + chunks(frames.role()), gate, rest])


def test_the_head_does_not_wait_longer_than_it_may(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post(CHAT, chat()).head()
        assert stream.status == 200
        await stream.until(lambda answer: b": hb\n\n" in answer.body)
        gate.set()
        await stream.whole()
        # It is too late for a status: the error is an event, and there is no [DONE].
        assert stream.complete
        assert stream.data[-1]["error"]["message"] == "it broke"
        assert stream.data[-1]["error"]["type"] == "server_error"

    gate = asyncio.Event()
    broken = answer(b'{"error":{"message":"it broke","type":"server_error","param":null,"code":null}}', status=500)
    relayed(main, [REQUEST, gate, broken], hold=0.05, heartbeat=0.05)


def test_without_a_hold_the_head_comes_at_once(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post(CHAT, chat()).head()
        assert stream.status == 200
        gate.set()
        assert (await stream.whole()).text == "one"

    gate = asyncio.Event()
    relayed(main, [REQUEST, gate, STREAM_HEAD + chunks(*frames.answer("one")) + LAST_CHUNK], hold=0.0)


# ---------------------------------------------------------------------- answers that do not stream


def test_a_whole_answer_comes_back_verbatim(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        whole = await client.post(CHAT, chat(stream=False)).whole()
        assert (whole.status, bytes(whole.body)) == (200, WHOLE)
        assert whole.fields["content-type"] == "application/json"
        assert whole.fields["x-tokenwire-stream"] == relay.streams[0].id
        assert whole.fields["x-request-id"] == "req_1"
        request = upstream.peers[0].requests[0]
        assert request.fields["accept"] == "application/json"
        assert "stream_options" not in json.loads(request.body)
        assert relay.streams[0].state.value == "completed"

    relayed(main, [REQUEST, answer(WHOLE, fields=[("x-request-id", "req_1")])])


@pytest.mark.parametrize("late", [False, True], ids=["within the hold", "after the head"])
def test_a_whole_answer_where_a_stream_was_asked_for_becomes_one(relayed: Any, late: bool) -> None:
    """A server that does not know ``stream``. After the head is out, the raw JSON must not be sent into the events."""

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = client.post(CHAT, chat())
        if late:
            await stream.head()
            await settle()
        gate.set()
        await stream.whole()
        assert (stream.status, stream.text) == (200, "one")
        assert stream.data[-1] == "[DONE]"
        assert all(item == "[DONE]" or item["object"] == "chat.completion.chunk" for item in stream.data)

    gate = asyncio.Event()
    relayed(main, [REQUEST, gate, answer(WHOLE)], hold=0.02 if late else 10.0)


def test_an_event_stream_under_another_label_is_one(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post(CHAT, chat()).whole()
        assert (stream.status, stream.text) == (200, "one")

    relayed(main, [REQUEST, answer(b"".join(frames.answer("one")), content_type="text/plain")])
