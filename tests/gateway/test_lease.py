"""``X-Tokenwire-Lease``: who does not say that he is there has left, whatever a proxy makes of his connection."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlencode

import pytest

from tokenwire.gateway import lease
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK
from tokenwire.testing.http_client import Answer, Client
from tokenwire.testing.relay import STREAM_HEAD, Relay, chat, chunks, message, started, streamed
from tokenwire.testing.rig import settle, until
from tokenwire.testing.upstream import REQUEST, ScriptedUpstream

FIRST = STREAM_HEAD + chunks(frames.role(), frames.text("one"))
REST = chunks(frames.text(" two"), frames.finish(), frames.DONE) + LAST_CHUNK
#: Long enough for a slow machine to renew it, short enough to wait for its end.
BRIEF = {"X-Tokenwire-Lease": "0.2"}
#: Its lease is renewed by nobody: by its end, that much time has passed.
WATCH = {"X-Tokenwire-Lease": "0.3"}
LONG = {"X-Tokenwire-Lease": "60"}
CANCEL = {"X-Tokenwire-On-Disconnect": "cancel"}
UI = {"id": "c1", "messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "hi"}]}]}
AGUI = {
    "threadId": "t", "runId": "r", "state": {}, "tools": [], "context": [], "forwardedProps": {"model": "up/m"},
    "messages": [{"id": "m1", "role": "user", "content": "hi"}],
}  # fmt: skip
POSTS: dict[str, Any] = {
    "/v1/chat/completions": chat(),
    "/v1/messages": message(),
    "/v1/responses": {"model": "up/m", "input": "hi", "stream": True},
    "/api/chat": {"prompt": "hi", "model": "up/m"},
    "/agui": AGUI,
}


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEAST", 0.01)


def asking(client: Client, path: str, fields: dict[str, str]) -> Answer:
    if path == "useChat":
        return client.post("/api/chat", {**UI, "model": "up/m"}, fields)
    if path.startswith("GET "):
        return client.get("/api/chat?" + urlencode({"prompt": "hi", "model": "up/m", "run": "r1"}), fields)
    return client.post(path, POSTS[path], fields)


async def renew(client: Client, answer: Answer, **fields: str) -> Answer:
    path = f"/v1/streams/{answer.fields['x-tokenwire-stream']}/lease"
    return await client.post(path, None, fields).whole()


@pytest.mark.parametrize(
    ("path", "edge"),
    [*((path, "tokenwire") for path in [*POSTS, "useChat", "GET /api/chat"]), ("/v1/chat/completions", "httptools")],
)
def test_one_that_lapses_is_a_leaving(relayed: Any, path: str, edge: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        answer = asking(await relay.connect(), path, {**BRIEF, **CANCEL})
        await answer.until(lambda answer: b"one" in answer.body)
        assert answer.fields["x-tokenwire-lease"] == "0.2"
        assert answer.fields["x-tokenwire-lease-id"].startswith("le_")
        await answer.whole()
        assert b"lease" in answer.body, "told, in its dialect: nobody takes it for the end of the answer"
        assert b"DONE" not in answer.body
        stream = await relay.stream()
        await until(lambda: stream.terminal is not None)
        assert stream.terminal is not None
        assert stream.terminal.error is not None
        assert stream.terminal.error.code == "client_left"
        assert await upstream.peers[0].gone() is not None

    relayed(main, [REQUEST, FIRST], edge=edge)


@pytest.mark.parametrize("how", ["header", "body", "nothing"])
def test_renewed_it_holds(relayed: Any, how: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, other = await relay.connect(), await relay.connect()
        answer = client.post("/v1/chat/completions", chat(), {**BRIEF, **CANCEL})
        await answer.until(lambda answer: b"one" in answer.body)
        held = answer.fields["x-tokenwire-lease-id"]
        path = f"/v1/streams/{answer.fields['x-tokenwire-stream']}/lease"
        watch = (await relay.connect()).get(await started(other), WATCH)
        await watch.head()
        while not watch.over:  # as long as another stream's lease lasts that is not renewed
            fields = {"X-Tokenwire-Lease-Id": held} if how == "header" else {}
            body = {"lease": held} if how == "body" else None
            renewed = await other.post(path, body, fields).whole()
            assert renewed.status == 200
            assert renewed.json["leases"] == 1
            assert renewed.json["seconds"] == 0.2
            assert renewed.json["expires"] == pytest.approx(relay.gateway.clock.wall() + 0.2, abs=0.5)
        gate.set()
        await answer.whole()
        assert answer.data[-1] == "[DONE]"
        over = await other.post(path, None, {"X-Tokenwire-Lease-Id": held}).whole()
        assert (over.status, over.json["seconds"], over.json["state"]) == (200, None, "completed")

    gate = asyncio.Event()
    relayed(main, [REQUEST, FIRST, gate, REST], [REQUEST, FIRST])


def test_two_tabs_hold_a_stream_each_for_itself(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        hands = await relay.connect()
        path = await started(hands, on_disconnect="cancel")
        dead = (await relay.connect()).get(path, BRIEF)
        alive = (await relay.connect()).get(path, LONG)
        await alive.until(lambda answer: "text" in answer.events)
        assert (
            await renew(hands, alive, **{"X-Tokenwire-Lease-Id": alive.fields["x-tokenwire-lease-id"]})
        ).status == 200
        await dead.whole()
        assert (dead.complete, dead.data[-1]["code"], dead.data[-1]["retryable"]) == (True, "lease_lapsed", True)
        assert "done" not in dead.events
        assert dead.data[-1]["message"].endswith(f"resume after {dead.ids[-1]}")
        lost = await renew(hands, dead, **{"X-Tokenwire-Lease-Id": dead.fields["x-tokenwire-lease-id"]})
        assert (lost.status, lost.json["error"]["code"]) == (404, "lease_not_found")
        assert (await renew(hands, dead)).status == 404, "the other one's client knows its id"
        [stream] = relay.streams
        assert (stream.terminal, len(stream.readers)) == (None, 1)
        gate.set()
        await alive.whole()
        assert alive.native_text == "one two"

    gate = asyncio.Event()
    relayed(main, [REQUEST, FIRST, gate, REST])


def test_who_lapsed_and_lives_goes_on_where_he_was(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        path = await started(client, on_disconnect="linger=30")
        lapsed = await client.get(path, BRIEF).whole()
        assert lapsed.data[-1]["code"] == "lease_lapsed"
        again = client.get(path, {**LONG, "Last-Event-ID": lapsed.ids[-1]})
        await again.head()
        gate.set()
        await again.whole()
        assert again.events == ["text", "usage", "done"]

    gate = asyncio.Event()
    relayed(main, [REQUEST, FIRST, gate, REST])


def test_it_begins_when_its_client_can_know_of_it(relayed: Any) -> None:
    """A held response has no head yet, and nobody can renew what he does not know."""

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        answer = client.post("/v1/chat/completions", chat(), {**BRIEF, **CANCEL})
        stream = await relay.stream()
        await until(lambda: stream.readers and upstream.peers and upstream.peers[0].requests)
        # As long as such a lease lasts where it has begun.
        await (await relay.connect()).get(f"/v1/streams/{stream.id}/events", WATCH).whole()
        assert (stream.terminal, answer.status) == (None, 0)
        gate.set()
        await answer.until(lambda answer: b"one" in answer.body)
        await answer.whole()
        assert b"lease_lapsed" in answer.body

    gate = asyncio.Event()
    relayed(main, [REQUEST, gate, FIRST])


def test_a_client_that_leaves_leaves_no_lease(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, hands = await relay.connect(), await relay.connect()
        path = await started(hands, on_disconnect="linger=30")
        await client.get(path, LONG).until(lambda answer: "text" in answer.events)
        [stream] = relay.streams
        leases = stream.leaving.leases
        assert leases is not None
        assert len(leases) == 1
        client.close()
        await until(lambda: not stream.readers)
        assert len(leases) == 0

    relayed(main, [REQUEST, FIRST])


def test_what_is_over_or_comes_whole_needs_none(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        path = await started(client)
        stream = await relay.stream()
        await until(lambda: stream.terminal is not None)
        replay = await client.get(path, LONG).whole()
        assert (replay.native_text, "x-tokenwire-lease" in replay.fields) == ("one", False)
        whole = await client.post("/v1/chat/completions", chat(stream=False), LONG).whole()
        assert (whole.status, "x-tokenwire-lease" in whole.fields) == (200, False)
        head = await client.request("HEAD", path, None, LONG).whole()
        assert (head.status, "x-tokenwire-lease" in head.fields) == (200, False)

    body = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"one"},"finish_reason":"stop"}]}'
    whole = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    relayed(main, [*streamed("one"), REQUEST, whole])


@pytest.mark.parametrize("said", ["x", "0", "-1", "nan", "inf", "1e3", "3601", "15s", "1_0", "9" * 200])
def test_what_is_no_lease_is_refused(relayed: Any, said: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        path = await started(client)
        raw = {"X-Tokenwire-Lease": said}
        answers = [asking(client, path, raw) for path in [*POSTS, "useChat", "GET /api/chat"]]
        answers.append(client.get(path, raw))
        answers.append(client.get(f"{path}?{urlencode({'lease': said})}"))
        answers.append(client.post("/v1/streams", {"dialect": "openai.chat", "request": chat()}, raw))
        for answer in answers:
            await answer.whole()
            assert (answer.status, len(answer.body) < 500) == (400, True)
            assert b"lease" in answer.body
        assert len(relay.streams) == 1, "nothing was begun for it"

    relayed(main, [REQUEST])


def test_an_address_may_ask_for_one(relayed: Any) -> None:
    """An EventSource sets no header, and reads none: its page renews without an id."""

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        path = await started(client)
        ticket = (await client.post(path.replace("/events", "/ticket")).whole()).json["url"]
        source = (await relay.connect()).get(f"{ticket}&lease=30", {"accept": "text/event-stream"})
        await source.until(lambda answer: "text" in answer.events)
        assert source.fields["x-tokenwire-lease"] == "30"
        assert (await renew(client, source)).json["leases"] == 1

    relayed(main, [REQUEST, FIRST])


# ---------------------------------------------------------------------- a start


@pytest.mark.parametrize("how", ["header", "body"])
def test_who_starts_may_promise_to_follow(relayed: Any, how: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        body: dict[str, Any] = {"dialect": "openai.chat", "request": chat(), "on_disconnect": "cancel"}
        fields = {**BRIEF, "idempotency-key": "k"} if how == "header" else {"idempotency-key": "k"}
        body |= {"lease": 0.2} if how == "body" else {}
        answer = await client.post("/v1/streams", body, fields).whole()
        assert (answer.status, answer.fields["x-tokenwire-lease"]) == (201, "0.2")
        again = await client.post("/v1/streams", body, fields).whole()
        assert again.fields["x-tokenwire-lease-id"] == answer.fields["x-tokenwire-lease-id"]
        stream = await relay.stream()
        await until(lambda: stream.terminal is not None)
        assert stream.terminal is not None
        assert stream.terminal.error is not None
        assert stream.terminal.error.code == "client_left"
        late = await client.post("/v1/streams", body, {**fields, "idempotency-key": "k"}).whole()
        assert late.status == 201

    relayed(main, [REQUEST, FIRST], [REQUEST, FIRST])


@pytest.mark.parametrize("said", [0, -1, 4000, "15", True, None])
def test_a_start_whose_lease_is_none(relayed: Any, said: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        body = {"dialect": "openai.chat", "request": chat(), "lease": said}
        answer = await client.post("/v1/streams", body).whole()
        assert answer.status == (201 if said is None else 400)
        assert "x-tokenwire-lease" not in answer.fields

    relayed(main, [REQUEST])


# ---------------------------------------------------------------------- renewals


def test_what_cannot_be_renewed(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        path = (await started(client)).replace("/events", "/lease")
        none = await client.post(path).whole()
        assert (none.status, none.json["error"]["code"]) == (404, "lease_not_found")
        unknown = await client.post("/v1/streams/st_nobody/lease").whole()
        assert (unknown.status, unknown.json["error"]["code"]) == (404, "stream_not_found")
        assert (await client.get(path).whole()).fields["allow"] == "POST"
        for body in ("[]", '{"lease":1}', '{"id":"x"}', "{"):
            bad = await client.post(path, body.encode()).whole()
            assert (bad.status, bad.json["error"]["code"]) == (400, "bad_request"), body
        large = await (await relay.connect()).post(path, {"lease": "x" * 5000}).whole()
        assert large.status == 413
        text = await client.request("POST", path, b"{}", {"content-type": "text/plain"}).whole()
        assert text.status == 415, "another site's page could have sent it"
        await settle()
        assert len(relay.streams) == 1

    relayed(main, [REQUEST, FIRST])
