"""``Idempotency-Key``: a repeated POST attaches to the stream that the first one started."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tokenwire.dialects import get as dialect
from tokenwire.engine.hub import Hub
from tokenwire.engine.states import Policy
from tokenwire.engine.stream import Stream
from tokenwire.errors import NotResumable
from tokenwire.gateway import idempotency
from tokenwire.gateway.idempotency import Keys
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.http_bytes import LAST_CHUNK, answer
from tokenwire.testing.relay import STREAM_HEAD, Relay, chat, chunks, streamed
from tokenwire.testing.rig import settle, until
from tokenwire.testing.upstream import CLOSE, REQUEST, ScriptedUpstream

CHAT = "/v1/chat/completions"
KEY = {"Idempotency-Key": "k1"}
FIRST = STREAM_HEAD + chunks(frames.role(), frames.text("one"))
REST = chunks(frames.text(" two"), frames.finish(), frames.DONE) + LAST_CHUNK


def test_a_repeat_of_an_ended_stream_replays_it(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        first = await client.post(CHAT, chat(), KEY).whole()
        again = await client.post(CHAT, chat(), KEY).whole()
        assert first.body == again.body
        assert first.fields["x-tokenwire-stream"] == again.fields["x-tokenwire-stream"]
        assert len(relay.streams) == 1

    relayed(main, streamed("one"))


def test_a_repeat_attaches_to_a_running_stream_from_its_start(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, other = await relay.connect(), await relay.connect()
        first = await client.post(CHAT, chat(), KEY).blocks_of(2)
        client.close()
        stream = await relay.stream()
        await until(lambda: not stream.readers)
        assert stream.terminal is None, "a key implies a linger"
        again = await other.post(CHAT, chat(), KEY).blocks_of(2)
        gate.set()
        await again.whole()
        assert again.text == "one two"
        assert again.body.startswith(first.body)
        assert len(relay.streams) == 1

    gate = asyncio.Event()
    relayed(main, [REQUEST, FIRST, gate, REST])


def test_two_at_once_are_one(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        clients = [await relay.connect() for _ in range(5)]
        answers = [client.post(CHAT, chat(), KEY) for client in clients]
        await until(lambda: relay.streams and len(relay.streams[0].readers) == 5)
        gate.set()
        for each in answers:
            await each.whole()
            assert each.text == "one two"
        assert len(relay.streams) == len(upstream.peers) == 1

    gate = asyncio.Event()
    relayed(main, [REQUEST, gate, FIRST + REST])


def test_a_whole_answer_is_repeated_too(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        for _ in range(2):
            whole = await client.post(CHAT, chat(stream=False), KEY).whole()
            assert (whole.status, bytes(whole.body)) == (200, body)
        assert len(relay.streams) == 1

    body = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"one"},"finish_reason":"stop"}]}'
    relayed(main, [REQUEST, answer(body)])


def test_a_started_stream_is_found_again(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        body = {"dialect": "openai.chat", "request": chat()}
        first, again = [(await client.post("/v1/streams", body, KEY).whole()).json["id"] for _ in range(2)]
        assert first == again
        assert len(relay.streams) == 1

    relayed(main, streamed("one"))


@pytest.mark.parametrize("path", [CHAT, "/v1/streams"])
def test_the_same_key_with_another_body_is_refused(relayed: Any, path: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        await client.post(CHAT, chat(), KEY).whole()
        body: Any = chat("other") if path == CHAT else {"dialect": "openai.chat", "request": chat()}
        refused = await client.post(path, body, KEY).whole()
        assert refused.status == 422
        assert refused.json["error"]["code"] == "idempotency_mismatch"
        assert (await client.post(CHAT, chat("other"), {"Idempotency-Key": "k2"}).whole()).status == 200

    relayed(main, streamed("one") * 2)


def test_a_stream_that_failed_before_a_token_frees_its_key(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        assert (await client.post(CHAT, chat(), KEY).whole()).status == 502
        again = await client.post(CHAT, chat(), KEY).whole()
        assert (again.status, again.text) == (200, "one")

    relayed(main, [REQUEST, CLOSE], streamed("one"))


def test_a_stream_that_was_left_before_a_token_frees_its_key(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, other = await relay.connect(), await relay.connect()
        client.post(CHAT, chat(), {**KEY, "X-Tokenwire-On-Disconnect": "cancel"})
        await until(lambda: upstream.peers and upstream.peers[0].requests)
        client.close()
        stream = await relay.stream()
        await until(lambda: stream.terminal is not None)
        again = await other.post(CHAT, chat(), KEY).whole()
        assert (again.status, again.text) == (200, "one")

    relayed(main, [REQUEST], streamed("one"))


def test_a_stream_that_was_stopped_is_not_begun_again(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, other = await relay.connect(), await relay.connect()
        refused = client.post(CHAT, chat(), KEY)
        stream = await relay.stream()
        await other.post(f"/v1/streams/{stream.id}/cancel").whole()
        await refused.whole()
        again = await client.post(CHAT, chat(), KEY).whole()
        for each in (refused, again):
            assert (each.status, each.json["error"]["code"]) == (499, "cancelled")
        assert len(relay.streams) == 1

    relayed(main, [REQUEST])


def test_a_stream_that_failed_after_a_token_keeps_its_key(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        first = await client.post(CHAT, chat(), KEY).whole()
        again = await client.post(CHAT, chat(), KEY).whole()
        assert first.data[-1]["error"]["code"] == "upstream_closed"
        assert first.body == again.body

    relayed(main, [REQUEST, FIRST, CLOSE])


def test_a_stream_that_is_no_longer_kept_is_gone(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        await client.post(CHAT, chat(), KEY).whole()
        await client.request("DELETE", f"/v1/streams/{relay.streams[0].id}").whole()
        gone = await client.post(CHAT, chat(), KEY).whole()
        assert gone.status == 410
        assert gone.json["error"]["code"] == "stream_expired"
        assert "new key" in gone.json["error"]["message"]
        await settle()
        assert len(upstream.peers) == 1, "a second generation is never started in silence"

    relayed(main, streamed("one"))


# ---------------------------------------------------------------------- every route that begins generation

PARTS = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
SAID = [{"id": "u", "role": "user", "content": "hi"}]
#: Path -> what begins an answer there.
ROUTES: dict[str, dict[str, Any]] = {
    CHAT: chat(),
    "/v1/responses": {"model": "up/m", "input": "hi", "stream": True},
    "/v1/messages": {"model": "up/m", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "hi"}]},
    "/v1beta/models/up/m:streamGenerateContent?alt=sse": PARTS,
    "/v1beta/models/up/m:streamGenerateContent": PARTS,
    "/ollama/api/chat": {"model": "up/m", "messages": [{"role": "user", "content": "hi"}]},
    "/ollama/api/generate": {"model": "up/m", "prompt": "hi"},
    "/v1/streams": {"dialect": "openai.chat", "request": chat()},
    "/api/chat": {
        "model": "up/m", "id": "c",
        "messages": [{"id": "u", "role": "user", "parts": [{"type": "text", "text": "hi"}]}],
    },
    "/api/chat?plain": {"model": "up/m", "prompt": "hi"},
    "/agui": {
        "threadId": "t", "runId": "r", "state": {}, "tools": [], "context": [], "messages": SAID,
        "forwardedProps": {"model": "up/m"},
    },
}  # fmt: skip


@pytest.mark.parametrize("begun", [True, False], ids=["in mid-stream", "before the first byte"])
@pytest.mark.parametrize("path", ROUTES)
def test_who_lost_the_line_and_asks_again_attaches(relayed: Any, path: str, begun: bool) -> None:
    """As SDKs do that try again by themselves: one generation, and every answer is the whole of it."""

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        lost, client = await relay.connect(), await relay.connect()
        first = lost.post(path, ROUTES[path], KEY)
        stream = await relay.stream()
        starts = path == "/v1/streams"  # answered at once: nothing of the answer is in it
        if begun or starts:
            await first.until(lambda answer: b"one" in answer.body or (starts and answer.over))
        else:
            await until(lambda: upstream.peers and upstream.peers[0].requests)
        lost.transport.abort()
        await until(lambda: not stream.readers)
        again = client.post(path, ROUTES[path], KEY)
        await until(lambda: starts or stream.readers)
        gate.set()
        await again.whole()
        await until(lambda: stream.terminal is not None)
        later = await client.post(path, ROUTES[path], KEY).whole()
        for each in (again, later):
            assert (each.status, each.fields["x-tokenwire-stream"]) == (201 if starts else 200, stream.id)
        if starts:
            assert again.json["id"] == later.json["id"] == first.json["id"]
        else:
            assert again.body == later.body
            assert again.body.startswith(first.body)
            assert b"two" in again.body
        refused = await client.post(path, json.loads(json.dumps(ROUTES[path]).replace('"hi"', '"ho"')), KEY).whole()
        assert (refused.status, b"another body" in refused.body) == (422, True)
        assert len(relay.streams) == len(upstream.peers) == 1

    gate = asyncio.Event()
    relayed(main, [REQUEST, FIRST, gate, REST] if begun else [REQUEST, gate, FIRST + REST])


def test_where_the_model_is_in_the_path_it_is_part_of_the_question(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        ask = "/v1beta/models/up/{}:streamGenerateContent?alt=sse"
        await client.post(ask.format("m"), PARTS, KEY).whole()
        other = await client.post(ask.format("n"), PARTS, KEY).whole()
        assert (other.status, len(relay.streams)) == (422, 1)

    relayed(main, streamed("one"))


def test_a_bad_policy_is_refused_on_a_repeat_too(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        await client.post(CHAT, chat(), KEY).whole()
        assert (await client.post(CHAT, chat(), {**KEY, "X-Tokenwire-On-Disconnect": "x"}).whole()).status == 400

    relayed(main, streamed("one"))


# ---------------------------------------------------------------------- keys, without a server


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def hub() -> Hub:
    return Hub(ManualClock())  # a clock of its own, that stands still: it would look around four times a second


def opened(hub: Hub, owner: str = "me") -> Stream:
    return hub.open(owner=owner, dialect=dialect("openai.chat"), model="m", policy=Policy())


def test_a_key_is_the_callers_own(clock: ManualClock, hub: Hub) -> None:
    keys = Keys(clock, hub)
    stream = opened(hub)
    keys.put("me", "k", b"body", stream)
    assert keys.find("me", "k", b"body") is stream
    assert keys.find("you", "k", b"body") is None
    assert keys.find("me", "K", b"body") is None


def test_a_key_lasts_a_day(clock: ManualClock, hub: Hub) -> None:
    keys = Keys(clock, hub)
    stream = opened(hub)
    keys.put("me", "k", b"body", stream)
    hub.forget(stream)
    clock.advance(24 * 3600)
    with pytest.raises(NotResumable):
        keys.find("me", "k", b"body")
    clock.advance(1)
    assert keys.find("me", "k", b"body") is None
    keys.put("me", "k", b"other", second := opened(hub))
    assert keys.find("me", "k", b"other") is second


def test_the_oldest_keys_make_room(clock: ManualClock, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "MAX_KEYS", 2)
    keys = Keys(clock, hub)
    streams = {name: opened(hub) for name in "abc"}
    for name, stream in streams.items():
        keys.put("me", name, b"body", stream)
    assert [keys.find("me", name, b"body") for name in "abc"] == [None, streams["b"], streams["c"]]


def test_old_keys_are_dropped_when_new_ones_come(clock: ManualClock, hub: Hub) -> None:
    keys = Keys(clock, hub)
    keys.put("me", "old", b"", opened(hub))
    clock.advance(24 * 3600 + 1)
    keys.put("me", "new", b"", opened(hub))
    assert len(keys) == 1
