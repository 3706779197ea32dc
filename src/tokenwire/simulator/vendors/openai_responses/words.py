"""What a stream of Responses says when a fault strikes: errors with the numbers that are due."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tokenwire.simulator.exchange import Frame
from tokenwire.simulator.vendors.json_bytes import to_json
from tokenwire.simulator.vendors.openai.errors import ApiError, overloaded, rate_limited, server_error
from tokenwire.simulator.vendors.openai_responses.events import KEEPALIVE, EventWriter, numbered


class Words:
    """The words of one stream. Each comes in place of the event made last, and takes its number.

    Attributes:
        last: the number of the event made last.
    """

    def __init__(self, writer: EventWriter) -> None:
        self._writer = writer
        self.last = 0

    def follow(self, events: Iterable[Frame], start: int = 0) -> Iterator[Frame]:
        """The *events* that were made before, as if they were made now; the first has the number *start*."""
        for self.last, frame in enumerate(events, start):
            yield frame

    @property
    def error(self) -> bytes:
        return self._failure(server_error(), "server_error")

    @property
    def overloaded(self) -> bytes:
        return self._failure(overloaded(), "server_is_overloaded")

    @property
    def limited(self) -> bytes:
        return self._failure(rate_limited(1000), "rate_limit_exceeded")

    @property
    def reframed(self) -> bytes:
        """Without its name, and flat, and nothing after it."""
        value = {"type": "error", "code": "server_error", "message": server_error().message, "param": None}
        return numbered(b"data: " + to_json(value)[:-1], self.last)

    @property
    def ping(self) -> bytes:
        return numbered(KEEPALIVE, self.last)

    def _failure(self, error: ApiError, code: str) -> bytes:
        said = {"type": error.type, "code": code, "message": error.message, "param": None}
        whole = to_json({"type": "error", "sequence_number": self.last, "error": said})
        failed = self._writer.failed(code, error.message)
        return b"event: error\ndata: %b\n\n%b" % (whole, numbered(failed, self.last + 1))
