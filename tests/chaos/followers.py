"""Readers that live through everything: cut at any byte, slow, frozen, refused, and back again from the last id.

What one has is what it could fold: the events after its last reset. Nothing is judged here but what no answer may be;
``world`` compares it with the log that is stored in the end.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Final, Literal

from tokenwire.testing.http_client import Answer, Client
from tokenwire.wire import sse
from tokenwire.wire.sse import Event

#: Nothing takes so long; it only keeps a broken test from hanging the run.
LIMIT_SECONDS: Final = 30.0
#: Before it is tried again: the relay is being restarted, or was asked too often.
AGAIN_SECONDS: Final = 0.02

Outcome = Literal["over", "unknown"]


class Follower:
    """One reader of one stream in one dialect, over as many connections as it takes.

    Args:
        port: of the relay; it may be restarted there.
        path: what is asked: ``/v1/streams/ID/events``, with the dialect, the same each time (an EventSource cannot
            change it); the header says from where.
        random: decides how this reader fares.
        wild: how likely each connection is cut; 0 for a reader that only comes back.

    Attributes:
        events: the log's events after the last reset, in order; of a snapshot all its frames.
        prefix: how many of them are a snapshot.
        seen: every event with an id that it ever got.
        after: the last id.
        resets: how often it was told to begin anew.
        outcome: how it ended: ``over``, or the relay does not know the stream (``unknown``).
        over_at: when, by the loop's clock.
    """

    def __init__(self, port: int, stream: str, dialect: str, random: Random, *, wild: float = 0.6) -> None:
        self.port = port
        self.stream = stream
        self.dialect = dialect
        self.events: list[Event] = []
        self.seen: list[Event] = []
        self.prefix = 0
        self.after: str | None = None
        self.resets = 0
        self.connections = 0
        self.over_at = 0.0
        self.outcome: Outcome | None = None
        self._random = random
        self._wild = wild
        self._begin = random.choice(("start", "start", "snapshot"))

    async def run(self) -> None:
        """To the end of the stream. Raises ``AssertionError`` for an answer that cannot be, or after too long."""
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                while self.outcome is None:
                    try:
                        await self._connect()
                    except OSError:  # nobody listens: it is between two lives
                        await asyncio.sleep(AGAIN_SECONDS)
        except TimeoutError:
            raise AssertionError(f"{self}: no end came") from None
        self.over_at = asyncio.get_running_loop().time()

    def __str__(self) -> str:
        return (
            f"the reader of {self.stream} in {self.dialect}, after {self.connections} connections and "
            f"{self.resets} resets, at {self.after}"
        )

    async def _connect(self) -> None:
        random = self._random
        path = f"/v1/streams/{self.stream}/events?dialect={self.dialect}"
        fields = {"accept": "text/event-stream"}
        if self.after is not None:
            fields["last-event-id"] = self.after
        else:
            self._forget()
            path += f"&from={self._begin}"
        client = await Client.connect(self.port, receive_buffer=random.choice((None, 2048)))
        self.connections += 1
        try:
            answer = client.get(path, fields)
            most = await self._suffer(client, answer) if random.random() < self._wild else None
            await _until(answer, most)
            self._take(answer, most)
        finally:
            if client.left is None and random.random() < 0.5:
                client.reset()
            else:
                client.close()
            await client.gone()
        if answer.status == 503:
            await asyncio.sleep(AGAIN_SECONDS)

    async def _suffer(self, client: Client, answer: Answer) -> int | None:
        """What happens to this connection; after how many bytes it is cut, if it is."""
        random = self._random
        fate = random.random()
        if fate < 0.3:  # frozen, or slow
            for _ in range(random.randint(1, 3)):
                client.pause()
                await asyncio.sleep(random.uniform(0.001, 0.05))
                client.resume()
                await asyncio.sleep(0.001)
            return None
        return int(random.expovariate(1 / 600)) if fate < 0.9 else 0

    def _take(self, answer: Answer, most: int | None) -> None:
        """What came, up to the byte where it was cut."""
        if answer.status == 0:
            return
        if answer.status == 204:
            self.outcome = "over"
        elif answer.status == 404:
            self.outcome = "unknown"
        elif answer.status in (409, 410):
            assert self.after is not None, f"{answer.status} to who asked for nothing: {bytes(answer.body)!r}"
            self._reset()
        elif answer.status == 200 and "content-length" in answer.fields:  # what would be a 503: come back later
            assert not sse.Decoder().feed(bytes(answer.body)), bytes(answer.body)
        elif answer.status == 200:
            body = bytes(answer.body)
            self._feed(sse.Decoder(), body if most is None else body[:most], whole=answer.complete and most is None)
        elif answer.status == 502 and b"was restarted" in answer.body:  # before it said anything: that is an HTTP error
            self.outcome = "over"
        else:
            assert answer.status == 503, f"{answer.status}: {bytes(answer.body)!r}"

    def _feed(self, decoder: sse.Decoder, body: bytes, *, whole: bool) -> None:
        farewell = False
        for event in decoder.feed(body):
            if event.event == "reset" and self.dialect == "native":
                self._reset()
                self._begin = "snapshot"
            elif event.id is None and self._begin == "snapshot" and self.after is None:
                self.events.append(event)  # a frame of the prefix, which has an id at its end only
            elif event.id in (None, self.after):  # news beside the log, or why this connection ends
                farewell = farewell or "error" in event.data
            else:
                self._log(event)
        if decoder.last_event_id is not None:
            self.after = decoder.last_event_id
        if whole and not farewell:
            self.outcome = "over"
        elif self.after is None:
            self._forget()

    def _log(self, event: Event) -> None:
        if self._begin == "snapshot" and self.after is None:
            self.prefix = len(self.events) + 1
        self.after = event.id
        self.events.append(event)
        if self.prefix != len(self.events):
            self.seen.append(event)

    def _reset(self) -> None:
        self.resets += 1
        self.after = None
        self._begin = self._random.choice(("start", "snapshot"))
        self._forget()

    def _forget(self) -> None:
        self.events = []
        self.prefix = 0


async def _until(answer: Answer, most: int | None) -> None:
    """Until it is over, or has *most* bytes."""
    while True:
        try:
            await answer.until(lambda it: it.over or (it.status and most is not None and len(it.body) >= most))
        except TimeoutError:  # nothing is wrong with an answer that takes longer; the follower has its own limit
            continue
        return
