"""Anthropic's usage objects, both ways (reference, sections 5.7 and 9)."""

from __future__ import annotations

from typing import Any, Final

from tokenwire.dialects.deltas import Usage

_OURS: Final = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")


def merge(old: dict[str, Any] | None, new: Any) -> dict[str, Any] | None:
    """*new* over *old*, field by field: counts are totals, never added, and may fall. What *new* does not say (null
    says nothing) stays. None as long as no count was told."""
    if not isinstance(new, dict):
        return old
    merged = {**(old or {}), **{name: value for name, value in new.items() if value is not None}}
    told = any(_count(merged, name) is not None for name in _OURS)
    return merged if told else old


def read_usage(raw: dict[str, Any], *, provisional: bool = False) -> Usage:
    """The provider's object in our counts: there, input is without what was read from and written to the cache.

    *provisional*: it stands in ``message_start``, where the output is the few tokens made so far, and no count.
    """
    read, written = _count(raw, "cache_read_input_tokens"), _count(raw, "cache_creation_input_tokens")
    fresh = _count(raw, "input_tokens")
    return Usage(
        input=None if fresh is None else fresh + (read or 0) + (written or 0),
        output=None if provisional else _count(raw, "output_tokens"),
        cached_input=read,
        cache_write=written,
        reasoning=_count(raw.get("output_tokens_details"), "thinking_tokens"),
        raw=raw,
    )


def usage_object(usage: Usage | None) -> dict[str, Any]:
    """*usage* as Anthropic's object: the provider's own where it has that form. Input and output are always in it:
    the SDKs count on them."""
    if usage is None:
        return {"input_tokens": 0, "output_tokens": 0}
    raw = usage.raw
    if raw is not None and ("input_tokens" in raw or "output_tokens" in raw) and "total_tokens" not in raw:
        counts = {"input_tokens": 0, "output_tokens": 0, **raw}
        return counts if usage.output is None else {**counts, "output_tokens": usage.output}
    read, written = usage.cached_input or 0, usage.cache_write or 0
    body: dict[str, Any] = {"input_tokens": max((usage.input or 0) - read - written, 0)}
    if usage.cache_write is not None:
        body["cache_creation_input_tokens"] = written
    if usage.cached_input is not None:
        body["cache_read_input_tokens"] = read
    body["output_tokens"] = usage.output or 0
    if usage.reasoning is not None:
        body["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return body


def _count(fields: Any, name: str) -> int | None:
    """A token count: whole and not negative."""
    value = fields.get(name) if isinstance(fields, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or value != value // 1:
        return None
    return int(value)
