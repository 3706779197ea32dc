"""GET /v1/models in Anthropic's shape: newest first, in pages."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from tokenwire.simulator.faults import FAULTS, MODEL_PREFIX
from tokenwire.simulator.latency import PROFILES, SNAPSHOTS
from tokenwire.simulator.vendors.anthropic.errors import ApiError, invalid

_CREATED = "2026-02-17T00:00:00Z"
_DEFAULT_LIMIT = 20
_MOST = 1000


def model_ids() -> list[str]:
    """Every name that is accepted, those of Anthropic's models first."""
    ids = [*PROFILES, *SNAPSHOTS.values()]
    ids.sort(key=lambda name: not name.startswith("claude-"))
    return [*ids, *(MODEL_PREFIX + name for name in FAULTS)]


def model(name: str) -> dict[str, Any]:
    """One model. Raises ``ApiError`` (404) if there is none of that name."""
    if name not in model_ids():
        raise ApiError(404, f"model: {name}")
    return {
        "type": "model",
        "id": name,
        "display_name": name.replace("-", " ").title(),
        "created_at": _CREATED,
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
        "lifecycle": "active",
        "capabilities": None,
    }


def page(query: str) -> dict[str, Any]:
    """A page of the list, as ``limit``, ``after_id`` and ``before_id`` of *query* want it.

    Raises:
        ApiError: 400: a limit out of range, an id that is not in the list.
    """
    asked = {name: values[-1] for name, values in parse_qs(query).items()}
    limit = asked.get("limit", str(_DEFAULT_LIMIT))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= _MOST):
        raise invalid(f"limit: Input should be a whole number from 1 to {_MOST}")
    if "after_id" in asked and "before_id" in asked:
        raise invalid("Only one of before_id and after_id may be given")
    ids = model_ids()
    start, stop = 0, len(ids)
    more = False
    if "before_id" in asked:
        stop = _place(ids, "before_id", asked["before_id"])
        start = max(0, stop - int(limit))
        more = start > 0
    else:
        if "after_id" in asked:
            start = _place(ids, "after_id", asked["after_id"]) + 1
        stop = min(stop, start + int(limit))
        more = stop < len(ids)
    shown = ids[start:stop]
    return {
        "data": [model(each) for each in shown],
        "has_more": more,
        "first_id": shown[0] if shown else None,
        "last_id": shown[-1] if shown else None,
    }


def _place(ids: list[str], name: str, value: str) -> int:
    if value not in ids:
        raise invalid(f"{name}: no such model: {value}")
    return ids.index(value)
