"""An upstream that takes the lane where it is given one, and the openings after which there is one."""

from __future__ import annotations

from tokenwire import dialects
from tokenwire.engine.ingest import Ingest
from tokenwire.engine.lane import Lane, Offer
from tokenwire.engine.reader import Reader
from tokenwire.engine.stream import Stream
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.sinks import ScriptedSink
from tokenwire.wire.chunked import chunk

OTHER = chat.text("in another envelope").replace(b'"index":0,', b'"index":0, ')
#: As many frames as an envelope is looked for in: it is found, or it is not.
OPEN = chat.role() + chat.text("open") + chat.text("ed ") + chat.text("now")
ODD = chat.role() + chat.text("open") + OTHER + chat.text("now")


class Upstream:
    """A source that reads HTTP/1.1 chunks, and takes the lane where it is given one."""

    def __init__(self, stream: Stream, *, upper: bool = False) -> None:
        self.upper = upper
        self.lane: Lane | None = None
        self.offer: Offer | None = None
        self.ingest = Ingest(stream, express=self._express)
        self.short = 0  # chunks that the lane took
        self.checks = 0

    def _express(self, offer: Offer | None) -> None:
        self.offer = offer
        self.lane = None if offer is None else offer.make(self._general, self._check, upper=self.upper)

    def _general(self, data: bytes) -> None:
        self.short -= 1
        body = b""
        rest = data
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        self.ingest.body(body, data if data == chunk(body) else None)

    def _check(self) -> None:
        self.checks += 1

    def is_short(self) -> bool:
        return self.lane is not None

    def send(self, *bodies: bytes) -> None:
        for body in bodies:
            self.short += 1
            if self.lane is not None and self.offer is not None and self.offer.ready():
                self.lane(chunk(body))
            else:
                self._general(chunk(body))

    def send_at_once(self, *bodies: bytes) -> None:
        """Several chunks in one read."""
        self.short += 1
        data = b"".join(map(chunk, bodies))
        if self.lane is not None and self.offer is not None and self.offer.ready():
            self.lane(data)
        else:
            self._general(data)


def attach(stream: Stream, sink: ScriptedSink, dialect: str = "openai.chat", *, ids: bool = False) -> Reader:
    reader = stream.attach(sink, dialects.get(dialect), ids=ids)
    reader.start()
    return reader


def frames_of(stream: Stream) -> list[bytes]:
    """One by one, which is the hardest way to read a log."""
    return [stream.log.frame(seq) for seq in range(1, stream.log.last_frame + 1)]
