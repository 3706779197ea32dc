"""Messages on the wire: the events of a stream and the whole object (reference sections 5.3, 5.4 and 14)."""

from __future__ import annotations

import random
from typing import Any

from tokenwire.simulator.vendors.anthropic.blocks import Block, Text, Thinking, ToolUse, Turn
from tokenwire.simulator.vendors.anthropic.ids import new_id
from tokenwire.simulator.vendors.anthropic.prompt import InputUsage
from tokenwire.simulator.vendors.json_bytes import json_string, to_json

PING = b'event: ping\ndata: {"type": "ping"}\n\n'

# Blanks before the last brace mask the length of an event from somebody who sees only encrypted traffic.
_BITS = 4
_ENDS = tuple(b" " * blanks + b"}\n\n" for blanks in range(1 << _BITS))


class EventWriter:
    """Writes the events of one stream, or the object of an answer that is not streamed.

    Args:
        usage: what the prompt is billed as.
    """

    def __init__(self, *, model: str, rng: random.Random, usage: InputUsage) -> None:
        self.id = new_id("msg_01", rng)
        self._model = model
        self._rng = rng
        self._usage = usage
        self._index = -1
        self._text = self._arguments = b""

    def start(self) -> bytes:
        message = self._message([], (None, None, None), self._full_usage(self._usage.fresh, 1))
        return self._event("message_start", {"type": "message_start", "message": message})

    def open(self, block: Block) -> bytes:
        """The event that opens the next block."""
        self._index += 1
        before = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":' % self._index
        kind = b"thinking" if isinstance(block, Thinking) else b"text"
        self._text = b'%b{"type":"%b_delta","%b":' % (before, kind, kind)
        self._arguments = before + b'{"type":"input_json_delta","partial_json":'
        shown: dict[str, Any]
        if isinstance(block, Text):
            shown = {} if block.citations is None else {"citations": []}
            shown |= {"type": "text", "text": ""}
        elif isinstance(block, Thinking):
            shown = {"type": "thinking", "thinking": "", "signature": ""}
        elif isinstance(block, ToolUse):
            shown = block.opening()
        else:
            shown = block.whole()
        return self._event(
            "content_block_start", {"type": "content_block_start", "index": self._index, "content_block": shown}
        )

    def text(self, text: str) -> bytes:
        """Text or thinking of the open block."""
        return b"%b%b}%b" % (self._text, json_string(text), self._end())

    def arguments(self, fragment: str) -> bytes:
        return b"%b%b}%b" % (self._arguments, json_string(fragment), self._end())

    def citation(self, location: dict[str, Any]) -> bytes:
        return self._delta({"type": "citations_delta", "citation": location})

    def signature(self, signature: str) -> bytes:
        return self._delta({"type": "signature_delta", "signature": signature})

    def close(self) -> bytes:
        return self._event("content_block_stop", {"type": "content_block_stop", "index": self._index})

    def finish(self, turn: Turn) -> bytes:
        reason, sequence, details = turn.stop
        delta = {"stop_reason": reason, "stop_sequence": sequence, "stop_details": details}
        return self._event("message_delta", {"type": "message_delta", "delta": delta, "usage": self._last_usage(turn)})

    def stop(self) -> bytes:
        return self._event("message_stop", {"type": "message_stop"})

    def whole(self, turn: Turn) -> bytes:
        """The message object."""
        usage = {**self._full_usage(self._usage.fresh + turn.found, turn.tokens), **self._details(turn)}
        return to_json(self._message([block.whole() for block in turn.blocks], turn.stop, usage))

    def _message(self, content: list[Any], stop: tuple[Any, Any, Any], usage: dict[str, Any]) -> dict[str, Any]:
        return {
            "model": self._model,
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "content": content,
            "stop_reason": stop[0],
            "stop_sequence": stop[1],
            "stop_details": stop[2],
            "usage": usage,
        }

    def _counts(self, fresh: int) -> dict[str, Any]:
        return {
            "input_tokens": fresh,
            "cache_creation_input_tokens": self._usage.written,
            "cache_read_input_tokens": self._usage.read,
        }

    def _full_usage(self, fresh: int, output: int) -> dict[str, Any]:
        written = {
            "ephemeral_5m_input_tokens": self._usage.written_5m,
            "ephemeral_1h_input_tokens": self._usage.written_1h,
        }
        rest = {"output_tokens": output, "service_tier": "standard", "inference_geo": "global"}
        return {**self._counts(fresh), "cache_creation": written, **rest}

    def _last_usage(self, turn: Turn) -> dict[str, Any]:
        """Cumulative: what a search found was added to the prompt."""
        counts = self._counts(self._usage.fresh + turn.found)
        return {**counts, "output_tokens": turn.tokens, **self._details(turn)}

    def _details(self, turn: Turn) -> dict[str, Any]:
        details: dict[str, Any] = {}
        if turn.thinking_tokens:
            details["output_tokens_details"] = {"thinking_tokens": turn.thinking_tokens}
        if turn.searches:
            details["server_tool_use"] = {"web_search_requests": turn.searches, "web_fetch_requests": 0}
        return details

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return self._event("content_block_delta", {"type": "content_block_delta", "index": self._index, "delta": delta})

    def _event(self, name: str, data: dict[str, Any]) -> bytes:
        return b"event: %b\ndata: %b%b" % (name.encode(), to_json(data)[:-1], self._end())

    def _end(self) -> bytes:
        return _ENDS[self._rng.getrandbits(_BITS)]
