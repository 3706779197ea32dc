"""testing/sinks and testing/chat_frames: the fakes hold their callers to the contracts."""

from __future__ import annotations

import pytest

from tokenwire import dialects
from tokenwire.dialects.base import Mark
from tokenwire.dialects.deltas import Terminal
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.sinks import ScriptedSink, ScriptedSource


def test_a_sink_remembers_what_it_was_given() -> None:
    sink = ScriptedSink()
    assert sink.write(b"a") is True
    assert sink.write(b"bc", b"2\r\nbc\r\n") is True
    terminal = Terminal("completed")
    sink.close(terminal)
    assert (sink.writes, sink.data, sink.unsent) == ([b"a", b"bc"], b"abc", 0)
    assert (sink.closed, sink.terminal, sink.breaches) == (True, terminal, [])
    assert (sink.take(), sink.data, sink.chunks) == (b"abc", b"", [])


def test_a_sink_is_full_at_its_high_water_until_it_is_drained() -> None:
    sink = ScriptedSink(high_water=4)
    assert [sink.write(b"ab"), sink.full, sink.write(b"cd"), sink.full, sink.unsent] == [True, False, False, True, 4]
    assert (sink.drain(0), sink.drain(1), sink.unsent) == (False, True, 3)
    assert (sink.drain(), sink.unsent) == (True, 0)
    one_at_a_time = ScriptedSink(high_water=0)
    assert [one_at_a_time.full, one_at_a_time.write(b"a"), one_at_a_time.full] == [False, False, True]


def test_breaches_of_the_contract_are_noted() -> None:
    sink = ScriptedSink(high_water=0)
    sink.write(b"")
    sink.write(b"a")
    sink.write(b"b")
    sink.drain()
    sink.write(b"c", b"2\r\nc\r\n")
    sink.drain()
    sink.close(None)
    sink.close(None)
    sink.write(b"d")
    assert [breach.partition(":")[0] for breach in sink.breaches] == [
        "an empty write", "written to while full", "the chunk is not that of the data", "closed twice",
        "written to after close",
    ]  # fmt: skip


def test_a_sink_raises_what_it_is_told_to() -> None:
    sink = ScriptedSink()
    sink.raises = sink.raises_on_close = OSError("no")
    with pytest.raises(OSError, match="no"):
        sink.write(b"a")
    with pytest.raises(OSError, match="no"):
        sink.close(None)
    assert (sink.writes, sink.closed) == ([], True)


def test_an_outlet_takes_whole_chunks_to_the_same_sink() -> None:
    sink = ScriptedSink(high_water=3, express=True)
    assert sink.outlet is not None
    assert sink.outlet.writable
    sink.outlet.write(b"3\r\nabc\r\n")
    assert (sink.data, sink.expressed, sink.outlet.writable, sink.breaches) == (b"abc", 1, False, [])


def test_a_source_remembers_what_it_was_told() -> None:
    source = ScriptedSource()
    source.pause()
    assert (source.paused, source.aborted) == (True, False)
    source.resume()
    source.abort()
    assert (source.paused, source.aborted, source.calls) == (False, True, ["pause", "resume", "abort"])


def test_the_frames_are_what_their_names_say() -> None:
    scan = dialects.get("openai.chat").scan
    assert [scan(frame) for frame in (chat.role(), chat.text("a"), chat.text("b", 1))] == [Mark.PLAIN] * 3
    assert scan(chat.finish()) == Mark.NOTABLE
    assert scan(chat.usage()) & Mark.USAGE_ONLY
    assert scan(chat.error()) == Mark.ERROR | Mark.NOTABLE
    assert scan(chat.swallowed_error()) == Mark.ERROR | Mark.NOTABLE | Mark.SWALLOWED
    assert scan(chat.DONE) == Mark.DONE
    assert len(chat.answer("a", "b", with_usage=True)) == 6
