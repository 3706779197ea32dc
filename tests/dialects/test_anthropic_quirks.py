"""Messages streams as they have broken parsers: named after what broke (reference, sections 5 and 12)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.dialects.anthropic.dialect import Decoder
from tokenwire.dialects.deltas import (
    Delta,
    Failed,
    Finished,
    Opaque,
    Started,
    TextDelta,
    ToolCallEnded,
    Usage,
)
from tokenwire.dialects.transcript import Transcript
from tokenwire.testing import message_frames as m
from tokenwire.wire import sse

Read = Callable[..., list[Delta]]
Fold = Callable[[list[Delta]], Transcript]
END = [m.finish(), m.STOP]


def kinds(deltas: list[Delta], *wanted: type) -> list[Delta]:
    return [delta for delta in deltas if isinstance(delta, wanted)]


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


# ---------------------------------------------------------------------- usage


def usage_of(fold: Transcript) -> Usage:
    assert fold.usage is not None
    return fold.usage


@pytest.mark.parametrize("usage", [None, {}, {"input_tokens": 0, "output_tokens": 0}, {"output_tokens": None}])
def test_q48_a_start_without_counts_leaves_the_word_to_the_end(deltas_of: Read, fold: Fold, usage: Any) -> None:
    counts = {"input_tokens": 9, "output_tokens": 4}
    deltas = deltas_of(m.start(usage=usage), m.block(), m.text("a"), m.end(), m.finish(usage=counts), m.STOP)
    assert (usage_of(fold(deltas)).input, usage_of(fold(deltas)).output) == (9, 4)


def test_q49_what_the_last_count_leaves_out_stays(deltas_of: Read, fold: Fold) -> None:
    before = {"input_tokens": 9, "cache_read_input_tokens": 90, "cache_creation_input_tokens": 1, "output_tokens": 1}
    after = {"output_tokens": 7, "input_tokens": None}
    usage = usage_of(fold(deltas_of(m.start(usage=before), m.finish(usage=after), m.STOP)))
    assert (usage.input, usage.cached_input, usage.cache_write, usage.output) == (100, 90, 1, 7)
    assert usage.raw == before | {"output_tokens": 7}


def test_q50_counts_are_totals_and_never_added(deltas_of: Read, fold: Fold) -> None:
    """They may rise (server tools) and fall (compaction)."""
    counts = [(2037, 3), (15665, 40), (612, 41)]
    ends = [m.finish(None, usage={"input_tokens": i, "output_tokens": o}) for i, o in counts]
    deltas = deltas_of(m.start(usage={"input_tokens": 2000, "output_tokens": 2}), *ends, *END)
    assert [(delta.input, delta.output) for delta in deltas if isinstance(delta, Usage)] == [
        (2000, None), *counts, (612, 5),
    ]  # fmt: skip
    assert usage_of(fold(deltas)).output == 5


def test_the_first_outputs_are_no_count(deltas_of: Read, fold: Fold) -> None:
    """A stream that is cut has told its input, and not what it cost."""
    usage = usage_of(fold(deltas_of(m.start(), m.block(), m.text("a"))))
    assert (usage.input, usage.output) == (3, None)


@pytest.mark.parametrize("count", [-1, 1.5, True, "7", [], None])
def test_what_is_no_count_counts_nothing(deltas_of: Read, fold: Fold, count: Any) -> None:
    ends = m.finish(usage={"output_tokens": count})
    assert usage_of(fold(deltas_of(m.start(), ends, m.STOP))).output is None


def test_thinking_is_part_of_the_output(deltas_of: Read, fold: Fold) -> None:
    counts = {"output_tokens": 120.0, "output_tokens_details": {"thinking_tokens": 108}}
    usage = usage_of(fold(deltas_of(m.start(), m.finish(usage=counts), m.STOP)))
    assert (usage.output, usage.reasoning) == (120, 108)


# ---------------------------------------------------------------------- starts and ends


def test_q51_a_repeated_start_is_ignored(deltas_of: Read) -> None:
    once = [m.start(), m.block(), m.text("a"), m.end(), *END]
    assert deltas_of(m.start(), *once) == deltas_of(*once)
    assert deltas_of(*once[:3], m.start(), *once[3:]) == deltas_of(*once)


def test_q51_another_message_begins_anew_in_blocks_of_its_own(deltas_of: Read, fold: Fold) -> None:
    other = m.start("msg_2", model="m2", usage={"input_tokens": 8})
    deltas = deltas_of(
        m.start(), m.block(), m.text("a"), m.block(1, "tool_use"), m.tool_input('{"a', 1),
        other, m.block(), m.text("b"), m.end(), *END,
    )  # fmt: skip
    assert [delta.id for delta in deltas if isinstance(delta, Started)] == ["msg_1", "msg_2"]
    assert [(delta.text, delta.block) for delta in deltas if isinstance(delta, TextDelta)] == [("a", 0), ("b", 2)]
    assert not kinds(deltas, ToolCallEnded, Failed)
    assert (usage_of(fold(deltas)).input, usage_of(fold(deltas)).output) == (8, 5)


def test_q52_without_event_lines_the_type_says_what_it_is(deltas_of: Read) -> None:
    wire = [m.start(), m.PING, m.block(), m.text("a"), m.end(), *END]
    bare = [frame.partition(b"\n")[2] for frame in wire]
    assert deltas_of(*bare) == deltas_of(*wire)


def test_without_a_type_the_event_line_says_it(deltas_of: Read) -> None:
    deltas = deltas_of(m.start(), b'event: content_block_delta\ndata: {"delta":{"type":"text_delta","text":"a"}}\n\n')
    assert text_of(deltas) == "a"


@pytest.mark.parametrize("before", [[], [m.start()], [m.start(), m.block(), m.text("a")]])
def test_q53_an_error_may_come_at_any_place(deltas_of: Read, before: list[bytes]) -> None:
    deltas = deltas_of(*before, m.error(), m.error("again"), m.STOP)
    raw = {"type": "overloaded_error", "message": "Overloaded"}
    assert kinds(deltas, Failed) == [Failed("overloaded_error", "Overloaded", True, 529, raw)]
    assert not kinds(deltas, Finished)


@pytest.mark.parametrize(
    ("event", "code", "message"),
    [
        (b'event: error\ndata: {"type":"overloaded_error","message":"flat"}\n\n', "overloaded_error", "flat"),
        (b'event: error\ndata: {"message":"no type"}\n\n', "upstream_error", "no type"),
        (b"event: error\ndata: upstream connect error\n\n", "upstream_error", "upstream connect error"),
        (b"event: error\ndata:\n\n", "upstream_error", "no reason"),
        (b'event: error\ndata: [{"error":{"message":"in a list","type":"api_error"}}]\n\n', "api_error", "in a list"),
        (b"event: error\ndata: null\n\n", "upstream_error", "no reason"),
        ({"error": {"type": "rate_limit_error", "message": "bare"}}, "rate_limit_error", "bare"),
        ({"type": "error", "error": {}}, "upstream_error", "no reason"),
        ({"type": "error", "error": "a word"}, "upstream_error", "a word"),
        (b"data: not JSON\n\n", "upstream_error", "not JSON"),
        (b"data: <html><title>502 Bad Gateway</title>\n\n", "upstream_error", "502 Bad Gateway"),
        (
            b'event: error\ndata: {"type":"error","error":{"message":"\\ud83d","type":"x_error"}}\n\n',
            "x_error",
            "\ufffd",
        ),
    ],
)
def test_errors_in_other_shapes_are_errors(deltas_of: Read, event: Any, code: str, message: str) -> None:
    (failure,) = kinds(deltas_of(m.start(), event), Failed)
    assert isinstance(failure, Failed)
    assert failure.code == code
    assert message in failure.message


def test_only_the_end_marker_is_a_clean_end(deltas_of: Read) -> None:
    whole = [m.start(), m.block(), m.text("a"), m.end(), m.finish()]
    (failure,) = kinds(deltas_of(*whole), Failed)
    assert isinstance(failure, Failed)
    assert (failure.code, failure.retryable) == ("truncated", True)
    assert not kinds(deltas_of(*whole, m.STOP), Failed)
    assert deltas_of(*whole, b"data: [DONE]\n\n") == deltas_of(*whole)  # some gateways add it
    decoder = Decoder()
    assert [type(delta) for delta in decoder.close()] == [Failed]
    assert decoder.close() == []


def test_what_follows_the_end_means_nothing(deltas_of: Read) -> None:
    whole = m.answer("a")
    assert deltas_of(*whole, m.text("late"), m.error(), m.STOP, b"data: [DONE]\n\n") == deltas_of(*whole)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("end_turn", "stop"), ("max_tokens", "length"), ("stop_sequence", "stop"), ("tool_use", "tool_use"),
        ("pause_turn", "pause"), ("compaction", "pause"), ("refusal", "refusal"),
        ("model_context_window_exceeded", "context_window"), ("something_new", "unknown"),
    ],
)  # fmt: skip
def test_reasons(deltas_of: Read, word: str, reason: str) -> None:
    assert kinds(deltas_of(m.start(), m.finish(word), m.STOP), Finished) == [Finished(reason, word)]  # type: ignore[arg-type]


def test_an_end_without_a_reason_is_an_end(deltas_of: Read) -> None:
    assert kinds(deltas_of(m.start(), m.STOP), Finished) == [Finished("unknown", None)]
    called = [m.start(), m.block(0, "tool_use"), m.end()]
    assert kinds(deltas_of(*called, m.STOP), Finished) == [Finished("tool_use", None)]
    assert kinds(deltas_of(*called, m.finish("end_turn"), m.STOP), Finished) == [Finished("tool_use", "end_turn")]
    assert kinds(deltas_of(*called, m.finish("max_tokens"), m.STOP), Finished) == [Finished("length", "max_tokens")]


def test_the_first_reason_counts_and_what_stands_beside_it_is_kept(deltas_of: Read) -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "no"}
    ends = m.finish("refusal", delta={"stop_reason": "refusal", "stop_details": details, "container": None})
    more = m.event("message_delta", delta={"stop_reason": "end_turn"}, context_management={"applied_edits": [1]})
    deltas = deltas_of(m.start(), ends, more, m.STOP)
    assert kinds(deltas, Finished) == [Finished("refusal", "refusal")]
    assert [delta.data for delta in deltas if isinstance(delta, Opaque)] == [
        {"type": "message_delta", "delta": {"stop_details": details}},
        {"type": "message_delta", "context_management": {"applied_edits": [1]}},
    ]


# ---------------------------------------------------------------------- characters


def half(kind: str, member: str, text: str, index: int = 0) -> bytes:
    """A delta whose text is written in escapes, as JSON may write half a character."""
    data = f'{{"type":"content_block_delta","index":{index},"delta":{{"type":"{kind}","{member}":"{text}"}}}}'
    return f"event: content_block_delta\ndata: {data}\n\n".encode()


@pytest.mark.parametrize(
    ("kind", "member", "block"),
    [
        ("text_delta", "text", "text"),
        ("thinking_delta", "thinking", "thinking"),
        ("input_json_delta", "partial_json", "tool_use"),
    ],
)
def test_a_character_cut_in_two_is_one(deltas_of: Read, fold: Fold, kind: str, member: str, block: str) -> None:
    def said(*frames: bytes) -> str:
        choice = fold(deltas_of(m.start(), m.block(0, block), *frames)).choice()
        return choice.text + choice.reasoning + "".join(call.arguments for call in choice.tool_calls.values())

    first, second = half(kind, member, "a\\ud83c"), half(kind, member, "\\udf0ab")
    assert said(first, second, m.end(), *END) == "a🌊b"
    assert said(first, m.end(), *END) == "a\ufffd"
    assert said(first, *END) == "a\ufffd"
    assert said(first, half(kind, member, "b"), m.end(), *END) == "a\ufffdb"
    assert said(second, m.end(), *END) == "\ufffdb"
    if block != "tool_use":
        assert said(first) == "a\ufffd"  # cut off


def test_halves_in_what_is_passed_on_are_mended_alone(deltas_of: Read) -> None:
    wire = b'event: new\ndata: {"type":"new","x":"\\ud83c","\\ud83c":NaN}\n\n'
    (opaque,) = kinds(deltas_of(wire), Opaque)
    assert isinstance(opaque, Opaque)
    assert opaque.data["x"] == "\ufffd"


def test_data_as_deep_as_a_well_is_passed_on(deltas_of: Read) -> None:
    deep = "[" * 100_000
    deltas = deltas_of(m.start(), f"event: x\ndata: {deep}\n\n".encode(), m.STOP)
    assert kinds(deltas, Opaque) == [Opaque("anthropic", deep)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "index", "delta", "content_block", "message", "usage", "error", "text", "id", "name"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
TYPES = st.sampled_from([
    "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
    "message_stop", "error", "new",
])  # fmt: skip


@pytest.mark.untraced
@given(
    st.lists(
        st.tuples(
            TYPES, st.dictionaries(st.sampled_from(["index", "delta", "content_block", "message", "usage"]), JSON)
        ),
        max_size=12,
    )
)
@settings(max_examples=300, deadline=None)
def test_nothing_that_is_json_raises_or_breaks_the_fold(events: list[tuple[str, dict[str, Any]]]) -> None:
    decoder, fold = Decoder(), Transcript()
    for kind, fields in events:
        for delta in decoder.feed(sse.Event(data=json.dumps({"type": kind, **fields}))):
            fold.apply(delta)
    for delta in decoder.close():
        fold.apply(delta)
