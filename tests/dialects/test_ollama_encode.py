"""Deltas written as Ollama's lines: what each becomes, in which order, and what the last line says."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.dialects.ollama_lines import (
    GENERATE,
    OLLAMA,
    deltas_of,
    fold_of,
    join,
    joined,
    summary,
    terminal_of,
    written,
)

from tokenwire.dialects.base import Dialect
from tokenwire.dialects.deltas import (
    Citation,
    Delta,
    Failed,
    Finished,
    FinishReason,
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
    Usage,
)
from tokenwire.errors import LocalProtocolError

AT = {"model": "m", "created_at": "2026-11-06T21:20:00.500000000Z"}


def lines_of(deltas: list[Delta], dialect: Dialect = OLLAMA, terminal: Terminal | None = None) -> list[Any]:
    return [json.loads(line) for line in written(deltas, dialect, terminal).splitlines()]


def called(block: int = 0, *, arguments: str = '{"a":1}', id: str = "c0") -> list[Delta]:
    return [ToolCallStarted(id, "f", 0, block), ToolCallDelta(arguments, 0, block), ToolCallEnded(0, block)]


def test_every_kind_of_delta_has_its_line() -> None:
    entry = {"token": "a", "logprob": -1.0}
    deltas: list[Delta] = [
        Started("x", "theirs", 1.0), ReasoningDelta("hm"), TextDelta("a", 0, 1), Logprobs([entry]),
        RefusalDelta("no", 0, 2), *called(3), Usage(3, 4), Finished("tool_use"),
    ]  # fmt: skip
    message = {"role": "assistant", "content": ""}
    assert lines_of(deltas) == [
        {**AT, "message": {**message, "thinking": "hm"}, "done": False},
        {**AT, "message": {**message, "content": "a"}, "done": False},
        {**AT, "message": message, "done": False, "logprobs": [entry]},
        {**AT, "message": {**message, "content": "no"}, "done": False},
        {
            **AT,
            "message": {
                **message,
                "tool_calls": [{"id": "c0", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}}],
            },
            "done": False,
        },
        {
            **AT,
            "message": message,
            "done": True,
            "done_reason": "stop",
            "prompt_eval_count": 3,
            "eval_count": 4,
        },
    ]


def test_generate_says_the_same_at_the_top() -> None:
    deltas = [ReasoningDelta("hm"), TextDelta("a", 0, 1), *called(2), Finished("tool_use")]
    thought, text, call, last = lines_of(deltas, GENERATE)
    assert thought == {**AT, "response": "", "thinking": "hm", "done": False}
    assert text == {**AT, "response": "a", "done": False}
    assert call["tool_calls"][0]["function"]["name"] == "f"
    assert last == {**AT, "response": "", "done": True, "done_reason": "stop"}
    assert summary(fold_of(deltas_of(written(deltas, GENERATE), GENERATE)))["tool_calls"][0]["arguments"] == {"a": 1}


def test_what_ollama_has_no_words_for_makes_no_line() -> None:
    deltas: list[Delta] = [
        Started(None), ReasoningSignature("s"), Citation({"url": "u"}), TextDelta(""), ReasoningDelta(""),
        TextDelta("other", 1), Opaque("anthropic", {"x": 1}), Logprobs([{"id": 7}, 3, {"token": "a"}]),
        Failed("x", "y"),
    ]  # fmt: skip
    encoder = OLLAMA.encoder("st_1", 1.0, "m")
    assert [frame for delta in deltas for frame in encoder.feed(delta)] == []
    assert {"signature", "citations", "several answers"} <= set(OLLAMA.loses)


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85", "\r", "\n", "\x0b", "\x0c", "\x1c", "\x1e"])
def test_no_line_holds_what_the_stock_client_takes_for_its_end(end: str) -> None:
    wire = written([TextDelta(f"a{end}é"), *called(1, arguments=json.dumps({"b": end}, ensure_ascii=False))])
    assert len(wire.decode().splitlines()) == 3
    fold = fold_of(deltas_of(wire))
    assert fold.choice().text == f"a{end}é"
    assert summary(fold)["tool_calls"][0]["arguments"] == {"b": end}


# -- the end


@pytest.mark.parametrize(
    ("reason", "native", "word"),
    [
        ("stop", None, "stop"), ("stop", "end_turn", "stop"), ("length", "max_tokens", "length"),
        ("context_window", None, "length"), ("content_filter", "SAFETY", "content_filter"),
        ("refusal", "refusal", "content_filter"), ("pause", None, "stop"), ("tool_use", None, "stop"),
        ("unknown", "load", "load"), ("unknown", "what", "stop"), ("stop", "load", "stop"), ("error", None, "error"),
    ],
)  # fmt: skip
def test_every_reason_has_a_word_that_reads_as_the_record_says(
    reason: FinishReason, native: str | None, word: str
) -> None:
    line = lines_of([TextDelta("a"), Finished(reason, native)])[-1]
    assert line["done_reason"] == word
    read = fold_of(deltas_of([line])).choice().reason
    if reason != "tool_use" and word != "load":
        assert read == OLLAMA.reasons.get(reason, reason)
    assert (
        json.loads(OLLAMA.fold_response(fold_of([Finished(reason, native)]), "st_1", 1.0, "m"))["done_reason"] == word
    )


def test_an_answer_without_a_word_has_its_last_line() -> None:
    assert lines_of([], terminal=Terminal("completed"))[0]["done_reason"] == "stop"


def test_durations_are_what_is_known_and_no_more() -> None:
    terminal = Terminal("completed", "stop", usage=Usage(7, 8), ttft_ms=250.0, e2e_ms=1000.0)
    last = lines_of([TextDelta("a")], terminal=terminal)[-1]
    assert {name: last[name] for name in last if name.endswith(("duration", "count"))} == {
        "total_duration": 1_000_000_000, "prompt_eval_count": 7, "eval_count": 8, "eval_duration": 750_000_000,
    }  # fmt: skip
    known = Terminal("completed", e2e_ms=2.0)
    assert lines_of([], terminal=known)[-1]["total_duration"] == 2_000_000
    own = Usage(7, 8, raw={"eval_count": 8, "prompt_eval_count": 7, "load_duration": 5})
    last = lines_of([own], terminal=Terminal("completed", ttft_ms=1.0, e2e_ms=2.0))[-1]
    assert "total_duration" not in last
    assert last["load_duration"] == 5
    assert "eval_count" not in lines_of([Usage(7, 8, estimated=True)], terminal=Terminal("completed"))[-1]


def test_an_end_that_is_no_good_one_is_an_error_and_no_last_line() -> None:
    raw = {"error": "no more memory"}
    failed = Failed("upstream_error", "no more memory", raw=raw)
    assert lines_of([TextDelta("a"), failed])[1:] == [raw]
    assert lines_of([], terminal=Terminal("cancelled")) == [
        {"error": "the stream was cancelled", "code": "cancelled"}
    ]  # fmt: skip
    assert lines_of([], terminal=Terminal("expired", error=failed)) == [{**raw, "code": "expired"}]
    assert raw == {"error": "no more memory"}


@pytest.mark.parametrize("message", ["404", "null", '"no"', "[1]", "true"])
def test_no_error_is_a_text_that_kills_the_stock_client(message: str) -> None:
    body = OLLAMA.error_body(Failed("x", message), 500)
    assert json.loads(body)["error"] == f"the upstream said {message}"
    raw = {"error": message}
    assert json.loads(OLLAMA.error_body(Failed("x", message, raw=raw), 500))["error"] == f"the upstream said {message}"
    assert json.loads(OLLAMA.error_body(Failed("x", '{"error":"y"}'), 500))["error"] == '{"error":"y"}'
    assert json.loads(OLLAMA.error_body(Failed("x", ""), 500))["error"] == "x"


# -- calls


def test_a_call_is_told_whole_once_it_ended() -> None:
    encoder = OLLAMA.encoder("st_1", 1.0, "m")
    begun, delta, ended = called()
    assert encoder.feed(begun) == encoder.feed(delta) == []
    twin = encoder.copy()
    twin.feed(ToolCallDelta(" "))
    assert len(encoder.feed(ended)) == 1
    assert encoder.feed(Finished("tool_use")) == []
    assert len(twin.feed(ended)) == 1


def test_a_call_that_never_ended_is_not_told() -> None:
    half = called()[:2]
    assert [line["done"] for line in lines_of([*half, Finished("length")])] == [True]
    fold = fold_of([*half, Finished("length")])
    assert "tool_calls" not in json.loads(OLLAMA.fold_response(fold, "st_1", 1.0, "m"))["message"]
    late = [*called(0)[:2], *called(1, id="c1"), TextDelta("x", 0, 2), Finished("length")]
    assert [call["function"]["index"] for line in lines_of(late) for call in line["message"].get("tool_calls", [])] == [
        1
    ]


def test_calls_that_overlap_keep_their_order_for_everyone() -> None:
    first, second = called(0), called(1, id="c1")
    for order in set(itertools.permutations([0, 0, 0, 1, 1, 1])):
        rows = [iter(first), iter(second)]
        deltas = [*(next(rows[row]) for row in order), TextDelta("x", 0, 2), Finished("tool_use")]
        live = lines_of(deltas)
        begun = [delta.id for delta in deltas if isinstance(delta, ToolCallStarted)]
        told = [call["id"] for line in live for call in line["message"].get("tool_calls", [])]
        assert told == begun
        expected = summary(fold_of(deltas_of(live)))
        for at in range(len(deltas) + 1):
            assert summary(fold_of(deltas_of(joined(deltas, at)))) == expected


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("", {}),
        (' {\n "a" : [1, 2.50] } ', {"a": [1, 2.5]}),
        ('{"a":"\\ud800"}', {"a": "\ufffd"}),
        ('{"a":', {"INVALID_JSON": '{"a":'}),
        ("[1]", {"INVALID_JSON": "[1]"}),
        ("[" * 5000, {"INVALID_JSON": "[" * 5000}),
        ('{"a":' * 5000, {"INVALID_JSON": '{"a":' * 5000}),
    ],
)
def test_arguments_are_always_an_object(arguments: str, told: Any) -> None:
    line = lines_of(called(arguments=arguments))[0]
    assert line["message"]["tool_calls"][0]["function"]["arguments"] == told


def test_arguments_keep_every_digit() -> None:
    wire = written(called(arguments='{"n":12345678901234567890123,"f":0.12345678901234567890,"g":1.0e2}'))
    assert b'{"n":12345678901234567890123,"f":0.12345678901234567890,"g":1.0e2}' in wire


@pytest.mark.parametrize("delta", [ToolCallDelta("{}"), ToolCallEnded()])
def test_a_call_that_never_began_is_the_callers_fault(delta: Delta) -> None:
    with pytest.raises(LocalProtocolError):
        OLLAMA.encoder("st_1", 1.0, "m").feed(delta)


# -- joining, whatever is said


_SAID: dict[str, Callable[[str, int, int], Delta]] = {
    "text": TextDelta, "reasoning": ReasoningDelta, "refusal": RefusalDelta,
}  # fmt: skip


@st.composite
def answers(draw: st.DrawFn) -> list[Delta]:
    """Deltas in a legal order: runs of text and thought, calls that overlap, some of which never end."""
    deltas: list[Delta] = [Started("x")]
    open_calls: list[int] = []
    for block in range(draw(st.integers(0, 8))):
        kind = draw(st.sampled_from(["text", "reasoning", "refusal", "call", "end", "logprobs", "usage"]))
        text = draw(st.text("ab\u2028é{}", max_size=3))
        if kind == "call":
            deltas += [ToolCallStarted(f"c{block}", "f", 0, block), ToolCallDelta('{"a":"', 0, block)]
            open_calls.append(block)
        elif kind == "end" and open_calls:
            ended = open_calls.pop(draw(st.integers(0, len(open_calls) - 1)))
            deltas += [ToolCallDelta(text + '"}', 0, ended), ToolCallEnded(0, ended)]
        elif kind == "logprobs":
            deltas.append(Logprobs([{"token": text, "logprob": -1.0}]))
        elif kind == "usage":
            deltas.append(Usage(block, None if block % 2 else block))
        elif kind in ("text", "reasoning", "refusal"):
            for letter in text:
                deltas.append(_SAID[kind](letter, 0, block))
    return [*deltas, Finished(draw(st.sampled_from(["stop", "tool_use", "length"])))]


@given(answers(), st.booleans(), st.booleans())
def test_whoever_joins_anywhere_gets_the_same(deltas: list[Delta], broken: bool, generate: bool) -> None:
    dialect = GENERATE if generate else OLLAMA
    if broken:
        deltas[-1] = Failed("truncated", "cut")
    live = summary(fold_of(deltas_of(written(deltas, dialect), dialect)))
    said = [delta.text for delta in deltas if isinstance(delta, TextDelta | RefusalDelta)]
    assert live["text"] == "".join(said)
    for at in range(len(deltas) + 1):
        assert summary(fold_of(deltas_of(joined(deltas, at, dialect), dialect))) == live


# -- what only this dialect knows


def test_unknown_members_are_in_their_place_again() -> None:
    opaque = {"remote_model": "big", "model": "x", "message": {"images": ["aaaa"], "tool_calls": [7], "content": "no"}}
    picture, last = lines_of([Opaque("ollama", opaque)], terminal=Terminal("completed"))
    assert picture["message"] == {"role": "assistant", "content": "", "images": ["aaaa"]}
    assert (last["remote_model"], last["model"]) == ("big", "m")
    context = {"context": [1, 2], "tool_calls": [7]}
    assert lines_of([Opaque("ollama.generate", context)], GENERATE, Terminal("completed")) == [
        {"context": [1, 2], **AT, "response": "", "done": True, "done_reason": "stop"}
    ]
    assert lines_of([Opaque("ollama", {"message": 7})], terminal=Terminal("completed"))[0]["done"] is True


# -- time


@pytest.mark.untraced
def test_encoding_is_linear_and_copies_are_cheap() -> None:
    deltas: list[Delta] = [ToolCallStarted("c", "f"), *(ToolCallDelta("x") for _ in range(50_000))]
    encoder = OLLAMA.encoder("st_1", 1.0, "m")
    begun = time.process_time()
    for number, delta in enumerate(deltas):
        encoder.feed(delta)
        if number % 256 == 0:
            encoder = encoder.copy()
    many: list[Delta] = [ToolCallStarted("c", "f", 0, block) for block in range(1, 20_000)]
    many += [ToolCallEnded(0, block) for block in range(1, 20_000)]
    for delta in [ToolCallEnded(), *many]:
        encoder.feed(delta)
    assert time.process_time() - begun < 5.0
    assert join(encoder.close(terminal_of([]))).count(b"\n") == 1
