"""Messages of LangChain and LangGraph -> deltas, by what they look like: neither is imported.

What ``model.astream()``, ``graph.astream(stream_mode="messages")`` (alone, beside other modes, with subgraphs, in
format v2) and ``astream_events()`` yield. Only what the model says and what tools gave is told: state updates, prompts
and events of other kinds are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from tokenwire.dialects.deltas import Finished, FinishReason, Usage

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Delta
    from tokenwire.fastapi.blocks import Blocks

#: What LangGraph streams beside messages.
_OTHER_MODES: Final = frozenset({"values", "updates", "custom", "checkpoints", "tasks", "debug"})
_REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop", "end_turn": "stop", "stop_sequence": "stop", "STOP": "stop", "tool_calls": "tool_use",
    "tool_use": "tool_use", "function_call": "tool_use", "length": "length", "max_tokens": "length",
    "MAX_TOKENS": "length", "content_filter": "content_filter", "SAFETY": "content_filter", "refusal": "refusal",
}  # fmt: skip


def message_of(item: object) -> Any:
    """The message in what LangGraph or LangChain yields; None for what they yield beside messages.

    Raises ``TypeError`` for what is neither's.
    """
    if _is_message(item):
        return item
    if isinstance(item, tuple):
        *before, last = item
        if before and all(isinstance(each, str | tuple) for each in before):  # (namespace, mode, payload)
            mode = next((each for each in before if isinstance(each, str)), "messages")
            if mode in _OTHER_MODES:
                return None
            if mode == "messages":
                return message_of(last)
        if len(item) == 2 and _is_message(item[0]) and isinstance(last, Mapping):
            return item[0]
    if isinstance(item, Mapping):
        if "event" in item and "run_id" in item:  # astream_events
            chunk = item["data"].get("chunk") if item["event"] == "on_chat_model_stream" else None
            return chunk if _is_message(chunk) else None
        if "ns" in item and "type" in item:  # format v2
            return message_of(item.get("data")) if item["type"] == "messages" else None
    raise TypeError


def _is_message(item: object) -> bool:
    return hasattr(item, "content") and hasattr(item, "response_metadata") and hasattr(item, "type")


class Messages:
    """Reads the messages of one answer into *blocks*."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._message: object = None  # the id of the one that is being said
        self._calls: dict[object, int] = {}  # of it: index -> block
        self._seen: set[object] = set()  # ids of messages that came in chunks
        self._usage = Usage(input=0, output=0)
        self._reason: str | None = None

    def read(self, message: Any) -> list[Delta]:
        kind = str(message.type)
        if kind == "tool":
            content = message.content if isinstance(message.content, str) else _text(message.content)
            error = getattr(message, "status", "success") == "error"
            return self._blocks.result(str(message.tool_call_id), content, error=error)
        if not kind.startswith(("ai", "AI")):
            return []  # a prompt
        chunk = hasattr(message, "tool_call_chunks")
        said: list[Delta] = []
        if message.id != self._message:
            said += self._blocks.close_calls()
            self._message = message.id
            self._calls = {}
        if not chunk and message.id is not None and message.id in self._seen:
            return said  # a node returned whole what was streamed before
        self._seen.add(message.id)
        said += self._content(message)
        said += self._tool_calls(message.tool_call_chunks if chunk else getattr(message, "tool_calls", ()), chunk)
        said += self._counts(getattr(message, "usage_metadata", None))
        told = message.response_metadata
        self._reason = told.get("finish_reason") or told.get("stop_reason") or told.get("done_reason") or self._reason
        if not chunk or getattr(message, "chunk_position", None) == "last":
            said += self._blocks.close_calls()
        return said

    def end(self) -> list[Delta]:
        """Why the newest message ended is why the answer did."""
        reason = self._reason
        if reason is None or self._blocks.finished is not None:
            return []
        return self._blocks.take(Finished(_REASONS.get(reason, "unknown"), reason))

    def _content(self, message: Any) -> list[Delta]:
        thought = message.additional_kwargs.get("reasoning_content")
        said = self._blocks.reasoning(thought) if isinstance(thought, str) else []
        content = message.content
        if isinstance(content, str):
            return said + self._blocks.text(content)
        for part in content:
            if isinstance(part, str):
                said += self._blocks.text(part)
            elif isinstance(part, Mapping):
                kind = part.get("type")
                if kind in ("text", "output_text"):
                    said += self._blocks.text(str(part.get("text") or ""))
                elif kind in ("thinking", "reasoning", "reasoning_content"):
                    said += self._blocks.reasoning(_thought(part))
        return said

    def _tool_calls(self, calls: Any, chunk: bool) -> list[Delta]:
        import json

        said: list[Delta] = []
        for number, call in enumerate(calls or ()):
            index = call.get("index") if chunk else number
            index = call.get("id") or number if index is None else index
            block = self._calls.get(index)
            if block is None:
                block, begun = self._blocks.call(
                    call.get("id") or f"call_{len(self._seen)}_{index}", call["name"] or ""
                )
                self._calls[index] = block
                said += begun
            arguments = call.get("args")
            said += self._blocks.arguments(block, arguments or "" if chunk else json.dumps(arguments or {}))
        return said

    def _counts(self, told: Any) -> list[Delta]:
        """LangChain's counts are of one chunk, to be added up; ours are of the whole answer."""
        if not told:
            return []
        before, inner, outer = (
            self._usage,
            told.get("input_token_details") or {},
            told.get("output_token_details") or {},
        )
        self._usage = Usage(
            input=(before.input or 0) + (told.get("input_tokens") or 0),
            output=(before.output or 0) + (told.get("output_tokens") or 0),
            cached_input=_sum(before.cached_input, inner.get("cache_read")),
            cache_write=_sum(before.cache_write, inner.get("cache_creation")),
            reasoning=_sum(before.reasoning, outer.get("reasoning")),
        )
        return [self._usage]


def _sum(before: int | None, more: int | None) -> int | None:
    return before if more is None else (before or 0) + more


def _thought(part: Mapping[str, Any]) -> str:
    """As Anthropic, LangChain's own format, and OpenAI's responses have it."""
    for name in ("thinking", "reasoning", "text"):
        if isinstance(part.get(name), str):
            return str(part[name])
    return _text(part.get("summary"))


def _text(parts: Any) -> str:
    texts = [
        part if isinstance(part, str) else part.get("text") for part in parts or () if isinstance(part, str | dict)
    ]
    return "".join(text for text in texts if isinstance(text, str))
