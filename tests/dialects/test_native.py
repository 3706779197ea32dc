"""The native dialect: every event against its schema, and the decoder as the encoder's inverse."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.dialects.base import Dialect, Frame, Mark, encode_frames
from tokenwire.dialects.deltas import (
    Citation,
    Delta,
    Failed,
    Finished,
    Logprobs,
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
    ToolResult,
    Usage,
)
from tokenwire.dialects.native.dialect import DIALECT, Decoder, Encoder, describe_error, error_body, notice, reset, scan
from tokenwire.dialects.openai_chat import dialect as openai_chat
from tokenwire.dialects.transcript import Transcript
from tokenwire.errors import LocalProtocolError
from tokenwire.wire import sse

SCHEMA = json.loads((Path(__file__).parents[2] / "conformance" / "native.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

Fold = Callable[[list[Delta]], Transcript]
Read = Callable[[Dialect, bytes], list[Delta]]


def events(frames: list[Frame]) -> list[tuple[str, Any]]:
    """Names and data, each held against the schema."""
    found = [(frame.event or "", json.loads(frame.data)) for frame in frames]
    for name, data in found:
        VALIDATOR.validate({"event": name, "data": data})
    return found


def encoded(*deltas: Delta, **options: Any) -> list[tuple[str, Any]]:
    made = Encoder("st_1", 5.5, "up/model", **options)
    return events([frame for delta in deltas for frame in made.feed(delta)])


STARTED = ("started", {"stream": "st_1", "model": "up/model", "created": 5.5})

EACH: list[tuple[Delta, str, dict[str, Any]]] = [
    (TextDelta("a"), "text", {"t": "a"}),
    (TextDelta("a", 1, 2), "text", {"choice": 1, "block": 2, "t": "a"}),
    (ReasoningDelta("a", block=1), "reasoning", {"block": 1, "t": "a"}),
    (ReasoningSignature("S"), "reasoning_signature", {"signature": "S"}),
    (RefusalDelta("No."), "refusal", {"t": "No."}),
    (ToolCallStarted("i", "f", block=1), "tool_call", {"block": 1, "id": "i", "name": "f"}),
    (ToolCallDelta('{"ci', block=1), "tool_args", {"block": 1, "json": '{"ci'}),
    (ToolCallEnded(block=1), "tool_end", {"block": 1}),
    (
        Citation({"url": "u", "block": "theirs"}, 1),
        "citation",
        {"choice": 1, "source": {"url": "u", "block": "theirs"}},
    ),
    (Logprobs([1], choice=1), "logprobs", {"choice": 1, "content": [1]}),
    (Logprobs(None, [2]), "logprobs", {"refusal": [2]}),
    (Usage(1, 2, 0, None, 3), "usage", {"input": 1, "output": 2, "cached_input": 0, "reasoning": 3}),
    (
        Opaque("anthropic", {"x": 1}, "ping", 1),
        "opaque",
        {"choice": 1, "dialect": "anthropic", "event": "ping", "data": {"x": 1}},
    ),
    (
        ToolResult("i", "f", "c", block=1),
        "tool_result",
        {"block": 1, "id": "i", "name": "f", "content": "c", "error": False},
    ),
    (Opaque("native", {"code": "queued"}, "notice"), "notice", {"code": "queued"}),
    (Opaque("native", 5, "text"), "opaque", {"dialect": "native", "event": "text", "data": 5}),
]


@pytest.mark.parametrize(("delta", "name", "data"), EACH, ids=[f"{row[1]}-{at}" for at, row in enumerate(EACH)])
def test_each_delta_has_its_event(delta: Delta, name: str, data: dict[str, Any]) -> None:
    assert encoded(delta) == [STARTED, (name, data)]


@pytest.mark.parametrize("delta", [Started("theirs", "m", 1.0), Finished("stop"), Failed("x", "y")])
def test_deltas_without_an_event_of_their_own(delta: Delta) -> None:
    assert encoded(delta, delta) == [STARTED]


def test_session_and_lane() -> None:
    assert encoded(TextDelta("a", 1), session="s", lane="agent-2") == [
        ("started", {"lane": "agent-2", "stream": "st_1", "model": "up/model", "session": "s", "created": 5.5}),
        ("text", {"lane": "agent-2", "choice": 1, "t": "a"}),
    ]


def test_done_proves_that_nothing_is_missing() -> None:
    made = Encoder("st_1", 5.5, "m")
    deltas: list[Delta] = [
        Started(), TextDelta("Zażółć "), ReasoningDelta("x"), TextDelta("other", 1), TextDelta("日本", block=2),
        Usage(1, 2), Finished("stop", "end_turn"), Finished("length", None, 1),
    ]  # fmt: skip
    before = [frame for delta in deltas for frame in made.feed(delta)]
    ((name, done),) = events(made.close(Terminal("completed", ttft_ms=412.5, e2e_ms=3120)))
    assert name == "done"
    assert done == {
        "state": "completed", "reason": "stop", "native_reason": "end_turn", "usage": {"input": 1, "output": 2},
        "timing": {"ttft_ms": 412.5, "e2e_ms": 3120}, "choices": [{"choice": 1, "reason": "length"}],
        "events": len(before), "text_sha256": hashlib.sha256("Zażółć 日本".encode()).hexdigest(),
    }  # fmt: skip


def test_the_terminals_own_words_win() -> None:
    made = Encoder("st_1", 5.5, "m")
    made.feed(Finished("stop", "end_turn"))
    (_, done) = events(made.close(Terminal("completed", "length", "budget", usage=Usage(9))))[-1]
    assert (done["reason"], done["native_reason"], done["usage"]) == ("length", "budget", {"input": 9})


def test_an_empty_stream_has_a_beginning_and_an_end() -> None:
    assert events(Encoder("st_1", 5.5, "up/model").close(Terminal("completed"))) == [
        STARTED, ("done", {"state": "completed", "events": 1, "text_sha256": hashlib.sha256(b"").hexdigest()}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("terminal", "error"),
    [
        (Terminal("cancelled"), {"code": "cancelled", "message": "the stream was cancelled", "retryable": False}),
        (
            Terminal("failed", error=Failed("overloaded", "m", True, 529)),
            {"code": "overloaded", "message": "m", "retryable": True, "upstream_status": 529},
        ),
    ],
)
def test_other_ends_are_an_error_and_then_done(terminal: Terminal, error: dict[str, Any]) -> None:
    made = Encoder("st_1", 5.5, "m")
    made.feed(TextDelta("a"))
    first, (name, done) = events(made.close(terminal))
    assert first == ("error", error)
    assert (name, done["state"], done["events"]) == ("done", terminal.state, 3)


def test_helpers_for_what_is_not_of_the_model() -> None:
    frames = [reset("trimmed", earliest="1-200"), reset("discontinuous"), notice("queued", place=3), notice("failover")]
    assert events(frames) == [
        ("reset", {"reason": "trimmed", "earliest": "1-200"}), ("reset", {"reason": "discontinuous"}),
        ("notice", {"code": "queued", "place": 3}), ("notice", {"code": "failover"}),
    ]  # fmt: skip


def test_the_schema_refuses_what_the_encoder_must_not_write() -> None:
    for name, data in [
        ("text", {"t": "a", "choice": 0}), ("text", {}), ("text", {"t": "a", "x": 1}), ("nope", {}),
        ("done", {"state": "completed"}),
        ("logprobs", {}), ("usage", {"input": -1}), ("error", {"code": "x", "message": "y"}),
        ("tool_end", {"block": "1"}),
    ]:  # fmt: skip
        assert not VALIDATOR.is_valid({"event": name, "data": data})


def comparable(fold: Transcript) -> Any:
    """What the native wire carries of a transcript."""
    usage, failed = fold.usage, fold.failed
    return (
        sorted((choice.index, list(choice.deltas())) for choice in fold.choices.values() if list(choice.deltas())),
        usage and (usage.input, usage.output, usage.cached_input, usage.cache_write, usage.reasoning),
        failed and (failed.code, failed.message, failed.retryable, failed.upstream_status),
        fold.opaque,
    )


def test_recorded_streams_come_through_native_unchanged(
    chat_stream: str, body: Callable[[str], bytes], read: Read, fold: Fold, write: Callable[..., bytes]
) -> None:
    deltas = read(openai_chat.DIALECT, body(chat_stream))
    wire = write(DIALECT.encoder("st_1", 5.5, "m"), deltas)
    parsed = sse.Decoder().feed(wire)
    events([Frame(event.event, event.data) for event in parsed])
    again = fold(read(DIALECT, wire))
    assert comparable(again) == comparable(fold(deltas))
    assert again.started == Started("st_1", "m", 5.5)
    done = json.loads(parsed[-1].data)
    assert done["events"] == len(parsed) - 1
    assert done["text_sha256"] == hashlib.sha256(fold(deltas).choice().text.encode()).hexdigest()


@pytest.mark.untraced
def test_a_late_joiner_is_in_the_same_state_at_every_point(
    chat_stream: str, body: Callable[[str], bytes], read: Read, fold: Fold, write: Callable[..., bytes]
) -> None:
    deltas = read(openai_chat.DIALECT, body(chat_stream))
    live = write(DIALECT.encoder("st_1", 5.5, "m"), deltas)
    last = sse.Decoder().feed(live)[-1]
    for joined in range(len(deltas) + 1):
        encoder = DIALECT.encoder("st_1", 5.5, "m")
        prefix = encoder.prefix(fold(deltas[:joined]))
        assert [name for name, _ in events(prefix)] == ["started", "snapshot"]
        wire = encode_frames(prefix) + write(encoder, deltas[joined:], deltas)
        assert sse.Decoder().feed(wire)[-1] == last  # the same proof, counted on from the snapshot
        late, all_along = fold(read(DIALECT, wire)), fold(read(DIALECT, live))
        for index, choice in all_along.choices.items():
            assert late.choice(index).text == choice.text
            assert late.choice(index).reasoning == choice.reasoning
            assert late.choice(index).refusal == choice.refusal
            assert late.choice(index).signatures == choice.signatures
            assert late.choice(index).logprobs == choice.logprobs
            assert late.choice(index).reason == choice.reason
            assert [(c.id, c.block, c.arguments, c.ended) for c in late.choice(index).tool_calls.values()] == [
                (c.id, c.block, c.arguments, c.ended) for c in choice.tool_calls.values()
            ]
            assert [c.data for c in late.choice(index).citations] == [c.data for c in choice.citations]
        assert late.usage == all_along.usage


def test_resuming_is_folding_silently_and_going_on(chat_stream: str, body: Callable[[str], bytes], read: Read) -> None:
    deltas = read(openai_chat.DIALECT, body(chat_stream))
    made, decoder = DIALECT.encoder("st_1", 5.5, "m"), Decoder()
    for delta in deltas:
        twin = made.copy()
        frames = made.feed(delta)
        assert twin.feed(delta) == frames
        for frame in frames:
            event = sse.Event(frame.event or "", frame.data)
            assert decoder.copy().feed(event) == decoder.feed(event)
    assert made.copy().close(Terminal("completed")) == made.close(Terminal("completed"))


def snapshot(*deltas: Delta) -> dict[str, Any]:
    fold = Transcript()
    for delta in deltas:
        fold.apply(delta)
    data: dict[str, Any] = events(Encoder("st_1", 5.5, "m").prefix(fold))[1][1]
    return data


def test_a_snapshot_says_what_there_is() -> None:
    assert snapshot() == {"text": "", "events": 1}
    data = snapshot(
        Started(), ToolCallStarted("i", "f"), ToolCallDelta("{"), ReasoningDelta("Hm", block=1),
        ToolCallStarted("j", "g", block=3), ToolCallEnded(block=3), ToolResult("j", "g", "no", True, block=3),
        ReasoningSignature("S", block=1),
        TextDelta("a", block=2), RefusalDelta("b", 1), Finished("length", "max", 1), Citation({"u": 1}),
        Logprobs([1]), Usage(5),
    )  # fmt: skip
    assert data == {
        "text": "a", "reasoning": "Hm", "signatures": ["S"], "citations": [{"u": 1}], "logprobs": {"content": [1]},
        "tool_calls": [{"id": "i", "name": "f", "arguments": "{", "ended": False},
                       {"block": 3, "id": "j", "name": "g", "arguments": "", "ended": True, "result": "no",
                        "error": True}], "events": 13, "usage": {"input": 5},
        "choices": [{"choice": 1, "text": "", "refusal": "b", "reason": "length", "native_reason": "max"}],
    }  # fmt: skip


def test_a_snapshot_gives_text_blocks_that_no_call_has() -> None:
    data = snapshot(
        ToolCallStarted("i", "f"), TextDelta("a", block=1), ReasoningDelta("b", block=2), RefusalDelta("c", block=3)
    )
    deltas = Decoder().feed(sse.Event("snapshot", json.dumps(data)))
    assert [(type(delta), getattr(delta, "block", None)) for delta in deltas] == [
        (ReasoningDelta, 1), (TextDelta, 2), (RefusalDelta, 3), (ToolCallStarted, 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("notice", {"code": "queued"}), ("reset", {"reason": "trimmed"}), ("tool_result", {"content": "x"}),
        ("novelty", {}),
        ("text", {"t": 5}), ("text", {}), ("text", [1]), ("tool_args", {"json": "{"}), ("tool_end", {"block": 3}),
        ("done", {"state": 5}), ("message", {"t": "a"}),
    ],
)  # fmt: skip
def test_what_has_no_delta_is_opaque_under_its_name(name: str, data: Any) -> None:
    decoder = Decoder()
    assert decoder.feed(sse.Event(name, json.dumps(data))) == [Opaque("native", data, name)]
    assert isinstance(decoder.close()[0], Failed)


def test_data_that_is_no_json_and_torn_data() -> None:
    decoder = Decoder()
    assert decoder.feed(sse.Event("text", "oops\ud83c")) == [Opaque("native", "oops\ufffd", "text")]
    assert decoder.feed(sse.Event("text", '{"t":"\\ud83c"}')) == [Opaque("native", {"t": "\ufffd"}, "text")]
    assert decoder.feed(sse.Event("text", "[" * 100_000)) == [Opaque("native", "[" * 100_000, "text")]


def test_nothing_is_decoded_after_done_and_its_usage_is_told_once() -> None:
    done = sse.Event("done", '{"state":"completed","reason":"novelty","usage":{"input":1},"choices":[{"choice":1}]}')
    decoder = Decoder()
    assert decoder.feed(done) == [Usage(1), Finished("unknown")]
    assert decoder.feed(sse.Event("text", '{"t":"a"}')) == decoder.feed(done) == decoder.close() == []
    decoder = Decoder()
    decoder.feed(sse.Event("usage", '{"input":1,"cost_usd":0.1}'))
    assert decoder.feed(done) == [Finished("unknown")]


def test_an_end_that_was_not_clean_fails_once() -> None:
    done = sse.Event("done", '{"state":"cancelled"}')
    assert Decoder().feed(done) == [Failed("cancelled", "the stream ended: cancelled")]
    decoder = Decoder()
    decoder.feed(sse.Event("error", '{"code":"x","message":"y","retryable":true}'))
    assert decoder.feed(done) == decoder.close() == []


def test_a_stream_without_done_is_truncated_once() -> None:
    decoder = Decoder()
    assert [delta.code for delta in decoder.close() if isinstance(delta, Failed)] == ["truncated"]
    assert decoder.close() == []


@pytest.mark.parametrize(
    ("frame", "mark"),
    [
        (sse.encode('{"t":"a"}', event="text"), Mark.PLAIN),
        (sse.encode('{"t":"a"}', event="text", id="1-5"), Mark.PLAIN),
        (sse.encode('{"t":"a"}', event="reasoning"), Mark.PLAIN),
        (sse.encode('{"json":"a"}', event="tool_args"), Mark.PLAIN),
        (sse.encode("{}", event="usage"), Mark.NOTABLE),
        (sse.encode("{}", event="done"), Mark.DONE | Mark.NOTABLE),
        (sse.encode("{}", event="error"), Mark.ERROR | Mark.NOTABLE),
        (b"data: {}\nevent:done\n\n", Mark.DONE | Mark.NOTABLE),
        (b"data: {}\r\nevent: error\r\n\r\n", Mark.ERROR | Mark.NOTABLE),
        (b"data: {}\n\n", Mark.NOTABLE),
        (b"", Mark.NOTABLE),
    ],
)
def test_marks(frame: bytes, mark: int) -> None:
    assert scan(frame) == mark


def test_there_is_no_answer_that_is_not_streamed() -> None:
    with pytest.raises(LocalProtocolError):
        DIALECT.fold_response(Transcript(), "st_1", 1.0, "m")
    (failure,) = DIALECT.decode_response(b'{"error":{"code":"x","message":"y"}}')
    assert failure == Failed("x", "y")


def test_error_bodies_both_ways() -> None:
    failure = Failed("x", "y", True)
    body = error_body(failure, 503)
    assert json.loads(body) == {"error": {"code": "x", "message": "y", "retryable": True}}, "no upstream said 503"
    assert describe_error(body, 503) == failure
    told = Failed("x", "y", True, 529)
    assert json.loads(error_body(told, 503))["error"]["upstream_status"] == 529
    assert describe_error(error_body(told, 503), 503) == told
    assert describe_error(b'{"error":{"upstream_status":"a","message":"\\ud83c"}}', 503) == Failed(
        "upstream_error", "\ufffd"
    )
    assert describe_error(b"<p>gone</p>", 502) == Failed("upstream_error", "<p>gone</p>", upstream_status=502)
    for other in (b"", b"[" * 100_000, b'{"error":"x"}'):
        assert describe_error(other, 502).code == "upstream_error"


def test_the_dialect_is_registered() -> None:
    assert (DIALECT.name, DIALECT.framing, DIALECT.ids) == ("native", "sse", True)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["text", "tool_call", "tool_args", "snapshot", "done", "logprobs", "opaque"]), st.text(max_size=30)
)
def test_feed_never_raises(name: str, data: str) -> None:
    Decoder().feed(sse.Event(name, data))
