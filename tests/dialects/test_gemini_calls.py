"""Calls whose arguments Vertex streams (Q62), and calls on their way out: whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.dialects.base import encode_frames
from tokenwire.dialects.deltas import (
    Delta,
    Failed,
    Finished,
    ReasoningSignature,
    Started,
    Terminal,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
)
from tokenwire.dialects.gemini.calls import fold
from tokenwire.dialects.gemini.dialect import DIALECT, Decoder
from tokenwire.dialects.transcript import Transcript
from tokenwire.errors import LocalProtocolError
from tokenwire.wire import sse


def read(*calls: Any, end: str | None = "STOP") -> list[Delta]:
    """The deltas of a stream with one ``functionCall`` in each event, or a text; without what begins it."""
    decoder = Decoder()
    deltas: list[Delta] = []
    for call in calls:
        part = {"text": call} if isinstance(call, str) else {"functionCall": call}
        value = {"candidates": [{"content": {"parts": [part]}}]}
        deltas += decoder.copy().feed(sse.Event(data=json.dumps(value)))
        decoder.feed(sse.Event(data=json.dumps(value)))
    if end is not None:
        deltas += decoder.feed(sse.Event(data=json.dumps({"candidates": [{"finishReason": end}]})))
    return [delta for delta in deltas + decoder.close() if not isinstance(delta, Started)]


def arguments(deltas: list[Delta]) -> list[Any]:
    """The arguments of every call that is whole."""
    ended = {delta.block for delta in deltas if isinstance(delta, ToolCallEnded)}
    return [json.loads(delta.json) for delta in deltas if isinstance(delta, ToolCallDelta) and delta.block in ended]


BEGIN = {"id": "c", "name": "f", "willContinue": True}
PIECES = [
    {"partialArgs": [{"jsonPath": "$.city", "stringValue": "Os", "willContinue": True}], "willContinue": True},
    {"partialArgs": [{"jsonPath": "$.city", "stringValue": "lo", "willContinue": True}], "willContinue": True},
    {"partialArgs": [{"jsonPath": "$.city", "stringValue": ""}, {"jsonPath": "$.days", "numberValue": 3}],
     "willContinue": True},
]  # fmt: skip
WHOLE = {"city": "Oslo", "days": 3}


@pytest.mark.parametrize("last", [{}, {"id": "c"}, None], ids=["empty", "named", "missing"])
def test_q62_streamed_arguments_are_told_whole_at_the_end(last: Any) -> None:
    deltas = read(BEGIN, *PIECES, *([] if last is None else [last]))
    assert deltas[0] == ToolCallStarted("c", "f")
    assert arguments(deltas) == [WHOLE]
    assert deltas[-1] == Finished("tool_use", "STOP")


def test_q62_the_next_call_or_text_ends_a_call() -> None:
    deltas = read(BEGIN, *PIECES, {"id": "d", "name": "g", "args": {"a": 1}}, BEGIN | {"id": "e"}, "text")
    assert arguments(deltas) == [WHOLE, {"a": 1}, {}]
    assert TextDelta("text", block=3) in deltas


def test_q62_a_name_alone_is_a_call_without_arguments() -> None:
    assert arguments(read({"name": "f"}, {})) == [{}]
    assert arguments(read({"name": "f", "partialArgs": [{"jsonPath": "$.a", "boolValue": True}]})) == [{"a": True}]


def test_arguments_that_come_at_once_after_all() -> None:
    assert arguments(read(BEGIN, {"args": {"a": 1}})) == [{"a": 1}]


@pytest.mark.parametrize("end", ["MAX_TOKENS", "SAFETY", None])
def test_a_streamed_call_that_was_cut_never_ends(end: str | None) -> None:
    deltas = read(BEGIN, *PIECES, end=end)
    assert not any(isinstance(delta, ToolCallEnded | ToolCallDelta) for delta in deltas)
    assert any(isinstance(delta, Failed) for delta in deltas) == (end is None)


def test_what_belongs_to_no_call_says_nothing() -> None:
    assert read({}, {"willContinue": False}) == [Finished("stop", "STOP")]
    assert isinstance(read({"args": {"a": 1}})[0], ToolCallStarted)  # nobody named it, but somebody meant it


@pytest.mark.parametrize(
    ("entries", "whole"),
    [
        ([("$.a.b[0]", {"stringValue": "x"}), ("$.a.b[1]", {"numberValue": 2})], {"a": {"b": ["x", 2]}}),
        ([("$['a b'][\"c.d\"]", {"boolValue": False})], {"a b": {"c.d": False}}),
        ([("$.list[]", {}), ("$.object", {})], {"list": [], "object": {}}),
        ([("$.list[0]", {"numberValue": 1}), ("$.list[]", {}), ("$.list", {})], {"list": [1]}),
        ([("$.n", {"nullValue": "NULL_VALUE"})], {"n": None}),
        ([("$.a[2]", {"numberValue": 1})], {"a": [None, None, 1]}),
        ([("$.a[0].b", {"stringValue": "x"}), ("$.a[0].c", {"stringValue": ""})], {"a": [{"b": "x", "c": ""}]}),
        ([("$.a", {"numberValue": 1}), ("$.a", {"stringValue": "x"})], {"a": "x"}),
    ],
)
def test_paths(entries: list[tuple[str, dict[str, Any]]], whole: Any) -> None:
    assert fold([{"jsonPath": path, **value} for path, value in entries]) == whole


@pytest.mark.parametrize("path", ["$.__proto__.x", "$.a.constructor", "$['prototype']"])
def test_names_that_take_over_javascript_are_left_out(path: str) -> None:
    assert fold([{"jsonPath": path, "stringValue": "x"}, {"jsonPath": "$.b", "numberValue": 1}]) == {"b": 1}


@pytest.mark.parametrize(
    "path", [None, "", "a", "$", "$[0]", "$.", "$..a", "$.a[", "$.a[x]", "$.a[]b", "$.a[99999999]", "$" + ".a" * 200]
)
def test_a_path_that_is_none_fails_the_stream(path: Any) -> None:
    deltas = read(BEGIN, {"partialArgs": [{"jsonPath": path, "stringValue": "x"}, 3], "willContinue": True})
    assert not any(isinstance(delta, ToolCallEnded) for delta in deltas)
    assert [delta.code for delta in deltas if isinstance(delta, Failed)] == ["invalid_tool_arguments"]


def test_a_path_through_a_plain_value_is_none() -> None:
    with pytest.raises(ValueError, match="plain"):
        fold([{"jsonPath": "$.a", "stringValue": "x"}, {"jsonPath": "$.a.b", "stringValue": "x"}])


@pytest.mark.untraced
def test_many_pieces_cost_what_they_are() -> None:
    """A copy in the middle shares what came before it; the text is joined once."""
    decoder = Decoder()
    pieces = 20_000
    for number in range(pieces):
        entry = {"jsonPath": "$.a", "stringValue": "xy", "willContinue": True}
        call = {"partialArgs": [entry], "willContinue": True, **({"name": "f"} if not number else {})}
        decoder.feed(sse.Event(data=json.dumps({"candidates": [{"content": {"parts": [{"functionCall": call}]}}]})))
        if number % 100 == 0:
            decoder = decoder.copy()
    deltas = decoder.feed(sse.Event(data='{"candidates":[{"finishReason":"STOP"}]}'))
    assert arguments(deltas) == [{"a": "xy" * pieces}]


# On their way out


def written(deltas: list[Delta], terminal: Terminal | None = None) -> list[Any]:
    encoder = DIALECT.encoder("st_1", 1.0, "m")
    frames = [frame for delta in deltas for frame in encoder.feed(delta)]
    return [json.loads(frame.data) for frame in [*frames, *encoder.close(terminal or Terminal("completed"))]]


def told(events: list[Any]) -> list[Any]:
    """Names and arguments of the calls in *events*."""
    parts = [part for event in events for each in event.get("candidates", ()) for part in each["content"]["parts"]]
    return [(part["functionCall"]["name"], part["functionCall"]["args"]) for part in parts if "functionCall" in part]


def call(block: int, json: str, name: str = "f") -> list[Delta]:
    return [ToolCallStarted(f"c{block}", name, block=block), ToolCallDelta(json, block=block)]


def test_a_call_is_told_when_it_is_whole() -> None:
    encoder = DIALECT.encoder("st_1", 1.0, "m")
    for delta in [*call(0, '{"a"'), ToolCallDelta(":1}")]:
        assert encoder.feed(delta) == []
    (frame,) = encoder.feed(ToolCallEnded())
    assert told([json.loads(frame.data)]) == [("f", {"a": 1})]


def test_calls_are_told_in_order_of_their_beginnings() -> None:
    first, second = call(0, '{"n":0}'), call(1, '{"n":1}')
    events = written([*first, *second, ToolCallEnded(block=1), ToolCallEnded(block=0), Finished("tool_use")])
    assert [args["n"] for _, args in told(events)] == [0, 1]


@pytest.mark.parametrize("state", ["failed", "cancelled", "orphaned"])
def test_a_cut_call_is_an_error_and_never_half_a_call(state: Any) -> None:
    deltas = [*call(0, '{"a":'), *call(1, '{"n":1}'), ToolCallEnded(block=1)]
    events = written(deltas, Terminal(state))
    assert told(events) == [("f", {"n": 1})]  # that one is whole
    assert events[-1]["error"]["details"][0]["reason"] == state or state == "failed"
    assert not any("finishReason" in each for event in events for each in event.get("candidates", ()))


def test_a_call_that_never_ended_in_an_answer_that_did_is_malformed() -> None:
    events = written([*call(0, '{"a":1}'), Finished("tool_use")])
    assert told(events) == []
    assert events[-1]["candidates"][0]["finishReason"] == "MALFORMED_FUNCTION_CALL"
    cut = written([*call(0, '{"a":'), Finished("length")])
    assert cut[-1]["candidates"][0]["finishReason"] == "MAX_TOKENS"


@pytest.mark.parametrize("arguments", ["[1]", '{"a":', "nonsense", '"text"', "[" * 5000])
def test_arguments_that_are_no_object_are_malformed(arguments: str) -> None:
    events = written([*call(0, arguments, "g"), ToolCallEnded(), Finished("tool_use")])
    assert told(events) == []
    end = events[-1]["candidates"][0]
    assert (end["finishReason"], "g" in end["finishMessage"]) == ("MALFORMED_FUNCTION_CALL", True)


@pytest.mark.parametrize("arguments", ["", " ", "{}"])
def test_no_arguments_are_an_empty_object(arguments: str) -> None:
    assert told(written([*call(0, arguments), ToolCallEnded(), Finished("tool_use")])) == [("f", {})]


def test_fragments_of_a_call_that_never_began_are_refused() -> None:
    for delta in (ToolCallDelta("{}"), ToolCallEnded()):
        with pytest.raises(LocalProtocolError):
            DIALECT.encoder("st_1", 1.0, "m").feed(delta)


def test_what_comes_after_a_calls_end_is_nothing() -> None:
    deltas = [*call(0, "{}"), ToolCallEnded(), ToolCallDelta("x"), ToolCallEnded(), Finished("tool_use")]
    assert len(told(written(deltas))) == 1


def test_a_signature_is_told_on_its_call_or_behind_it(read: Callable[..., list[Delta]]) -> None:
    sign = ReasoningSignature("c2ln", dialect="gemini")
    begin, fragment = call(0, "{}")
    early = written([begin, sign, fragment, ToolCallEnded(), Finished("tool_use")])
    assert early[0]["candidates"][0]["content"]["parts"][0]["thoughtSignature"] == "c2ln"
    late = written([begin, fragment, ToolCallEnded(), sign, Finished("tool_use")])
    assert late[1]["candidates"][0]["content"]["parts"] == [{"text": "", "thoughtSignature": "c2ln"}]
    folded = Transcript()
    for delta in [begin, fragment, ToolCallEnded(), sign]:
        folded.apply(delta)
    frames = DIALECT.encoder("st_1", 1.0, "m").prefix(folded)
    assert [json.loads(frame.data) for frame in frames] == early[:1]
    assert sign in read(DIALECT, encode_frames(frames))
