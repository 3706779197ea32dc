"""What the UI message stream's two directions share: its words for ends, counts and failures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tokenwire.dialects.deltas import Failed, Usage
from tokenwire.dialects.json_text import scrub

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import FinishReason

NAME: Final = "ui-messages"

#: Our key in ``providerMetadata``, where other keys are the AI SDK's providers.
OURS: Final = "tokenwire"

#: What the model is told on the next turn about a call that nobody could read.
NOT_JSON: Final = "the arguments of this call are not valid JSON"

#: The AI SDK's word for each reason.
WORDS: Final[dict[FinishReason, str]] = {
    "stop": "stop", "length": "length", "context_window": "length", "tool_use": "tool-calls",
    "content_filter": "content-filter", "refusal": "content-filter", "error": "error",
}  # fmt: skip
OTHER: Final = "other"

#: What the words say, read back.
REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop", "length": "length", "tool-calls": "tool_use", "content-filter": "content_filter", "error": "error",
}  # fmt: skip

_COUNTS: Final = (
    ("input", "inputTokens"), ("output", "outputTokens"), ("reasoning", "reasoningTokens"),
    ("cached_input", "cachedInputTokens"), ("cache_write", "cacheWriteTokens"),
)  # fmt: skip
_valid: Final = msgspec.json.Decoder(msgspec.Raw).decode  # numbers of any size pass


def usage_fields(usage: Usage) -> dict[str, Any]:
    """Counts under the AI SDK's names; what is not known is left out, what is estimated or costs money is marked."""
    fields: dict[str, Any] = {name: getattr(usage, ours) for ours, name in _COUNTS if getattr(usage, ours) is not None}
    if usage.input is not None and usage.output is not None:
        fields["totalTokens"] = usage.input + usage.output
    if usage.cost_usd is not None:
        fields["costUsd"] = usage.cost_usd
    if usage.estimated:
        fields["estimated"] = True
    return fields


def read_usage(value: Any) -> Usage | None:
    """The opposite; None of what is no usage."""
    if not isinstance(value, dict):
        return None
    counts = {ours: value[name] for ours, name in _COUNTS if isinstance(value.get(name), int)}
    cost = value.get("costUsd")
    known = isinstance(cost, int | float)
    return Usage(**counts, cost_usd=cost if known else None, estimated=value.get("estimated") is True)


def error_fields(failure: Failed) -> dict[str, Any]:
    """What programs may rely on of a failure; its sentence stands in the ``error`` part."""
    fields: dict[str, Any] = {"code": failure.code, "message": failure.message, "retryable": failure.retryable}
    if failure.upstream_status is not None:
        fields["upstreamStatus"] = failure.upstream_status
    return fields


def read_error(value: Any, message: str) -> Failed:
    """The failure of ``error_fields``, or what *message* alone says."""
    fields: dict[str, Any] = value if isinstance(value, dict) else {}
    code, text, status = fields.get("code"), fields.get("message"), fields.get("upstreamStatus")
    return Failed(
        code if isinstance(code, str) else "upstream_error",
        text if isinstance(text, str) else message,
        fields.get("retryable") is True,
        status if isinstance(status, int) else None,
    )


def input_of(arguments: str) -> str | None:
    """A call's arguments as JSON on one line, to the digit as they came; None if they are not JSON. None at all are
    the empty object."""
    if not arguments.strip():
        return "{}"
    try:
        _valid(arguments)
    except (ValueError, RecursionError):
        return _torn(arguments)
    return arguments.replace("\n", " ").replace("\r", " ")  # in JSON, line ends stand between values only


def output_of(content: str) -> str:
    """What a tool gave, as JSON on one line: objects and lists as themselves, so that pages can look into them; every
    other text is a string. ``as_text`` is the opposite."""
    if content.lstrip()[:1] in ("{", "["):
        read = input_of(content)
        if read is not None:
            return read
    return msgspec.json.encode(content).decode()


def as_text(value: Any) -> str:
    """What a tool gave back, for a model to read: a text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _torn(arguments: str) -> str | None:
    """JSON that only the standard library reads: halves of characters, which become U+FFFD."""
    try:
        value = json.loads(arguments, parse_constant=_no_constant)
        return json.dumps(scrub(value), ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        return None


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")
