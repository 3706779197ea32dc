"""What ``StreamDebugger`` says of a stream, and that nothing else changes for the app below it and the server above."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import subprocess
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tokenwire.errors import ConfigError, UnusableTrace
from tokenwire.fastapi import StreamDebugger
from tokenwire.fastapi.tracing import Begin, Chunk, End, FileTrace, Record, trace_to
from tokenwire.testing.clock import ManualClock

Message = dict[str, Any]

SCOPE: dict[str, Any] = {"type": "http", "method": "GET", "path": "/chat", "query_string": b"key=secret"}


def start(kind: bytes = b"text/event-stream; charset=utf-8", *more: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": 200, "headers": [(b"Content-Type", kind), *more]}


def body(data: bytes = b"", *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


class Stage:
    """A server's side by hand: what was sent, and how long each `send` takes on the clock."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.sent: list[Message] = []
        self.records: list[Record] = []
        self.takes: dict[int, float] = {}
        self.fails_at: int | None = None

    def debugger(self, app: Any, **options: Any) -> StreamDebugger:
        options.setdefault("trace", self.records.append)
        return StreamDebugger(app, now_ns=self.clock.now_ns, wall=self.clock.wall, **options)

    async def send(self, message: Message) -> None:
        if self.fails_at == len(self.sent):
            raise OSError("gone")
        self.clock.advance(self.takes.get(len(self.sent), 0))
        self.sent.append(message)

    async def receive(self) -> Message:
        return {"type": "http.disconnect"}

    def run(self, app: Any, scope: dict[str, Any] = SCOPE, **options: Any) -> None:
        asyncio.run(self.debugger(app, **options)(scope, self.receive, self.send))  # type: ignore[arg-type]

    @property
    def chunks(self) -> list[Chunk]:
        return [record for record in self.records if isinstance(record, Chunk)]

    @property
    def end(self) -> End:
        [end] = [record for record in self.records if isinstance(record, End)]
        assert end is self.records[-1]
        return end


@pytest.fixture
def stage() -> Stage:
    return Stage()


def answering(stage: Stage, *steps: float | Message) -> Callable[..., Awaitable[None]]:
    """An app that waits so many seconds, or sends."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for step in steps:
            if isinstance(step, dict):
                await send(step)
            else:
                stage.clock.advance(step)

    return app


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


# ---------------------------------------------------------------------- where it goes


def test_the_log_has_a_line_a_chunk_and_a_summary(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "tokenwire.debug")
    stage.takes = {1: 0.25}
    app = answering(stage, start(), 0.5, body(b"data: a\n\nda"), 0.5, body(b"ta: b\n\n"), body(more=False))
    stage.run(app, trace=None, first_bytes=4)
    one, two, end = caplog.messages
    assert "chunk 1: gap 500.0 ms, 11 bytes, 1 events, ends within an event, send waited 250.0 ms: 'data'" in one
    assert "chunk 2: gap 750.0 ms, 7 bytes, 1 events, send waited 0.0 ms: 'ta: '" in two
    assert "GET /chat 200: 2 chunks, 18 bytes in 1250.0 ms; first byte after 500.0 ms; median gap 750.0 ms; " in end
    assert "longest gap 750.0 ms before chunk 2 (app 500.0 ms, reader 250.0 ms); send waited 250.0 ms; " in end
    assert end.endswith("ended by app")
    caplog.clear()
    caplog.set_level(logging.INFO, "tokenwire.debug")
    stage.fails_at = len(stage.sent) + 1
    with pytest.raises(OSError, match="gone"):
        stage.run(app, trace=None)
    [left] = caplog.messages
    assert left.endswith("client left at 500.0 ms; ended by client: OSError: gone")
    stage.run(answering(stage), trace=None, content_types=None)
    assert "no answer: 0 chunks" in caplog.messages[-1]


def test_a_file_has_a_line_of_json_a_record(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    app = answering(stage, start(), 0.5, body(b"data: a\n\n"), body(more=False))
    for _ in range(2):
        debugger = stage.debugger(app, trace=path)
        asyncio.run(debugger(SCOPE, stage.receive, stage.send))  # type: ignore[arg-type]
        debugger.close()
        debugger.close()
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [line["kind"] for line in lines] == ["begin", "chunk", "end"] * 2
    assert lines[1]["gap_ns"] == 500_000_000
    assert (lines[1]["events"], lines[1]["between"], "first" in lines[1]) == (1, True, False)
    assert lines[5]["longest_gap"] is None


@pytest.mark.parametrize("make", [io.StringIO, io.BytesIO, tempfile.TemporaryFile, tempfile.NamedTemporaryFile])
def test_any_open_file_will_do_and_stays_open(stage: Stage, make: Any) -> None:
    with make() as file:
        debugger = stage.debugger(answering(stage, start(), body(b"data: a\n\n", more=False)), trace=file)
        asyncio.run(debugger(SCOPE, stage.receive, stage.send))  # type: ignore[arg-type]
        debugger.close()
        file.seek(0)
        assert [json.loads(line)["kind"] for line in file.read().splitlines()] == ["begin", "chunk", "end"]


class Slow(io.BytesIO):
    """A file on a disk that hangs, until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.wrote = threading.Event(), threading.Event()

    def write(self, data: Any, /) -> int:
        self.go.wait(5)
        size = super().write(data)
        self.wrote.set()
        return size


CHUNK = Chunk(stream="s", n=1, ns=1, wall=1.0, gap_ns=1, wait_ns=0, size=1)


def test_a_disk_that_hangs_holds_nobody_and_loses_nothing() -> None:
    file = Slow()
    trace = FileTrace(file, flush_seconds=0)
    for _ in range(1000):
        trace.put(CHUNK)  # would never return, if it wrote
    assert not file.wrote.is_set()
    file.go.set()
    trace.close()
    assert len(file.getvalue().splitlines()) == 1000


def test_records_are_in_the_file_after_a_while_though_the_stream_stalls() -> None:
    file = Slow()
    file.go.set()
    trace = FileTrace(file, flush_seconds=0.001)
    trace.put(CHUNK)
    assert file.wrote.wait(5)
    trace.close()


def test_records_put_after_close_are_written_too(tmp_path: Path) -> None:
    trace = FileTrace(tmp_path / "trace")
    for _ in range(2):
        trace.put(CHUNK)
        trace.close()
    assert len((tmp_path / "trace").read_bytes().splitlines()) == 2


def test_a_trace_that_cannot_be_written_ends_and_the_stream_goes_on(
    stage: Stage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = answering(stage, start(), body(b"data: a\n\n", more=False))
    debugger = stage.debugger(app, trace=tmp_path / "no" / "such" / "folder")
    for _ in range(2):
        asyncio.run(debugger(SCOPE, stage.receive, stage.send))  # type: ignore[arg-type]
        debugger.close()
    assert len(stage.sent) == 4
    assert [record.message for record in caplog.records] == ["the trace cannot be written, and ends here"]


def test_a_record_that_cannot_be_written_ends_the_trace_and_nothing_else(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    file = io.BytesIO()
    debugger = stage.debugger(answering(stage, start(), body(b"data: a\n\n", more=False)), trace=file)
    asyncio.run(debugger({**SCOPE, "path": "/\ud800"}, stage.receive, stage.send))  # type: ignore[arg-type]
    debugger.close()
    assert (len(stage.sent), file.getvalue(), len(caplog.records)) == (2, b"", 1)


def test_a_callable_that_raises_is_not_called_again(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[Record] = []

    def call(record: Record) -> None:
        calls.append(record)
        raise RuntimeError("bug")

    debugger = stage.debugger(answering(stage, start(), body(b"data: a\n\n", more=False)), trace=call)
    asyncio.run(debugger(SCOPE, stage.receive, stage.send))  # type: ignore[arg-type]
    debugger.close()
    assert (len(calls), len(stage.sent), len(caplog.records)) == (1, 2, 1)


def test_a_trace_that_is_none_of_these_is_refused() -> None:
    with pytest.raises(UnusableTrace, match="trace: a path, an open file or a callable, not int") as caught:
        trace_to(3)  # type: ignore[arg-type]
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, ConfigError)
    trace_to(None).close()


def test_it_loads_nothing_of_the_relay() -> None:
    code = (
        "import sys, tokenwire.fastapi as f; assert 'StreamDebugger' in dir(f); f.StreamDebugger; "
        "print([m for m in sys.modules if m.startswith(('tokenwire.g', 'tokenwire.e', 'fastapi', 'starlette'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "['tokenwire.errors']\n"
    import tokenwire.fastapi

    assert "StreamDebugger" in dir(tokenwire.fastapi)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = tokenwire.fastapi.Nothing
