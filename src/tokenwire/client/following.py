"""One stream, followed to its end over as many connections as it takes.

The cursor is the id of the last event that was folded. Whatever becomes of a connection, the next asks for what comes
after it, so every event is folded once and in order. Nothing here is a task: all of it happens while the caller waits
for the next update, and a cancelled wait leaves a state from which the next one goes on. Only the renewals of a lease,
where one is asked for, go on by themselves (``client.renewing``).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlencode

from tokenwire.client.answer import Answer
from tokenwire.client.http import stream_path
from tokenwire.client.refusals import refusal, retry_after
from tokenwire.client.renewing import Renewing
from tokenwire.client.updates import Dropped, Resumed
from tokenwire.dialects.deltas import Failed
from tokenwire.dialects.native.decode import Decoder
from tokenwire.errors import RelayUnreachable

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from tokenwire.client.backoff import Backoff
    from tokenwire.client.http import Reply
    from tokenwire.client.relay import Client
    from tokenwire.client.updates import Update
    from tokenwire.wire.sse import Event


class Following:
    """An asynchronous iterator of updates, the last of which is ``Done``. Made by ``Client.follow``.

    Iterating raises:
        StreamNotFound, StreamOver, CursorLost: the relay's answer to the cursor, also later, to a resume. Instead of
            the last, relays tell a reader to begin anew (``Reset``, then a snapshot's deltas), and go on.
        RelayRefused: any other refusal that trying again does not cure.
        RelayUnreachable: no progress for ``Retry.give_up`` seconds.

    After one of them, and after ``Done``, the iteration is over. One task at a time may iterate; a cancelled wait loses
    nothing. As a context manager it closes its connection when it is left.

    Attributes:
        stream: the id of the stream.
        answer: what came so far.
        last_id: the cursor: everything through this event is in ``answer``. None before the first.
    """

    def __init__(
        self,
        client: Client,
        stream: str,
        backoff: Backoff,
        *,
        after: str | None,
        begin: Literal["start", "snapshot", "now"],
        lease: float | None = None,
    ) -> None:
        self.stream = stream
        self.last_id = after
        self.answer = Answer(from_start=after is None and begin != "now")
        self._client = client
        self._backoff = backoff
        self._begin = begin
        self._lease = lease
        self._renewing: Renewing | None = None
        self._reply: Reply | None = None
        self._connected_ns = 0
        self._ready: deque[Update] = deque()
        self._over = False
        self._down_ns: int | None = None  # since when nothing has come
        self._due_ns: int | None = None
        self._farewell: str | None = None  # why this connection ends, in the relay's words
        self._floor = 0.0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Update:
        while not self._ready:
            if self._over:
                raise StopAsyncIteration
            if self._due_ns is not None:
                await self._wait(self._due_ns)
            if self._reply is None:
                await self._connect()
            else:
                await self._read(self._reply)
        return self._ready.popleft()

    @property
    def waiting(self) -> bool:
        """Whether the next update is there already."""
        return bool(self._ready)

    def close(self) -> None:
        """Stop reading, and drop the connection; the stream itself goes on until its linger is over. Idempotent."""
        self._ready.clear()
        self._end()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _end(self) -> None:
        self._over = True
        self._disconnect()

    def _disconnect(self) -> None:
        if self._renewing is not None:
            self._renewing.stop()
            self._renewing = None
        if self._reply is not None:
            self._reply.close()
            self._reply = None

    async def _wait(self, due_ns: int) -> None:
        left = (due_ns - self._client.clock.now_ns()) / 1e9
        if left > 0:
            await self._client.sleep(left)
        self._due_ns = None

    async def _connect(self) -> None:
        client = self._client
        path = stream_path(self.stream) + "/events"
        fields = [("accept", "text/event-stream")]
        if self._lease is not None:
            fields.append(("x-tokenwire-lease", f"{self._lease:g}"))
        if self.last_id is not None:
            fields.append(("last-event-id", self.last_id))
        elif self._begin != "start":
            path += "?" + urlencode({"from": self._begin})
        try:
            reply = await client.http.ask("GET", path, fields=fields, silence=client.silence)
            if not reply.streams:
                await self._refused(reply)
                return
        except RelayUnreachable as error:
            self._drop(error.cause)
            return
        self._reply = reply
        self._connected_ns = client.clock.now_ns()
        if self._lease is not None:
            path = stream_path(self.stream) + "/lease"
            self._renewing = Renewing(client.http, client.clock, path, self, reply, self._backoff.random)
        if self._down_ns is not None:
            self._ready.append(Resumed(self.last_id))

    async def _refused(self, reply: Reply) -> None:
        error = refusal(reply.status, reply.fields, await reply.whole(), of_stream=True)
        if error.retryable:
            self._drop(str(error), floor=retry_after(reply.fields))
            return
        self._end()
        raise error

    async def _read(self, reply: Reply) -> None:
        try:
            events = await reply.events()
        except RelayUnreachable as error:
            self._drop(self._farewell or error.cause)
            return
        if not events:
            self._drop(self._farewell or "it ended the connection before the stream's end")
            return
        for event in events:
            self._take(event, reply.standing_id)
            if self.answer.done is not None:
                self._client.mismatches += self.answer.done.verified is False
                self._end()
                return
        self.last_id = reply.last_event_id or self.last_id  # an id may stand alone

    def _take(self, event: Event, standing: str | None) -> None:
        """*standing*: the id that stood alone before the first event of this connection: where it began."""
        self._floor = self._floor if event.retry is None else event.retry / 1e3
        if event.event == "error" and event.id in (None, self.last_id, standing):
            # It advances nothing, so it is not of the log: this connection is told why it ends (a reader that is too
            # slow, a relay that goes down). The stream goes on, and so do we.
            self._farewell = next((it.message for it in Decoder().feed(event) if isinstance(it, Failed)), None)
            return
        self.last_id = event.id or self.last_id
        self._down_ns = None
        self._ready.extend(self.answer.feed(event))

    def _drop(self, cause: str, floor: float = 0.0) -> None:
        """The connection is gone, or could not be had. Raises ``RelayUnreachable`` if that has lasted too long."""
        client, retry = self._client, self._client.retry
        now = client.clock.now_ns()
        if self._reply is not None:
            self.last_id = self._reply.last_event_id or self.last_id  # who begins now has missed nothing since then
            if self._reply.retry is not None:  # said, and no event came after it
                self._floor = self._reply.retry / 1e3
            self._disconnect()
            if now - self._connected_ns >= retry.healthy * 1e9:
                self._backoff.reset()
                self._down_ns = None
        self._farewell = None
        if self._down_ns is None:
            self._down_ns = now
        delay = self._backoff.delay(max(floor, self._floor))
        down = (now - self._down_ns) / 1e9
        if down + delay > retry.give_up:
            self._end()
            raise RelayUnreachable(client.url, f"{cause}; given up after {down:.0f} s")
        self._due_ns = now + int(delay * 1e9)
        self._ready.append(Dropped(cause, self._backoff.attempts, delay))
