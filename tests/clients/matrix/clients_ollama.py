"""Python ``ollama``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import httpx
import ollama
from tests.clients.matrix.driver import Kind
from tests.clients.matrix.outcome import Call, Failure, Outcome, finish_of
from tests.clients.matrix.tasks import FORMAT, PARAMETERS, TOOL, Task

#: Below this the relay speaks Ollama; a server of its own has nothing there.
PREFIX: Final = "/ollama"


class Chat:
    """``Client.chat``."""

    def __init__(self, url: str) -> None:
        self.client = ollama.Client(host=url + PREFIX, timeout=20)

    def ask(self, task: Task, model: str) -> Outcome:
        return self._run([{"role": "user", "content": task.prompt}], task, model)

    def follow(self, task: Task, model: str, first: Outcome, results: tuple[str, ...]) -> Outcome:
        told = [
            {"role": "tool", "tool_name": call.name, "content": result}
            for call, result in zip(first.calls, results, strict=True)
        ]
        return self._run([{"role": "user", "content": task.prompt}, first.turn, *told], task, model)

    def close(self) -> None:
        self.client._client.close()

    def _run(self, turns: list[Any], task: Task, model: str) -> Outcome:
        outcome = Outcome()
        fields: dict[str, Any] = {"model": model, "messages": turns, "stream": task.stream}
        if task.tools:
            fields["tools"] = [{"type": "function", "function": {**TOOL, "parameters": PARAMETERS}}]
        if task.thinking:
            fields["think"] = True
        if task.schema:
            fields["format"] = FORMAT
        made: list[Any] = []
        try:
            answer = self.client.chat(**fields)
            chunks: Iterable[ollama.ChatResponse] = answer if task.stream else [answer]
            for chunk in chunks:
                outcome.text += chunk.message.content or ""
                outcome.reasoning += chunk.message.thinking or ""
                made += chunk.message.tool_calls or ()
                if chunk.done:
                    outcome.finish = finish_of(chunk.done_reason, {})
                    if chunk.prompt_eval_count is not None and chunk.eval_count is not None:
                        outcome.usage = (chunk.prompt_eval_count, chunk.eval_count)
        except ollama.ResponseError as error:
            outcome.error = Failure(type(error).__name__, error.error, error.status_code)
        except (httpx.HTTPError, ConnectionError) as error:
            outcome.error = Failure(type(error).__name__, str(error))
        outcome.calls = [Call(call.function.name, dict(call.function.arguments)) for call in made]
        if made and outcome.finish == "stop":
            outcome.finish = "tool_use"  # the dialect has no word of its own for it
        outcome.turn = {"role": "assistant", "content": outcome.text, "tool_calls": made}
        return outcome


ERRORS: Final = frozenset({"ResponseError"})
KINDS: Final = (Kind("ollama (Python)", "ollama", Chat, ERRORS),)
