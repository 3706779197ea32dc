"""engine/tap: a reader in this process, which takes deltas when it likes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tokenwire import dialects
from tokenwire.dialects.deltas import Finished, TextDelta, ToolCallStarted
from tokenwire.engine import tap as tap_module
from tokenwire.engine.states import State
from tokenwire.engine.stream import Stream
from tokenwire.engine.tap import PAGE, Tap
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.sinks import ScriptedSink, ScriptedSource

Streaming = Callable[..., Stream]


def text(tap: Tap) -> str:
    return "".join(delta.text for taken in tap.ready() for delta in taken.deltas if isinstance(delta, TextDelta))


def test_what_came_is_taken_once_and_with_its_time(streaming: Streaming) -> None:
    stream = streaming(linger=0)
    tap = Tap(stream)
    assert tap.ready() == []
    stream.append([chat.role(), chat.text("Hel")], 1_000)
    stream.append([chat.text("lo")], 2_000)
    taken = tap.ready()
    assert [each.arrived_ns for each in taken] == [1_000, 1_000, 2_000]
    assert tap.ready() == []
    stream.append([chat.finish(), chat.DONE], 3_000)
    assert any(isinstance(delta, Finished) for each in tap.ready() for delta in each.deltas)
    stream.finish()
    assert tap.ready() == []
    assert tap.over
    assert tap.failed is None
    assert stream.readers == []


def test_waiting_ends_with_the_next_entry_and_with_the_end(streaming: Streaming) -> None:
    async def main() -> None:
        stream = streaming(linger=0)
        tap = Tap(stream)
        waiting = asyncio.ensure_future(tap.take())
        await asyncio.sleep(0)
        stream.append([chat.text("a")], 1)
        assert len(await waiting) == 1
        waiting = asyncio.ensure_future(tap.take())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        stream.append([chat.text("b")], 2)
        assert text(tap) == "b", "a cancelled wait loses nothing"
        waiting = asyncio.ensure_future(tap.take())
        await asyncio.sleep(0)
        stream.cancel()
        assert await waiting == []
        assert tap.failed is not None
        assert tap.failed.code == "cancelled"

    asyncio.run(main())


def test_a_failure_comes_after_what_came_before_it(streaming: Streaming) -> None:
    stream = streaming(linger=0)
    tap = Tap(stream)
    stream.append([chat.text("a"), chat.error()], 1)
    assert text(tap) == "a"
    assert tap.over
    assert tap.failed is not None
    assert tap.failed.code == "server_error"


def test_an_end_in_the_middle_of_a_call_is_one_to_the_tap(streaming: Streaming) -> None:
    stream = streaming(linger=0)
    tap = Tap(stream)
    call = {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a'}}]}
    stream.append([chat.role(), chat.chunk(call), chat.DONE], 1)
    stream.finish()
    deltas = [delta for each in tap.ready() for delta in each.deltas]
    assert any(isinstance(delta, ToolCallStarted) for delta in deltas)
    assert tap.failed is not None


def test_closing_stops_the_source_in_the_same_turn(streaming: Streaming, source: ScriptedSource) -> None:
    stream = streaming(linger=0)
    tap = Tap(stream)
    stream.append([chat.text("a")], 1)
    tap.close()
    tap.close()
    assert source.aborted
    assert stream.state is State.CANCELLED
    assert tap.ready() == []
    assert stream.views == []


def test_closing_what_is_whole_is_no_cancel(streaming: Streaming, source: ScriptedSource) -> None:
    stream = streaming(linger=0)
    tap = Tap(stream)
    stream.append([chat.role(), chat.text("a"), chat.finish()], 1)
    tap.close()
    assert stream.state is State.COMPLETED
    assert source.aborted, "the usage that may follow is not waited for"


def test_others_who_read_are_not_harmed(
    streaming: Streaming, source: ScriptedSource, follow: Callable[..., ScriptedSink]
) -> None:
    stream = streaming(linger=0)
    tap = Tap(stream)
    sink = follow(stream)
    stream.append([chat.text("a")], 1)
    tap.close()
    assert not source.aborted
    stream.append([chat.text("b")], 2)
    assert sink.data == chat.text("a") + chat.text("b")


def test_who_is_behind_holds_the_source_and_lets_go(streaming: Streaming, source: ScriptedSource) -> None:
    stream = streaming(linger=0, max_bytes=50_000)
    tap = Tap(stream)
    big = chat.text("x" * 30_000)
    for _ in range(3):
        stream.append([big], 1)
    assert source.calls == ["pause"]
    assert stream.statistics().furthest_lag == 3
    assert len(text(tap)) == 90_000
    assert source.calls == ["pause", "resume"]


def test_what_was_taken_is_forgotten_beyond_a_window(streaming: Streaming, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap_module, "WINDOW", 20_000)
    stream = streaming(linger=0)
    tap = Tap(stream)
    said = 0
    for round in range(40):
        stream.append([chat.text(f"word {round} {n} " * 4) for n in range(64)], round)
        said += len(text(tap))
        assert stream.log.size < 60_000
    assert said > 80_000
    assert stream.log.first > 1
    usage = tap.usage()
    assert usage is not None
    assert usage.output is not None
    assert usage.output > said / 8, "counted as it was taken"


def test_a_page_at_a_time(streaming: Streaming) -> None:
    stream = streaming(linger=0)
    tap = Tap(stream)
    stream.append([chat.text("x")] * (PAGE + 10), 1)
    assert len(text(tap)) == PAGE
    assert len(text(tap)) == 10


def test_another_upstream_in_another_dialect_is_read_all_the_same(
    queued: Streaming, source: ScriptedSource, clock: ManualClock
) -> None:
    stream = queued(linger=0)
    stream.connecting(source)
    tap = Tap(stream)
    tap.ready()
    stream.speaks(dialects.get("native"))
    stream.rename("other/m")
    stream.begin()
    stream.append([b'event: text\ndata: {"t":"hi"}\n\n'], 1)
    assert text(tap) == "hi"
    stream.view(dialects.get("native"), ids=False)
    assert stream.statistics().readers == 1


def test_a_whole_body_is_taken_too(streaming: Streaming, queued: Streaming, source: ScriptedSource) -> None:
    stream = queued(linger=0)
    stream.connecting(source)
    tap = Tap(stream)
    stream.begin(unary=True)
    body = (
        b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"finish_reason":"stop",'
        b'"message":{"role":"assistant","content":"hello"}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}'
    )
    assert stream.append_unary(body, 5)
    stream.finish()
    assert text(tap) == "hello"
    assert tap.ready() == []
    assert tap.failed is None
