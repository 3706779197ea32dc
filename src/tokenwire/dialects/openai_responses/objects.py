"""What stands in the events of a Responses stream: the response itself, annotations."""

from __future__ import annotations

from typing import Any

_ANNOTATIONS = frozenset({"url_citation", "file_citation", "container_file_citation", "file_path"})


def response_object(stream: str, created: float, model: str) -> dict[str, Any]:
    """A response that has just begun. What the request said is not in it: members that must be there have their
    defaults."""
    return {
        "id": "resp_" + stream.removeprefix("st_"),
        "object": "response",
        "created_at": int(created),
        "status": "in_progress",
        "background": False,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "model": model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "service_tier": None,
        "store": False,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": None,
        "truncation": "disabled",
        "usage": None,
        "user": None,
        "metadata": {},
    }


def annotation(source: dict[str, Any]) -> dict[str, Any]:
    """*source* as an annotation: another dialect's object becomes a ``url_citation`` if it has an address, else it
    stays as it is. Clients count on all members: where nobody said what text is meant, it is none, at the beginning."""
    nested = source.get("url_citation")
    cited: dict[str, Any] = nested if isinstance(nested, dict) else source
    url = cited.get("url") or cited.get("uri")
    if not isinstance(url, str) or (cited is source and source.get("type") in _ANNOTATIONS and "title" in source):
        return source
    title, start, end = cited.get("title"), cited.get("start_index"), cited.get("end_index")
    return {
        "type": "url_citation",
        "start_index": start if isinstance(start, int) else 0,
        "end_index": end if isinstance(end, int) else 0,
        "title": title if isinstance(title, str) else "",
        "url": url,
    }
