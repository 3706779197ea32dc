"""GET /v1beta/models: the list in pages, and one of them."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import parse_qs

from tokenwire.simulator.faults import FAULTS, MODEL_PREFIX
from tokenwire.simulator.latency import PROFILES, SNAPSHOTS
from tokenwire.simulator.vendors.common import UnknownModelError
from tokenwire.simulator.vendors.gemini.errors import ApiError, invalid

_DEFAULT_SIZE = 50
_MOST = 1000
_METHODS = ["generateContent", "countTokens"]


def model_ids() -> list[str]:
    """Every name that is accepted, Google's own first."""
    ids = [*PROFILES, *SNAPSHOTS.values()]
    ids.sort(key=lambda name: not name.startswith("gemini-"))
    return [*ids, *(MODEL_PREFIX + name for name in FAULTS)]


def unknown_model(error: UnknownModelError, method: str = "generateContent") -> ApiError:
    return ApiError(
        404,
        f"models/{error.name} is not found for API version v1beta, or is not supported for {method}. {error}",
    )


def model(name: str) -> dict[str, Any]:
    """One model. Raises ``ApiError`` (404) if there is none of that name."""
    if name not in model_ids():
        raise unknown_model(UnknownModelError(name))
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name.replace("-", " ").title(),
        "description": "Simulated.",
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": _METHODS,
        "temperature": 1,
        "topP": 0.95,
        "topK": 64,
        "maxTemperature": 2,
        "thinking": True,
    }


def page(query: str) -> dict[str, Any]:
    """A page of the list, as ``pageSize`` and ``pageToken`` of *query* want it.

    Raises:
        ApiError: 400: a size that is no number, a token that no page gave.
    """
    asked = {name: values[-1] for name, values in parse_qs(query).items()}
    size = asked.get("pageSize", asked.get("page_size", "0"))
    if not (size.isascii() and size.isdigit()):
        raise invalid(f"Invalid value at 'page_size' (TYPE_INT32), \"{size}\"", "page_size")
    length = min(int(size[:9]), _MOST) or _DEFAULT_SIZE
    start = _start(asked.get("pageToken", asked.get("page_token", "")))
    ids = model_ids()
    found: dict[str, Any] = {"models": [model(each) for each in ids[start : start + length]]}
    if start + length < len(ids):
        found["nextPageToken"] = base64.urlsafe_b64encode(b"page:%d" % (start + length)).decode()
    return found


def _start(token: str) -> int:
    if not token:
        return 0
    try:
        kind, _, place = base64.urlsafe_b64decode(token.encode()).partition(b":")
        if kind == b"page" and 0 <= int(place) < len(model_ids()):
            return int(place)
    except ValueError:
        pass
    raise invalid("Page token is not valid.", "page_token")
