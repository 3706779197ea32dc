"""Responses on the wire: the events of a stream and the response object (reference sections 4.3 and 4.4).

An event is written without its end, which is its number in the stream: ``numbered`` adds that.
"""

from __future__ import annotations

import random
from typing import Any

from tokenwire.simulator.vendors.json_bytes import json_string, to_json
from tokenwire.simulator.vendors.openai.chunks import PADDING
from tokenwire.simulator.vendors.openai_responses.items import Call, Message, OutputItem, Turn
from tokenwire.simulator.vendors.openai_responses.prompt import PromptTokens
from tokenwire.simulator.vendors.openai_responses.requests import ResponsesRequest
from tokenwire.simulator.vendors.openai_responses.turn import item_id

_BITS = (len(PADDING) - 1).bit_length()

#: What a client that is waiting gets to see.
KEEPALIVE = b'event: keepalive\ndata: {"type":"keepalive"'


def numbered(event: bytes, number: int) -> bytes:
    """The event, whole."""
    return b'%b,"sequence_number":%d}\n\n' % (event, number)


class EventWriter:
    """Writes the events of one response, and the response itself.

    Args:
        created: Unix time in seconds.
    """

    def __init__(
        self,
        wanted: ResponsesRequest,
        turn: Turn,
        *,
        model: str,
        rng: random.Random,
        prompt: PromptTokens,
        created: int,
    ) -> None:
        self.id = item_id("resp", rng)
        self._wanted = wanted
        self._turn = turn
        self._model = model
        self._rng = rng
        self._prompt = prompt
        self._created = created
        self._padded = wanted.obfuscation
        self._index = -1
        self._place: dict[str, Any] = {}
        self._before = self._behind = b""

    def state(self, kind: str, status: str) -> bytes:
        """An event that says how the response stands, before it has any output."""
        return self.event(f"response.{kind}", {"response": self.response(status)})

    def end(self, seconds: float) -> bytes:
        """The event that ends the stream, *seconds* after the response was created."""
        status = "incomplete" if self._turn.incomplete else "completed"
        return self.event(f"response.{status}", {"response": self.final(seconds)})

    def failed(self, code: str, message: str) -> bytes:
        """The event that says that there will be no answer."""
        response = {**self.response("failed"), "error": {"code": code, "message": message}}
        return self.event("response.failed", {"response": response})

    def open(self, item: OutputItem) -> bytes:
        """The event that opens the next item."""
        self._index += 1
        self._place = {"item_id": item.id, "output_index": self._index}
        kind, place = "output_text", b',"content_index":0'
        if isinstance(item, Message) and item.refusal:
            kind = "refusal"
        elif isinstance(item, Call):
            kind, place = "function_call_arguments", b""
        self._before = b'event: response.%b.delta\ndata: {"type":"response.%b.delta","item_id":"%b",' % (
            kind.encode(),
            kind.encode(),
            item.id.encode(),
        ) + b'"output_index":%d%b,"delta":' % (self._index, place)
        self._behind = b',"logprobs":[]' if kind == "output_text" else b""
        return self.event("response.output_item.added", {"output_index": self._index, "item": item.skeleton()})

    def close(self, item: OutputItem) -> bytes:
        return self.event("response.output_item.done", {"output_index": self._index, "item": item.whole()})

    def delta(self, piece: str, logprob: dict[str, Any] | None = None) -> bytes:
        """Text, refusal or arguments of the open item."""
        # Nearly all events are these, so what never changes is put together once for each item.
        behind = self._behind if logprob is None else b',"logprobs":[%b]' % to_json(logprob)
        padding = PADDING[self._rng.getrandbits(_BITS)] if self._padded else b""
        return self._before + json_string(piece) + behind + padding

    def about(self, kind: str, fields: dict[str, Any], *, padded: bool = False) -> bytes:
        """An event about the open item."""
        event = self.event(f"response.{kind}", {**self._place, **fields})
        return event + PADDING[self._rng.getrandbits(_BITS)] if padded and self._padded else event

    def event(self, kind: str, fields: dict[str, Any]) -> bytes:
        return b"event: %b\ndata: %b" % (kind.encode(), to_json({"type": kind, **fields})[:-1])

    def final(self, seconds: float) -> dict[str, Any]:
        """The response with its output, *seconds* after it was created."""
        turn = self._turn
        output = turn.tokens
        fresh = self._prompt.total + turn.found
        response = self.response("incomplete" if turn.incomplete else "completed")
        usage = {
            "input_tokens": fresh,
            "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": self._prompt.cached},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": turn.reasoning_tokens},
            "total_tokens": fresh + output,
        }
        return {
            **response,
            "completed_at": None if turn.incomplete else self._created + round(seconds),
            "incomplete_details": {"reason": turn.incomplete} if turn.incomplete else None,
            "output": [item.whole() for item in turn.items],
            "service_tier": "default",
            "usage": usage,
        }

    def response(self, status: str) -> dict[str, Any]:
        """The response without output."""
        wanted = self._wanted
        reasoning = wanted.reasoning
        form = {name: value for name, value in _fields(wanted.format).items() if value is not None}
        return {
            "id": self.id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "background": bool(wanted.background),
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            "instructions": wanted.instructions,
            "max_output_tokens": wanted.max_output_tokens,
            "max_tool_calls": wanted.max_tool_calls,
            "model": self._model,
            "output": [],
            "parallel_tool_calls": wanted.parallel_tool_calls is not False,
            "previous_response_id": wanted.previous_response_id,
            "prompt_cache_key": wanted.prompt_cache_key,
            "reasoning": {
                "context": "all_turns",
                "effort": (reasoning and reasoning.effort) or ("medium" if reasoning else None),
                "mode": "standard",
                "summary": reasoning.summary if reasoning else None,
            },
            "safety_identifier": wanted.safety_identifier,
            "service_tier": "auto",
            "store": wanted.store is not False,
            "temperature": 1.0 if wanted.temperature is None else wanted.temperature,
            "text": {"format": form, "verbosity": (wanted.text and wanted.text.verbosity) or "medium"},
            "tool_choice": wanted.tool_choice or "auto",
            "tools": wanted.tools or [],
            "top_logprobs": wanted.top_logprobs or 0,
            "top_p": 1.0 if wanted.top_p is None else wanted.top_p,
            "truncation": wanted.truncation or "disabled",
            "usage": None,
            "user": wanted.user,
            "metadata": wanted.metadata or {},
        }


def _fields(form: Any) -> dict[str, Any]:
    return {name: getattr(form, name) for name in ("type", "name", "schema", "strict", "description")}
