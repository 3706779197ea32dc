"""The models that a caller may use, in the vendors' shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tokenwire.errors import RequestRefused

#: Anthropic's bound for one page.
_MOST: Final = 1000
#: What Anthropic documents for a model whose release date is not known.
_UNKNOWN_DATE: Final = "1970-01-01T00:00:00Z"


def openai_model(name: str, dialects: Sequence[str], owner: str | None = None) -> dict[str, Any]:
    """One model; its *owner* is the upstream, known by the name if that begins with it.

    *dialects*: what requests for it may be written in, which OpenAI's shape has no member for; clients ignore others.
    """
    if owner is None:
        owner = name.partition("/")[0] if "/" in name else "tokenwire"
    return {"id": name, "object": "model", "created": 0, "owned_by": owner, "dialects": list(dialects)}


def openai_models(models: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """All of them: their names, and the dialects of each."""
    return {"object": "list", "data": [openai_model(name, dialects) for name, dialects in models.items()]}


def anthropic_model(name: str) -> dict[str, Any]:
    """One model."""
    return {"type": "model", "id": name, "display_name": name, "created_at": _UNKNOWN_DATE}


def anthropic_models(names: Sequence[str], query: Mapping[str, str]) -> dict[str, Any]:
    """One page: all of them, unless *query* has ``limit``, ``after_id`` or ``before_id``.

    Raises ``RequestRefused`` (400) for a query that means nothing.
    """
    limit = query.get("limit", str(_MOST))
    if not (limit.isascii() and limit.isdigit() and len(limit) < 5 and 1 <= int(limit) <= _MOST):
        raise RequestRefused(400, "bad_limit", f"limit is a whole number from 1 to {_MOST}", param="limit")
    count = int(limit)
    page, more = list(names), False
    if "after_id" in query:
        page = page[_place(page, query["after_id"], "after_id") + 1 :]
    if "before_id" in query:
        page = page[: _place(page, query["before_id"], "before_id")]
        more, page = len(page) > count, page[-count:]
    else:
        more, page = len(page) > count, page[:count]
    return {
        "data": [anthropic_model(name) for name in page],
        "has_more": more,
        "first_id": page[0] if page else None,
        "last_id": page[-1] if page else None,
    }


def gemini_model(name: str) -> dict[str, Any]:
    """One model."""
    methods = ["generateContent", "streamGenerateContent"]
    return {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": methods}


def gemini_models(names: Sequence[str], query: Mapping[str, str]) -> dict[str, Any]:
    """One page: *query* may have ``pageSize`` and ``pageToken``, which is a place in the list.

    Raises ``RequestRefused`` (400) for a query that means nothing.
    """
    size, token = query.get("pageSize", str(_MOST)), query.get("pageToken") or "0"
    for parameter, value in (("pageSize", size), ("pageToken", token)):
        if not (value.isascii() and value.isdigit() and len(value) < 7):
            raise RequestRefused(400, "bad_page", f"{parameter} is a whole number here", param=parameter)
    start, end = int(token), int(token) + min(int(size) or _MOST, _MOST)
    page: dict[str, Any] = {"models": [gemini_model(name) for name in names[start:end]]}
    return page | ({"nextPageToken": str(end)} if end < len(names) else {})


def ollama_models(names: Sequence[str]) -> dict[str, Any]:
    """All of them. What only files on a disk have (size, digest) is empty: the client's types want the members."""
    return {"models": [_ollama_model(name) for name in names]}


def ollama_details(name: str) -> dict[str, Any]:
    """What ``/api/show`` tells of a model that is not known any closer."""
    return {
        **dict.fromkeys(("license", "modelfile", "parameters", "template"), ""),
        "details": _DETAILS,
        "model_info": {"general.basename": name},
        "capabilities": ["completion", "tools", "vision", "thinking"],
        "modified_at": _UNKNOWN_DATE,
    }


_DETAILS: Final = {"parent_model": "", "format": "", "family": "", "parameter_size": "", "quantization_level": ""}


def _ollama_model(name: str) -> dict[str, Any]:
    known = {"name": name, "model": name, "modified_at": _UNKNOWN_DATE, "size": 0, "digest": ""}
    return {**known, "details": {**_DETAILS, "families": None}}


def _place(names: Sequence[str], name: str, parameter: str) -> int:
    if name not in names:
        raise RequestRefused(400, "bad_cursor", f"{parameter}: no model {name[:100]!r} in this list", param=parameter)
    return names.index(name)
