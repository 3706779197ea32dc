"""What other vendors' answers become in chat and in Messages: signatures, sources, whole calls, cuts in the midst."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire import dialects
from tokenwire.dialects.base import Dialect, Frame
from tokenwire.dialects.citations import Source, read_source
from tokenwire.dialects.deltas import (
    Citation,
    Delta,
    Failed,
    Finished,
    ReasoningDelta,
    ReasoningSignature,
    Started,
    Terminal,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
)
from tokenwire.dialects.endings import reason_of
from tokenwire.dialects.signatures import wrap
from tokenwire.dialects.transcript import Transcript

CHAT, ANTHROPIC = dialects.get("openai.chat"), dialects.get("anthropic")
BOTH = pytest.mark.parametrize("dialect", [CHAT, ANTHROPIC], ids=lambda dialect: dialect.name)
DONE = Terminal("completed")
CUT = Terminal("failed", error=Failed("truncated", "cut", True))
Read = Callable[[Dialect, bytes], list[Delta]]
Write = Callable[..., bytes]
Fold = Callable[[list[Delta]], Transcript]


def frames_of(dialect: Dialect, *deltas: Delta, terminal: Terminal = DONE) -> list[Frame]:
    encoder = dialect.encoder("st_1", 1.0, "m")
    return [frame for delta in deltas for frame in encoder.feed(delta)] + encoder.close(terminal)


def values(frames: list[Frame]) -> list[Any]:
    return [json.loads(frame.data) for frame in frames if frame.data != "[DONE]"]


CALL: list[Delta] = [ToolCallStarted("call_1", "f"), ToolCallDelta('{"x":'), ToolCallDelta("1")]


# ---------------------------------------------------------------------- cuts


@pytest.mark.parametrize("finished", [[], [Finished("error", "abort")]], ids=["cut", "given up"])
def test_a_call_that_is_cut_is_an_error_in_chat_and_no_finish(finished: list[Delta]) -> None:
    frames = frames_of(CHAT, TextDelta("a"), ToolCallStarted("i", "f", 0, 1), *finished, terminal=CUT)
    assert frames[-1].data != "[DONE]"
    *chunks, error = values(frames)
    assert error == {"error": {"message": "cut", "type": "server_error", "param": None, "code": "truncated"}}
    assert {choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]} == {None}


@pytest.mark.parametrize("finished", [[], [Finished("error", "abort")]], ids=["cut", "given up"])
def test_a_call_that_is_cut_is_an_error_event_and_its_block_does_not_stop(finished: list[Delta]) -> None:
    events = values(frames_of(ANTHROPIC, *CALL, *finished, terminal=CUT))
    assert [event["type"] for event in events] == [
        "message_start", "content_block_start", *["content_block_delta"] * 3, "error",
    ]  # fmt: skip


@BOTH
def test_what_was_cut_is_no_whole_call_to_whoever_reads_it(
    dialect: Dialect, read: Read, write: Write, fold: Fold
) -> None:
    deltas: list[Delta] = [Started("c", "m", 1.0), *CALL, Failed("truncated", "cut", True)]
    again = fold(read(dialect, write(dialect.encoder("st_1", 1.0, "m"), deltas)))
    (call,) = again.choice().tool_calls.values()
    assert (call.arguments, call.ended) == ('{"x":1', False)
    assert again.failed is not None
    assert again.failed.code == "truncated"


# ---------------------------------------------------------------------- calls


@BOTH
def test_calls_that_come_whole(dialect: Dialect, read: Read, write: Write, fold: Fold) -> None:
    """Gemini's and Ollama's, between texts; a name may be empty, and the arguments too."""
    deltas: list[Delta] = [
        Started(), TextDelta("a"),
        ToolCallStarted("c1", "f", block=1), ToolCallDelta('{"x":[1,"}"]}', block=1), ToolCallEnded(block=1),
        ToolCallStarted("c2", "g", block=2), ToolCallEnded(block=2),
        ToolCallStarted("c3", "", block=3), ToolCallDelta("{}", block=3), ToolCallEnded(block=3),
        TextDelta("b", block=4), Finished("tool_use", "STOP"),
    ]  # fmt: skip
    choice = fold(read(dialect, write(dialect.encoder("st_1", 1.0, "m"), deltas))).choice()
    assert [(call.id, call.name, call.arguments, call.ended) for call in choice.tool_calls.values()] == [
        ("c1", "f", '{"x":[1,"}"]}', True), ("c2", "g", "{}", True), ("c3", "", "{}", True),
    ]  # fmt: skip
    assert (choice.text, choice.reason) == ("ab", "tool_use")
    # In chat an empty name is none, which may still come: such a call is told in the end.
    late = ["text", "tool_call"] if dialect is CHAT else ["tool_call", "text"]
    assert [segment.kind for segment in choice.segments()] == ["text", "tool_call", "tool_call", *late]


def test_a_stop_after_calls_is_a_tool_use_though_the_terminal_does_not_know_of_them() -> None:
    """Q47: the engine does not decode plain events, and calls are plain."""
    told = Finished("tool_use", "stop")
    assert reason_of(Terminal("completed", "stop", "stop"), told) == ("tool_use", "stop")
    assert reason_of(Terminal("completed", "length", "max"), told) == ("tool_use", "max")
    assert reason_of(Terminal("completed", "length", "max"), Finished("stop", "x")) == ("length", "max")
    assert reason_of(Terminal("completed"), Finished("stop", "x")) == ("stop", "x")
    assert reason_of(Terminal("completed", "stop"), None) == ("stop", None)
    ended: list[Delta] = [ToolCallStarted("c", "f"), ToolCallEnded(), told]
    (*_, end, _) = values(frames_of(ANTHROPIC, *ended, terminal=Terminal("completed", "stop", "stop")))
    assert end["delta"]["stop_reason"] == "tool_use"


# ---------------------------------------------------------------------- signatures


@pytest.mark.parametrize("maker", ["anthropic", "openai.chat", "gemini", "openai.responses", ""])
@BOTH
def test_a_signature_keeps_its_maker_through_another_dialect(
    dialect: Dialect, maker: str, read: Read, write: Write, fold: Fold
) -> None:
    deltas: list[Delta] = [
        Started(), ReasoningDelta("Hm"), ReasoningSignature("S\u00e9/=", dialect=maker), TextDelta("a", block=1),
        Finished("stop"),
    ]  # fmt: skip
    wire = write(dialect.encoder("st_1", 1.0, "m"), deltas)
    assert (b"S\xc3\xa9/=" in wire) == (maker in ("", dialect.name))
    (signed,) = [segment for segment in fold(read(dialect, wire)).choice().segments() if segment.kind == "signature"]
    assert (signed.text, signed.dialect, signed.block) == ("S\u00e9/=", maker or dialect.name, 0)


def test_geminis_signature_of_a_call_goes_with_the_call_in_chat(read: Read, write: Write, fold: Fold) -> None:
    deltas: list[Delta] = [
        Started(), ToolCallStarted("c1", "f"), ReasoningSignature("G1", dialect="gemini"), ToolCallDelta("{}"),
        ToolCallEnded(), ToolCallStarted("c2", "f", block=1), ToolCallDelta("{}", block=1), ToolCallEnded(block=1),
        ReasoningSignature("G2", block=1, dialect="gemini"), ReasoningSignature("other", block=1, dialect="anthropic"),
        Finished("tool_use"),
    ]  # fmt: skip
    again = fold(read(CHAT, write(CHAT.encoder("st_1", 1.0, "m"), deltas))).choice()
    signed = [(segment.text, segment.block, segment.dialect) for segment in again.segments() if segment.text]
    assert signed == [("G1", 0, "gemini"), ("G2", 1, "gemini")]
    calls = [
        entry
        for value in values(frames_of(CHAT, *deltas))
        for entry in value["choices"][0]["delta"].get("tool_calls", ())
        if "extra_content" in entry
    ]
    assert calls == [
        {"index": at, "function": {"arguments": ""}, "extra_content": {"google": {"thought_signature": text}}}
        for at, text in enumerate(("G1", "G2"))
    ]
    answer = json.loads(CHAT.fold_response(fold(deltas), "st_1", 1.0, "m"))["choices"][0]["message"]
    told = [call["extra_content"]["google"]["thought_signature"] for call in answer["tool_calls"]]
    assert (told, "reasoning_details" in answer) == (["G1", "G2"], False)
    assert not any("signature" in frame.data for frame in frames_of(ANTHROPIC, *deltas))


def test_messages_have_one_signature_for_each_thought(fold: Fold) -> None:
    """The SDKs keep the last one of a block; a thought that goes on after its signature is another."""
    deltas: list[Delta] = [
        ReasoningDelta("a"), ReasoningSignature("S1"), ReasoningSignature("S2", dialect="gemini"), ReasoningDelta("b"),
        TextDelta("c", block=1), ReasoningDelta("d", block=2), ReasoningSignature("S3", block=2), Finished("stop"),
    ]  # fmt: skip
    blocks = [
        {"type": "thinking", "thinking": "a", "signature": "S1"},
        {"type": "thinking", "thinking": "", "signature": wrap("S2", "gemini", "anthropic")},
        {"type": "thinking", "thinking": "b", "signature": ""},
        {"type": "text", "text": "c"},
        {"type": "thinking", "thinking": "d", "signature": "S3"},
    ]
    assert json.loads(ANTHROPIC.fold_response(fold(deltas), "st_1", 1.0, "m"))["content"] == blocks


# ---------------------------------------------------------------------- sources

URL = "https://a.example/x"
FORMS: dict[str, tuple[dict[str, Any], Source | None]] = {
    "chat": (
        {"type": "url_citation", "url_citation": {"url": URL, "title": "A", "start_index": 1, "end_index": 4}},
        Source(URL, "A", 1, 4, None),
    ),
    "responses": (
        {"type": "url_citation", "url": URL, "title": "A", "start_index": 0},
        Source(URL, "A", 0, None, None),
    ),
    "messages": (
        {"type": "web_search_result_location", "url": URL, "title": None, "cited_text": "c"},
        Source(URL, None, None, None, "c"),
    ),
    "gemini": ({"web": {"uri": URL, "title": "a.example"}}, Source(URL, "a.example", None, None, None)),
    "gemini's own": ({"startIndex": 3, "endIndex": True, "uri": URL, "license": ""}, Source(URL, None, 3, None, None)),
    "gemini's files": ({"retrievedContext": {"uri": URL, "text": "t"}}, Source(URL, None, None, None, None)),
    "a bare address": ({"url": URL, "title": 5}, Source(URL, None, None, None, None)),
    "a file": ({"type": "file_citation", "file_id": "f", "filename": "n"}, None),
    "a reference": ({"type": "reference", "reference_ids": [1]}, None),
    "a page": ({"type": "page_location", "document_index": 0}, None),
    "nothing": ({"url": "", "web": "x"}, None),
}


@pytest.mark.parametrize(("data", "source"), FORMS.values(), ids=FORMS)
def test_a_source_is_told_in_the_form_of_the_dialect_or_as_it_is(data: dict[str, Any], source: Source | None) -> None:
    assert read_source(data) == source
    (_, _, note, _) = values(frames_of(CHAT, TextDelta("a"), Citation(data)))
    told = note["choices"][0]["delta"]["annotations"][0]
    (_, _, _, cited, _, _, _) = values(frames_of(ANTHROPIC, TextDelta("a"), Citation(data)))
    if source is None:
        assert told == {"index": 0, **data}
        assert cited["delta"]["citation"] == data
        return
    fields = {"url": URL, "title": source.title, "start_index": source.start, "end_index": source.end}
    known = {name: value for name, value in fields.items() if value is not None}
    assert told == {"index": 0, "type": "url_citation", "url_citation": known}
    own = data.get("type") == "web_search_result_location"
    assert cited["delta"]["citation"] == (data if own else {
        "type": "web_search_result_location", "url": URL, "title": source.title, "encrypted_index": "",
        "cited_text": source.text or "",
    })  # fmt: skip


# ---------------------------------------------------------------------- several answers


def test_several_answers_interleave_in_chat_and_messages_tell_the_first(read: Read, write: Write, fold: Fold) -> None:
    deltas: list[Delta] = [
        Started(choice=1), TextDelta("b1", 1), Started(), TextDelta("a1"), ToolCallStarted("c1", "f", 1, 1),
        ToolCallStarted("c0", "g", 0, 1), ToolCallDelta('{"k":1}', 1, 1), ToolCallDelta("{}", 0, 1),
        ToolCallEnded(1, 1), ToolCallEnded(0, 1), Finished("tool_use", None, 1), TextDelta("a2", 0, 2),
        Finished("tool_use"),
    ]  # fmt: skip
    chat = fold(read(CHAT, write(CHAT.encoder("st_1", 1.0, "m"), deltas)))
    for index, text, call in ((0, "a1a2", ("c0", "{}")), (1, "b1", ("c1", '{"k":1}'))):
        choice = chat.choice(index)
        assert (choice.text, [(each.id, each.arguments) for each in choice.tool_calls.values()]) == (text, [call])
    only = fold(read(ANTHROPIC, write(ANTHROPIC.encoder("st_1", 1.0, "m"), deltas)))
    assert (list(only.choices), only.choice().text, len(only.choice().tool_calls)) == ([0], "a1a2", 1)
