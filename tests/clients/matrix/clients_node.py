"""The npm clients, in processes of Node that live as long as somebody asks them: lines of JSON in and out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tests.clients.matrix import clients_openai
from tests.clients.matrix.driver import Kind
from tests.clients.matrix.outcome import Outcome
from tests.clients.matrix.tasks import Task
from tests.clients.nodes import Process

#: Those that run, by script and arguments: Node takes half a second to start.
_RUNNING: Final[dict[tuple[str, ...], Process]] = {}


class Node:
    """One client of a script in ``tests/clients/node``; all that want the same script share a process."""

    def __init__(self, script: str, client: str, url: str, *arguments: str) -> None:
        self._common = {"client": client, "url": url}
        self._key = (script, *arguments)
        if self._key not in _RUNNING:
            _RUNNING[self._key] = Process(*self._key)
        self._process = _RUNNING[self._key]
        self._process.users += 1

    def ask(self, task: Task, model: str) -> Outcome:
        return self._run(op="ask", task=task.wire, model=model)

    def follow(self, task: Task, model: str, first: Outcome, results: tuple[str, ...]) -> Outcome:
        return self._run(op="follow", task=task.wire, model=model, first={"turn": first.turn}, results=results)

    def close(self) -> None:
        """The process ends with its last user."""
        self._process.users -= 1
        if not self._process.users:
            del _RUNNING[self._key]
            self._process.close()

    def _run(self, **request: Any) -> Outcome:
        return Outcome.of(self._process.run({**self._common, **request}))


def _made(script: str, client: str, *arguments: str) -> Callable[[str], Node]:
    return lambda url: Node(script, client, url, *arguments)


_API_ERROR: Final = frozenset({"APIError"})
KINDS: Final = (
    Kind("openai (npm), chat.completions.create", "openai.chat", _made("matrix-openai.mjs", "chat"), _API_ERROR),
    Kind(
        "openai (npm), chat.completions.stream and parse", "openai.chat",
        _made("matrix-openai.mjs", "chat-helper"), _API_ERROR,
        {"reasoning": "the helper keeps the last piece only of what OpenAI's own API does not have"},
    ),
    Kind(
        "openai (npm), responses.create", "openai.responses",
        _made("matrix-openai.mjs", "responses"), clients_openai.RESPONSE_ERRORS,
    ),
    Kind(
        "openai (npm), responses.stream and parse", "openai.responses",
        _made("matrix-openai.mjs", "responses-helper"), clients_openai.RESPONSE_ERRORS,
    ),
    Kind("@anthropic-ai/sdk, messages.create", "anthropic", _made("matrix-anthropic.mjs", "messages"), _API_ERROR),
    Kind(
        "@anthropic-ai/sdk, messages.stream", "anthropic",
        _made("matrix-anthropic.mjs", "helper"), _API_ERROR, forms=("stream",),
    ),
    *(
        Kind(
            f"AI SDK {version}, useChat's transport", "ui-messages",
            _made("matrix-ai.mjs", "chat", f"ai{version}"), frozenset({"error"}), forms=("stream",),
        )
        for version in (5, 6, 7)
    ),
    Kind(
        "@ag-ui/client, HttpAgent", "agui",
        _made("matrix-agui.mjs", "agent"), frozenset({"RUN_ERROR"}), forms=("stream",),
    ),
)  # fmt: skip
