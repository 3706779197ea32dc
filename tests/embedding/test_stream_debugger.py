"""What ``StreamDebugger`` says of a stream, and that nothing else changes for the app below it and the server above."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.embedding.stage import SCOPE, Message, Stage, answering, body, start

from tokenwire.fastapi.tracing import Begin


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_every_chunk_has_its_time_gap_size_and_events(stage: Stage) -> None:
    chunks = [body(b"data: a\n\ndata: b\n\n"), body(b"data: c"), body(b""), body(b"\n\n")]
    app = answering(stage, 0.25, start(), 0.5, chunks[0], 0.125, chunks[1], chunks[2], 1, chunks[3], body(more=False))
    stage.run(app)
    began, *_ = stage.records
    assert isinstance(began, Begin)
    assert (began.path, began.status, began.content_type) == ("/chat", 200, "text/event-stream; charset=utf-8")
    assert (began.head_ns, began.method) == (250_000_000, "GET")
    told = [(c.n, c.gap_ns / 1e9, c.size, c.events, c.between) for c in stage.chunks]
    assert told == [(1, 0.75, 18, 2, True), (2, 0.125, 7, 0, False), (3, 1.0, 2, 1, True)]
    assert [c.ns - began.ns for c in stage.chunks] == [500_000_000, 625_000_000, 1_625_000_000]
    assert stage.chunks[0].wall == pytest.approx(1_763_600_000.75)
    end = stage.end
    assert (end.ended_by, end.error, end.left_ns) == ("app", None, None)
    assert (end.chunks, end.size, end.events) == (3, 27, 3)
    assert (end.ttfb_ns, end.total_ns) == (750_000_000, 1_875_000_000)
    assert end.median_gap_ns == 1_000_000_000
    assert {record.stream for record in stage.records} == {began.stream}
    assert "secret" not in str(stage.records)


def test_a_slow_reader_is_told_from_a_slow_app(stage: Stage) -> None:
    a, b, c = body(b"data: a\n\n"), body(b"data: b\n\n"), body(b"data: c\n\n")
    stage.takes = {1: 0.75}  # the first chunk, after the head
    stage.run(answering(stage, start(), a, 0.25, b, 0.5, c, body(more=False)))
    assert [chunk.wait_ns for chunk in stage.chunks] == [750_000_000, 0, 0]
    longest = stage.end.longest_gap
    assert longest is not None
    assert (longest.ns, longest.waited_ns, longest.before, longest.at_ns) == (1_000_000_000, 750_000_000, 2, 0)
    assert stage.end.waited_ns == 750_000_000


def test_messages_pass_unchanged_and_in_the_moment(stage: Stage) -> None:
    sent = [start(), body(b"data: a\n\n"), {"type": "http.response.trailers", "headers": []}, body(b"b", more=False)]
    seen: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope is SCOPE
        assert await receive() == {"type": "http.disconnect"}
        for message in sent:
            await send(message)
            seen.append(len(stage.sent))

    stage.run(app)
    assert all(got is given for got, given in zip(stage.sent, sent, strict=True))
    assert seen == [1, 2, 3, 4]


def test_headers_that_can_be_read_once_still_arrive(stage: Stage) -> None:
    head = {**start(), "headers": iter(start()["headers"])}
    stage.run(answering(stage, head, body(b"data: a\n\n", more=False)))
    assert stage.sent[0] == start()
    assert len(stage.chunks) == 1


def test_only_event_streams_are_looked_at_unless_all_are_asked_for(stage: Stage) -> None:
    stage.run(answering(stage, start(b"application/json"), body(b"{}", more=False)))
    assert (stage.records, len(stage.sent)) == ([], 2)
    stage.run(answering(stage, start(b"application/json"), body(b"{}", more=False)), content_types=None)
    assert [(c.size, c.events, c.between) for c in stage.chunks] == [(2, None, None)]
    assert stage.end.events is None


def test_a_compressed_stream_is_timed_and_not_counted(stage: Stage) -> None:
    stage.run(answering(stage, start(b"text/event-stream", (b"content-encoding", b"gzip")), body(b"\x1f", more=False)))
    assert [(c.size, c.events) for c in stage.chunks] == [(1, None)]


def test_first_bytes_are_told_only_if_asked_for(stage: Stage) -> None:
    app = answering(stage, start(b"application/x-ndjson"), body('{"é'.encode()), body(b'"}\n', more=False))
    stage.run(app)
    assert [c.first for c in stage.chunks] == [None, None]
    stage.records.clear()
    stage.run(app, first_bytes=3)
    assert [(c.first, c.events, c.between) for c in stage.chunks] == [('{"�', 0, False), ('"}\n', 1, True)]


def test_other_scopes_and_other_extensions_are_left_alone(stage: Stage) -> None:
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append((scope, receive, send))

    for kind in ("lifespan", "websocket"):
        given: dict[str, Any] = {"type": kind}
        asyncio.run(stage.debugger(app)(given, stage.receive, stage.send))  # type: ignore[arg-type]
        assert scopes.pop() == (given, stage.receive, stage.send)
    offered: dict[str, Any] = {"tokenwire.port": 1, "tokenwire.express": 2, "http.response.trailers": {}}
    given = {**SCOPE, "extensions": offered}
    asyncio.run(stage.debugger(app)(given, stage.receive, stage.send))  # type: ignore[arg-type]
    assert scopes.pop()[0]["extensions"] == {"http.response.trailers": {}}
    assert len(given["extensions"]) == 3


def test_an_exception_of_the_app_passes_and_is_told(stage: Stage) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await send(body(b"data: a\n\n"))
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        stage.run(app)
    assert (stage.end.ended_by, stage.end.error, stage.end.chunks) == ("error", "RuntimeError: no more", 1)
    assert stage.end.median_gap_ns is None
    assert stage.end.longest_gap is None


def test_cancellation_passes_and_is_told(stage: Stage) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        task = asyncio.ensure_future(stage.debugger(app)(SCOPE, stage.receive, stage.send))  # type: ignore[arg-type]
        while not stage.sent:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert (stage.end.ended_by, stage.end.ttfb_ns, stage.end.chunks) == ("cancelled", None, 0)


@pytest.mark.parametrize("fails_at", [0, 1])
def test_a_send_that_raises_means_that_the_client_left(stage: Stage, fails_at: int) -> None:
    stage.fails_at = fails_at
    with pytest.raises(OSError, match="gone"):
        stage.run(answering(stage, start(), 0.5, body(b"data: a\n\n")))
    assert (stage.end.ended_by, stage.end.left_ns) == ("client", 500_000_000 * fails_at)
    assert stage.end.chunks == fails_at


def test_a_client_that_left_is_told_with_what_the_app_did_after_it(stage: Stage) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await send(body(b"data: a\n\n"))
        await receive()
        stage.clock.advance(2)
        await send(body(b"data: b\n\n", more=False))
        await receive()

    stage.run(app)
    assert (stage.end.ended_by, stage.end.left_ns, stage.end.total_ns) == ("client", 0, 2_000_000_000)


def test_an_app_that_returns_in_the_middle_ends_by_nobody(stage: Stage) -> None:
    stage.run(answering(stage, start(), body(b"data: a\n\n")))
    assert stage.end.ended_by == "nobody"


def test_what_an_app_does_after_its_answer_is_not_the_streams(stage: Stage) -> None:
    stage.run(answering(stage, start(), body(b"data: a\n\n", more=False), 60.0, body(b"late")))
    assert (stage.end.total_ns, stage.end.chunks, len(stage.sent)) == (0, 1, 3)


def test_a_client_that_left_before_any_answer_is_told_where_all_are_looked_at(stage: Stage) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        stage.clock.advance(8)
        await receive()

    stage.run(app)
    assert stage.records == []
    stage.run(app, content_types=None)
    assert (stage.end.status, stage.end.ended_by, stage.end.left_ns) == (None, "client", 8_000_000_000)


def test_the_median_of_an_endless_stream_takes_bounded_room(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenwire.fastapi.debugger._GAPS", 3)
    steps: list[float | Message] = []
    for gap in [1.0] * 5 + [2.0] * 3:
        steps += [gap, body(b"x")]
    stage.run(answering(stage, start(), body(b"x"), *steps, body(more=False)))
    assert (stage.end.chunks, stage.end.median_gap_ns) == (9, 2_000_000_000)
