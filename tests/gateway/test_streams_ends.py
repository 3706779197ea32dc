"""The native routes: stop and forget, and what is not there."""

from __future__ import annotations

from typing import Any

import pytest

from tokenwire.testing import chat_frames as frames
from tokenwire.testing.relay import STREAM_HEAD, Relay, chat, chunks, streamed
from tokenwire.testing.rig import settle, until
from tokenwire.testing.upstream import CLOSE, REQUEST, ScriptedUpstream

STREAMS = "/v1/streams"
FIRST = STREAM_HEAD + chunks(frames.role(), frames.text("one"))


def body(prompt: str = "hi", **fields: Any) -> dict[str, Any]:
    return {"dialect": "openai.chat", "request": chat(prompt), **fields}


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
        assert events.events == ["started", "usage", "error", "done"]
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
        assert (gone.status, bytes(gone.body)) == (204, b"")
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
