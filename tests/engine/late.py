"""Late joiners and readers who are behind, and what each of them has in the end: the fold of what it was sent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tests.translation.answers import decode, fold
from tests.translation.test_joining import state

from tokenwire import dialects
from tokenwire.client import Answer
from tokenwire.dialects.base import Dialect
from tokenwire.dialects.deltas import Delta, Terminal
from tokenwire.engine.framing import encode, encode_prefix
from tokenwire.engine.hub import Hub
from tokenwire.engine.ids import EventId
from tokenwire.engine.reader import Reader
from tokenwire.engine.states import Policy
from tokenwire.engine.stream import Stream
from tokenwire.testing.sinks import ScriptedSink, ScriptedSource
from tokenwire.wire import sse

UPSTREAMS = ("openai.chat", "anthropic", "openai.responses", "gemini", "ollama")
MERGING = ("native", "ui-messages", "agui")


def opened(hub: Hub, dialect: str) -> Stream:
    policy = Policy(linger=float("inf"), reader_timeout=1e6)
    stream = hub.open(owner="me", dialect=dialects.get(dialect), model="m", policy=policy)
    stream.connecting(ScriptedSource())
    stream.begin()
    return stream


class Late:
    """One reader and what it was sent. *snapshot*: a prefix first, as ``gateway.following`` sends it."""

    def __init__(self, stream: Stream, dialect: str, *, snapshot: bool, high_water: int | None = None) -> None:
        self.stream = stream
        self.dialect = dialects.get(dialect)
        self.sink = ScriptedSink(high_water)
        self.reader: Reader = stream.attach(self.sink, self.dialect, ids=True)
        self.prefix = b""
        self.frames = 0
        if snapshot:
            held = stream.log
            seq = held.last_frame if held.done_seq is None else held.done_seq - 1
            self.reader.cursor = EventId(held.epoch, seq)
            told = stream.prefix(self.dialect, seq)
            self.frames = len(told)
            self.place = self.reader.cursor
            last = self.place if self.reader.view.ids else None
            self.prefix = encode_prefix(told, self.dialect, last)
        self.reader.start(self.prefix)

    def catch_up(self) -> None:
        for _ in range(100_000):
            if self.reader.live or self.sink.closed:
                return
            self.sink.drain()
            self.reader.resume()
        raise AssertionError("it never got there")

    @property
    def state(self) -> Any:
        return held_by(self.dialect, self.sink.data)

    @property
    def ids(self) -> list[str]:
        return ids_in(self.sink.data)


def held_by(dialect: Dialect, data: bytes) -> Any:
    """What a client holds that was sent *data*."""
    found = fold(decode(dialect, [data]))
    for choice in found.choices.values():
        for call in choice.tool_calls.values():
            if re.fullmatch("call_[0-9a-f]{24}", call.id):  # made up by whoever reads
                call.id = ""
    told = state(found)
    if dialect.name == "native":  # a snapshot tells all thoughts and all texts, not how they took turns
        for choice, whole in zip(told[0], found.choices.values(), strict=True):
            choice[0][:] = [whole.reasoning, whole.text, whole.refusal]
    return told


def ids_in(data: bytes) -> list[str]:
    return re.findall(r"^id: (.*)$", data.decode(), re.MULTILINE)


def framed(dialect: Dialect, deltas: Sequence[Delta], *, ends: bool = True) -> list[bytes]:
    """An answer as a provider of *dialect* would send it."""
    encoder = dialect.encoder("st_up", 1_763_600_000.0, "m")
    frames = [frame for delta in deltas for frame in encoder.feed(delta)]
    frames += encoder.close(Terminal("completed", "stop")) if ends else []
    return [encode([frame], dialect, None) for frame in frames]


def proven(sink: ScriptedSink) -> bool:
    """Whether our client says that nothing was lost, doubled or changed."""
    answer = Answer()
    for event in sse.Decoder().feed(sink.data):
        answer.feed(event)
    assert answer.done is not None
    assert answer.done.mismatch is None
    return answer.done.verified is True
