"""Whatever is said, and whenever somebody joins or falls behind: in the end everybody has all of it."""

from __future__ import annotations

import json
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.late import UPSTREAMS, Late, framed, opened, proven
from tests.translation.answers import TARGETS

from tokenwire.dialects.deltas import (
    Delta,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    Usage,
)
from tokenwire.engine.hub import Hub
from tokenwire.testing.clock import ManualClock

KINDS = ("text", "thought", "call", "args", "usage")


@pytest.mark.untraced
@settings(max_examples=60, deadline=None)
@given(
    upstream=st.sampled_from(UPSTREAMS),
    parts=st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 200)), min_size=1, max_size=6),
    seed=st.integers(0, 1 << 30),
)
def test_any_reader_has_in_the_end_what_was_said(upstream: str, parts: list[tuple[str, int]], seed: int) -> None:
    """Slow and quick, from the start and joining late, on logs that are packed at any time."""
    chance = random.Random(seed)
    hub = Hub(ManualClock())
    stream = opened(hub, upstream)
    frames = framed(stream.dialect, _answer(parts, chance))
    quick = {target: Late(stream, target, snapshot=False) for target in TARGETS}
    others: list[Late] = []
    at = 0
    while at < len(frames) and stream.terminal is None:
        size = chance.choice((1, 1, 3, 90))
        stream.append(frames[at : at + size], 1)
        at += size
        if chance.random() < 0.1 and len(others) < 12:
            high_water = chance.choice((None, 0, 500))
            others.append(Late(stream, chance.choice(TARGETS), snapshot=chance.random() < 0.7, high_water=high_water))
        if others and chance.random() < 0.1:
            slow = chance.choice(others)
            if slow.sink.drain():
                slow.reader.resume()
        if chance.random() < 0.05:
            hub.pack(stream)
    stream.finish()
    for late in others:
        late.catch_up()
        assert late.sink.breaches == []
        assert late.state == quick[late.dialect.name].state
        if late.dialect.name == "native":
            assert proven(late.sink)
    hub.close()


def _answer(parts: list[tuple[str, int]], chance: random.Random) -> list[Delta]:
    deltas: list[Delta] = [Started("x", "m", 1.0)]
    block, kind = -1, ""
    for now, count in parts:
        words = chance.choices(["a ", "😀", "\n", '"', "\\", "é", "<x>"], k=count)
        if now == "usage":
            deltas.append(Usage(input=1, output=count))
            continue
        if now != kind or now == "call":
            block += 1
        if now == "text":
            deltas += [TextDelta(word, 0, block) for word in words]
        elif now == "thought":
            deltas += [ReasoningDelta(word, 0, block) for word in words]
        else:
            whole = json.dumps({"x": "".join(words)}, ensure_ascii=False)
            pieces = re.findall(r".{1,3}", whole, re.DOTALL) if now == "args" else [whole]
            block += now == kind
            deltas += [ToolCallStarted(f"call_{block}", "f", 0, block)]
            deltas += [ToolCallDelta(piece, 0, block) for piece in pieces]
            deltas += [ToolCallEnded(0, block)]
        kind = now
    called = any(kind in ("call", "args") for kind, _ in parts)
    return [*deltas, Finished("tool_use" if called else "stop", None)]  # what the provider would say, not only we
