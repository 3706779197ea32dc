"""The npm clients, in processes of Node that live as long as somebody asks them: lines of JSON in and out."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests import programs
from tests.clients.matrix import clients_openai
from tests.clients.matrix.driver import Kind
from tests.clients.matrix.outcome import Outcome
from tests.clients.matrix.tasks import Task

SCRIPTS: Final = Path(__file__).parents[1] / "node"
# Seconds. Nothing on loopback takes so long; it only keeps a broken test from hanging the run.
_LIMIT: Final = 30.0


class _Process:
    """A script that runs, and answers one request after the other."""

    def __init__(self, script: str, *arguments: str) -> None:
        if not (SCRIPTS / "node_modules").is_dir():
            programs.missing("no npm clients: run .ci/node-packages")
        self.users = 0
        self._process = subprocess.Popen(
            [programs.node(), str(SCRIPTS / script), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def run(self, request: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        line = self._lines.get(timeout=_LIMIT)
        assert line, f"it ended with {self._process.wait(_LIMIT)}"
        return json.loads(line)

    def close(self) -> None:
        """Its input ends, and so does it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(_LIMIT)
        self._reader.join()
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(b"")


#: Those that run, by script and arguments: Node takes half a second to start.
_RUNNING: Final[dict[tuple[str, ...], _Process]] = {}


class Node:
    """One client of a script in ``tests/clients/node``; all that want the same script share a process."""

    def __init__(self, script: str, client: str, url: str, *arguments: str) -> None:
        self._common = {"client": client, "url": url}
        self._key = (script, *arguments)
        if self._key not in _RUNNING:
            _RUNNING[self._key] = _Process(*self._key)
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
