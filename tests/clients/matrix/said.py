"""What a provider itself says, asked in its own dialect by a plain request for the whole answer: the truth of the
matrix, read by nothing of ours."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from tests.clients.matrix import clients_anthropic, clients_google, clients_openai
from tests.clients.matrix.outcome import Call, Outcome, finish_of, parsed
from tests.clients.matrix.player import expected
from tests.clients.matrix.tasks import FORMAT, MAX_TOKENS, PARAMETERS, TOOL, Task


class Vendor(NamedTuple):
    """How a provider's dialect is asked, and its whole answer read.

    Attributes:
        name: its column.
        path: below the provider's address; ``{model}`` stands for the model.
        ask: task, model -> body.
        read: whole answer -> outcome.
        words: its words for the end.
        refusal: the recording of an answer that was stopped, if there is one.
        headers: that it wants.
        base: the path that an upstream's ``base_url`` ends in.
    """

    name: str
    path: str
    ask: Callable[[Task, str], dict[str, Any]]
    read: Callable[[Any], Outcome]
    words: dict[str, str]
    refusal: str | None
    headers: Mapping[str, str] = {}
    base: str = ""


def say(url: str, dialect: str, task: Task, model: str) -> Outcome:
    """What the provider at *url* answers."""
    vendor = VENDORS[dialect]
    body = json.dumps(vendor.ask(task, model)).encode()
    fields = {"content-type": "application/json", **vendor.headers}
    request = urllib.request.Request(url + vendor.path.format(model=model), body, fields)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return vendor.read(json.loads(answer.read()))


def recorded(dialect: str, case: str) -> Outcome:
    """What a recording says."""
    said = expected(dialect, case)
    details = said.get("stop_details") or {}
    return Outcome(
        text=said["text"] or "",
        reasoning=said["reasoning"] or "",
        refusal=said["refusal"] or details.get("explanation", ""),
        finish=finish_of(said["stop_reason"], VENDORS[dialect].words),
    )


def _chat(task: Task, model: str) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": task.prompt}]}
    if task.tools:
        body["tools"] = [{"type": "function", "function": {**TOOL, "parameters": PARAMETERS}}]
    if task.thinking:
        body["reasoning_effort"] = "high"
    if task.schema:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "trip", "schema": FORMAT}}
    return body


def _of_chat(answer: Any) -> Outcome:
    [choice] = answer["choices"]
    message = choice["message"]
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    return Outcome(
        text=message["content"] or "",
        reasoning=message.get("reasoning_content") or "",
        calls=[Call(call["name"], parsed(call["arguments"])) for call in calls],
        refusal=message.get("refusal") or "",
        usage=(answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]),
        finish=finish_of(choice["finish_reason"], clients_openai.CHAT_WORDS),
    )


def _responses(task: Task, model: str) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "input": task.prompt}
    if task.tools:
        body["tools"] = [{"type": "function", **TOOL, "parameters": PARAMETERS, "strict": False}]
    if task.thinking:
        body["reasoning"] = {"effort": "high", "summary": "auto"}
    if task.schema:
        body["text"] = {"format": {"type": "json_schema", "name": "trip", "schema": FORMAT}}
    return body


def _of_responses(answer: Any) -> Outcome:
    items = answer["output"]
    parts = [part for item in items if item["type"] == "message" for part in item["content"]]
    thoughts = [item.get("content") or item["summary"] for item in items if item["type"] == "reasoning"]
    calls = [item for item in items if item["type"] == "function_call"]
    reason = (answer.get("incomplete_details") or {}).get("reason")
    return Outcome(
        text="".join(part.get("text", "") for part in parts),
        reasoning=clients_openai.BETWEEN.join(part["text"] for thought in thoughts for part in thought),
        calls=[Call(call["name"], parsed(call["arguments"])) for call in calls],
        refusal="".join(part.get("refusal", "") for part in parts),
        usage=(answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]),
        finish=finish_of(reason, clients_openai.RESPONSE_WORDS) or ("tool_use" if calls else "stop"),
    )


def _messages(task: Task, model: str) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "max_tokens": MAX_TOKENS}
    body["messages"] = [{"role": "user", "content": task.prompt}]
    if task.tools:
        body["tools"] = [{**TOOL, "input_schema": PARAMETERS}]
    if task.thinking:
        body["thinking"] = {"type": "enabled", "budget_tokens": 2048}
    if task.schema:
        body["output_config"] = {"format": {"type": "json_schema", "schema": FORMAT}}
    return body


def _of_messages(answer: Any) -> Outcome:
    blocks, usage = answer["content"], answer["usage"]
    counted = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    return Outcome(
        text="".join(block["text"] for block in blocks if block["type"] == "text"),
        reasoning="".join(block["thinking"] for block in blocks if block["type"] == "thinking"),
        calls=[Call(block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"],
        usage=(sum(usage.get(name) or 0 for name in counted), usage["output_tokens"]),
        finish=finish_of(answer["stop_reason"], clients_anthropic.WORDS),
    )


def _contents(task: Task, model: str) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if task.thinking:
        config["thinkingConfig"] = {"includeThoughts": True, "thinkingBudget": 2048}
    if task.schema:
        config |= {"responseMimeType": "application/json", "responseJsonSchema": FORMAT}
    body: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": task.prompt}]}]}
    if task.tools:
        body["tools"] = [{"functionDeclarations": [{**TOOL, "parametersJsonSchema": PARAMETERS}]}]
    return {**body, "generationConfig": config}


def _of_contents(answer: Any) -> Outcome:
    [candidate] = answer["candidates"]
    usage, parts = answer["usageMetadata"], candidate["content"]["parts"]
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    finish = finish_of(candidate["finishReason"], clients_google.WORDS)
    return Outcome(
        text="".join(part.get("text", "") for part in parts if not part.get("thought")),
        reasoning="".join(part["text"] for part in parts if part.get("thought")),
        calls=[Call(call["name"], call.get("args", {})) for call in calls],
        usage=(
            usage["promptTokenCount"], usage.get("candidatesTokenCount", 0) + usage.get("thoughtsTokenCount", 0)
        ),
        finish="tool_use" if calls and finish == "stop" else finish,
    )  # fmt: skip


def _ollama(task: Task, model: str) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": task.prompt}], "stream": False}
    if task.tools:
        body["tools"] = [{"type": "function", "function": {**TOOL, "parameters": PARAMETERS}}]
    if task.thinking:
        body["think"] = True
    if task.schema:
        body["format"] = FORMAT
    return body


def _of_ollama(answer: Any) -> Outcome:
    message = answer["message"]
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    finish = finish_of(answer["done_reason"], {})
    return Outcome(
        text=message["content"],
        reasoning=message.get("thinking") or "",
        calls=[Call(call["name"], call["arguments"]) for call in calls],
        usage=(answer["prompt_eval_count"], answer["eval_count"]),
        finish="tool_use" if calls and finish == "stop" else finish,
    )


#: By the name of the dialect.
VENDORS: Final[dict[str, Vendor]] = {
    "openai.chat": Vendor(
        "OpenAI Chat Completions", "/v1/chat/completions", _chat, _of_chat, clients_openai.CHAT_WORDS, "refusal",
        base="/v1",
    ),
    "openai.responses": Vendor(
        "OpenAI Responses", "/v1/responses", _responses, _of_responses, {"completed": "stop"}, "refusal", base="/v1"
    ),
    "anthropic": Vendor(
        "Anthropic", "/v1/messages", _messages, _of_messages, clients_anthropic.WORDS, "refusal",
        headers={"anthropic-version": "2023-06-01", "x-api-key": "none"},
    ),
    "gemini": Vendor(
        "Gemini", "/v1beta/models/{model}:generateContent", _contents, _of_contents, clients_google.WORDS,
        "safety-stop", headers={"x-goog-api-key": "none"},
    ),
    "ollama": Vendor("Ollama", "/api/chat", _ollama, _of_ollama, {}, None),
}  # fmt: skip
