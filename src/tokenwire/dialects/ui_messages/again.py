"""A message of the assistant's that an answer goes on with, told again: to whoever resumes that answer.

``useChat`` builds a resumed message from nothing, and puts it in the place of the one of that id. What was in that
before the answer began, a call and its result at least, must therefore come before the answer. Whoever posted has it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tokenwire.dialects.base import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What a part of the message and a part of the stream have in common, by the type of the first.
_SAME = ("source-url", "source-document", "file")


def told_again(message: Any, version: int) -> tuple[Frame, ...]:
    """The parts of *message* (a ``UIMessage``), as the major *version* of ``ai`` takes them; those that have no part
    of a stream are left out. Calls with a result are not run again: only ``tool-input-available`` makes a client do
    that, and a result does not need it."""
    parts = message.get("parts") if isinstance(message, dict) else None
    told: list[dict[str, Any]] = []
    for number, part in enumerate(parts if isinstance(parts, list) else ()):
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(kind, str):
            told += _of_part(part, kind, f"earlier-{number}", version)
    if told and isinstance(metadata := message.get("metadata"), dict):
        told.append({"type": "message-metadata", "messageMetadata": metadata})
    return tuple(Frame(None, json.dumps(each, ensure_ascii=False, separators=(",", ":"))) for each in told)


def _of_part(part: dict[str, Any], kind: str, id: str, version: int) -> Iterator[dict[str, Any]]:
    metadata = part.get("providerMetadata")
    extra = {"providerMetadata": metadata} if isinstance(metadata, dict) else {}
    if kind == "step-start":
        yield {"type": "start-step"}
    elif kind in ("text", "reasoning"):
        yield {"type": f"{kind}-start", "id": id, **extra}
        yield {"type": f"{kind}-delta", "id": id, "delta": str(part.get("text") or "")}
        yield {"type": f"{kind}-end", "id": id}
    elif kind.startswith("tool-") or kind == "dynamic-tool":
        yield from _of_call(part, kind, version)
    elif kind in _SAME or kind.startswith("data-"):
        yield part


def _of_call(part: dict[str, Any], kind: str, version: int) -> Iterator[dict[str, Any]]:
    state, given, id_ = part.get("state"), part.get("input"), part.get("toolCallId")
    dynamic = kind == "dynamic-tool"
    call = {"toolCallId": id_, "toolName": part.get("toolName") if dynamic else kind.removeprefix("tool-")}
    flags = {name: part[name] for name in ("providerExecuted",) if part.get(name) is not None}
    flags |= {"dynamic": True} if dynamic else {}
    if state == "input-available":
        yield {"type": "tool-input-available", **call, "input": given, **flags}
        return
    yield {"type": "tool-input-start", **call, **flags}
    raw = part.get("rawInput")
    text = raw if isinstance(raw, str) else json.dumps(given, ensure_ascii=False)
    yield {"type": "tool-input-delta", "toolCallId": id_, "inputTextDelta": text}
    if state == "output-available":
        yield {"type": "tool-output-available", "toolCallId": id_, "output": part.get("output"), **flags}
    elif state == "output-error":
        said = str(part.get("errorText") or "")
        yield {"type": "tool-output-error", "toolCallId": id_, "errorText": said, **flags}
    elif state == "output-denied" and version > 5:
        yield {"type": "tool-output-denied", "toolCallId": id_}
