"""``/api/chat`` by POST: the plainest request, and events that the plainest loop can read."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK, answer
from tokenwire.testing.relay import STREAM_HEAD, Relay, chunks, streamed
from tokenwire.testing.rig import settle, until
from tokenwire.testing.upstream import CLOSE, REQUEST, ScriptedUpstream

PATH = "/api/chat"
FIRST = STREAM_HEAD + chunks(frames.role(), frames.text("one"))
REST = chunks(frames.text(" two"), frames.finish(), frames.DONE) + LAST_CHUNK
EDGES = pytest.mark.parametrize("edge", ["tokenwire", "httptools", "h11"])


def ask(prompt: str = "hi", **fields: Any) -> dict[str, Any]:
    return {"prompt": prompt, "model": "up/m", **fields}


def naive(body: bytes) -> list[str]:
    """The textbook's fetch loop, without any care: ``JSON.parse(part.slice(6))`` for each part."""
    *parts, rest = body.decode().split("\n\n")
    assert rest == ""
    assert parts[-1] == "data: [DONE]"
    return [json.loads(part[6:])["text"] for part in parts[:-1]]


@EDGES
def test_text_events_and_the_end(relayed: Any, edge: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = client.post(PATH, ask())
        await stream.until(lambda answer: b"one" in answer.body)
        assert bytes(stream.body) == b'data: {"text":"one"}\n\n', "at once, and nothing else"
        gate.set()
        await stream.whole()
        assert (stream.status, stream.complete) == (200, True)
        assert bytes(stream.body) == b'data: {"text":"one"}\n\ndata: {"text":" two"}\n\ndata: [DONE]\n\n'
        assert stream.fields["content-type"].startswith("text/event-stream")
        assert stream.fields["cache-control"] == "no-cache, no-transform"
        assert stream.fields["x-tokenwire-stream"] == relay.streams[0].id

    gate = asyncio.Event()
    relayed(main, [REQUEST, FIRST, gate, REST], edge=edge)


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        ({}, [("user", "hi")]),
        ({"system": "Be brief."}, [("system", "Be brief."), ("user", "hi")]),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "system": "s"},
            [("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "hi")],
        ),
    ],
)
def test_what_the_provider_is_asked(relayed: Any, fields: Any, messages: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        await client.post(PATH, ask(**fields)).whole()
        asked = json.loads(upstream.peers[0].requests[0].body)
        assert (asked["model"], asked["stream"]) == ("m", True)
        assert [(each["role"], each["content"]) for each in asked["messages"]] == messages

    relayed(main, streamed("one"))


def test_half_a_character_is_asked_as_a_whole_one(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        assert (await client.post(PATH, b'{"prompt":"a\\ud83d","model":"up/m"}').whole()).status == 200
        assert json.loads(upstream.peers[0].requests[0].body)["messages"][0]["content"] == "a\ufffd"

    relayed(main, streamed("one"))


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"", "invalid_json", "JSON"),
        (b"{", "invalid_json", "JSON"),
        (b"\xff", "invalid_json", "JSON"),
        (b"[" * 100_000, "invalid_json", "JSON"),
        (b"[]", "bad_request", "object"),
        (b"{}", "bad_request", "prompt"),
        (b'{"prompt":""}', "missing_prompt", "prompt"),
        (b'{"prompt":1}', "bad_request", "$.prompt"),
        (b'{"prompt":"x","temperature":1}', "bad_request", "temperature"),
        (b'{"prompt":"x","messages":[{"role":"user"}]}', "bad_request", "content"),
        (b'{"prompt":"x"}', "no_default_model", "default_model"),
    ],
)  # fmt: skip
def test_a_request_that_makes_no_sense_says_why(relayed: Any, body: bytes, code: str, words: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        refused = await (await relay.connect()).post(PATH, body).whole()
        assert (refused.status, refused.json["error"]["code"]) == (400, code)
        assert words in refused.json["error"]["message"]
        assert refused.json["error"]["retryable"] is False
        assert relay.streams == []

    relayed(main)


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"Origin": "https://evil.example"}, 403, "foreign_origin"),
        ({"Host": "evil.example"}, 403, "foreign_host"),
        ({"Content-Type": "text/plain"}, 415, "not_json"),
        ({"X-Tokenwire-On-Disconnect": "later"}, 400, "bad_on_disconnect"),
    ],
)
def test_a_foreign_page_is_refused(relayed: Any, fields: dict[str, str], status: int, code: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        refused = await (await relay.connect()).post(PATH, ask(), fields).whole()
        assert (refused.status, refused.json["error"]["code"]) == (status, code)
        assert not [name for name in refused.fields if name.startswith("access-control")]
        assert upstream.peers == []

    relayed(main, streamed("one"))


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "OPTIONS"])
def test_another_method_begins_nothing(relayed: Any, method: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        refused = await (await relay.connect()).request(method, f"{PATH}?prompt=x&model=up/m").whole()
        assert (refused.status, refused.fields["allow"]) == (405, "GET, POST")
        assert relay.streams == []

    relayed(main)


@EDGES
def test_a_failure_before_the_first_token_is_a_status(relayed: Any, edge: str) -> None:
    body = b'{"error":{"message":"slow down","type":"tokens","param":null,"code":"rate_limit_exceeded"}}'

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        refused = await (await relay.connect()).post(PATH, ask()).whole()
        assert (refused.status, refused.fields["content-type"]) == (429, "application/json")
        assert refused.json == {"error": {"code": "rate_limit_exceeded", "message": "slow down", "retryable": True}}
        assert refused.fields["retry-after"] == "20"

    relayed(main, [REQUEST, answer(body, status=429, fields=[("retry-after", "20")])], edge=edge)


@EDGES
def test_a_failure_within_the_answer_is_its_last_event(relayed: Any, edge: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        stream = await (await relay.connect()).post(PATH, ask()).whole()
        assert (stream.status, stream.complete, len(stream.blocks)) == (200, True, 2)
        assert stream.data[0] == {"text": "one"}
        assert stream.data[1]["error"]["code"] == "upstream_closed"

    relayed(main, [REQUEST, FIRST, CLOSE], edge=edge)


def test_an_unknown_model_is_a_status(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        refused = await (await relay.connect()).post(PATH, ask(model="nobodys")).whole()
        assert (refused.status, refused.json["error"]["code"]) == (404, "model_not_found")

    relayed(main)


def test_heartbeats_do_not_break_the_naivest_loop(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        stream = (await relay.connect()).post(PATH, ask())
        await stream.until(lambda answer: bytes(answer.body).count(b'{"text":""}') >= 2)
        gate.set()
        await stream.whole()
        texts = naive(bytes(stream.body))
        assert "".join(texts) == "one two"
        assert texts.count("") >= 2

    gate = asyncio.Event()
    relayed(main, [REQUEST, FIRST, gate, REST], heartbeat=0.02)


def test_ids_where_they_are_asked_for(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        stream = await (await relay.connect()).post(PATH, ask(), {"X-Tokenwire-Ids": "1"}).whole()
        assert bytes(stream.body) == b'data: {"text":"one"}\nid: 1-2\n\ndata: [DONE]\nid: 1-5\n\n'

    relayed(main, streamed("one"))


@pytest.mark.parametrize(("said", "left"), [(None, False), ("cancel", True)])
def test_who_leaves_may_come_back(relayed: Any, said: str | None, left: bool) -> None:
    """Linger is this route's default; the header says otherwise, as everywhere."""

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        fields = {} if said is None else {"X-Tokenwire-On-Disconnect": said}
        await client.post(PATH, ask(), fields).until(lambda answer: b"one" in answer.body)
        stream = await relay.stream()
        assert stream.policy.linger == (0 if said else 15)
        client.close()
        await until(lambda: not stream.readers)
        await settle()
        assert (stream.terminal is not None) is left

    relayed(main, [REQUEST, FIRST])


def test_an_idempotency_key_begins_once(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        key = {"Idempotency-Key": "k1"}
        bodies = [bytes((await client.post(PATH, ask(), key).whole()).body) for _ in range(2)]
        assert bodies[0] == bodies[1]
        assert len(relay.streams) == 1
        assert (await client.post(PATH, ask("other"), key).whole()).status == 422

    relayed(main, streamed("one"))


def test_a_body_above_the_limit_and_one_that_never_comes(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        assert (await client.post(PATH, ask("x" * 2000)).whole()).status == 413
        gone = await relay.connect()
        gone.send(
            b"POST /api/chat HTTP/1.1\r\nhost: localhost\r\n"
            b"content-type: application/json\r\ncontent-length: 9\r\n\r\n{"
        )
        gone.close()
        await gone.gone()
        await settle()
        assert relay.streams == []

    relayed(main, request_body=1000)  # fmt: skip


def test_through_the_simulator(simulated: Any) -> None:
    async def main(relay: Relay, simulator: Any) -> None:
        text = "Grüße, 世界 \u2028 and \x85, 👩‍👩‍👧\r\nagain"
        stream = await (await relay.connect()).post(PATH, ask(text, model="up/echo")).whole()
        assert "".join(naive(bytes(stream.body))) == text

    simulated(main)
