"""Joining in the midst: a coalesced prefix and the tail of another encoder give a client what reading it all gives.

The tail is that of an encoder that was fed from the start, delta by delta: what the two number must agree. What the
client holds in the end is asked of the vendors' own accumulating helpers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import RawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk
from pydantic import TypeAdapter

from tokenwire import dialects
from tokenwire.dialects.base import Dialect, Encoder, Frame
from tokenwire.dialects.deltas import (
    Citation,
    Delta,
    Failed,
    Finished,
    Opaque,
    ReasoningDelta,
    ReasoningSignature,
    RefusalDelta,
    Started,
    Terminal,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    Usage,
)
from tokenwire.dialects.transcript import Transcript
from tokenwire.wire import sse

CHAT, ANTHROPIC = dialects.get("openai.chat"), dialects.get("anthropic")
UNION: Any = RawMessageStreamEvent
EVENT: TypeAdapter[RawMessageStreamEvent] = TypeAdapter(RawMessageStreamEvent)


def ending(deltas: Iterable[Delta]) -> Terminal:
    failure = next((delta for delta in deltas if isinstance(delta, Failed)), None)
    return Terminal("failed", error=failure) if failure else Terminal("completed")


def made(dialect: Dialect) -> Encoder:
    return dialect.encoder("st_1", 1.0, "m")


def fed(encoder: Encoder, deltas: Iterable[Delta]) -> list[Frame]:
    return [frame for delta in deltas for frame in encoder.feed(delta)]


def fold_of(deltas: Iterable[Delta]) -> Transcript:
    fold = Transcript()
    for delta in deltas:
        fold.apply(delta)
    return fold


def as_openai_sees_it(frames: list[Frame]) -> Any:
    """What OpenAI's accumulating helper holds in the end, and the error."""
    state = ChatCompletionStreamState()
    chunks, error = 0, None
    for frame in frames:
        if frame.data == "[DONE]":
            break
        value = json.loads(frame.data)
        if value.get("error"):
            error = value["error"]
            break
        chunks += 1
        for _ in state.handle_chunk(ChatCompletionChunk.construct(**value)):
            pass
    return (said(state.current_completion_snapshot.to_dict()) if chunks else None, error)


def said(value: Any) -> Any:
    """Without the members that the helper fills with null whenever something else follows."""
    if isinstance(value, dict):
        return {name: said(inner) for name, inner in value.items() if inner is not None}
    return [said(inner) for inner in value] if isinstance(value, list) else value


def as_anthropic_sees_it(frames: list[Frame]) -> Any:
    """What Anthropic's holds: the message, its usage if it was told at the end, and the error."""
    snapshot: Any = None
    bufs: dict[int, bytes] = {}
    error, told = None, False
    for frame in frames:
        value = json.loads(frame.data)
        if frame.event == "error":
            error = value
            break
        told = told or frame.event == "message_delta"
        event = EVENT.validate_python(value) if frame.event == "message_start" else _built(value)
        snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=bufs)
    message = None if snapshot is None else snapshot.to_dict()
    if message is not None and not told:  # of a cut stream, whoever joins late knows more of it
        message.pop("usage")
    return message, error


def _built(value: Any) -> Any:
    from anthropic._models import construct_type_unchecked  # as the SDK's own stream makes its events

    return construct_type_unchecked(type_=UNION, value=value)


SEEN: dict[str, Callable[[list[Frame]], Any]] = {"openai.chat": as_openai_sees_it, "anthropic": as_anthropic_sees_it}


def join_everywhere(dialect: Dialect, deltas: list[Delta], points: Iterable[int] | None = None) -> None:
    end = ending(deltas)
    reader = made(dialect)
    all_along = SEEN[dialect.name](fed(reader, deltas) + reader.close(end))
    tail = made(dialect)
    fed_so_far = 0
    for joined in points if points is not None else range(len(deltas) + 1):
        fed(tail, deltas[fed_so_far:joined])
        fed_so_far = joined
        first = made(dialect)
        prefix = first.prefix(fold_of(deltas[:joined]))
        for rest in (tail.copy(), first):  # whoever made the prefix may go on as well
            following = fed(rest, deltas[joined:]) + rest.close(end)
            assert SEEN[dialect.name](prefix + following) == all_along, joined


def read_by_event(dialect: Dialect, body: bytes) -> tuple[list[Delta], list[int]]:
    """The deltas of a body, and how many there were after each event. Without what one dialect alone knows: that is
    no part of a transcript, and readers of that dialect get the provider's own bytes."""
    decoder, parser = dialect.decoder(), sse.Decoder()
    deltas: list[Delta] = []
    points = [0]
    for event in parser.feed(body) + parser.close(lenient=True):
        deltas += [delta for delta in decoder.feed(event) if not isinstance(delta, Opaque)]
        points.append(len(deltas))
    return deltas + decoder.close(), points


@pytest.mark.untraced
@pytest.mark.parametrize("target", ["openai.chat", "anthropic"])
def test_joining_a_chat_stream_at_every_event(chat_stream: str, target: str, body: Callable[[str], bytes]) -> None:
    deltas, points = read_by_event(CHAT, body(chat_stream))
    join_everywhere(dialects.get(target), deltas, points)


@pytest.mark.untraced
@pytest.mark.parametrize("target", ["openai.chat", "anthropic"])
def test_joining_a_messages_stream_at_every_event(
    anthropic_stream: str, target: str, body: Callable[[str], bytes]
) -> None:
    deltas, points = read_by_event(ANTHROPIC, body(anthropic_stream))
    join_everywhere(dialects.get(target), deltas, points)


SAID: list[Delta] = [
    Started("x", "m", 1.0), ReasoningDelta("Let"), ReasoningSignature("hidden", dialect="gemini"),
    ReasoningDelta("me"), ReasoningSignature("S1", dialect="anthropic"), ReasoningSignature("S2"),
    Citation({"url": "https://early.example"}, block=1), TextDelta("a", block=1), TextDelta("b", block=1),
    Citation({"type": "url_citation", "url": "https://a.example", "title": "A"}, block=1), TextDelta("c", block=1),
    ToolCallStarted("call_1", "f", block=2), ReasoningSignature("G", block=2, dialect="gemini"),
    ToolCallDelta('{"x":', block=2),
    ToolCallStarted("call_2", "g", block=3), ToolCallDelta('{"y"', block=3), ToolCallDelta("1}", block=2),
    Citation({"web": {"uri": "https://late.example", "title": "L"}}, block=1),
    ToolCallDelta(":2}", block=3), ToolCallEnded(block=2), ToolCallEnded(block=3),
    ToolCallStarted("call_3", "", block=4), ToolCallDelta('{"z":3}', block=4), ToolCallEnded(block=4),
    ReasoningSignature("late", block=0, dialect="gemini"), TextDelta("after", block=5),
    ReasoningDelta("again", block=6), TextDelta("other", 1), ReasoningDelta("o", 1, 1), RefusalDelta("No.", block=7),
    ReasoningSignature("unseen", block=8, dialect="gemini"), Citation({"title": "no address"}, block=9),
    Usage(5, 6, cached_input=1), Finished("tool_use"), TextDelta("!", block=9), Finished("stop", None, 1), Usage(5, 7),
]  # fmt: skip


@pytest.mark.untraced
@pytest.mark.parametrize("target", ["openai.chat", "anthropic"])
@pytest.mark.parametrize("cut", [len(SAID), 13, 17, 21, 30])
def test_joining_a_stream_of_everything_whole_and_cut(target: str, cut: int) -> None:
    cut_off: list[Delta] = [] if cut == len(SAID) else [Failed("truncated", "cut", True)]
    join_everywhere(dialects.get(target), [*SAID[:cut], *cut_off])


PIECES = st.lists(
    st.one_of(
        st.builds(TextDelta, st.text(st.characters(codec="utf-8"), min_size=1, max_size=3)),
        st.builds(ReasoningDelta, st.text("ab", min_size=1, max_size=3)),
        st.builds(RefusalDelta, st.just("r")),
        st.builds(ReasoningSignature, st.text("xyz", min_size=1, max_size=2), dialect=st.sampled_from(["", "gemini"])),
        st.builds(Citation, st.builds(lambda n: {"url": f"https://{n}.example"}, st.integers(0, 9))),
        st.just("call"),
        st.just("fragment"),
        st.just("end"),
        st.builds(Usage, input=st.integers(0, 9), output=st.integers(0, 9)),
        st.builds(Finished, st.sampled_from(["stop", "length"])),
    ),
    max_size=24,
)


@pytest.mark.untraced
@settings(max_examples=40, deadline=None)
@given(PIECES, st.data())
def test_joining_whatever_is_said_in_whatever_order(pieces: list[Any], data: st.DataObject) -> None:
    """Calls come in turns, and are whole or not; late signatures and citations name any block that there was."""
    deltas: list[Delta] = []
    calls: dict[int, str] = {}  # block -> what is still to come of its arguments
    block, kind = -1, ""
    for piece in pieces:
        if isinstance(piece, TextDelta | ReasoningDelta | RefusalDelta):
            block, kind = (block, kind) if kind == type(piece).__name__ else (block + 1, type(piece).__name__)
            deltas.append(type(piece)(piece.text, 0, block))
        elif isinstance(piece, ReasoningSignature):
            if block < 0 or data.draw(st.booleans()):  # of a thought that is not shown
                block, kind = block + 1, ""
            deltas.append(ReasoningSignature(piece.signature, 0, data.draw(st.integers(0, block)), piece.dialect))
        elif isinstance(piece, Citation):
            deltas.append(Citation(piece.data, 0, data.draw(st.integers(0, block + 1))))
        elif piece == "call":
            block, kind = block + 1, ""
            calls[block] = '{"k":"v{"}'
            deltas.append(ToolCallStarted(f"call_{block}", "f", block=block))
        elif piece == "fragment" and calls:
            at = data.draw(st.sampled_from(sorted(calls)))
            size = data.draw(st.integers(1, 6))
            said, calls[at] = calls[at][:size], calls[at][size:]
            deltas += [ToolCallDelta(said, block=at)] if said else []
        elif piece == "end" and (whole := [at for at, rest in calls.items() if not rest]):
            deltas.append(ToolCallEnded(block=whole[0]))
            del calls[whole[0]]
        elif isinstance(piece, Usage | Finished):
            deltas.append(piece)
    for target in ("openai.chat", "anthropic"):
        join_everywhere(dialects.get(target), deltas)
