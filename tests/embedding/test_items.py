"""What the usual libraries stream, as a source: OpenAI's chunks, LangChain's and LangGraph's messages, our own client's
updates."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from openai.types.chat import ChatCompletionChunk

from tokenwire.client.updates import Done, Notice, Reset
from tokenwire.dialects.deltas import (
    Delta,
    Failed,
    Finished,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    Usage,
)
from tokenwire.errors import LocalProtocolError
from tokenwire.fastapi.items import Items


def Chunk(content: Any, **members: Any) -> AIMessageChunk:  # as the class that it makes
    return AIMessageChunk(content=content, **members)


def Whole(content: Any, **members: Any) -> AIMessage:
    return AIMessage(content=content, **members)


def read(*items: Any) -> list[Delta]:
    """What *items* become, to their end; adjacent text as it came, openings left out."""
    reader = Items()
    told = [delta for item in items for delta in reader.read(item)] + reader.end()
    return [delta for delta in told if type(delta).__name__ not in ("Started", "ToolResult")]


def chunk(**choice: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": {}, "finish_reason": None, **choice}],
    }  # fmt: skip


@pytest.mark.parametrize("as_object", [False, True])
def test_chunks_of_openais_chat_are_read_as_they_are_and_as_the_sdks_objects(as_object: bool) -> None:
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "add", "arguments": ""}}
    items: list[Any] = [
        chunk(delta={"role": "assistant", "content": "Hi"}),
        chunk(delta={"tool_calls": [call]}),
        chunk(delta={"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}),
        chunk(finish_reason="tool_calls"),
    ]
    if as_object:
        items = [ChatCompletionChunk.model_validate(item) for item in items]
    told = read(*items)
    assert [type(delta).__name__ for delta in told] == [
        "TextDelta", "ToolCallStarted", "ToolCallDelta", "ToolCallEnded", "Finished",
    ]  # fmt: skip
    assert told[0] == TextDelta("Hi", 0, 0)
    assert told[1] == ToolCallStarted("call_1", "add", 0, 1)
    assert told[-1] == Finished("tool_use", "tool_calls")


def test_chunks_without_an_end_are_a_cut_answer() -> None:
    told = read(chunk(delta={"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]}))
    assert any(isinstance(delta, Failed) for delta in told)


def test_news_of_a_stream_that_is_followed_are_no_part_of_the_answer_and_a_reset_cannot_be_passed_on() -> None:
    assert read("a", Notice("queued"), "b", Done("completed"))[:2] == [TextDelta("a"), TextDelta("b")]
    with pytest.raises(LocalProtocolError, match="void"):
        read("a", Reset("trimmed"))


def test_reasoning_text_and_counts_of_messages_are_told_in_their_order() -> None:
    said = read(
        HumanMessage(content="a prompt"),
        Chunk("", additional_kwargs={"reasoning_content": "one"}),
        Chunk([{"type": "reasoning", "summary": [{"type": "summary_text", "text": "two"}], "index": 0}]),
        Chunk([{"type": "text", "text": "three", "index": 1}, "four"]),
        Chunk(
            "",
            usage_metadata={
                "input_tokens": 5, "output_tokens": 7, "total_tokens": 12,
                "input_token_details": {"cache_read": 2}, "output_token_details": {"reasoning": 3},
            },
            response_metadata={"stop_reason": "max_tokens"},
        ),
        Chunk("", usage_metadata={"input_tokens": 0, "output_tokens": 1, "total_tokens": 1}),
    )  # fmt: skip
    assert said == [
        ReasoningDelta("one", 0, 0),
        ReasoningDelta("two", 0, 0),
        TextDelta("three", 0, 1),
        TextDelta("four", 0, 1),
        Usage(input=5, output=7, cached_input=2, reasoning=3),
        Usage(input=5, output=8, cached_input=2, reasoning=3),
        Finished("length", "max_tokens"),
    ]


def test_a_message_that_comes_whole_is_told_once() -> None:
    call = {"name": "add", "args": {"a": 1}, "id": "call_1", "type": "tool_call"}
    whole = Whole("", tool_calls=[call], id="m1", response_metadata={"finish_reason": "odd"})
    assert read(whole, whole) == [
        ToolCallStarted("call_1", "add", 0, 0),
        ToolCallDelta('{"a": 1}', 0, 0),
        ToolCallEnded(0, 0),
        Finished("unknown", "odd"),
    ]
    streamed = Chunk("Hi", id="m2")
    assert read(streamed, Whole("Hi", id="m2"))[:-1] == [TextDelta("Hi")]


@pytest.mark.parametrize("item", [7, b"bytes", {"odd": 1}, ("a", 1), object()])
def test_anything_else_is_named(item: Any) -> None:
    with pytest.raises(LocalProtocolError, match=type(item).__name__):
        read(item)


class Scripted(BaseChatModel):
    """Calls a tool first, and then says what it gave."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **options: Any) -> Any:
        return self

    def _generate(self, *arguments: Any, **options: Any) -> Any:
        raise NotImplementedError

    async def _astream(self, messages: Any, *arguments: Any, **options: Any) -> AsyncIterator[ChatGenerationChunk]:
        called = any(isinstance(message, ToolMessage) for message in messages)
        chunks = [Chunk(piece) for piece in ("three", " it", " is")]
        if not called:
            pieces: list[Any] = [("add", "", "call_1"), (None, '{"a": 1,', None), (None, '"b": 2}', None)]
            chunks = [
                Chunk(
                    "",
                    tool_call_chunks=[{"name": name, "args": args, "id": key, "index": 0, "type": "tool_call_chunk"}],
                )
                for name, args, key in pieces
            ]
        for each in chunks:
            yield ChatGenerationChunk(message=each)


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def agent() -> Any:
    graph: Any = StateGraph(MessagesState)

    async def model(state: Any) -> Any:
        return {"messages": [await Scripted().ainvoke(state["messages"])]}

    graph.add_node("model", model)
    graph.add_node("tools", ToolNode([add]))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile()


@pytest.mark.parametrize(
    "how",
    [
        {"stream_mode": "messages"},
        {"stream_mode": ["messages", "updates"]},
        {"stream_mode": "messages", "subgraphs": True},
        {"stream_mode": ["messages", "values"], "version": "v2"},
        None,
    ],
    ids=["messages", "several modes", "subgraphs", "v2", "events"],
)
def test_an_agent_of_langgraph_is_read_in_each_of_its_ways_to_stream(how: dict[str, Any] | None) -> None:
    async def main() -> list[Any]:
        question = {"messages": [("user", "1 + 2?")]}
        if how is None:
            return [item async for item in agent().astream_events(question, version="v2")]
        return [item async for item in agent().astream(question, **how)]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own deprecations
        items = asyncio.run(main())
    assert read(*items) == [
        ToolCallStarted("call_1", "add", 0, 0),
        ToolCallDelta('{"a": 1,', 0, 0),
        ToolCallDelta('"b": 2}', 0, 0),
        ToolCallEnded(0, 0),
        TextDelta("three", 0, 1),
        TextDelta(" it", 0, 1),
        TextDelta(" is", 0, 1),
        Finished("stop", "stop"),
    ]
