"""Usage objects of the Chat Completions family, both ways (reference, section 9)."""

from __future__ import annotations

from typing import Any

from tokenwire.dialects.deltas import Usage


def read_usage(raw: Any) -> Usage | None:
    """A provider's usage object in our counts, or None if it says nothing.

    An object with only null or missing counts must not erase an earlier good one (Vertex sends those), and missing is
    not 0. xAI counts reasoning beside the completion, all others within; its own total tells which.
    """
    if not isinstance(raw, dict):
        return None
    prompt, completion = _count(raw, "prompt_tokens"), _count(raw, "completion_tokens")
    if prompt is None and completion is None:
        return None
    cached = _count(raw.get("prompt_tokens_details"), "cached_tokens")
    reasoning = _count(raw.get("completion_tokens_details"), "reasoning_tokens")
    output = completion
    if reasoning and completion is not None and _count(raw, "total_tokens") == (prompt or 0) + completion + reasoning:
        output = completion + reasoning
    return Usage(
        input=prompt,
        output=output,
        cached_input=_count(raw, "prompt_cache_hit_tokens") if cached is None else cached,  # DeepSeek
        cache_write=_count(raw.get("prompt_tokens_details"), "cache_write_tokens"),
        reasoning=reasoning,
        raw=raw,
    )


def usage_object(usage: Usage) -> dict[str, Any]:
    """*usage* as a Chat Completions object: the provider's own where it has that form, else only what is known."""
    raw = usage.raw
    if raw is not None and ("prompt_tokens" in raw or "completion_tokens" in raw):
        return raw
    body: dict[str, Any] = {}
    if usage.input is not None:
        body["prompt_tokens"] = usage.input
    if usage.output is not None:
        body["completion_tokens"] = usage.output
    if usage.input is not None and usage.output is not None:
        body["total_tokens"] = usage.input + usage.output
    details = {"cached_tokens": usage.cached_input, "cache_write_tokens": usage.cache_write}
    if known := {name: count for name, count in details.items() if count is not None}:
        body["prompt_tokens_details"] = known
    if usage.reasoning is not None:
        body["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
    return body


def _count(fields: Any, name: str) -> int | None:
    """A token count: whole and not negative. JSON numbers from some servers are floats."""
    value = fields.get(name) if isinstance(fields, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or value != value // 1:
        return None
    return int(value)
