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
from tokenwire.testing.upstream import CLOSE, REQUEST, ScriptedUpstream

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
        options = {"stream_options": {"include_usage": True}} if asked else {}
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


# ---------------------------------------------------------------------- when the reader leaves


@pytest.mark.parametrize(
    ("policy", "outcome"),
    [(None, "cancelled"), ("cancel", "cancelled"), ("linger=0.05", "cancelled"), ("finish", "completed")],
)
def test_the_policy_when_the_reader_leaves(relayed: Any, policy: str | None, outcome: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        fields = {} if policy is None else {"X-Tokenwire-On-Disconnect": policy}
        await client.post(CHAT, chat(), fields).blocks_of(2)
        stream = await relay.stream()
        client.close()
        await until(lambda: not stream.readers)
        if policy in ("linger=0.05", "finish"):
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
