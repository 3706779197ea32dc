"""A server and an app by hand, around a ``StreamDebugger``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tokenwire.fastapi import StreamDebugger
from tokenwire.fastapi.tracing import Chunk, End, Record
from tokenwire.testing.clock import ManualClock

Message = dict[str, Any]

SCOPE: dict[str, Any] = {"type": "http", "method": "GET", "path": "/chat", "query_string": b"key=secret"}


def start(kind: bytes = b"text/event-stream; charset=utf-8", *more: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": 200, "headers": [(b"Content-Type", kind), *more]}


def body(data: bytes = b"", *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


class Stage:
    """A server's side by hand: what was sent, and how long each `send` takes on the clock."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.sent: list[Message] = []
        self.records: list[Record] = []
        self.takes: dict[int, float] = {}
        self.fails_at: int | None = None

    def debugger(self, app: Any, **options: Any) -> StreamDebugger:
        options.setdefault("trace", self.records.append)
        return StreamDebugger(app, now_ns=self.clock.now_ns, wall=self.clock.wall, **options)

    async def send(self, message: Message) -> None:
        if self.fails_at == len(self.sent):
            raise OSError("gone")
        self.clock.advance(self.takes.get(len(self.sent), 0))
        self.sent.append(message)

    async def receive(self) -> Message:
        return {"type": "http.disconnect"}

    def run(self, app: Any, scope: dict[str, Any] = SCOPE, **options: Any) -> None:
        asyncio.run(self.debugger(app, **options)(scope, self.receive, self.send))  # type: ignore[arg-type]

    @property
    def chunks(self) -> list[Chunk]:
        return [record for record in self.records if isinstance(record, Chunk)]

    @property
    def end(self) -> End:
        [end] = [record for record in self.records if isinstance(record, End)]
        assert end is self.records[-1]
        return end


def answering(stage: Stage, *steps: float | Message) -> Callable[..., Awaitable[None]]:
    """An app that waits so many seconds, or sends."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for step in steps:
            if isinstance(step, dict):
                await send(step)
            else:
                stage.clock.advance(step)

    return app
