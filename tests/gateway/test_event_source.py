"""What a client is told that sees no status, and comes back by itself: within an open response, and when."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from urllib.parse import urlencode

import pytest

from tokenwire.client.answer import Answer as Folded
from tokenwire.engine.folded import CHECKPOINT
from tokenwire.errors import Overloaded
from tokenwire.gateway import coming_back
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK
from tokenwire.testing.http_client import Answer
from tokenwire.testing.plain_sse import read
from tokenwire.testing.relay import STREAM_HEAD, Relay, chat, chunks, started, streamed
from tokenwire.testing.rig import until
from tokenwire.testing.upstream import REQUEST, ScriptedUpstream
from tokenwire.wire import sse

FIRST = STREAM_HEAD + chunks(frames.role(), frames.text("one"))
REST = chunks(frames.text(" two"), frames.finish(), frames.DONE) + LAST_CHUNK
SAID = chunks(*[frames.text(f"<{n}>") for n in range(2 * CHECKPOINT)])
SOURCE = {"Accept": "text/event-stream"}


def fold(answer: Answer, already: Folded | None = None) -> Folded:
    folded = already or Folded()
    for event in sse.Decoder().feed(bytes(answer.body)):
        folded.feed(event)
    return folded


async def trimmed(relay: Relay, reader: Answer, more: asyncio.Event) -> None:
    """What came before *more*, which *reader* has had, is no longer held."""
    await reader.until(lambda answer: answer.body.count(b"<") == 2 * CHECKPOINT)
    [stream] = relay.streams
    relay.gateway.hub.pack(stream)
    more.set()
    await reader.until(lambda answer: answer.body.count(b"<") == 4 * CHECKPOINT)
    assert stream.trim(stream.log.size // 2) > 0
    assert stream.log.first > CHECKPOINT


def retry_of(block: str) -> int:
    match = re.fullmatch(r"retry: ([0-9]+)", block)
    assert match is not None, block
    return int(match.group(1))


# ---------------------------------------------------------------------- a cursor that cannot be continued


@pytest.mark.parametrize("cursor", ["1-99", "7-2", "1-2.5", "0-0"])
def test_a_cursor_that_is_not_of_this_log_gets_reset_and_a_snapshot(relayed: Any, cursor: str) -> None:
    """As after a restart: what was read was never stored."""

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        path = await started(client)
        await relay.stream()
        await until(lambda: relay.streams[0].log.last >= 2)
        answer = client.get(path, {**SOURCE, "Last-Event-ID": cursor})
        await answer.until(lambda answer: "snapshot" in answer.events)
        gate.set()
        await answer.whole()
        assert answer.status == 200
        assert 1000 <= retry_of(answer.blocks[0]) <= 3000
        assert answer.events == ["reset", "started", "snapshot", "text", "usage", "done"]
        assert answer.data[0] == {"reason": "discontinuous"}
        assert "id:" not in answer.blocks[1] + answer.blocks[2], "nobody goes on after that"
        folded = fold(answer)
        assert (folded.text, folded.done and folded.done.verified) == ("one two", True)
        typed = await client.get(path, {"Last-Event-ID": cursor}).whole()
        assert (typed.status, typed.json["error"]["code"]) == (409, "discontinuous")

    gate = asyncio.Event()
    relayed(main, [REQUEST, FIRST, gate, REST])


def test_after_its_end_as_well(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        path = await started(client)
        stream = await relay.stream()
        await until(lambda: stream.terminal is not None)
        answer = await client.get(path, {**SOURCE, "Last-Event-ID": "1-99"}).whole()
        assert answer.events == ["reset", "started", "snapshot", "usage", "done"]
        assert fold(answer).text == "one"
        assert (await client.get(path, {**SOURCE, "Last-Event-ID": answer.ids[-1]}).whole()).status == 204

    relayed(main, streamed("one"))


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("?dialect=openai.chat", SOURCE, 409),
        ("?dialect=ui-messages", SOURCE, 409),
        ("", {"Accept": "text/event-stream, */*"}, 409),
        ("", {"Accept": "*/*"}, 409),
        ("", {**SOURCE, "Last-Event-ID": "nonsense"}, 400),
        ("?from=snapshot&after=1-1", SOURCE, 400),
    ],
)
def test_all_others_get_their_status(relayed: Any, path: str, fields: dict[str, str], status: int) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        events = await started(client)
        answer = await client.get(events + path, {"Last-Event-ID": "1-99", **fields}).whole()
        assert answer.status == status
        head = await client.request("HEAD", events, None, {**SOURCE, "Last-Event-ID": "1-99"}).whole()
        assert head.status == 409

    relayed(main, streamed("one"))


def test_a_log_without_its_beginning_goes_on_from_what_is_held(relayed: Any) -> None:
    """No snapshot can be made: reset, and the earliest entry that can be read."""

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        path = await started(client)
        whole = client.get(path)
        await trimmed(relay, whole, more)
        [stream] = relay.streams
        first = stream.log.first
        assert first > 1
        for where in ({}, {"Last-Event-ID": "1-1"}, {"Last-Event-ID": "9-9"}):
            answer = (await relay.connect()).get(path, {**SOURCE, **where})
            await answer.until(lambda answer: "text" in answer.events)
            assert answer.events[0] == "reset"
            assert answer.data[0]["reason"] == ("discontinuous" if where.get("Last-Event-ID") == "9-9" else "trimmed")
            earliest = answer.data[0]["earliest"]
            assert "started" not in answer.events
            number = int(earliest.partition("-")[2])
            assert number >= first
            assert answer.ids[0] == f"1-{number - 1}", "where it goes on from"
            assert answer.data[1]["t"].startswith(f"<{(number - 1) % (2 * CHECKPOINT)}>"), "and that is what follows"
        client = await relay.connect()
        snapshot = await client.get(f"{path}?from=snapshot").whole()
        assert (snapshot.status, snapshot.fields["x-tokenwire-earliest"]) == (410, f"1-{first}")
        last = client.get(f"{path}?from=snapshot", SOURCE)
        await last.until(lambda answer: "text" in answer.events)
        gate.set()
        await last.whole()
        folded = fold(last)
        assert folded.done is not None
        assert (folded.done.state, folded.done.verified) == ("completed", None), "it cannot be whole, and says so"
        assert folded.text.endswith("<last>")

    more, gate = asyncio.Event(), asyncio.Event()
    end = chunks(frames.text("<last>"), frames.finish(), frames.DONE) + LAST_CHUNK
    relayed(main, [REQUEST, STREAM_HEAD + SAID, more, SAID, gate, end])


def test_where_nothing_can_be_read_at_all_the_status_is_the_end(relayed: Any) -> None:
    """Nobody read it in our dialect, so there is no place from which it could be told."""

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        path = await started(client)
        vendor = client.get(f"{path}?dialect=openai.chat")
        await trimmed(relay, vendor, more)
        refused = await (await relay.connect()).get(path, SOURCE).whole()
        assert (refused.status, refused.json["error"]["code"]) == (410, "trimmed")

    more = asyncio.Event()
    relayed(main, [REQUEST, STREAM_HEAD + SAID, more, SAID])


# ---------------------------------------------------------------------- too busy


def test_too_busy_is_an_end_that_is_come_back_from(relayed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        path = await started(client)

        def busy(*_: object) -> None:
            raise Overloaded("too many come back at once")

        with monkeypatch.context() as patched:
            patched.setattr(relay.gateway.hub, "get", busy)
            later = await client.get(path, SOURCE).whole()
            assert (later.status, later.complete) == (200, True)
            assert 1000 <= retry_of(later.blocks[0]) <= 5000
            assert len(later.blocks) == 1
            assert later.fields["content-type"].startswith("text/event-stream")
            assert (await client.get(path).whole()).status == 503
            assert (await client.get(path.removesuffix("/events"), SOURCE).whole()).status == 503
        assert (await client.get(path, SOURCE).whole()).events[-1] == "done"

    relayed(main, streamed("one"))


# ---------------------------------------------------------------------- /api/chat


def link(**parameters: str) -> str:
    return "/api/chat?" + urlencode({"prompt": "hi", "model": "up/m", **parameters})


@pytest.mark.parametrize(
    ("path", "fields", "code"),
    [
        (link(prompt=""), {}, "missing_prompt"),
        (link(model="nobodys"), {}, "model_not_found"),
        (link(run="r1"), {"Last-Event-ID": "1-2"}, "stream_not_found"),
        (link(run="r1", after="x"), {}, "not_an_id"),
    ],
)
def test_a_refusal_is_an_event_and_the_next_time_the_end(
    relayed: Any, path: str, fields: dict[str, str], code: str
) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        told = await client.get(path, {**SOURCE, **fields}).whole()
        assert told.status == 200
        [event] = read(bytes(told.body)).events
        assert event.event == "message"
        assert told.data[0]["error"]["code"] == code
        again = await client.get(path, {**SOURCE, "Last-Event-ID": event.id or ""}).whole()
        assert (again.status, bytes(again.body)) == (204, b"")
        assert relay.streams == []

    relayed(main)


def test_a_run_that_cannot_be_gone_on_with_is_told(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        await client.get(link(run="r1"), SOURCE).whole()
        beyond = await client.get(link(run="r1"), {**SOURCE, "Last-Event-ID": "1-99"}).whole()
        assert beyond.data[0]["error"]["code"] == "discontinuous"
        other = await client.get(link(prompt="other", run="r1"), SOURCE).whole()
        assert other.data[0]["error"]["code"] == "run_mismatch"
        relay.gateway.hub.forget(relay.streams[0])
        gone = await client.get(link(run="r1"), SOURCE).whole()
        assert gone.data[0]["error"]["code"] == "stream_expired"

    relayed(main, streamed("one"))


def test_a_relay_that_ends_begins_nothing_and_is_come_back_to(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        relay.gateway.drain()
        later = await client.get(link(run="r1"), SOURCE).whole()
        assert (later.status, len(later.blocks)) == (200, 1)
        assert retry_of(later.blocks[0]) >= 1000
        other = await relay.connect()
        assert (await other.get(link(run="r1")).whole()).status == 503

    relayed(main)


def test_a_foreign_page_gets_a_status_and_nothing_else(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        refused = await client.get(link(), {**SOURCE, "Origin": "https://evil.example"}).whole()
        assert refused.status == 403

    relayed(main)


# ---------------------------------------------------------------------- a restart


def test_a_restart_tells_each_when_to_come_back(relayed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        hands = await relay.connect()
        path = await started(hands)
        native = [(await relay.connect()).get(path, SOURCE) for _ in range(5)]
        plain = (await relay.connect()).get(link(run="r1"), SOURCE)
        others = [
            (await relay.connect()).get(path),
            (await relay.connect()).get(f"{path}?dialect=openai.chat", SOURCE),
            (await relay.connect()).get(f"{path}?dialect=ui-messages", SOURCE),
            (await relay.connect()).post("/v1/chat/completions", chat()),
            (await relay.connect()).post("/api/chat", {"prompt": "hi", "model": "up/m"}),
        ]
        for answer in (*native, plain, *others):
            await answer.until(lambda answer: b"one" in answer.body)
        before = [bytes(answer.body) for answer in others[1:]]
        relay.gateway.drain()
        relay.gateway.drain()
        waits = []
        for answer in native:
            await answer.until(lambda answer: "notice" in answer.events)
            waits.append(retry_of(answer.blocks[-2]))
            assert answer.body.count(b"retry: ") == 2, "when it began, and now"
        await plain.until(lambda answer: answer.body.count(b"retry: ") == 2)
        waits.append(retry_of(plain.blocks[-1]))
        assert all(1000 <= wait <= 5000 for wait in waits)
        assert len(set(waits)) > 1
        await others[0].until(lambda answer: "notice" in answer.events)
        assert b"retry:" not in others[0].body
        assert [bytes(answer.body) for answer in others[1:]] == before, "stock clients hear nothing new"
        gate.set()
        for answer in (*native, plain, *others):
            await answer.whole()
        assert {fold(answer).text for answer in native} == {"one two"}
        assert {answer.native_text for answer in [others[0]]} == {"one two"}
        assert [event.data for event in read(bytes(plain.body)).events][-1] == "[DONE]"

    gate = asyncio.Event()
    relayed(main, *([[REQUEST, FIRST, gate, REST]] * 4))


def test_each_wait_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = {coming_back.retry_block(coming_back.AFTER_A_RESTART) for _ in range(100)}
    assert len(waits) > 50
