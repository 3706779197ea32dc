"""What a reader must have in the end: the log, read once from its beginning to its end, by the plainest code there is.

Nothing of the engine is used here but its log, and of that only how long it is and how it ended: its entries are
those of the bytes that the provider's connection has delivered.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from tests.simulation.answers import cut

from tokenwire.dialects.base import Mark
from tokenwire.dialects.transcript import Transcript
from tokenwire.engine.framing import parse
from tokenwire.engine.sealed import Away
from tokenwire.wire import sse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.simulation.provider import Answer
    from tests.simulation.readers import Seen

    from tokenwire.dialects.base import Dialect, Frame
    from tokenwire.dialects.deltas import Delta, Terminal
    from tokenwire.engine.stream import Stream


T = TypeVar("T")
#: An event id without its epoch: entry, and how many frames of the one after it.
Place: TypeAlias = "tuple[int, int]"

#: Failures before which everything that came must have been kept.
_CUT = frozenset({"upstream_closed", "upstream_timeout", "truncated"})


class Told(NamedTuple):
    """One event."""

    place: Place
    event: str
    data: str


class Truth(NamedTuple):
    """What one stream's log says.

    Attributes:
        entries: its frames, from the first on.
        terminal: how it ended, with what it used where the provider did not say; None: its process was killed before.
        bare: the same as it stands in the log.
        done: the entry that is the end marker; nothing after it is relayed.
        epochs: the numbers of its epochs.
    """

    stream: str
    created: float
    model: str
    dialect: Dialect
    entries: list[bytes]
    terminal: Terminal | None
    bare: Terminal | None
    done: int | None
    hides_usage: bool
    epochs: frozenset[int]


class View:
    """A truth in any dialect: what its readers must have, worked out once for all of them."""

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        self._deltas: list[list[Delta]] | None = None
        self._events: dict[int, list[Told]] = {}  # by the identity of the dialect, which its reader holds
        self._said: dict[int, dict[str, Any]] = {}

    def events(self, dialect: Dialect) -> list[Told]:
        """Every event that a reader of *dialect* gets, from the first to the last."""
        found = self._events.get(id(dialect))
        if found is None:
            found = self._events[id(dialect)] = self._told(dialect)
        return found

    def said(self, dialect: Dialect) -> dict[str, Any]:
        """What they say."""
        found = self._said.get(id(dialect))
        if found is None:
            found = self._said[id(dialect)] = said(fold(dialect, self.events(dialect)))
        return dict(found)

    def _told(self, dialect: Dialect) -> list[Told]:
        truth = self.truth
        if dialect is truth.dialect:
            return _raw_events(truth)
        self._deltas = self._deltas or deltas(truth)
        encoder = dialect.encoder(truth.stream, truth.created, truth.model)
        told: list[Told] = []
        for seq, each in enumerate(self._deltas, 1):
            frames = [frame for delta in each for frame in encoder.feed(delta)]
            if seq == len(self._deltas) and truth.terminal is not None:
                frames += encoder.close(truth.terminal)
            told += [_told(dialect, frame, given) for given, frame in _numbered(seq, frames)]
        return told


def truth(stream: Stream, answers: list[Answer], *, lived: bool) -> Truth:
    """Of one object of a stream; *lived*: it was there from the beginning, and not found in a store.

    Raises ``AssertionError`` if its log is not what came.
    """
    held = stream.log
    entries = _entries(stream, answers, lived=lived)
    for seq in range(held.first, held.last_frame + 1):
        try:
            frame = held.frame(seq)
        except Away:
            continue
        assert frame == entries[seq - 1], f"entry {seq} is not what came: {frame!r}, not {entries[seq - 1]!r}"
    done = _done(stream.dialect, entries)
    return Truth(
        stream=stream.id,
        created=stream.created,
        model=stream.model,
        dialect=stream.dialect,
        entries=entries,
        terminal=None if held.terminal is None else stream.settled,
        bare=held.terminal,
        done=done,
        hides_usage=stream.hide_usage,
        epochs=frozenset(number for number, _ in held.epochs),
    )


def _entries(stream: Stream, answers: list[Answer], *, lived: bool) -> list[bytes]:
    """The frames that the log must have, of all that came."""
    last = stream.log.last_frame
    if not last:
        return []
    failed = AssertionError("nobody was asked")
    # A request that was given up may arrive at the provider after the next one: any of them may be the one that counts.
    for answer in reversed(answers):
        came, sure = cut(stream.dialect, answer.arrived)
        try:
            _long_enough(stream, came, sure if lived else 0)
        except AssertionError as error:
            failed = error
        else:
            return came[:last]
    raise failed


def _long_enough(stream: Stream, came: list[bytes], sure: int) -> None:
    last, terminal = stream.log.last_frame, stream.terminal
    assert last <= len(came), f"{last} entries, and only {len(came)} came"
    if terminal is not None:
        code = "" if terminal.error is None else terminal.error.code
        if (terminal.state == "completed" and _done(stream.dialect, came) is None) or code in _CUT:
            assert last >= sure, f"{terminal.state} {code} with {last} of {len(came)} entries"


def _done(dialect: Dialect, entries: list[bytes]) -> int | None:
    decoder = dialect.decoder()
    for seq, frame in enumerate(entries, 1):
        if dialect.look(frame, decoder)[0] & Mark.DONE:
            return seq
    return None


def raw(truth: Truth) -> list[tuple[Place, bytes]]:
    """What a reader of the provider's own dialect is given: ids, and the bytes that they stand for."""
    dialect, hidden = truth.dialect, Mark.SWALLOWED | (Mark.USAGE_ONLY if truth.hides_usage else 0)
    decoder = dialect.decoder()
    given = []
    told = False
    for seq, frame in enumerate(truth.entries[: truth.done], 1):
        mark = dialect.look(frame, decoder)[0]
        told = told or bool(mark & Mark.ERROR and not mark & Mark.SWALLOWED)
        if not mark & hidden:
            given.append(((seq, 0), frame))
    if truth.done is None and truth.bare is not None and truth.bare.state != "completed" and not told:
        encoder = dialect.encoder(truth.stream, truth.created, truth.model)
        frames = encoder.close(truth.bare)
        if dialect.follow is not None and truth.entries:
            frames = dialect.follow(frames, truth.entries[0], [frame for _, frame in reversed(given)])
        given += _numbered(len(truth.entries) + 1, [_wire(dialect, frame) for frame in frames])
    return given


def _numbered(seq: int, frames: Sequence[T]) -> list[tuple[Place, T]]:
    """The frames that entry *seq* becomes, with their places."""
    last = len(frames)
    return [((seq, 0) if number == last else (seq - 1, number), frame) for number, frame in enumerate(frames, 1)]


def deltas(truth: Truth) -> list[list[Delta]]:
    """What each entry says."""
    decoder = truth.dialect.decoder()
    said = []
    for seq, frame in enumerate(truth.entries, 1):
        over = truth.done is not None and seq > truth.done
        said.append([] if over else [it for event in parse(frame, truth.dialect) for it in decoder.feed(event)])
    if truth.terminal is not None:
        said.append(decoder.close() if truth.terminal.state == "completed" else [])
    return said


def _raw_events(truth: Truth) -> list[Told]:
    return [
        Told(given, event.event, event.data) for given, frame in raw(truth) for event in parse(frame, truth.dialect)
    ]


def _told(dialect: Dialect, frame: Frame, given: Place) -> Told:
    if dialect.framing == "ndjson":
        return Told(given, "message", frame.data)
    (event,) = sse.Decoder().feed(sse.encode(frame.data, event=frame.event))
    return Told(given, event.event, event.data)


def _wire(dialect: Dialect, frame: Frame) -> bytes:
    return frame.data.encode() + b"\n" if dialect.framing == "ndjson" else sse.encode(frame.data, event=frame.event)


def fold(dialect: Dialect, events: Iterable[Seen | Told]) -> Transcript:
    """What a client makes of these events."""
    decoder, transcript = dialect.decoder(), Transcript()
    for each in events:
        for delta in decoder.feed(sse.Event(each.event, each.data)):
            transcript.apply(delta)
    return transcript


def said(transcript: Transcript) -> dict[str, Any]:
    """What counts of an answer."""
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
