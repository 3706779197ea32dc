"""Where the records of ``StreamDebugger`` go: the log, a file, a callable. None of them can hurt the stream."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.embedding.stage import SCOPE, Stage, answering, body, start

from tokenwire.errors import ConfigError, UnusableTrace
from tokenwire.fastapi.tracing import Chunk, FileTrace, Record, trace_to


@pytest.fixture
def stage() -> Stage:
    return Stage()


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
