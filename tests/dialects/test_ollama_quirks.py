"""What breaks readers of Ollama's streams, each by its name (reference, sections 7.5, 12 and 13)."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.dialects.ollama_lines import GENERATE, OLLAMA, as_generate, deltas_of, fold_of, recorded, text_line

from tokenwire.dialects.base import Mark
from tokenwire.dialects.deltas import (
    Failed,
    Finished,
    Logprobs,
    Opaque,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    Usage,
)
from tokenwire.dialects.ollama.times import seconds_of, text_of
from tokenwire.wire.sse import Event

DONE = {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}


def call(name: Any = "now", arguments: Any = None, **more: Any) -> dict[str, Any]:
    return {"function": {"index": 0, "name": name, "arguments": arguments}, **more}


def calls(*entries: Any) -> dict[str, Any]:
    return {"model": "m", "message": {"role": "assistant", "content": "", "tool_calls": list(entries)}, "done": False}


# -- the end


def test_a_stream_without_a_done_line_is_truncated() -> None:
    *_, failed = deltas_of([text_line("a")])
    assert isinstance(failed, Failed)
    assert (failed.code, failed.retryable) == ("truncated", True)
    decoder = OLLAMA.decoder()
    assert decoder.feed(Event(data='{"done_reason":"stop","done":false}'))[:1] == [
        Started()
    ]  # no end, whatever it says
    assert [type(delta) for delta in decoder.close()] == [Failed]
    assert decoder.close() == []


def test_a_reason_that_is_missing_or_empty_is_none() -> None:
    """Q26, with the servers that never say one."""
    for reason in ({}, {"done_reason": ""}, {"done_reason": None}, {"done_reason": 7}):
        assert Finished("unknown", None) in deltas_of([{**DONE, "done_reason": None, **reason}])
        assert Finished("tool_use", None) in deltas_of([calls(call()), {**DONE, "done_reason": None, **reason}])


def test_the_reason_stays_stop_after_calls() -> None:
    """Q47"""
    assert Finished("tool_use", "stop") in deltas_of([calls(call()), DONE])
    assert Finished("length", "length") in deltas_of([calls(call()), {**DONE, "done_reason": "length"}])
    assert Finished("unknown", "load") in deltas_of([{**DONE, "done_reason": "load"}])


def test_nothing_counts_after_the_done_line() -> None:
    """Q10"""
    assert deltas_of([DONE, DONE, text_line("late"), {"error": "late"}]) == deltas_of([DONE])


def test_a_done_line_may_bring_text_and_calls() -> None:
    """Q22, and every answer that is not streamed."""
    whole = {**DONE, "message": {"content": "a", "thinking": "b", "tool_calls": [call()]}}
    choice = fold_of(deltas_of([whole])).choice()
    assert (choice.text, choice.reasoning, len(choice.tool_calls), choice.reason) == ("a", "b", 1, "tool_use")


def test_counts_may_be_absent_and_are_not_zero_then() -> None:
    assert Usage(None, 9, raw={"eval_count": 9}) in deltas_of([{**DONE, "eval_count": 9}])
    assert Usage(0, None, raw={"prompt_eval_count": 0}) in deltas_of([{**DONE, "prompt_eval_count": 0}])
    for nothing in ({}, {"eval_count": None}, {"eval_count": "9"}, {"eval_count": -1}, {"total_duration": 5}):
        assert fold_of(deltas_of([{**DONE, **nothing}])).usage is None


# -- calls


def test_calls_without_an_id_and_all_at_index_0_are_told_apart() -> None:
    deltas = deltas_of([calls(call("a"), call("b")), calls(call("c", id="given")), DONE])
    begun = [delta for delta in deltas if isinstance(delta, ToolCallStarted)]
    assert [(delta.name, delta.block) for delta in begun] == [("a", 0), ("b", 1), ("c", 2)]
    assert len({delta.id for delta in begun}) == 3
    assert begun[2].id == "given"


def test_made_up_ids_differ_between_the_turns_of_a_conversation() -> None:
    turns = [[{**calls(call()), "created_at": f"2026-11-20T10:00:0{turn}Z"}, DONE] for turn in (1, 1, 2)]
    ids = [next(iter(fold_of(deltas_of(turn)).choice().tool_calls.values())).id for turn in turns]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"a": 1}, '{"a":1}'),
        ({}, "{}"),
        (None, "{}"),
        ("", "{}"),
        (" ", "{}"),
        ('{"a": 1}', '{"a": 1}'),
        ([1], "[1]"),
        ({"n": 123456789012345678901234567890}, '{"n":123456789012345678901234567890}'),
    ],
)
def test_arguments_are_an_object_or_text_or_nothing(given: Any, read: str) -> None:
    """Q44"""
    assert deltas_of([calls(call(arguments=given)), DONE])[1:4] == [
        deltas_of([calls(call()), DONE])[1],
        ToolCallDelta(read),
        ToolCallEnded(),
    ]


@pytest.mark.parametrize("empty", [None, [], {}])
def test_no_calls_are_no_calls(empty: Any) -> None:
    """Q45"""
    line = {**text_line("a"), "message": {"content": "a", "tool_calls": empty}}
    assert [type(delta) for delta in deltas_of([line, DONE])] == [Started, TextDelta, Finished]


@pytest.mark.parametrize("entry", [7, {}, {"function": 7}, call(name=None), call(name=" "), call(name=3)])
def test_what_is_no_call_is_kept_and_not_made_one(entry: Any) -> None:
    deltas = deltas_of([calls(entry), DONE])
    assert Opaque("ollama", {"message": {"tool_calls": [entry]}}) in deltas
    assert Finished("stop", "stop") in deltas


# -- errors


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"error": "no more memory"}, "no more memory"),
        ({"error": {"message": "no", "code": "overloaded"}}, "no"),
        ({"error": "half an answer", "message": {"content": "b"}, "done": False}, "half an answer"),
        ("Internal Server Error", "Internal Server Error"),
        ('{"message":{"content":"a', 'malformed JSON from the upstream: {"message":{"content":"a'),
    ],
)
def test_an_error_in_the_stream_is_a_failure_told_once(line: Any, message: str) -> None:
    failed = [delta for delta in deltas_of([text_line("a"), line, line]) if isinstance(delta, Failed)]
    assert [delta.message for delta in failed] == [message]


@pytest.mark.parametrize("nothing", [None, "", {}])
def test_a_falsy_error_is_none(nothing: Any) -> None:
    assert fold_of(deltas_of([text_line("a", error=nothing), DONE])).failed is None


def test_text_beside_an_error_is_kept() -> None:
    fold = fold_of(deltas_of([text_line("a", error="broken")]))
    assert (fold.choice().text, fold.failed and fold.failed.message) == ("a", "broken")


def test_an_error_before_the_stream_keeps_where_to_sign_in() -> None:
    body = b'{"error":"unauthorized","signin_url":"https://sign.in.example"}'
    failure = OLLAMA.describe_error(body, 401)
    assert (failure.code, failure.message, failure.retryable) == ("invalid_api_key", "unauthorized", False)
    assert json.loads(OLLAMA.error_body(failure, 401)) == json.loads(body)


# -- members


def test_members_of_the_wrong_type_are_kept_aside() -> None:
    line = {"model": 7, "created_at": "today", "message": {"content": ["a"], "thinking": 3}, "logprobs": "no", "x": {}}
    deltas = deltas_of([{**line, "done": "yes"}, DONE])
    said = {"content": ["a"], "thinking": 3, "logprobs": "no"}
    assert deltas[:2] == [Started(), Opaque("ollama", {"message": said})]


def test_what_nobody_knows_is_told_when_it_changes() -> None:
    line = text_line("a", remote_model="big", remote_host="far")
    deltas = deltas_of([line, line, text_line("b", remote_model="other"), DONE])
    opaque = [delta.data for delta in deltas if isinstance(delta, Opaque)]
    assert opaque == [{"remote_model": "big", "remote_host": "far"}, {"remote_model": "other"}]


@pytest.mark.parametrize("value", [7, [1], "text", {"status": "loading"}])
def test_a_line_that_is_no_answer_is_kept_as_it_is(value: Any) -> None:
    deltas = deltas_of([text_line("a"), '"text"' if value == "text" else value, DONE])
    assert Opaque("ollama", value) in deltas
    assert isinstance(deltas[-1], Finished)


def test_log_probabilities_are_those_of_the_line() -> None:
    entry = {"token": "a", "logprob": -0.1, "top_logprobs": [{"token": "b", "logprob": -2}]}
    assert Logprobs([entry]) in deltas_of([text_line("a", logprobs=[entry]), DONE])


def test_model_and_time_are_the_first_that_say_something() -> None:
    """Q19, Q28"""
    later = text_line("b", model="n")
    assert fold_of(deltas_of([text_line("a", model="", created_at=""), later, DONE])).started == Started(
        None, "n", 1795168800.0
    )
    deltas = deltas_of([text_line("a"), later, DONE])
    assert [delta for delta in deltas if isinstance(delta, Started)] == [Started(None, "m", 1795168800.0)]


def test_a_character_cut_in_two_is_put_together() -> None:
    lines = [f'{{"message":{{"content":"{half}"}},"done":false}}' for half in ("a\\ud83c", "\\udf0a", "\\ud83c", "b")]
    assert fold_of(deltas_of([*lines, DONE])).choice().text == "a\U0001f30a\ufffdb"
    assert fold_of(deltas_of([lines[0], DONE])).choice().text == "a\ufffd"
    assert fold_of(deltas_of([lines[0]])).choice().text == "a\ufffd"


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85"])
def test_raw_line_ends_of_unicode_end_no_line(end: str) -> None:
    """Q6"""
    body = f'{{"message":{{"content":"a{end}b"}},"done":false}}\n{{"done":true}}\r\n'.encode()
    assert fold_of(deltas_of(body)).choice().text == f"a{end}b"


def test_a_line_may_be_megabytes() -> None:
    """Q7"""
    assert len(fold_of(deltas_of([text_line("x" * 5_000_000), DONE])).choice().text) == 5_000_000


# -- marks


@pytest.mark.parametrize(
    ("line", "mark"),
    [
        (text_line("a"), Mark.PLAIN),
        ({"message": {"content": "", "thinking": "a"}, "done": False}, Mark.PLAIN),
        ({"message": {"content": None, "thinking": "a"}}, Mark.PLAIN),
        (text_line("a", logprobs=[{"token": "a", "logprob": -1}]), Mark.PLAIN),
        ({"message": {"content": "a", "tool_calls": []}, "done": False}, Mark.PLAIN),
        (calls(call()), Mark.NOTABLE),
        (DONE, Mark.NOTABLE | Mark.DONE),
        ({"message": {"content": "a"}, "done": True}, Mark.NOTABLE | Mark.DONE),
        ({"error": "no"}, Mark.NOTABLE | Mark.ERROR),
        ({"error": {"message": "no"}}, Mark.NOTABLE | Mark.ERROR | Mark.SWALLOWED),
        ({"error": "404"}, Mark.NOTABLE | Mark.ERROR | Mark.SWALLOWED),
        ({"detail": "no"}, Mark.NOTABLE | Mark.ERROR | Mark.SWALLOWED),
        (text_line("a", error={"message": "no"}), Mark.NOTABLE | Mark.ERROR),
        ("Bad Gateway", Mark.NOTABLE | Mark.ERROR | Mark.SWALLOWED),
        ({"status": "loading"}, Mark.NOTABLE),
        ("[" * 5000, Mark.NOTABLE),
    ],
)
def test_the_look_at_a_line_finds_what_it_is(line: Any, mark: int) -> None:
    """A call is notable, for the last line does not tell that there was one."""
    frame = (line if isinstance(line, str) else json.dumps(line)).encode()
    for end in (b"\n", b"\r\n"):
        assert OLLAMA.scan(frame + end) == mark
        assert OLLAMA.look(frame + end, OLLAMA.decoder())[0] == mark


@pytest.mark.parametrize(
    ("line", "mark"),
    [
        ({"response": "a", "done": False}, Mark.PLAIN),
        ({"response": "", "thinking": "a"}, Mark.PLAIN),
        ({"response": None, "thinking": "a"}, Mark.PLAIN),
        ({"response": "", "tool_calls": [call()]}, Mark.NOTABLE),
        ({"response": "", "done": True}, Mark.NOTABLE | Mark.DONE),
        ({"response": "", "done": True, "context": [1]}, Mark.NOTABLE | Mark.DONE),
        ({"error": "no"}, Mark.NOTABLE | Mark.ERROR),
    ],
)
def test_the_look_at_a_line_of_generate_finds_what_it_is(line: Any, mark: int) -> None:
    frame = json.dumps(line).encode() + b"\n"
    assert GENERATE.scan(frame) == GENERATE.look(frame, GENERATE.decoder())[0] == mark
    if mark == Mark.PLAIN and line["response"] is not None:
        assert GENERATE.peek is not None
        assert GENERATE.peek(frame) is None


def test_the_record_says_what_the_engine_needs() -> None:
    assert (OLLAMA.framing, OLLAMA.content_type, OLLAMA.ids) == ("ndjson", "application/x-ndjson", None)
    assert (OLLAMA.heartbeat, OLLAMA.opening) == (b"", b"")
    decoder = OLLAMA.decoder()
    mark, _ = OLLAMA.look(OLLAMA.end, decoder)
    assert mark & Mark.DONE
    assert decoder.close() == []


@given(
    st.lists(
        st.text() | st.sampled_from(['{"done":', '{"message":', "{", "}", '"content":"\\ud800"', ":null", "1e999"])
    )
)
def test_no_line_raises(pieces: list[str]) -> None:
    text = "".join(pieces)
    decoder = OLLAMA.decoder()
    decoder.feed(Event(data=text))
    decoder.close()
    OLLAMA.scan(text.encode("utf-8", "replace"))
    OLLAMA.decode_response(text.encode("utf-8", "replace"))


# -- answers that are not streamed


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":"no such model"}', "no such model"),
        (b"<html><title>Bad Gateway</title></html>", "Bad Gateway"),
        (b"", "the upstream gave no reason"),
        (b'{"status":"success"}', '{"status":"success"}'),
        (b"[1]", "the upstream closed before the end marker of ollama: the answer is incomplete"),
    ],
)
def test_a_body_that_is_no_answer_is_a_failure(body: bytes, message: str) -> None:
    failed = fold_of(OLLAMA.decode_response(body)).failed
    assert failed is not None
    assert failed.message == message


def test_a_stream_that_is_not_labelled_as_one_is_read_line_by_line() -> None:
    assert OLLAMA.decode_response(recorded("text")) == deltas_of(recorded("text"))
    cut = fold_of(OLLAMA.decode_response(recorded("text")[:150]))
    assert cut.failed is not None
    assert cut.choice().text == "Blue"


# -- points in time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("2026-11-20T10:00:00.5Z", 1795168800.5),
        ("2024-02-29T12:00:00.123456789+02:00", 1709200800.123456789),
        ("2024-02-29T12:00:00-00:30", 1709209800.0),
        ("2000-03-01T00:00:00z", 951868800.0),
        ("today", None),
        ("2026-13-01T00:00:00Z", None),
        ("2026-11-20T25:00:00Z", None),
        ("2026-11-20T10:00:00", None),
    ],
)
def test_a_point_in_time_is_read(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


@given(st.floats(0, 4_000_000_000))
def test_a_point_in_time_is_written_as_it_is_read(seconds: float) -> None:
    read = seconds_of(text_of(seconds))
    assert read is not None
    assert abs(read - seconds) < 1e-6


# -- time


@pytest.mark.untraced
@pytest.mark.parametrize("generate", [False, True])
def test_decoding_is_linear(generate: bool) -> None:
    body = b'{"model":"m","message":{"content":"token "},"done":false}\n' * 50_000
    begun = time.process_time()
    deltas = deltas_of(as_generate(body) if generate else body)
    assert time.process_time() - begun < 5.0
    assert len(deltas) > 1
