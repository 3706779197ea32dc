"""Hearing of the end in time, under servers of other makes.

ASGI has a word for the end (``lifespan.shutdown``), and servers say it when every response is complete: uvicorn and
granian wait for that without end, and a stream may last an hour. So we listen for the signal beside them. Our own
server tells the gateway itself, and needs none of this. (hypercorn keeps the signal from its workers: no one can hear.)
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from types import FrameType

_ENDS: Final = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Calls *on_signal* in *loop* whenever the process is asked to end; the server's own handler is called as ever.

    Only where there is a handler: a process that a signal ends is not kept alive, and one that ignores it is not ended.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_signal: Callable[[], None]) -> None:
        self._loop = loop
        self._on_signal = on_signal
        self._before: dict[int, Any] = {}
        if threading.current_thread() is not threading.main_thread():
            return  # Python lets the main thread alone do it, and handles signals there
        for number in _ENDS:
            before = signal.getsignal(number)
            if callable(before) and before is not signal.default_int_handler:
                self._before[number] = before
                signal.signal(number, self._heard)

    def close(self) -> None:
        """Put the handlers back that were there, unless somebody has replaced ours."""
        for number, before in self._before.items():
            if signal.getsignal(number) == self._heard:
                signal.signal(number, before)
        self._before.clear()

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._on_signal)
        self._before[number](number, frame)
