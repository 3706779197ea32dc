"""A stream belongs to whoever began it: on every route, another caller is answered as if there were none."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlencode

import pytest

from tokenwire.gateway import guard
from tokenwire.gateway.answers import header
from tokenwire.gateway.openapi import PATHS
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK
from tokenwire.testing.relay import STREAM_HEAD, Relay, chat, chunks
from tokenwire.testing.rig import until
from tokenwire.testing.upstream import REQUEST, ScriptedUpstream

ADA, EVE = {"x-caller": "ada"}, {"x-caller": "eve"}
FIRST = STREAM_HEAD + chunks(frames.role(), frames.text("one"))
REST = chunks(frames.text(" two"), frames.finish(), frames.DONE) + LAST_CHUNK
UI = {"id": "c1", "model": "up/m",
      "messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "hi"}]}]}  # fmt: skip

#: Every route that names something of somebody's: how, and what a stranger gets. ``{id}`` is the name.
ROUTES = [
    ("GET", "/v1/streams/{id}", 404),
    ("HEAD", "/v1/streams/{id}", 404),
    ("DELETE", "/v1/streams/{id}", 404),
    ("GET", "/v1/streams/{id}/events", 404),
    ("HEAD", "/v1/streams/{id}/events", 404),
    ("GET", "/v1/streams/{id}/events?from=snapshot", 404),
    ("GET", "/v1/streams/{id}/events?after=1-99", 404),
    ("POST", "/v1/streams/{id}/cancel", 404),
    ("POST", "/v1/streams/{id}/lease", 404),
    ("POST", "/v1/streams/{id}/ticket", 404),
    ("GET", "/v1/responses/{id}", 404),
    ("GET", "/v1/responses/{id}?stream=true", 404),
    ("POST", "/v1/responses/{id}/cancel", 404),
    ("GET", "/api/chat/{id}/stream", 204),
    ("POST", "/api/chat/{id}/stop", 200),
]


@pytest.fixture(autouse=True)
def callers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks stands in a field, as it will in a key."""
    admit = guard.admit

    def named(scope: Any) -> str:
        admit(scope)
        return header(scope, b"x-caller") or "nobody"

    monkeypatch.setattr(guard, "admit", named)


def test_the_table_has_every_route_that_names_something() -> None:
    known = {(method, path.partition("?")[0]) for method, path, _ in ROUTES}
    for path, operations in PATHS.items():
        if "{id}" in path:
            for method in operations:
                assert (method.upper(), path) in known


@pytest.mark.parametrize("accept", ["*/*", "text/event-stream"])
@pytest.mark.parametrize(("method", "path", "status"), ROUTES)
def test_a_stranger_finds_nothing(relayed: Any, method: str, path: str, status: int, accept: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, other = await relay.connect(), await relay.connect()
        asked = client.post("/api/chat", UI, {**ADA, "idempotency-key": "k", "x-tokenwire-lease": "60"})
        await asked.until(lambda answer: b"one" in answer.body)
        stream_id = asked.fields["x-tokenwire-stream"]
        [stream] = relay.gateway.hub.mine("ada")
        names = {"/v1/s": stream_id, "/v1/r": "resp_" + stream_id.removeprefix("st_"), "/api/": "c1"}
        name = names[path[:5]]
        foreign = await other.request(method, path.format(id=name), None, {**EVE, "accept": accept}).whole()
        second = await relay.connect()  # what follows an answer to HEAD is not read by the first
        none = await second.request(method, path.format(id=name[:-2] + "xx"), None, {**EVE, "accept": accept}).whole()
        assert (foreign.status, none.status) == (status, status)
        assert bytes(foreign.body).replace(name.encode(), b"") == bytes(none.body).replace(
            (name[:-2] + "xx").encode(), b""
        ), "nor can he tell that there is something"
        assert sorted(foreign.fields) == sorted(none.fields)
        assert stream.terminal is None
        gate.set()
        await asked.whole()
        assert b" two" in asked.body
        again = await (await relay.connect()).get(f"/v1/streams/{stream_id}/events", ADA).whole()
        assert again.native_text == "one two"

    gate = asyncio.Event()
    relayed(main, [REQUEST, FIRST, gate, REST])


def test_lists_keys_chats_and_runs_are_each_ones_own(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, other = await relay.connect(), await relay.connect()
        key = {"idempotency-key": "k"}
        mine = await client.post("/v1/chat/completions", chat(), ADA | key).whole()
        assert (await other.get("/v1/streams", EVE).whole()).json == {"streams": []}
        assert len((await other.get("/v1/streams", ADA).whole()).json["streams"]) == 1
        his = await other.post("/v1/chat/completions", chat("another"), EVE | key).whole()
        assert his.status == 200, "not 422: the key is his own"
        assert his.fields["x-tokenwire-stream"] != mine.fields["x-tokenwire-stream"]
        run = "/api/chat?" + urlencode({"prompt": "hi", "model": "up/m", "run": "r1"})
        for caller in (ADA, EVE):
            assert (await other.get(run, caller).whole()).status == 200
        assert (await other.get(run, {**EVE, "last-event-id": "1-99"}).whole()).status == 409, "of his own"
        for caller in (ADA, EVE):
            assert (await other.post("/api/chat", UI, caller).whole()).status == 200
        assert len(list(relay.gateway.hub.mine("ada"))) == 3
        assert len(list(relay.gateway.hub.mine("eve"))) == 3

    relayed(main, [REQUEST, FIRST, REST] * 6)


def test_a_ticket_is_a_right_to_one_stream_whoever_has_it(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        body = {"dialect": "openai.chat", "request": chat()}
        paths = [(await client.post("/v1/streams", body, ADA).whole()).fields["location"] for _ in range(2)]
        ticket = (await client.post(f"{paths[0]}/ticket", None, ADA).whole()).json["ticket"]
        read = await client.get(f"{paths[0]}/events?ticket={ticket}", EVE).whole()
        assert read.native_text == "one two"
        assert (await client.get(f"{paths[1]}/events?ticket={ticket}", EVE).whole()).status == 403
        for route in ("", "/cancel", "/lease", "/ticket"):
            method = "POST" if route else "GET"
            refused = await client.request(method, f"{paths[0]}{route}?ticket={ticket}", None, EVE).whole()
            assert refused.status == 404, "it can do nothing but read"

    relayed(main, [REQUEST, FIRST, REST] * 2, [REQUEST, FIRST, REST])


# ---------------------------------------------------------------------- one caller, several connections


def test_a_linger_counts_the_readers_of_all_connections(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        hands, one, two, back = [await relay.connect() for _ in range(4)]
        body = {"dialect": "openai.chat", "request": chat(), "on_disconnect": "linger=0.2"}
        path = (await hands.post("/v1/streams", body, ADA).whole()).json["events"]

        async def linger_is_over() -> None:
            """As long as a stream of the same policy that nobody reads lives."""
            location = (await hands.post("/v1/streams", body, EVE).whole()).fields["location"]
            other = relay.gateway.hub.get(location.rpartition("/")[2], "eve")
            await until(lambda: other.terminal is not None)

        for client in (one, two):
            await client.get(path, ADA).until(lambda answer: "text" in answer.events)
        [stream] = relay.gateway.hub.mine("ada")
        one.close()
        await until(lambda: len(stream.readers) == 1)
        await linger_is_over()
        assert stream.state.value == "streaming", "one still reads"
        two.close()
        await until(lambda: not stream.readers)
        again = await back.get(path, {**ADA, "last-event-id": "1-2"}).head()
        await linger_is_over()
        assert (again.status, stream.state.value) == (200, "streaming"), "one came back in time"
        back.close()
        await until(lambda: stream.terminal is not None)
        assert stream.terminal is not None
        assert stream.terminal.error is not None
        assert stream.terminal.error.code == "client_left"
        assert await upstream.peers[0].gone() is not None

    relayed(main, [REQUEST, FIRST], [REQUEST, FIRST], [REQUEST, FIRST])


@pytest.mark.parametrize("moment", ["before the provider was asked", "before its answer", "before the first token"])
def test_a_stop_from_another_connection_comes_at_any_moment(relayed: Any, moment: str) -> None:
    """And may be said again: the answer is the same."""

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        reader, other = await relay.connect(), await relay.connect()
        held = reader.post("/v1/chat/completions", chat(), ADA)
        await until(lambda: list(relay.gateway.hub.mine("ada")))
        [stream] = relay.gateway.hub.mine("ada")
        if moment != "before the provider was asked":
            await until(lambda: upstream.peers and upstream.peers[0].requests)
        if moment == "before the first token":
            gate.set()
            await until(lambda: stream.state.value == "streaming")
        stranger = await other.post(f"/v1/streams/{stream.id}/cancel", None, EVE).whole()
        assert (stranger.status, stream.terminal) == (404, None)
        looks = [await other.post(f"/v1/streams/{stream.id}/cancel", None, ADA).whole() for _ in range(3)]
        assert {look.status for look in looks} == {200}
        assert len({bytes(look.body) for look in looks}) == 1
        await held.whole()
        assert (held.status, held.json["error"]["code"]) == (499, "cancelled")
        await until(lambda: all(peer.over for peer in upstream.peers))

    gate = asyncio.Event()
    relayed(main, [REQUEST, gate, STREAM_HEAD + chunks(frames.role())])
