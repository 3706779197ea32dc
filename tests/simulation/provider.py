"""The provider: a process that answers each request with the script of the model that it asks for."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, cast

from tokenwire.testing.http_bytes import LAST_CHUNK, head, http_chunk, take_request

if TYPE_CHECKING:
    from tests.simulation.answers import Play, Script
    from tests.simulation.network import End
    from tests.simulation.world import World

    from tokenwire.testing.http_bytes import ReceivedRequest

PORT = 9000
_MODEL = re.compile(rb"\b(s\d+)\b")


class Answer:
    """One play of a script, as far as it came.

    Attributes:
        at_ns, asker: when it was asked for, and by which process.
    """

    def __init__(self, play: Play, end: End) -> None:
        self.play = play
        self.at_ns = end.process.world.now_ns
        self.asker = end.peer.process
        self._end = end
        self._given: list[tuple[int, int, int]] = []
        self._written = 0

    def note(self, start: int, size: int) -> None:
        """*size* bytes of the body begin at *start* of what this connection carries."""
        self._given.append((start, self._written, size))
        self._written += size

    @property
    def arrived(self) -> bytes:
        """The body, as far as the relay's process was given it."""
        delivered = self._end.peer.delivered
        count = 0
        for start, before, size in self._given:
            if delivered <= start:
                break
            count = before + min(size, delivered - start)
        return self.play.body[:count]


class Provider:
    """All providers: one port, one script for each model ``s0``, ``s1`` …

    Attributes:
        answers: by model, one for each request that came.
    """

    def __init__(self, world: World, scripts: dict[str, Script]) -> None:
        self.world = world
        self.scripts = scripts
        self.answers: dict[str, list[Answer]] = {name: [] for name in scripts}

    def answer(self, request: ReceivedRequest, end: End) -> Answer:
        found = _MODEL.search(request.body) or _MODEL.search(request.target.encode())
        assert found is not None, request
        name = found[1].decode()
        plays = self.scripts[name].plays
        answers = self.answers[name]
        answer = Answer(plays[min(len(answers), len(plays) - 1)], end)
        answers.append(answer)
        return answer


class Connection(asyncio.Protocol):
    """One connection to the provider; one request at a time."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._pending = bytearray()
        self._end: End
        self._written = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._end = cast("End", transport)

    def data_received(self, data: bytes) -> None:
        self._pending += data
        request = take_request(self._pending)
        if request is not None:
            answer = self._provider.answer(request, self._end)
            self._end.process.call_later(answer.play.wait, self._begin, answer)

    def _begin(self, answer: Answer) -> None:
        play = answer.play
        fields = [("content-type", play.content_type)]
        if play.framing == "chunked":
            fields.append(("transfer-encoding", "chunked"))
        elif play.framing == "length":
            fields.append(("content-length", str(len(play.body))))
        self._write(head(play.status, *fields))
        self._go_on(answer, 0)

    def _go_on(self, answer: Answer, number: int) -> None:
        """The write *number*, after its time."""
        if self._end.is_closing():
            return
        writes = answer.play.writes
        if number == len(writes):
            self._finish(answer)
            return
        self._end.process.call_later(writes[number].delay, self._next, answer, number)

    def _next(self, answer: Answer, number: int) -> None:
        if self._end.is_closing():
            return
        data = answer.play.writes[number].data
        framed = http_chunk(data) if answer.play.framing == "chunked" else data
        before = framed.index(b"\r\n") + 2 if answer.play.framing == "chunked" else 0
        answer.note(self._written + before, len(data))
        self._write(framed)
        self._go_on(answer, number + 1)

    def _finish(self, answer: Answer) -> None:
        ending = answer.play.ending
        if ending == "reset":
            self._end.link.reset()
        elif ending == "fin" or (ending == "clean" and answer.play.framing == "close"):
            self._end.close()
        elif ending == "clean" and answer.play.framing == "chunked":
            self._write(LAST_CHUNK)

    def _write(self, data: bytes) -> None:
        self._written += len(data)
        self._end.write(data)
