"""The content blocks of Messages streams: every type, whole and in pieces, in order or not (reference, section 5.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.dialects.deltas import (
    Citation,
    Delta,
    Failed,
    Finished,
    Opaque,
    ReasoningDelta,
    ReasoningSignature,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
)
from tokenwire.dialects.transcript import Transcript
from tokenwire.testing import message_frames as m

Read = Callable[..., list[Delta]]
Fold = Callable[[list[Delta]], Transcript]
END = [m.finish(), m.STOP]


def kinds(deltas: list[Delta], *wanted: type) -> list[Delta]:
    return [delta for delta in deltas if isinstance(delta, wanted)]


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


def test_blocks_are_told_apart_by_their_index(deltas_of: Read) -> None:
    deltas = deltas_of(
        m.start(), m.block(3), m.block(7, "thinking"), m.text("a", 3), m.thinking("b", 7), m.text("c", 3),
        m.end(3), m.end(7), m.end(99), *END,
    )  # fmt: skip
    assert kinds(deltas, TextDelta, ReasoningDelta) == [
        TextDelta("a", 0, 0), ReasoningDelta("b", 0, 1), TextDelta("c", 0, 0)
    ]  # fmt: skip


def test_an_index_may_be_used_again_and_its_stop_may_be_lost(deltas_of: Read) -> None:
    deltas = deltas_of(
        m.start(), m.block(), m.text("a"), m.block(), m.text("b"), m.end(),
        m.block(0, "tool_use"), m.tool_input("{}"), m.block(), m.text("c"), *END,
    )  # fmt: skip
    assert [(delta.text, delta.block) for delta in deltas if isinstance(delta, TextDelta)] == [
        ("a", 0), ("b", 1), ("c", 3)
    ]  # fmt: skip
    assert kinds(deltas, ToolCallEnded) == [ToolCallEnded(0, 2)]


def test_a_delta_whose_start_was_lost_says_what_it_is_where_it_can(deltas_of: Read) -> None:
    deltas = deltas_of(m.start(), m.text("a"), m.thinking("b", 1), m.tool_input("{", 2), *END)
    assert kinds(deltas, TextDelta, ReasoningDelta) == [TextDelta("a", 0, 0), ReasoningDelta("b", 0, 1)]
    assert [delta.event for delta in deltas if isinstance(delta, Opaque)] == ["content_block_delta"]


def test_blocks_may_be_whole_at_their_start(deltas_of: Read) -> None:
    source = {"type": "page_location", "cited_text": "x"}
    deltas = deltas_of(
        m.start(), m.block(0, text="a", citations=[source, "odd"]), m.end(),
        m.block(1, "thinking", thinking="b", signature="c"), m.end(1), *END,
    )  # fmt: skip
    assert deltas[2:6] == [
        TextDelta("a", 0, 0), Citation(source, 0, 0), ReasoningDelta("b", 0, 1),
        ReasoningSignature("c", 0, 1, "anthropic"),
    ]  # fmt: skip


def test_a_message_that_starts_with_a_content_loses_none(deltas_of: Read) -> None:
    content = [{"type": "text", "text": "a"}]
    assert text_of(deltas_of(m.start(content=content), *END)) == "a"


def test_thoughts_that_are_not_shown_have_a_signature_all_the_same(deltas_of: Read) -> None:
    deltas = deltas_of(m.start(), m.block(0, "thinking"), m.delta("signature_delta", signature="sig"), m.end(), *END)
    assert kinds(deltas, ReasoningDelta, ReasoningSignature) == [ReasoningSignature("sig", 0, 0, "anthropic")]


def test_an_estimate_beside_a_thought_is_no_thought(deltas_of: Read) -> None:
    deltas = deltas_of(
        m.start(), m.block(0, "thinking"), m.delta("thinking_delta", thinking="", estimated_tokens=9), *END
    )
    assert not kinds(deltas, ReasoningDelta, Opaque)


# ---------------------------------------------------------------------- tools


def called(deltas: list[Delta]) -> list[Delta]:
    return kinds(deltas, ToolCallStarted, ToolCallDelta, ToolCallEnded)


def test_an_empty_input_is_an_object(deltas_of: Read) -> None:
    deltas = deltas_of(m.start(), m.block(0, "tool_use"), m.tool_input(""), m.end(), *END)
    assert called(deltas) == [ToolCallStarted("toolu_0", "f", 0, 0), ToolCallDelta("{}", 0, 0), ToolCallEnded(0, 0)]


def test_an_input_that_is_whole_at_the_start(deltas_of: Read) -> None:
    """Calls out of a program, and gateways; fragments, where they come all the same, are the same again."""
    block = m.block(0, "tool_use", input={"a": 1}, caller={"type": "code_execution_20250825", "tool_id": "t"})
    assert called(deltas_of(m.start(), block, m.end(), *END))[1:] == [
        ToolCallDelta('{"a":1}', 0, 0),
        ToolCallEnded(0, 0),
    ]
    deltas = deltas_of(m.start(), block, m.tool_input('{"a":'), m.tool_input(" 1}"), m.end(), *END)
    assert "".join(delta.json for delta in deltas if isinstance(delta, ToolCallDelta)) == '{"a": 1}'


def test_q55_an_input_that_was_cut_is_kept_and_not_called_whole(deltas_of: Read, fold: Fold) -> None:
    deltas = deltas_of(
        m.start(), m.block(0, "tool_use"), m.tool_input('{"a": "b'), m.end(), m.finish("max_tokens"), m.STOP
    )
    call = fold(deltas).choice().tool_calls[0]
    assert (call.arguments, call.ended) == ('{"a": "b', False)
    assert not kinds(deltas, Failed)


def test_calls_of_one_id_and_of_none_are_kept_apart(deltas_of: Read) -> None:
    blocks = [m.block(index, "tool_use", id=id_) for index, id_ in enumerate(["same", "same", "", None])]
    deltas = deltas_of(m.start(), *blocks, *END)
    ids = [delta.id for delta in deltas if isinstance(delta, ToolCallStarted)]
    assert len(set(ids)) == 4
    assert all(ids)


def test_a_tool_without_a_name_is_nobodys_call(deltas_of: Read) -> None:
    deltas = deltas_of(m.start(), m.block(0, "tool_use", name=None), m.tool_input("{}"), m.end(), *END)
    assert not called(deltas)
    assert len(kinds(deltas, Opaque)) == 3


# ---------------------------------------------------------------------- what is passed on whole

OPAQUE: list[dict[str, Any]] = [
    {"type": "redacted_thinking", "data": "EmwKAhgB"},
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
    {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"type": "web_search_result", "url": "u"}]},
    {"type": "web_search_tool_result", "tool_use_id": "s", "content": {"error_code": "max_uses_exceeded"}},
    {"type": "web_fetch_tool_result", "tool_use_id": "s", "content": {"type": "web_fetch_result", "url": "u"}},
    {"type": "code_execution_tool_result", "tool_use_id": "s", "content": {}},
    {"type": "bash_code_execution_tool_result", "tool_use_id": "s", "content": {"stdout": "6\n"}},
    {"type": "text_editor_code_execution_tool_result", "tool_use_id": "s", "content": {}},
    {"type": "tool_search_tool_result", "tool_use_id": "s", "content": {}},
    {"type": "container_upload", "file_id": "f"},
    {"type": "mcp_tool_use", "id": "mcptoolu_1", "name": "echo", "input": {}, "server_name": "echo"},
    {"type": "mcp_tool_result", "tool_use_id": "m", "is_error": False, "content": []},
    {"type": "compaction", "content": None},
    {"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}},
    {"type": "something_new", "x": 1},
]


@pytest.mark.parametrize("content", OPAQUE, ids=lambda content: content["type"])
def test_blocks_without_deltas_of_their_own_are_passed_on_whole(deltas_of: Read, content: dict[str, Any]) -> None:
    """A server's tool is no call of the client's: who took it for one would execute it again."""
    start = {"type": "content_block_start", "index": 0, "content_block": content}
    inner = {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{}"}}
    stop = {"type": "content_block_stop", "index": 0}
    deltas = deltas_of(m.start(), start, inner, stop, m.block(1), m.text("a", 1), m.end(1), *END)
    assert [(delta.event, delta.data) for delta in deltas if isinstance(delta, Opaque)] == [
        ("content_block_start", start), ("content_block_delta", inner), ("content_block_stop", stop)
    ]  # fmt: skip
    assert not called(deltas)
    assert kinds(deltas, TextDelta) == [TextDelta("a", 0, 1)]
    assert kinds(deltas, Finished) == [Finished("stop", "end_turn")]


@pytest.mark.parametrize("content", ["## Summary", None])
def test_q54_a_compaction_without_a_content_stays_one(deltas_of: Read, content: str | None) -> None:
    deltas = deltas_of(
        m.start(), m.block(0, "compaction", content=None), m.delta("compaction_delta", content=content), m.end(), *END
    )
    opaque = [delta.data for delta in deltas if isinstance(delta, Opaque)]
    assert opaque[1]["delta"] == {"type": "compaction_delta", "content": content}


@pytest.mark.parametrize(
    "event",
    [
        {"type": "something_new", "message": "hello"},
        {"type": 7, "x": 1},
        {"x": 1},
        [1, 2],
        "text",
        3,
        {"type": "content_block_delta", "index": 0, "delta": {"type": "new_delta", "x": 1}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 7}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": "odd"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "in a text"}},
        {"type": "content_block_delta", "index": 0, "delta": None},
    ],
)
def test_what_is_new_is_passed_on_and_what_is_odd_does_no_harm(deltas_of: Read, event: Any) -> None:
    deltas = deltas_of(m.start(), m.block(), m.text("a"), event, m.text("b"), m.end(), *END)
    assert [delta.data for delta in deltas if isinstance(delta, Opaque)] == [event]
    assert text_of(deltas) == "ab"
    assert not kinds(deltas, Failed)


@pytest.mark.parametrize(
    "event", [{}, None, [], m.PING, b"event: ping\ndata:\n\n", {"type": "ping"}, b"event: x\ndata: {}\n\n"]
)
def test_what_says_nothing_is_nothing(deltas_of: Read, event: Any) -> None:
    assert deltas_of(m.start(), event, *END) == deltas_of(m.start(), *END)


@pytest.mark.parametrize("fields", [{"message": None}, {"message": {"id": 7, "model": [], "usage": "x", "content": 1}}])
def test_a_start_that_says_nothing_starts(deltas_of: Read, fields: dict[str, Any]) -> None:
    assert deltas_of({"type": "message_start", **fields})[0] == Started()
