"""The official Python SDK reads every recorded answer through the relay: what it makes of it is what was recorded.

Here is what the simulator does not do: refusals, reasoning, citations, content filters, the ways of other servers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openai
import pytest

from tokenwire.testing.http_bytes import LAST_CHUNK, head, http_chunk

FIXTURES = Path(__file__).parent.parent / "fixtures"
FOLDERS = ("openai-chat", "azure", "groq", "vllm", "llamacpp", "openrouter", "deepseek", "mistral", "xai")
RECORDED = sorted(
    str(path.relative_to(FIXTURES).with_suffix("")) for name in FOLDERS for path in (FIXTURES / name).glob("*.sse")
)
MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize("case", RECORDED)
def test_raw(sdk: Any, answers: dict[str, Sequence[bytes]], case: str) -> None:
    described = json.loads((FIXTURES / f"{case}.expected.json").read_text("utf-8"))
    fields = [*described["http"]["headers"].items(), ("Transfer-Encoding", "chunked")]
    answers[case] = [head(200, *fields), http_chunk((FIXTURES / f"{case}.sse").read_bytes()), LAST_CHUNK]
    expected = described["expected"]
    chunks: list[Any] = []
    asked = {"model": f"script/{case}", "messages": MESSAGES, "stream": True}
    if expected["error"] is None:
        chunks += sdk.rest(sdk.call("chat.completions.create", **asked, stream_options={"include_usage": True}))
    else:
        with pytest.raises(openai.APIError) as caught:
            chunks.extend(sdk.each(sdk.call("chat.completions.create", **asked)))
        body: Any = caught.value.body  # xAI's is no object
        assert (
            body in expected["error"].values() if isinstance(body, str) else body.items() >= expected["error"].items()
        )
        expected["stop_reason"] = None  # where it stands beside the error (OpenRouter), the SDK raises first
    choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == 0 and choice.delta]
    assert "".join(text(choice.delta.content) for choice in choices) == expected["text"]
    assert "".join(choice.delta.refusal or "" for choice in choices) == (expected["refusal"] or "")
    assert [call | {"arguments": parsed(call["arguments"])} for call in calls(choices)] == expected["tool_calls"]
    assert next((choice.finish_reason for choice in choices if choice.finish_reason), None) == expected["stop_reason"]
    usage = [chunk.usage.to_dict() for chunk in chunks if chunk.usage]
    assert usage[-1:] == ([] if expected["usage"] is None else [expected["usage"]])


def text(content: Any) -> str:
    """Content as a string, or as Mistral's list of parts, of which only some are text."""
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content if part.get("type") == "text")
    return content or ""


def calls(choices: list[Any]) -> list[dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for choice in choices:
        for call in choice.delta.tool_calls or ():
            entry = found.setdefault(call.index or 0, {"id": call.id, "name": call.function.name, "arguments": ""})
            entry["arguments"] += call.function.arguments or ""
    return list(found.values())


def parsed(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return None


def test_the_helper_gathers_a_refusal(sdk: Any, answers: dict[str, Sequence[bytes]]) -> None:
    wire = (FIXTURES / "openai-chat/refusal.sse").read_bytes()
    opening = head(200, ("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked"))
    answers["refusal"] = [opening, http_chunk(wire), LAST_CHUNK]
    events, completion = sdk.helper("script/refusal")
    expected = json.loads((FIXTURES / "openai-chat/refusal.expected.json").read_text("utf-8"))["expected"]
    assert completion.choices[0].message.refusal == expected["refusal"]
    deltas = [event.delta for event in events if event.type == "refusal.delta"]
    assert "".join(deltas) == expected["refusal"]
