"""Counts and durations of a last line, both ways (reference, section 9). Durations are whole nanoseconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from tokenwire.dialects.deltas import Usage

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Terminal

_COUNTS: Final = ("prompt_eval_count", "eval_count")
#: All of them, in Ollama's order.
_MEMBERS: Final = (
    "total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration",
)  # fmt: skip


def read_usage(line: Mapping[str, Any]) -> Usage | None:
    """The counts of a last line; None if it has none. One that is missing is not 0: what was cached is left out."""
    counts = {name: _count(line.get(name)) for name in _COUNTS}
    if all(count is None for count in counts.values()):
        return None
    raw = {name: line[name] for name in _MEMBERS if _count(line.get(name)) is not None}
    return Usage(input=counts["prompt_eval_count"], output=counts["eval_count"], raw=raw)


def usage_members(usage: Usage | None, terminal: Terminal | None) -> dict[str, int]:
    """What a last line tells of *usage*: the provider's own members where it has that form, else what is known.

    An estimate is not told: the format has no word for it, and it would pass for the provider's count. Of durations,
    those of the whole and of generating are known from *terminal*, if there is one.
    """
    known: dict[str, int] = {}
    if usage is not None and not usage.estimated:
        raw = usage.raw or {}
        if any(name in raw for name in _COUNTS):
            return {name: raw[name] for name in _MEMBERS if name in raw}
        counts = {"prompt_eval_count": usage.input, "eval_count": usage.output}
        known = {name: count for name, count in counts.items() if count is not None}
    if terminal is not None and terminal.e2e_ms is not None:
        known["total_duration"] = _nanoseconds(terminal.e2e_ms)
        if terminal.ttft_ms is not None and terminal.ttft_ms <= terminal.e2e_ms:
            known["eval_duration"] = _nanoseconds(terminal.e2e_ms - terminal.ttft_ms)
    return {name: known[name] for name in _MEMBERS if name in known}


def _nanoseconds(milliseconds: float) -> int:
    return round(milliseconds * 1_000_000)


def _count(value: Any) -> int | None:
    """A count: whole and not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or value != value // 1:
        return None
    return int(value)
