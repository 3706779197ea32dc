"""Python ``anthropic``: the raw stream, and the accumulating helper."""

from __future__ import annotations

from typing import Any, Final

import anthropic
from tests.clients.matrix.driver import Kind
from tests.clients.matrix.outcome import Call, Failure, Outcome, finish_of, parsed
from tests.clients.matrix.tasks import FORMAT, MAX_TOKENS, PARAMETERS, TOOL, Task

WORDS: Final = {
    "end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length",
    "model_context_window_exceeded": "context_window", "pause_turn": "pause",
}  # fmt: skip


class Messages:
    """``messages.create``."""

    def __init__(self, url: str) -> None:
        self.client = anthropic.Anthropic(base_url=url, api_key="none", max_retries=0, timeout=20)

    def ask(self, task: Task, model: str) -> Outcome:
        return self._run([{"role": "user", "content": task.prompt}], task, model)

    def follow(self, task: Task, model: str, first: Outcome, results: tuple[str, ...]) -> Outcome:
        calls = [block["id"] for block in first.turn if block["type"] == "tool_use"]
        told = [
            {"type": "tool_result", "tool_use_id": call, "content": result}
            for call, result in zip(calls, results, strict=True)
        ]
        turns = [
            {"role": "user", "content": task.prompt},
            {"role": "assistant", "content": first.turn},
            {"role": "user", "content": told},
        ]
        return self._run(turns, task, model)

    def close(self) -> None:
        self.client.close()

    def _run(self, turns: list[Any], task: Task, model: str) -> Outcome:
        outcome = Outcome()
        fields: dict[str, Any] = {"model": model, "max_tokens": MAX_TOKENS, "messages": turns}
        if task.tools:
            fields["tools"] = [{**TOOL, "input_schema": PARAMETERS}]
        if task.thinking:
            fields["thinking"] = {"type": "enabled", "budget_tokens": 2048}
        if task.schema:
            fields["output_config"] = {"format": {"type": "json_schema", "schema": FORMAT}}
        try:
            if task.stream:
                self._stream(fields, outcome)
            else:
                _keep(self.client.messages.create(**fields), outcome)
        except anthropic.AnthropicError as error:
            outcome.error = Failure(type(error).__name__, str(error), getattr(error, "status_code", None))
        return outcome

    def _stream(self, fields: dict[str, Any], outcome: Outcome) -> None:
        blocks: list[dict[str, Any]] = []
        for event in self.client.messages.create(**fields, stream=True):
            if event.type == "message_start":
                outcome.usage = (_input(event.message.usage), event.message.usage.output_tokens)
            elif event.type == "content_block_start":
                assert event.index == len(blocks)
                blocks.append({**event.content_block.to_dict(mode="json"), "json": ""})
            elif event.type == "content_block_delta":
                _put(event.delta, blocks[event.index], outcome)
            elif event.type == "message_delta":
                outcome.finish = finish_of(event.delta.stop_reason, WORDS)
                outcome.refusal = _why(event.delta)
                outcome.usage = (_input(event.usage), event.usage.output_tokens)
        for block in blocks:
            json = block.pop("json")
            if block["type"] == "tool_use":
                block["input"] = parsed(json or "{}")
                outcome.calls.append(Call(block["name"], block["input"]))
        outcome.turn = blocks


class MessagesHelper(Messages):
    """``messages.stream``."""

    def _stream(self, fields: dict[str, Any], outcome: Outcome) -> None:
        with self.client.messages.stream(**fields) as stream:
            for event in stream:
                if event.type == "text":
                    outcome.text += event.text
            streamed = outcome.text
            _keep(stream.get_final_message(), outcome)
            assert outcome.text == streamed


def _put(delta: Any, block: dict[str, Any], outcome: Outcome) -> None:
    """One delta, in its block."""
    if delta.type == "text_delta":
        block["text"] += delta.text
        outcome.text += delta.text
    elif delta.type == "thinking_delta":
        block["thinking"] += delta.thinking
        outcome.reasoning += delta.thinking
    elif delta.type == "signature_delta":
        block["signature"] = delta.signature
    elif delta.type == "input_json_delta":
        block["json"] += delta.partial_json


def _keep(message: Any, outcome: Outcome) -> None:
    """A whole message, or what the helper made of a stream."""
    blocks = message.content
    outcome.text = "".join(block.text for block in blocks if block.type == "text")
    outcome.reasoning = "".join(block.thinking for block in blocks if block.type == "thinking")
    outcome.calls = [Call(block.name, block.input) for block in blocks if block.type == "tool_use"]
    outcome.finish = finish_of(message.stop_reason, WORDS)
    outcome.refusal = _why(message)
    outcome.usage = (_input(message.usage), message.usage.output_tokens)
    outcome.turn = [block.to_dict(mode="json") for block in blocks]


def _why(ended: Any) -> str:
    """What is said of a refusal, beside the content."""
    details = getattr(ended, "stop_details", None)
    return getattr(details, "explanation", None) or ""


def _input(usage: Any) -> int:
    """All that was read: Anthropic counts what was cached, or goes to the cache, beside the rest."""
    counts = (usage.input_tokens, usage.cache_creation_input_tokens, usage.cache_read_input_tokens)
    return sum(count or 0 for count in counts)


#: Not one of its kinds: the class is chosen by the HTTP status, and that was 200. ``type`` says what it is.
ERRORS: Final = frozenset({"APIStatusError"})
KINDS: Final = (
    Kind("anthropic (Python), messages.create", "anthropic", Messages, ERRORS),
    Kind("anthropic (Python), messages.stream", "anthropic", MessagesHelper, ERRORS, forms=("stream",)),
)
