"""Renewals of a lease: a reader says that it is there, for relays behind proxies that hide when it leaves.

The one thing of this client that does not happen while its caller waits: a caller may be busy with what it has read,
and is still there. What is renewed belongs to one connection, and ends with it; a ``Following`` that nobody holds any
more renews nothing.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tokenwire.errors import RelayUnreachable

if TYPE_CHECKING:
    from tokenwire.client.http import Http, Reply
    from tokenwire.engine.clock import Clock, Handle

#: Of a lease: two renewals may be lost, and the third is in time.
SHARE: Final = 1 / 3


class Renewing:
    """Renews the lease of one connection until ``stop``, or the connection's end.

    Args:
        path: where renewals go.
        owner: whose connection it is; held weakly.
        reply: the connection's answer, whose fields say which lease that is. It is closed when the lease has lapsed.
        random: uniform in [0, 1): renewals of many readers are spread by a fifth of their distance.
    """

    def __init__(
        self, http: Http, clock: Clock, path: str, owner: object, reply: Reply, random: Callable[[], float]
    ) -> None:
        self._http = http
        self._clock = clock
        self._path = path
        self._owner = weakref.ref(owner)
        self._reply = reply
        self._random = random
        self._id = reply.fields.get("x-tokenwire-lease-id", "")
        self._seconds = _seconds(reply.fields.get("x-tokenwire-lease", ""))
        self._timer: Handle | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopped = not (self._id and self._seconds)  # a relay that knows no leases, or a stream that is over
        self._arm()

    def stop(self) -> None:
        """Renew no more. Idempotent."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _arm(self) -> None:
        if not self._stopped:
            delay = self._seconds * SHARE * (0.8 + 0.4 * self._random())
            self._timer = self._clock.call_later(delay, self._due)

    def _due(self) -> None:
        self._timer = None
        if self._owner() is None or self._reply.over:
            self.stop()
        elif self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._renew())

    async def _renew(self) -> None:
        try:
            fields = [("x-tokenwire-lease-id", self._id)]
            reply = await self._http.ask("POST", self._path, fields=fields, silence=self._seconds)
            await reply.whole()
            lapsed = reply.status == 404
        except RelayUnreachable:
            lapsed = False  # the connection itself will tell, if the relay is gone
        if lapsed:
            self._stopped = True
            self._reply.close()
        self._arm()


def _seconds(value: str) -> float:
    try:
        return max(0.0, float(value))
    except ValueError:
        return 0.0
