"""What uvicorn keeps for each connection and request, without what nobody needs: 2.4 KiB of 23 a stream.

An empty deque takes 624 bytes, and an ``asyncio.Event`` holds one.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl

#: The event of a request that nobody waits for: it is answered without a task.
UNHEARD = asyncio.Event()


class Flow(FlowControl):
    """uvicorn's, with an event only where somebody waits, or must."""

    def __init__(self, transport: asyncio.Transport) -> None:  # not super().__init__: it makes the event
        self._transport = transport
        self.read_paused = False
        self.write_paused = False
        self._event: asyncio.Event | None = None

    @property
    def _is_writable_event(self) -> asyncio.Event:  # type: ignore[override]  # an attribute there
        if self._event is None:
            self._event = asyncio.Event()
            if not self.write_paused:
                self._event.set()
        return self._event


class Pipeline(list[Any]):
    """Requests that wait behind another: a queue as uvicorn uses its deque, nearly always empty."""

    __slots__ = ()

    def appendleft(self, item: Any) -> None:
        self.insert(0, item)
