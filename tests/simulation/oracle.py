"""What a reader must have in the end: the log, read once from its beginning to its end, by the plainest code there is.

Nothing of the engine is used here but its log, and of that only how long it is and how it ended: its entries are
those of the bytes that the provider's connection has delivered.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from tests.simulation.answers import cut
from tests.simulation.readers import Seen
from tokenwire.dialects.base import Mark
from tokenwire.dialects.transcript import Transcript
from tokenwire.engine.framing import parse
from tokenwire.engine.ids import EventId
from tokenwire.wire import sse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.simulation.provider import Answer
    from tokenwire.dialects.base import Dialect, Frame
    from tokenwire.dialects.deltas import Delta, Terminal
    from tokenwire.engine.stream import Stream


T = TypeVar("T")

#: Failures before which everything that came must have been kept.
_CUT = frozenset({"upstream_closed", "upstream_timeout", "truncated"})


class Truth(NamedTuple):
    """What one stream's log says.

    Attributes:
        entries: its frames, from the first on.
        terminal: how it ended, with what it used where the provider did not say; bare: as it stands in the log.
        done: the entry that is the end marker; nothing after it is relayed.
        epochs: first entry of each epoch after the first, and its number.
    """

    stream: str
    created: float
    model: str
    dialect: Dialect
    entries: list[bytes]
    terminal: Terminal
    bare: Terminal
    done: int | None
    hides_usage: bool
    epochs: list[tuple[int, int]]

    def event_id(self, seq: int, frames: int = 0) -> EventId:
        epoch = 1
        for first, number in self.epochs:
            if seq >= first:
                epoch = number
        return EventId(epoch, seq, frames)


def truth(stream: Stream, answers: list[Answer]) -> Truth:
    """Of an ended stream. Raises ``AssertionError`` if its log is not what came."""
    terminal = stream.settled
    assert terminal is not None, f"{stream.id} never ended"
    held = stream.log
    entries = _entries(stream, answers)
    for seq in range(held.first, held.last_frame + 1):
        assert held.frame(seq) == entries[seq - 1], f"entry {seq} is not what came: {held.frame(seq)!r}"
    done = _done(stream.dialect, entries)
    assert held.terminal is not None
    return Truth(
        stream=stream.id,
        created=stream.created,
        model=stream.model,
        dialect=stream.dialect,
        entries=entries,
        terminal=terminal,
        bare=held.terminal,
        done=done,
        hides_usage=stream.hide_usage,
        epochs=[],
    )


def _entries(stream: Stream, answers: list[Answer]) -> list[bytes]:
    """The frames that the log must have, of all that came."""
    last, terminal = stream.log.last_frame, stream.terminal
    assert terminal is not None
    if not last:
        return []
    came, sure = cut(stream.dialect, answers[-1].arrived)
    assert last <= len(came), f"{last} entries, and only {len(came)} came"
    code = "" if terminal.error is None else terminal.error.code
    if (terminal.state == "completed" and _done(stream.dialect, came) is None) or code in _CUT:
        assert last >= sure, f"{terminal.state} {code} with {last} of {len(came)} entries"
    return came[:last]


def _done(dialect: Dialect, entries: list[bytes]) -> int | None:
    decoder = dialect.decoder()
    for seq, frame in enumerate(entries, 1):
        if dialect.look(frame, decoder)[0] & Mark.DONE:
            return seq
    return None


def raw(truth: Truth) -> list[tuple[EventId, bytes]]:
    """What a reader of the provider's own dialect is given: ids, and the bytes that they stand for."""
    dialect, hidden = truth.dialect, Mark.SWALLOWED | (Mark.USAGE_ONLY if truth.hides_usage else 0)
    decoder = dialect.decoder()
    given = []
    told = False
    for seq, frame in enumerate(truth.entries[: truth.done], 1):
        mark = dialect.look(frame, decoder)[0]
        told = told or bool(mark & Mark.ERROR and not mark & Mark.SWALLOWED)
        if not mark & hidden:
            given.append((truth.event_id(seq), frame))
    if truth.done is None and truth.terminal.state != "completed" and not told:
        encoder = dialect.encoder(truth.stream, truth.created, truth.model)
        frames = encoder.close(truth.bare)
        given += _numbered(truth, len(truth.entries) + 1, [_wire(dialect, frame) for frame in frames])
    return given


def _numbered(truth: Truth, seq: int, frames: Sequence[T]) -> list[tuple[EventId, T]]:
    """The frames that entry *seq* becomes, with their ids."""
    whole = truth.event_id(seq)
    last = len(frames)
    return [
        (whole if number == last else whole._replace(seq=seq - 1, frames=number), frame)
        for number, frame in enumerate(frames, 1)
    ]


def deltas(truth: Truth) -> list[list[Delta]]:
    """What each entry says."""
    decoder = truth.dialect.decoder()
    said = []
    for seq, frame in enumerate(truth.entries, 1):
        over = truth.done is not None and seq > truth.done
        said.append([] if over else [it for event in parse(frame, truth.dialect) for it in decoder.feed(event)])
    if truth.terminal.state == "completed":
        said.append(decoder.close())
    else:
        said.append([])
    return said


def events(truth: Truth, dialect: Dialect) -> list[Seen]:
    """Every event that a reader of *dialect* gets, from the first to the last, with its id."""
    if dialect is truth.dialect:
        return _raw_events(truth)
    encoder = dialect.encoder(truth.stream, truth.created, truth.model)
    seen: list[Seen] = []
    said = deltas(truth)
    for seq, each in enumerate(said, 1):
        frames = [frame for delta in each for frame in encoder.feed(delta)]
        if seq == len(said):
            frames += encoder.close(truth.terminal)
        seen += [_seen(dialect, frame, given) for given, frame in _numbered(truth, seq, frames)]
    return seen


def _raw_events(truth: Truth) -> list[Seen]:
    return [
        Seen(event.event, event.data, given)
        for given, frame in raw(truth)
        for event in parse(frame, truth.dialect)
    ]


def _seen(dialect: Dialect, frame: Frame, given: EventId) -> Seen:
    if dialect.framing == "ndjson":
        return Seen("message", frame.data, given)
    (event,) = sse.Decoder().feed(sse.encode(frame.data, event=frame.event))
    return Seen(event.event, event.data, given)


def _wire(dialect: Dialect, frame: Frame) -> bytes:
    return frame.data.encode() + b"\n" if dialect.framing == "ndjson" else sse.encode(frame.data, event=frame.event)


def fold(dialect: Dialect, seen: list[Seen]) -> Transcript:
    """What a client makes of these events."""
    decoder, transcript = dialect.decoder(), Transcript()
    for each in seen:
        for delta in decoder.feed(sse.Event(each.event, each.data)):
            transcript.apply(delta)
    return transcript


def said(transcript: Transcript, *, joined: bool = False) -> dict[str, Any]:
    """What counts of an answer. *joined*: as far as whoever joined late can know it."""
    choices = {}
    for index, choice in transcript.choices.items():
        calls = [
            (call.id, call.name, _arguments(call.arguments) if call.ended else call.arguments)
            for call in choice.tool_calls.values()
        ]
        choices[index] = (choice.text, choice.reasoning, choice.refusal, calls, choice.reason)
    usage, failed = transcript.usage, transcript.failed
    return {
        "choices": {index: each for index, each in choices.items() if any(each)},
        "usage": None if usage is None else (usage.input, usage.output),
        "failed": None if failed is None else failed.code,
    }


def _arguments(text: str) -> Any:
    try:
        return json.loads(text or "{}")
    except ValueError:
        return text
