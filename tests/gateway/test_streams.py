"""The native routes: start, list, look, stop, forget; and every answer that they can give."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK, answer
from tokenwire.testing.relay import STREAM_HEAD, Relay, chat, chunks, streamed
from tokenwire.testing.rig import settle, until
from tokenwire.testing.upstream import CLOSE, REQUEST, ScriptedUpstream

STREAMS = "/v1/streams"
FIRST = STREAM_HEAD + chunks(frames.role(), frames.text("one"))
REST = chunks(frames.text(" two"), frames.finish(), frames.DONE) + LAST_CHUNK


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
            "attempts": [],
            "metadata": {"a": [1]},
        }
        reader = other.get(started.json["events"])
        gates[0].set()
        await reader.until(lambda answer: "text" in answer.events)
        look = (await client.get(path).whole()).json
        assert (look["state"], look["readers"], look["last_id"]) == ("streaming", 1, "1-2")
        assert created <= look["started"] <= time.time() + 1
        assert look["attempts"] == [{"number": 1, "dialect": "openai.chat", "first": 1}]
        gates[1].set()
        await reader.whole()
        look = (await client.get(path).whole()).json
        assert (look["state"], look["readers"], look["last_id"]) == ("completed", 0, "1-6")
        assert look["started"] <= look["ended"] <= time.time() + 1
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


# ---------------------------------------------------------------------- stop and forget


def test_cancelling_before_the_first_token_and_again(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        started = await client.post(STREAMS, body()).whole()
        await until(lambda: upstream.peers and upstream.peers[0].requests)
        path = started.fields["location"]
        looks = [await client.post(f"{path}/cancel").whole() for _ in range(2)]
        assert [look.status for look in looks] == [200, 200]
        assert looks[0].json == looks[1].json
        assert looks[0].json["state"] == "cancelled"
        assert looks[0].json["error"]["code"] == "cancelled"
        assert await upstream.peers[0].gone() is not None
        events = await client.get(f"{path}/events").whole()
        assert events.events == ["started", "error", "done"]
        assert events.data[-1]["state"] == "cancelled"

    relayed(main, [REQUEST])


def test_cancelling_while_still_connecting(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        client.send(client.encode("POST", STREAMS, body()))
        started = await client.expect().whole()
        cancelled = await client.post(f"{started.fields['location']}/cancel").whole()
        assert cancelled.json["state"] == "cancelled"
        await settle()
        assert all(peer.over for peer in upstream.peers)

    relayed(main, [REQUEST])


def test_cancelling_in_mid_answer_tells_every_reader(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, native, vendor = [await relay.connect() for _ in range(3)]
        started = await client.post(STREAMS, body()).whole()
        events = started.json["events"]
        one = await native.get(events).until(lambda answer: "text" in answer.events)
        two = await vendor.get(events + "?dialect=openai.chat").blocks_of(2)
        await client.post(f"{started.fields['location']}/cancel").whole()
        await one.whole()
        await two.whole()
        assert one.complete
        assert two.complete
        assert one.data[-1]["state"] == "cancelled"
        assert two.data[-1]["error"]["code"] == "cancelled"
        assert "[DONE]" not in two.data
        assert await upstream.peers[0].gone() is not None

    relayed(main, [REQUEST, FIRST])


def test_cancelling_what_is_over_changes_nothing(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        started = await client.post(STREAMS, body()).whole()
        stream = await relay.stream()
        await until(lambda: stream.terminal is not None)
        cancelled = await client.post(f"{started.fields['location']}/cancel", {}).whole()
        assert (cancelled.status, cancelled.json["state"]) == (200, "completed")

    relayed(main, streamed("one"))


def test_forgetting_a_running_stream_stops_it(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, reader = await relay.connect(), await relay.connect()
        started = await client.post(STREAMS, body()).whole()
        path = started.fields["location"]
        events = await reader.get(f"{path}/events").until(lambda answer: "text" in answer.events)
        gone = await client.request("DELETE", path).whole()
        assert (gone.status, gone.body) == (204, b"")
        await events.whole()
        assert events.data[-1]["state"] == "cancelled"
        assert await upstream.peers[0].gone() is not None
        for method, sub in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/events")):
            unknown = await client.request(method, path + sub).whole()
            assert (unknown.status, unknown.json["error"]["code"]) == (404, "stream_not_found")
        assert relay.streams == []

    relayed(main, [REQUEST, FIRST])


def test_a_reader_that_lags_when_its_stream_is_forgotten_still_gets_its_end(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, reader = await relay.connect(), await relay.connect(receive_buffer=4096)
        started = await client.post(STREAMS, body()).whole()
        events = await reader.get(started.json["events"]).head()
        reader.pause()
        stream = await relay.stream()
        await until(lambda: stream.log.last == 501 and stream.statistics().furthest_lag > 0)
        await client.request("DELETE", started.fields["location"]).whole()
        reader.resume()
        await events.whole()
        assert events.complete
        assert events.data[-1]["state"] == "cancelled"
        assert events.body.count(b"<499>") == 1

    pieces = [frames.text(f"<{n}>" + "x" * 4000) for n in range(500)]
    relayed(main, [REQUEST, STREAM_HEAD + chunks(frames.role(), *pieces)])


# ---------------------------------------------------------------------- what is not there


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("GET", f"{STREAMS}/st_nobody", 404, None),
        ("GET", f"{STREAMS}/{'x' * 5000}", 404, None),
        ("GET", f"{STREAMS}/st_a/b", 404, None),
        ("GET", f"{STREAMS}/", 404, None),
        ("PUT", STREAMS, 405, "GET, POST"),
        ("DELETE", STREAMS, 405, "GET, POST"),
        ("POST", "{stream}", 405, "GET, DELETE"),
        ("POST", "{stream}/events", 405, "GET"),
        ("GET", "{stream}/cancel", 405, "POST"),
    ],
)
def test_what_is_not_there(relayed: Any, method: str, path: str, status: int, allowed: str | None) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        started = await client.post(STREAMS, body()).whole()
        refused = await client.request(method, path.format(stream=started.fields["location"])).whole()
        assert refused.status == status
        assert refused.json["error"]["code"]
        assert refused.fields.get("allow") == allowed
        assert len(refused.body) < 500, "what was asked for is not thrown back whole"

    relayed(main, [REQUEST])


def test_a_path_that_only_begins_like_it_is_another(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        assert (await client.get("/v1/streamsx").whole()).json["error"]["code"] == "no_such_route"

    relayed(main)


def test_a_client_that_leaves_while_it_starts_starts_nothing(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        client.send(client.encode("POST", STREAMS, body())[:-3])
        await until(lambda: relay.connections == 1)
        await settle()
        client.close()
        await until(lambda: relay.connections == 0)
        assert relay.streams == []

    relayed(main, [REQUEST, CLOSE])
