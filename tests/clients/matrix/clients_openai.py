"""Python ``openai``: chat completions and responses, each as the raw stream and through the accumulating helper."""

from __future__ import annotations

from typing import Any, Final

import openai
from tests.clients.matrix.driver import Kind
from tests.clients.matrix.outcome import Call, Failure, Outcome, finish_of, parsed
from tests.clients.matrix.tasks import FORMAT, PARAMETERS, TOOL, Task

CHAT_WORDS: Final = {"tool_calls": "tool_use"}
RESPONSE_WORDS: Final = {"max_output_tokens": "length"}
#: Parts of a summary are paragraphs.
BETWEEN: Final = "\n\n"


def failure(error: Exception) -> Failure:
    """An exception as somebody who catches it sees it."""
    return Failure(type(error).__name__, str(error), getattr(error, "status_code", None))


class _Openai:
    def __init__(self, url: str) -> None:
        self.client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=20)

    def ask(self, task: Task, model: str) -> Outcome:
        return self._run(self._opening(task), task, model)

    def _opening(self, task: Task) -> list[Any]:
        return [{"role": "user", "content": task.prompt}]

    def _run(self, turns: list[Any], task: Task, model: str) -> Outcome:
        outcome = Outcome()
        try:
            self._read(turns, task, model, outcome)
        except (openai.OpenAIError, RuntimeError) as error:
            outcome.error = failure(error)
        return outcome

    def _read(self, turns: list[Any], task: Task, model: str, outcome: Outcome) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.client.close()


class Chat(_Openai):
    """``chat.completions.create``."""

    def follow(self, task: Task, model: str, first: Outcome, results: tuple[str, ...]) -> Outcome:
        turn, calls = first.turn
        told = [
            {"role": "tool", "tool_call_id": call, "content": result}
            for call, result in zip(calls, results, strict=True)
        ]
        return self._run([*self._opening(task), turn, *told], task, model)

    def _fields(self, turns: list[Any], task: Task, model: str) -> dict[str, Any]:
        fields: dict[str, Any] = {"model": model, "messages": turns}
        if task.tools:
            fields["tools"] = [{"type": "function", "function": {**TOOL, "parameters": PARAMETERS, "strict": True}}]
        if task.thinking:
            fields["reasoning_effort"] = "high"
        if task.schema:
            wanted = {"name": "trip", "schema": FORMAT, "strict": True}
            fields["response_format"] = {"type": "json_schema", "json_schema": wanted}
        return fields

    def _read(self, turns: list[Any], task: Task, model: str, outcome: Outcome) -> None:
        fields = self._fields(turns, task, model)
        if not task.stream:
            self._keep(self.client.chat.completions.create(**fields), outcome)
            return
        calls: dict[int, dict[str, Any]] = {}
        for chunk in self.client.chat.completions.create(**fields, stream=True, stream_options={"include_usage": True}):
            if chunk.usage is not None:
                outcome.usage = (chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
            for choice in chunk.choices:
                delta = choice.delta
                outcome.text += delta.content or ""
                outcome.reasoning += getattr(delta, "reasoning_content", None) or ""
                outcome.refusal += delta.refusal or ""
                outcome.finish = finish_of(choice.finish_reason, CHAT_WORDS) or outcome.finish
                for call in delta.tool_calls or ():
                    entry = calls.setdefault(call.index, {"id": call.id, "name": "", "arguments": ""})
                    entry["name"] += (call.function and call.function.name) or ""
                    entry["arguments"] += (call.function and call.function.arguments) or ""
        outcome.calls = [Call(call["name"], parsed(call["arguments"])) for call in calls.values()]
        made = [
            {"id": call["id"], "type": "function", "function": {key: call[key] for key in ("name", "arguments")}}
            for call in calls.values()
        ]
        turn = {"role": "assistant", "content": outcome.text or None, "tool_calls": made}
        outcome.turn = turn, [call["id"] for call in made]

    def _keep(self, completion: Any, outcome: Outcome) -> None:
        """A whole completion, or what the helper made of a stream."""
        [choice] = completion.choices
        message = choice.message
        outcome.text = message.content or ""
        outcome.reasoning = getattr(message, "reasoning_content", None) or ""
        outcome.refusal = message.refusal or ""
        outcome.finish = finish_of(choice.finish_reason, CHAT_WORDS)
        outcome.calls = [Call(call.function.name, parsed(call.function.arguments)) for call in message.tool_calls or ()]
        if completion.usage is not None:
            outcome.usage = (completion.usage.prompt_tokens, completion.usage.completion_tokens)
        outcome.turn = message, [call.id for call in message.tool_calls or ()]


class ChatHelper(Chat):
    """``chat.completions.stream`` and ``parse``."""

    def _read(self, turns: list[Any], task: Task, model: str, outcome: Outcome) -> None:
        fields = self._fields(turns, task, model)
        if not task.stream:
            self._keep(self.client.chat.completions.parse(**fields), outcome)
            return
        with self.client.chat.completions.stream(**fields, stream_options={"include_usage": True}) as stream:
            try:
                for event in stream:
                    if event.type == "content.delta":
                        outcome.text += event.delta
                completion = stream.get_final_completion()
            except (openai.ContentFilterFinishReasonError, openai.LengthFinishReasonError):
                completion = stream.current_completion_snapshot  # what the helper thinks nobody can parse
            streamed = outcome.text
            self._keep(completion, outcome)
            assert outcome.text == streamed


class Responses(_Openai):
    """``responses.create``."""

    def follow(self, task: Task, model: str, first: Outcome, results: tuple[str, ...]) -> Outcome:
        calls = [item.call_id for item in first.turn if item.type == "function_call"]
        told = [
            {"type": "function_call_output", "call_id": call, "output": result}
            for call, result in zip(calls, results, strict=True)
        ]
        return self._run([*self._opening(task), *first.turn, *told], task, model)

    def _fields(self, turns: list[Any], task: Task, model: str) -> dict[str, Any]:
        fields: dict[str, Any] = {"model": model, "input": turns, "store": False}
        if task.tools:
            fields["tools"] = [{"type": "function", **TOOL, "parameters": PARAMETERS, "strict": True}]
        if task.thinking:
            fields["reasoning"] = {"effort": "high", "summary": "auto"}
        if task.schema:
            fields["text"] = {"format": {"type": "json_schema", "name": "trip", "schema": FORMAT, "strict": True}}
        return fields

    def _read(self, turns: list[Any], task: Task, model: str, outcome: Outcome) -> None:
        fields = self._fields(turns, task, model)
        if not task.stream:
            self._keep(self.client.responses.create(**fields), outcome)
            return
        for event in self.client.responses.create(**fields, stream=True):
            _fold(event, outcome)

    def _keep(self, response: Any, outcome: Outcome) -> None:
        """A whole response, or what the helper made of a stream."""
        outcome.text = response.output_text
        items = response.output
        outcome.reasoning = BETWEEN.join(filter(None, map(_thought, items)))
        parts = [part for item in items if item.type == "message" for part in item.content]
        outcome.refusal = "".join(part.refusal for part in parts if part.type == "refusal")
        _ended(response, outcome)


class ResponsesHelper(Responses):
    """``responses.stream`` and ``parse``."""

    def _read(self, turns: list[Any], task: Task, model: str, outcome: Outcome) -> None:
        fields = self._fields(turns, task, model)
        if not task.stream:
            self._keep(self.client.responses.parse(**fields), outcome)
            return
        with self.client.responses.stream(**fields) as stream:
            for event in stream:
                if event.type == "response.output_text.delta":
                    outcome.text += event.delta
                elif event.type in ("error", "response.failed", "response.incomplete"):
                    _fold(event, outcome)
            if outcome.finish is None and outcome.error is None:
                streamed = outcome.text
                self._keep(stream.get_final_response(), outcome)
                assert outcome.text == streamed


def _fold(event: Any, outcome: Outcome) -> None:
    """One event of a raw stream of responses."""
    if event.type == "response.output_text.delta":
        outcome.text += event.delta
    elif event.type in ("response.reasoning_summary_text.delta", "response.reasoning_text.delta"):
        outcome.reasoning += event.delta
    elif event.type == "response.reasoning_summary_part.added" and event.summary_index:
        outcome.reasoning += BETWEEN
    elif event.type == "response.refusal.delta":
        outcome.refusal += event.delta
    elif event.type == "error":
        outcome.error = outcome.error or Failure(event.type, event.message)
    elif event.type == "response.failed":
        error = event.response.error
        outcome.error = outcome.error or Failure(event.type, error.message if error else "")
    elif event.type in ("response.completed", "response.incomplete"):
        _ended(event.response, outcome)


def _thought(item: Any) -> str:
    if item.type != "reasoning":
        return ""
    return BETWEEN.join(part.text for part in (item.content or item.summary))


def _ended(response: Any, outcome: Outcome) -> None:
    if response.error is not None:
        outcome.error = Failure(f"response.{response.status}", response.error.message)
    calls = [item for item in response.output if item.type == "function_call"]
    outcome.calls = [Call(call.name, parsed(call.arguments)) for call in calls]
    outcome.turn = response.output
    if response.usage is not None:
        outcome.usage = (response.usage.input_tokens, response.usage.output_tokens)
    if response.incomplete_details is not None:
        outcome.finish = finish_of(response.incomplete_details.reason, RESPONSE_WORDS)
    elif response.status == "completed":
        outcome.finish = "tool_use" if calls else "stop"


CHAT_ERRORS: Final = frozenset({"APIError"})
#: The SDK raises what an event says at its top, and yields an event that says so as any other.
RESPONSE_ERRORS: Final = frozenset({"APIError", "error", "response.failed"})
KINDS: Final = (
    Kind("openai (Python), chat.completions.create", "openai.chat", Chat, CHAT_ERRORS),
    Kind("openai (Python), chat.completions.stream and parse", "openai.chat", ChatHelper, CHAT_ERRORS),
    Kind("openai (Python), responses.create", "openai.responses", Responses, RESPONSE_ERRORS),
    Kind("openai (Python), responses.stream and parse", "openai.responses", ResponsesHelper, RESPONSE_ERRORS),
)
