"""Usage objects of Responses, both ways (reference, section 9)."""

from __future__ import annotations

from typing import Any

from tokenwire.dialects.deltas import Usage


def read_usage(raw: Any) -> Usage | None:
    """The provider's object in our counts; None if it has none: input includes what was cached, output the thoughts."""
    if not isinstance(raw, dict):
        return None
    given, made = _count(raw, "input_tokens"), _count(raw, "output_tokens")
    if given is None and made is None:
        return None
    details = raw.get("input_tokens_details")
    return Usage(
        input=given,
        output=made,
        cached_input=_count(details, "cached_tokens"),
        cache_write=_count(details, "cache_write_tokens"),
        reasoning=_count(raw.get("output_tokens_details"), "reasoning_tokens"),
        raw=raw,
    )


def usage_object(usage: Usage | None) -> dict[str, Any] | None:
    """*usage* as such an object: the provider's own where it has that form. Totals are always in it, and an object for
    the details: clients reach into it. None of an estimate: the format has no word for one, and it would pass for the
    provider's count."""
    if usage is None or usage.estimated:
        return None
    raw = usage.raw
    if raw is not None and "total_tokens" in raw and ("input_tokens" in raw or "output_tokens" in raw):
        return raw
    given, made = usage.input or 0, usage.output or 0
    cached = {"cached_tokens": usage.cached_input, "cache_write_tokens": usage.cache_write}
    return {
        "input_tokens": given,
        "input_tokens_details": {name: count for name, count in cached.items() if count is not None},
        "output_tokens": made,
        "output_tokens_details": {} if usage.reasoning is None else {"reasoning_tokens": usage.reasoning},
        "total_tokens": given + made,
    }


def _count(fields: Any, name: str) -> int | None:
    """A token count: whole and not negative."""
    value = fields.get(name) if isinstance(fields, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or value != value // 1:
        return None
    return int(value)
