"""Short ways to write a Responses stream, and to decode it."""

from __future__ import annotations

import json
from typing import Any

from tokenwire.dialects.deltas import Delta, Finished
from tokenwire.dialects.openai_responses.dialect import Decoder
from tokenwire.wire import sse


def run(*events: Any, closed: bool = True) -> list[Delta]:
    """The deltas of a stream given as JSON values, or as text where it is none."""
    decoder = Decoder()
    deltas: list[Delta] = []
    for event in events:
        deltas += decoder.feed(sse.Event(data=event if isinstance(event, str) else json.dumps(event)))
    return deltas + (decoder.close() if closed else [])


def ev(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", **fields}


def done(status: str = "completed", output: Any = None, **fields: Any) -> dict[str, Any]:
    return ev(status, response={"status": status, "output": output or [], **fields})


def text(delta: str, at: int = 0, part: int = 0, **more: Any) -> dict[str, Any]:
    return ev("output_text.delta", output_index=at, content_index=part, delta=delta, **more)


def message(*parts: Any, at: int = 0, id: str = "msg_1") -> dict[str, Any]:
    content = [{"type": "output_text", "text": part} if isinstance(part, str) else part for part in parts]
    return ev("output_item.done", output_index=at, item={"type": "message", "id": id, "content": content})


def call(at: int = 0, step: str = "added", id: str = "call_1", **more: Any) -> dict[str, Any]:
    item = {"type": "function_call", "id": f"fc_{at}", "call_id": id, "name": "f", "arguments": "", **more}
    return ev(f"output_item.{step}", output_index=at, item=item)


def args(delta: str, at: int = 0) -> dict[str, Any]:
    return ev("function_call_arguments.delta", output_index=at, delta=delta)


STOP = Finished("stop", "completed")
