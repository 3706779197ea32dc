"""Gemini's usage objects, both ways (reference, sections 6.6 and 9)."""

from __future__ import annotations

from typing import Any, Final

from tokenwire.dialects.deltas import Usage

_COUNTS: Final = (
    "promptTokenCount", "toolUsePromptTokenCount", "cachedContentTokenCount", "candidatesTokenCount",
    "thoughtsTokenCount",
)  # fmt: skip


def merge(old: dict[str, Any] | None, new: Any) -> dict[str, Any] | None:
    """*new* over *old*, field by field: counts are totals, never added. An object without any count (Vertex sends
    those, Q58) changes nothing. None as long as no count was told."""
    if not isinstance(new, dict) or all(_count(new, name) is None for name in _COUNTS):
        return old
    return {**(old or {}), **{name: value for name, value in new.items() if value is not None}}


def read_usage(raw: dict[str, Any], *, provisional: bool = False) -> Usage:
    """The provider's object in our counts: there, thoughts are counted beside the output, and what tools brought into
    the prompt beside the prompt.

    *provisional*: the answer goes on, and its output is counted up from event to event: no count yet.
    """
    prompt, tools = _count(raw, "promptTokenCount"), _count(raw, "toolUsePromptTokenCount")
    said, thoughts = _count(raw, "candidatesTokenCount"), _count(raw, "thoughtsTokenCount")
    total = None if prompt is None else prompt + (tools or 0)
    cached = _count(raw, "cachedContentTokenCount")
    if provisional:
        return Usage(input=total, cached_input=cached)
    output = None if said is None and thoughts is None else (said or 0) + (thoughts or 0)
    return Usage(input=total, output=output, cached_input=cached, reasoning=thoughts, raw=raw)


def usage_object(usage: Usage) -> dict[str, Any]:
    """*usage* as Gemini's object: the provider's own where it has that form, else only what is known."""
    raw = usage.raw
    if raw is not None and any(name in raw for name in _COUNTS):
        return raw
    body: dict[str, Any] = {}
    if usage.input is not None:
        body["promptTokenCount"] = usage.input
    if usage.cached_input is not None:
        body["cachedContentTokenCount"] = usage.cached_input
    if usage.output is not None:
        body["candidatesTokenCount"] = max(usage.output - (usage.reasoning or 0), 0)
    if usage.reasoning is not None:
        body["thoughtsTokenCount"] = usage.reasoning
    if usage.input is not None and usage.output is not None:
        body["totalTokenCount"] = usage.input + usage.output
    return body


def _count(fields: dict[str, Any], name: str) -> int | None:
    """A token count: whole and not negative."""
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or value != value // 1:
        return None
    return int(value)
