"""What AG-UI's two directions share: counts, and what stands in the ``metadata`` of events."""

from __future__ import annotations

from typing import Any, Final

from tokenwire.dialects.deltas import Usage

NAME: Final = "agui"

#: Our key in ``metadata``, where other keys are other people's.
OURS: Final = "tokenwire"

#: The name of the ``CUSTOM`` event that tells a source.
CITATION: Final = "citation"

_COUNTS: Final = (
    ("input", "inputTokens"), ("output", "outputTokens"), ("reasoning", "reasoningTokens"),
    ("cached_input", "cachedInputTokens"), ("cache_write", "cacheWriteInputTokens"),
)  # fmt: skip


def usage_entry(usage: Usage, model: str) -> dict[str, Any]:
    """One entry of a run's ``usage``; what is not known is left out."""
    entry: dict[str, Any] = {"model": model} if model else {}
    entry |= {name: max(0, count) for ours, name in _COUNTS if (count := getattr(usage, ours)) is not None}
    if usage.input is not None and usage.output is not None:
        entry["totalTokens"] = max(0, usage.input) + max(0, usage.output)
    return entry


def usage_remarks(usage: Usage) -> dict[str, Any]:
    """What an entry has no place for: the cost, and that counts are estimated."""
    remarks: dict[str, Any] = {} if usage.cost_usd is None else {"costUsd": usage.cost_usd}
    return remarks | ({"estimated": True} if usage.estimated else {})


def read_usage(entries: Any, remarks: dict[str, Any]) -> Usage | None:
    """The opposite of both; None where nothing is told."""
    entry = entries[0] if isinstance(entries, list) and entries else None
    if not isinstance(entry, dict):
        return None
    counts = {ours: entry[name] for ours, name in _COUNTS if isinstance(entry.get(name), int)}
    cost = remarks.get("costUsd")
    return Usage(
        **counts,
        cost_usd=cost if isinstance(cost, int | float) else None,
        estimated=remarks.get("estimated") is True,
    )
