"""The native routes: start, list and look."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK, answer
from tokenwire.testing.relay import STREAM_HEAD, Relay, chat, chunks
from tokenwire.testing.rig import until
from tokenwire.testing.upstream import REQUEST, ScriptedUpstream

STREAMS = "/v1/streams"
FIRST = STREAM_HEAD + chunks(frames.role(), frames.text("one"))


def body(prompt: str = "hi", **fields: Any) -> dict[str, Any]:
    return {"dialect": "openai.chat", "request": chat(prompt), **fields}


# ---------------------------------------------------------------------- start


def test_starting_a_stream(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        started = await client.post(STREAMS, body()).whole()
        assert started.status == 201
        stream = relay.streams[0]
        path = f"/v1/streams/{stream.id}"
        assert started.json == {"id": stream.id, "state": "connecting", "events": f"{path}/events"}
        assert started.fields["location"] == path
        assert started.fields["x-tokenwire-stream"] == stream.id
        assert stream.id.startswith("st_")
        assert len(stream.id) == len("st_") + 22, "128 random bits"

    relayed(main, [REQUEST])


@pytest.mark.parametrize("said", [True, False, None])
def test_what_is_started_streams_whatever_its_body_says(relayed: Any, said: bool | None) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        request = chat()
        del request["stream"]
        if said is not None:
            request["stream"] = said
        await client.post(STREAMS, {"dialect": "openai.chat", "request": request}).whole()
        peer = await upstream.peer()
        await until(lambda: peer.requests)
        assert json.loads(peer.requests[0].body)["stream"] is True

    relayed(main, [REQUEST])


@pytest.mark.parametrize(
    ("sent", "code", "word"),
    [
        (b"", "bad_request", "truncated"),
        (b"[]", "bad_request", "object"),
        (b"{}", "bad_request", "dialect"),
        (b'{"dialect":"openai.chat"}', "bad_request", "request"),
        (b'{"dialect":"openai.chat","request":{},"sesion":"x"}', "bad_request", "sesion"),
        (b'{"dialect":1,"request":{}}', "bad_request", "dialect"),
        (b'{"dialect":"smoke","request":{}}', "unknown_dialect", "openai.chat"),
        (b'{"dialect":"native","request":{}}', "unsupported_dialect", "openai.chat"),
        (b'{"dialect":"openai.chat","request":[]}', "invalid_request", "object"),
        (b'{"dialect":"openai.chat","request":{}}', "missing_required_parameter", "model"),
        (json.dumps(body(on_disconnect="later")).encode(), "bad_on_disconnect", "linger=SECONDS"),
        (b'{"dialect":"openai.chat","request":' + b"[" * 100_000, "bad_request", ""),
    ],
)
def test_a_start_that_makes_no_sense_says_why(relayed: Any, sent: bytes, code: str, word: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        refused = await client.post(STREAMS, sent).whole()
        assert refused.status == 400
        error = refused.json["error"]
        assert error["code"] == code
        assert word in error["message"]
        assert error["retryable"] is False
        assert relay.streams == []

    relayed(main)


def test_a_start_for_an_unknown_model(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        refused = await client.post(STREAMS, {"dialect": "openai.chat", "request": chat(model="x")}).whole()
        assert (refused.status, refused.json["error"]["code"]) == (404, "model_not_found")

    relayed(main)


@pytest.mark.parametrize("where", ["body", "header", "neither"])
def test_a_stream_that_nobody_follows_ends(relayed: Any, where: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        more = {"on_disconnect": "linger=0.05"} if where == "body" else {}
        fields = {"X-Tokenwire-On-Disconnect": "linger=0.05"} if where == "header" else {}
        await client.post(STREAMS, body(**more), fields).whole()
        stream = await relay.stream()
        await until(lambda: stream.terminal is not None)
        assert stream.state.value == "cancelled"
        assert await (await upstream.peer()).gone() is not None
        look = (await client.get(f"{STREAMS}/{stream.id}").whole()).json
        assert look["error"]["code"] == "client_left"
        assert "nobody read for 0.05 s" in look["error"]["message"]

    relayed(main, [REQUEST, FIRST], linger=0.05 if where == "neither" else 15.0)


# ---------------------------------------------------------------------- look


def test_looking_at_a_stream_through_its_life(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, other = await relay.connect(), await relay.connect()
        before = time.time()
        started = await client.post(STREAMS, body(session="s1", metadata={"a": [1]})).whole()
        path = started.fields["location"]
        look = (await client.get(path).whole()).json
        created = look.pop("created")
        assert before - 1 < created < time.time() + 1
        (attempt,) = look.pop("attempts")
        assert created <= attempt.pop("started") <= time.time() + 1
        made = {"number": 1, "upstream": "up", "model": "instant", "dialect": "openai.chat", "error": None}
        assert attempt == {**made, "ended": None, "status": None, "first": None}
        assert look == {
            "id": started.json["id"],
            "state": "connecting",
            "model": "up/instant",
            "upstream": "up",
            "dialect": "openai.chat",
            "session": "s1",
            "started": None,
            "ended": None,
            "last_id": "1-0",
            "readers": 0,
            "usage": None,
            "timing": None,
            "metadata": {"a": [1]},
            "expires": None,
        }
        reader = other.get(started.json["events"])
        gates[0].set()
        await reader.until(lambda answer: "text" in answer.events)
        look = (await client.get(path).whole()).json
        assert (look["state"], look["readers"], look["last_id"]) == ("streaming", 1, "1-2")
        assert created <= look["started"] <= time.time() + 1
        assert look["attempts"][0]["first"] == 1
        gates[1].set()
        await reader.whole()
        look = (await client.get(path).whole()).json
        assert (look["state"], look["readers"], look["last_id"]) == ("completed", 0, "1-6")
        assert look["ended"] + 599 < look["expires"] < look["ended"] + 601
        assert look["started"] <= look["ended"] <= time.time() + 1
        (attempt,) = look["attempts"]
        assert attempt == {**made, "started": attempt["started"], "ended": look["ended"], "status": 200, "first": 1}
        assert look["usage"] == {"input": 3, "output": 5, "cached_input": None, "reasoning": None}
        assert 0 < look["timing"]["ttft_ms"] <= look["timing"]["e2e_ms"]
        assert "error" not in look

    gates = [asyncio.Event(), asyncio.Event()]
    rest = chunks(frames.finish(), frames.usage(), frames.DONE) + LAST_CHUNK
    relayed(main, [REQUEST, gates[0], FIRST, gates[1], rest])


def test_looking_at_a_failure(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        started = await client.post(STREAMS, body()).whole()
        stream = await relay.stream()
        await until(lambda: stream.terminal is not None)
        look = (await client.get(started.fields["location"]).whole()).json
        assert look["state"] == "failed"
        assert look["error"] == {
            "code": "rate_limit_exceeded",
            "message": "slow down",
            "retryable": True,
            "upstream_status": 429,
        }
        assert look["started"] is None

    relayed(main, [REQUEST, answer(b'{"error":{"message":"slow down"}}', status=429)])


def test_the_session_is_in_a_header_too(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        await client.post(STREAMS, body(), {"X-Tokenwire-Session": "s2"}).whole()
        listed = (await client.get(STREAMS).whole()).json["streams"]
        assert [each["session"] for each in listed] == ["s2"]

    relayed(main, [REQUEST])


def test_the_list_has_the_oldest_first(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        assert (await client.get(STREAMS).whole()).json == {"streams": []}
        ids = [(await client.post(STREAMS, body()).whole()).json["id"] for _ in range(3)]
        listed = (await client.get(STREAMS).whole()).json["streams"]
        assert [each["id"] for each in listed] == ids

    relayed(main, [REQUEST])


def test_what_a_running_stream_has_used_so_far_is_told(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        started = await client.post(STREAMS, body()).whole()
        stream = await relay.stream()
        await until(lambda: stream.log.last == 3)
        usage = (await client.get(started.fields["location"]).whole()).json["usage"]
        assert usage["estimated"]
        assert usage["output"] >= 2
        listed = (await client.get(STREAMS).whole()).json
        assert [each["usage"] for each in listed["streams"]] == [None], "a list is quick: it counts nothing"

    texts = chunks(frames.role(), frames.text("some words"), frames.text(" and more of them"))
    relayed(main, [REQUEST, STREAM_HEAD + texts])
