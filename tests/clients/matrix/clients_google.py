"""Python ``google-genai``."""

from __future__ import annotations

from typing import Any, Final

import httpx
from google import genai
from google.genai import errors, types
from tests.clients.matrix.driver import Kind
from tests.clients.matrix.outcome import Call, Failure, Outcome, finish_of
from tests.clients.matrix.tasks import FORMAT, PARAMETERS, TOOL, Task

WORDS: Final = {
    "STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "content_filter", "PROHIBITED_CONTENT": "content_filter",
    "RECITATION": "content_filter", "BLOCKLIST": "content_filter", "SPII": "content_filter", "OTHER": "unknown",
}  # fmt: skip


class Gemini:
    """``models.generate_content_stream`` and ``generate_content``."""

    def __init__(self, url: str) -> None:
        options = types.HttpOptions(base_url=url, timeout=20_000, retry_options=types.HttpRetryOptions(attempts=1))
        self.client = genai.Client(api_key="none", vertexai=False, http_options=options)

    def ask(self, task: Task, model: str) -> Outcome:
        return self._run([types.Content(role="user", parts=[types.Part(text=task.prompt)])], task, model)

    def follow(self, task: Task, model: str, first: Outcome, results: tuple[str, ...]) -> Outcome:
        calls = [part.function_call for part in first.turn.parts if part.function_call]
        told = [
            types.Part(
                function_response=types.FunctionResponse(id=call.id, name=call.name, response={"result": result})
            )
            for call, result in zip(calls, results, strict=True)
        ]
        asked = types.Content(role="user", parts=[types.Part(text=task.prompt)])
        return self._run([asked, first.turn, types.Content(role="user", parts=told)], task, model)

    def close(self) -> None:
        self.client.close()

    def _run(self, contents: list[Any], task: Task, model: str) -> Outcome:
        outcome = Outcome()
        config: dict[str, Any] = {}
        if task.tools:
            config["tools"] = [{"function_declarations": [{**TOOL, "parameters_json_schema": PARAMETERS}]}]
            config["automatic_function_calling"] = {"disable": True}
        if task.thinking:
            config["thinking_config"] = {"include_thoughts": True, "thinking_budget": 2048}
        if task.schema:
            config |= {"response_mime_type": "application/json", "response_json_schema": FORMAT}
        parts: list[types.Part] = []
        fields: dict[str, Any] = {"model": model, "contents": contents, "config": config}
        try:
            if task.stream:
                for chunk in self.client.models.generate_content_stream(**fields):
                    _fold(chunk, parts, outcome)
            else:
                _fold(self.client.models.generate_content(**fields), parts, outcome)
        except (errors.APIError, errors.UnknownApiResponseError, httpx.HTTPError) as error:
            outcome.error = Failure(type(error).__name__, str(error), getattr(error, "code", None))
        if outcome.calls and outcome.finish == "stop":
            outcome.finish = "tool_use"  # the dialect has no word of its own for it
        outcome.turn = types.Content(role="model", parts=parts)
        return outcome


def _fold(chunk: types.GenerateContentResponse, parts: list[types.Part], outcome: Outcome) -> None:
    usage = chunk.usage_metadata
    if usage is not None and usage.prompt_token_count is not None:
        outcome.usage = (
            usage.prompt_token_count, (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
        )  # fmt: skip
    if chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason is not None:
        outcome.finish = "content_filter"
    for candidate in chunk.candidates or ():
        if candidate.finish_reason is not None:
            outcome.finish = finish_of(candidate.finish_reason.name, WORDS)
        for part in (candidate.content and candidate.content.parts) or ():
            parts.append(part)
            if part.function_call is not None:
                outcome.calls.append(Call(part.function_call.name or "", part.function_call.args))
            elif part.thought:
                outcome.reasoning += part.text or ""
            else:
                outcome.text += part.text or ""


ERRORS: Final = frozenset({"APIError", "ClientError", "ServerError"})
KINDS: Final = (Kind("google-genai (Python)", "gemini", Gemini, ERRORS),)
