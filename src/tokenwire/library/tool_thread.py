"""Functions that block, in threads that nobody has to wait for.

A thread cannot be cancelled. One whose result is not wanted any more is left alone: it is a daemon, so that it keeps no
program from ending, and it counts until it has ended, so that there are never more than ``MOST``.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any, Final

from tokenwire.errors import ToolError

#: Threads of tools in this process. More than a model asks for at once, in some answers side by side; a thread that
#: only waits costs little, but each may hold a connection of whatever it waits for.
MOST: Final = 64

_running = threading.BoundedSemaphore(MOST)


async def in_thread(call: Callable[[], Any], name: str) -> Any:
    """What *call* returns, called in a thread of its own with this task's context variables.

    Raises whatever it raises, and ``ToolError`` if too many threads are still busy. If cancelled, the thread goes on.
    """
    if not _running.acquire(blocking=False):
        raise ToolError(f"this tool cannot run now: {MOST} others are still running")
    loop = asyncio.get_running_loop()
    done: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
    context = contextvars.copy_context()

    def settle(value: Any, error: BaseException | None) -> None:
        if not done.done():
            done.set_result((value, error))

    def work() -> None:
        value, error = None, None
        try:
            value = context.run(call)
        except BaseException as caught:  # as a value: a future takes no StopIteration
            error = caught
        finally:
            _running.release()
        try:
            loop.call_soon_threadsafe(settle, value, error)
        except RuntimeError:
            pass  # the loop is closed, and nobody waits

    try:
        threading.Thread(target=work, name=f"tokenwire-tool-{name}", daemon=True).start()
    except RuntimeError:
        _running.release()
        raise
    value, error = await done
    if isinstance(error, StopIteration):  # no coroutine can raise it
        raise ToolError(f"StopIteration: {error}") from error
    if error is not None:
        raise error
    return value
