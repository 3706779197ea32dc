"""Two readers of one live stream in different dialects, one of them cut and resuming at random: the same answer."""

from __future__ import annotations

import random

import pytest
from tests.translation.answers import STREAMS, TARGETS, Case, decode, differences, fold

from tokenwire import dialects
from tokenwire.dialects.base import Dialect
from tokenwire.dialects.transcript import Transcript
from tokenwire.engine.hub import Hub
from tokenwire.engine.ids import EventId, parse_event_id
from tokenwire.engine.ingest import Ingest
from tokenwire.engine.states import Policy
from tokenwire.engine.stream import Stream
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.sinks import ScriptedSink, ScriptedSource
from tokenwire.wire import sse

#: Whoever resumes must have ids.
RESUMING = [name for name in TARGETS if dialects.get(name).ids is not None]


class Mobile:
    """A reader that loses its connection: what had not arrived whole is gone, and asked for again by its id."""

    def __init__(self, stream: Stream, dialect: Dialect, chance: random.Random) -> None:
        self._stream = stream
        self._dialect = dialect
        self._chance = chance
        self._last: EventId | None = None
        self.body = b""
        self.joins = 0
        self._join()

    def _join(self) -> None:
        self._sink = ScriptedSink()
        self.joins += 1
        self._reader = self._stream.attach(self._sink, self._dialect, ids=True, after=self._last)
        self._reader.start()

    def cut(self) -> None:
        """The connection breaks somewhere in what was sent; the reader comes back after the last event it has."""
        sent = b"".join(self._sink.writes)
        if not self._reader.over:
            self._reader.leave()
        arrived = sent[: self._chance.randrange(len(sent) + 1)]
        whole = arrived.rfind(b"\n\n") + 2 if b"\n\n" in arrived else 0
        kept = arrived[:whole]
        parser = sse.Decoder()
        for event in parser.feed(kept):
            self._last = parse_event_id(event.id) if event.id else self._last
        # Events without an id of their own would come again: only what the id vouches for is kept.
        self.body += kept
        self._join()

    def rest(self) -> None:
        """The stream is over: what is left was sent."""
        self.body += b"".join(self._sink.writes)


def play(case: Case, steady: str, mobile: str, seed: int) -> tuple[bytes, Mobile]:
    chance = random.Random(seed)
    source = dialects.get(case.dialect)
    hub = Hub(ManualClock())
    try:
        stream = hub.open(owner="me", dialect=source, model="up/model", policy=Policy())
        sink = ScriptedSink()
        reader = stream.attach(sink, dialects.get(steady), ids=False)
        reader.start()
        moving = Mobile(stream, dialects.get(mobile), chance)
        stream.connecting(ScriptedSource())
        stream.begin()
        ingest = Ingest(stream)
        body, at = case.body, 0
        while at < len(body):
            size = chance.randrange(1, 400)
            ingest.body(body[at : at + size])
            at += size
            if chance.random() < 0.3:
                moving.cut()
        ingest.end()
        moving.cut()
        moving.cut()
        moving.rest()
        assert not sink.breaches
        return b"".join(sink.writes), moving
    finally:
        hub.close()


@pytest.mark.untraced
@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.path)
def test_both_readers_have_the_whole_answer(case: Case) -> None:
    """One of them in every dialect that has ids; the other reader's is another one each time."""
    source = fold(decode(dialects.get(case.dialect), [case.body]))
    for mobile in RESUMING:
        have_the_whole_answer(case, mobile, source)


def have_the_whole_answer(case: Case, mobile: str, source: Transcript) -> None:
    others = [name for name in TARGETS if name != mobile]
    for seed in range(3):
        steady = others[(seed + len(case.path)) % len(others)]
        body, moving = play(case, steady, mobile, seed)
        assert moving.joins > 2
        for name, got in ((steady, body), (mobile, moving.body)):
            dialect = dialects.get(name)
            again = fold(decode(dialect, [got]))
            # Within the provider's own dialect nothing is lost, whatever the dialect declares.
            found = differences(source, again, dialect)
            if source.failed is not None:  # an error is the last word: usage and reasons come with an end
                found = [each for each in found if not each.startswith(("usage.", "reason:"))]
            assert not found, (name, seed)
            assert (again.failed is None) == (source.failed is None), (name, seed)
