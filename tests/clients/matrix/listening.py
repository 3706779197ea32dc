"""What the clients send: each asks a server of the tests, which plays any answer of its dialect and keeps the body."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import Final, Self

from tests.clients.matrix.driver import Client, Kind
from tests.clients.matrix.player import playing
from tests.clients.matrix.tasks import Task

#: Of a recording that every vendor has.
_CASE: Final = "text"
_SSE: Final = "text/event-stream"
_PAGES: Final = {
    "/api/chat": (_SSE, b'data: {"type":"start"}\n\ndata: {"type":"finish"}\n\ndata: [DONE]\n\n'),
    "/agui": (
        _SSE,
        b'data: {"type":"RUN_STARTED","threadId":"t","runId":"r"}\n\n'
        b'data: {"type":"RUN_FINISHED","threadId":"t","runId":"r"}\n\n',
    ),
}


class Listening:
    """The clients, in front of that server."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._heard: list[bytes] = []
        self._url = self._stack.enter_context(playing(_PAGES, self._heard))
        self._clients: dict[str, Client] = {}
        self._bodies: dict[tuple[str, Task], bytes] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def body(self, kind: Kind, task: Task) -> bytes:
        """The body of the request that a client of that kind makes of the task."""
        key = (kind.name, task)
        if key not in self._bodies:
            if kind.name not in self._clients:
                self._clients[kind.name] = self._stack.enter_context(closing(kind.make(self._url)))
            self._clients[kind.name].ask(task, _CASE)
            self._bodies[key] = self._heard[-1]
        return self._bodies[key]
