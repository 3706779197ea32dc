"""The end of an event loop. It is told to nobody but the asynchronous generators that began in it: those are closed."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable


def at_loop_end(do: Callable[[], Awaitable[None] | None]) -> AsyncGenerator[None, None]:
    """Do it when the running loop ends as ``asyncio.run`` ends it, or when what is returned here is kept no longer."""
    lifetime = _lifetime(do)
    with suppress(StopIteration):
        anext(lifetime).send(None)  # up to its yield, which it reaches without waiting
    return lifetime


async def _lifetime(do: Callable[[], Awaitable[None] | None]) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        waits = do()
        if waits is not None:
            await waits
