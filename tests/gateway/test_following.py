"""``GET /v1/streams/{id}/events``: any dialect, from any id, for any number of readers; nothing lost or doubled."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK
from tokenwire.testing.http_client import Answer
from tokenwire.testing.relay import STREAM_HEAD, Relay, chunks, started, streamed
from tokenwire.testing.rig import until
from tokenwire.testing.upstream import REQUEST, ScriptedUpstream

FIRST = STREAM_HEAD + chunks(frames.role(), frames.text("one"))
REST = chunks(frames.text(" two"), frames.finish(), frames.DONE) + LAST_CHUNK
DIALECTS = ["native", "openai.chat"]


def cut_after(answer: Answer) -> list[tuple[str, bytes]]:
    """Each id in *answer*, and the bytes that follow its event."""
    body = bytes(answer.body)
    return [(match.group(1).decode(), body[match.end() :]) for match in re.finditer(rb"id: (\S+)\n\n", body)]


def test_the_native_dialect(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        events = await client.get(await started(client)).whole()
        assert events.fields["content-type"].startswith("text/event-stream")
        assert events.fields["cache-control"] == "no-cache, no-transform"
        assert events.fields["x-accel-buffering"] == "no"
        assert events.fields["x-tokenwire-stream"] == relay.streams[0].id
        assert events.body.startswith(b"id: 1-0\n\n"), "a cursor before anything happened"
        assert events.events == ["started", "text", "text", "usage", "done"]
        assert events.native_text == "one two"
        assert events.data[0]["stream"] == relay.streams[0].id
        done = events.data[-1]
        assert (done["state"], done["reason"]) == ("completed", "stop")
        assert len(events.ids) == len(set(events.ids)) == 1 + len(events.events)

    wire = frames.answer("one", " two", with_usage=True)
    relayed(main, [REQUEST, STREAM_HEAD + chunks(*wire) + LAST_CHUNK])


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("how", ["header", "query"])
def test_resuming_at_every_id(relayed: Any, dialect: str, how: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        path = f"{await started(client)}?dialect={dialect}"
        whole = await client.get(path).whole()
        assert whole.complete
        places = cut_after(whole)
        assert len(places) >= 6
        for event_id, rest in places:
            if how == "header":
                resumed = await client.get(path, {"Last-Event-ID": event_id}).whole()
            else:
                resumed = await client.get(f"{path}&after={event_id}").whole()
            if not rest:
                assert (resumed.status, bytes(resumed.body)) == (204, b""), "over, and nothing is left"
                continue
            assert resumed.status == 200
            priming = f"id: {event_id}\n\n".encode() if dialect == "native" else b""
            assert bytes(resumed.body) == priming + rest

    tool = {"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}]}
    more = {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":1}'}}]}
    wire = [frames.role(), frames.text("o"), frames.text("ne"), frames.chunk(tool), frames.chunk(more)]
    wire += [frames.finish("tool_calls"), frames.usage(), frames.DONE]
    relayed(main, [REQUEST, STREAM_HEAD + chunks(*wire) + LAST_CHUNK])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_resuming_a_running_stream(relayed: Any, dialect: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, other = await relay.connect(), await relay.connect()
        path = f"{await started(client)}?dialect={dialect}"
        first = await client.get(path).until(lambda answer: b"one" in answer.body)
        last = first.ids[-1]
        client.close()
        resumed = await other.get(path, {"Last-Event-ID": last}).head()
        gate.set()
        await resumed.whole()
        assert b'"one"' not in resumed.body
        text = resumed.native_text if dialect == "native" else resumed.text
        assert text == " two"

    gate = asyncio.Event()
    relayed(main, [REQUEST, FIRST, gate, REST])


def test_a_browsers_reconnection_goes_by_the_header(relayed: Any) -> None:
    """An EventSource asks the address that it was given, for ever: what that says was for the first time."""

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        path = await started(client)
        whole = await client.get(path).whole()
        for query in ("after=1-1", "from=snapshot", "from=now", "after="):
            resumed = await client.get(f"{path}?{query}", {"Last-Event-ID": "1-2"}).whole()
            assert resumed.status == 200
            assert bytes(resumed.body) == b"id: 1-2\n\n" + dict(cut_after(whole))["1-2"]

    relayed(main, streamed("one", " two"))


def test_the_dialect_is_in_a_header_too(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        events = await client.get(await started(client), {"X-Tokenwire-Dialect": "openai.chat"}).whole()
        assert events.text == "one"
        assert events.ids == ["1-1", "1-2", "1-3", "1-4"]

    relayed(main, streamed("one"))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_many_readers_get_the_same(relayed: Any, dialect: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        path = f"{await started(client)}?dialect={dialect}"
        readers = [await relay.connect() for _ in range(5)]
        answers = [reader.get(path) for reader in readers[:3]]
        for each in answers:
            await each.until(lambda answer: b"one" in answer.body)
        answers += [reader.get(path) for reader in readers[3:]]
        gate.set()
        bodies = {bytes((await each.whole()).body) for each in answers}
        assert len(bodies) == 1
        again = await client.get(path).whole()
        assert bodies == {bytes(again.body)}, "a replay is the same read"

    gate = asyncio.Event()
    relayed(main, [REQUEST, FIRST, gate, REST])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_late_reader_takes_a_snapshot(relayed: Any, dialect: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, other = await relay.connect(), await relay.connect()
        path = f"{await started(client)}?dialect={dialect}"
        await client.get(path).until(lambda answer: b'"c"' in answer.body)
        late = await other.get(f"{path}&from=snapshot").until(lambda answer: answer.ids)
        assert late.ids == ["1-4"], "one exact place, on the last frame of the prefix"
        gate.set()
        await late.whole()
        if dialect == "native":
            assert late.events[:2] == ["started", "snapshot"]
            assert late.data[1]["text"] == "abc"
            assert late.native_text == " two"
        else:
            assert late.text == "abc two"
            assert late.data[-1] == "[DONE]"
        resumed = await client.connect(relay.port)
        rest = await resumed.get(path, {"Last-Event-ID": "1-4"}).whole()
        assert rest.body.endswith(late.body[-100:])
        resumed.close()

    gate = asyncio.Event()
    first = STREAM_HEAD + chunks(frames.role(), *map(frames.text, "abc"))
    relayed(main, [REQUEST, first, gate, REST])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_snapshot_of_what_is_over(relayed: Any, dialect: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        path = f"{await started(client)}?dialect={dialect}"
        await client.get(path).whole()
        late = await client.get(f"{path}&from=snapshot").whole()
        assert late.complete
        if dialect == "native":
            assert late.events == ["started", "snapshot", "usage", "done"]
            assert late.data[1]["text"] == "one two"
        else:
            assert late.text == "one two"
            assert late.data[-1] == "[DONE]"

    relayed(main, streamed("one", " two"))


def test_a_snapshot_of_nothing_is_a_cursor(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, other = await relay.connect(), await relay.connect()
        path = await started(client)
        events = other.get(f"{path}?from=snapshot")
        await events.until(lambda answer: answer.ids)
        assert events.ids == ["1-0"]
        gate.set()
        await events.whole()
        assert events.native_text == "one two"

    gate = asyncio.Event()
    relayed(main, [REQUEST, gate, FIRST, REST])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_from_now_on(relayed: Any, dialect: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, other = await relay.connect(), await relay.connect()
        path = f"{await started(client)}?dialect={dialect}"
        await client.get(path).until(lambda answer: b"one" in answer.body)
        now = await other.get(f"{path}&from=now").head()
        stream = await relay.stream()
        await until(lambda: len(stream.readers) == 2)
        gate.set()
        await now.whole()
        assert (now.native_text if dialect == "native" else now.text) == " two"
        over = await other.get(f"{path}&from=now").whole()
        assert (over.status, bytes(over.body)) == (204, b"")

    gate = asyncio.Event()
    relayed(main, [REQUEST, FIRST, gate, REST])


@pytest.mark.parametrize(
    ("query", "fields", "status", "code"),
    [
        ("after=x", {}, 400, "not_an_id"),
        ("after=1", {}, 400, "not_an_id"),
        ("after=-1-1", {}, 400, "not_an_id"),
        ("after=1-2.x", {}, 400, "not_an_id"),
        ("after=" + "9" * 5000, {}, 400, "not_an_id"),
        ("", {"Last-Event-ID": "nonsense"}, 400, "not_an_id"),
        ("from=end", {}, 400, "bad_from"),
        ("after=1-1&from=start", {}, 400, "bad_from"),
        ("dialect=smoke", {}, 400, "unknown_dialect"),
        ("after=1-99", {}, 409, "discontinuous"),
        ("after=2-1", {}, 409, "discontinuous"),
        ("after=0-1", {}, 409, "discontinuous"),
        ("after=1-1.1&dialect=openai.chat", {}, 409, "discontinuous"),
    ],
)
def test_a_place_that_does_not_exist(relayed: Any, query: str, fields: dict[str, str], status: int, code: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        path = await started(client)
        await client.get(path).until(lambda answer: b"one" in answer.body)
        other = await relay.connect()
        refused = await other.get(f"{path}?{query}", fields).whole()
        assert refused.status == status
        assert refused.json["error"]["code"] == code
        stream = await relay.stream()
        assert len(stream.readers) == 1
        assert stream.state.value == "streaming", "a refused reader is no reader, and its going is no leaving"

    relayed(main, [REQUEST, FIRST])


def test_what_was_trimmed_is_gone(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, other = await relay.connect(), await relay.connect()
        path = f"{await started(client)}?dialect=openai.chat"
        reader = await client.get(path).blocks_of(1)
        stream = await relay.stream()
        await until(lambda: stream.log.last == 1001)
        await until(lambda: all(each.live for each in stream.readers))
        assert stream.trim(0) > 0
        for query in ("", "&after=1-1", "&from=snapshot"):
            gone = await other.get(path + query).whole()
            assert (gone.status, gone.json["error"]["code"]) == (410, "trimmed")
            earliest = gone.fields["x-tokenwire-earliest"]
        resumed = await other.get(f"{path}&after={earliest}").head()
        now = await relay.connect()
        following = await now.get(f"{path}&from=now").head()
        gate.set()
        for each in (reader, resumed, following):
            await each.whole()
            assert each.data[-1] == "[DONE]"
        assert following.text == " two"

    gate = asyncio.Event()
    pieces = [frames.text(f"<{n}>" + "x" * 40) for n in range(1000)]
    relayed(main, [REQUEST, STREAM_HEAD + chunks(frames.role(), *pieces), gate, REST], linger=60.0)
