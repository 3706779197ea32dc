"""A log read with a decoder, the entries of one envelope at once.

Nearly every entry is text in an envelope (``wire.envelope``). Entries that stand together in one are decoded as one:
the newest of them, with the text of all in its hole. So 64 entries of text cost what one costs, and not 64 times 5 us.
That is trusted only where a probe in the hole has decoded to exactly that text, and where what is joined gives one
delta of text; else each entry is decoded by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from tokenwire import dialects
from tokenwire.dialects.deltas import ReasoningDelta, RefusalDelta, TextDelta, ToolCallDelta
from tokenwire.engine.framing import parse
from tokenwire.engine.sealed import Away
from tokenwire.measure import usage
from tokenwire.wire.envelope import Group
from tokenwire.wire.json_spans import Kind

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from tokenwire.dialects.base import Decoder, Dialect
    from tokenwire.dialects.deltas import Delta
    from tokenwire.engine.log import Log
    from tokenwire.engine.record import Record
    from tokenwire.wire.envelope_template import Template

Holes: TypeAlias = "dict[tuple[Template, frozenset[int]], int]"
Said: TypeAlias = TextDelta | ReasoningDelta | RefusalDelta | ToolCallDelta

#: The deltas of which several that follow one another may be told as one.
SAID: Final = (TextDelta, ReasoningDelta, RefusalDelta, ToolCallDelta)
#: What stands in the holes of a probe: words that no provider writes, digits, spaces.
_PROBES: Final = {Kind.STRING: "tokenwire-probe-%d", Kind.INTEGER: "7%d", Kind.SPACES: ""}
#: Bytes that are joined at a time: a decoder is copied for each, and long texts are searched in no longer steps.
MOST: Final = 32 * 1024
#: Probes of an envelope (20 us each) that fail before it is left alone.
TRIES: Final = 4


class Run(NamedTuple):
    """*size* entries in a row and their *deltas*; of several entries *said* is the only one, and joins the one of each.

    *frame* says what all of them say, in the provider's dialect.
    """

    deltas: list[Delta]
    size: int
    frame: bytes
    said: Said | None = None


class Reading:
    """A decoder at one place of a log.

    Attributes:
        seq: the newest entry that was read.
        holes: of envelopes, and which of their holes are empty, the one that has the text, counted from 1; or how
            often that was not found out, below 0.
    """

    __slots__ = ("_alone", "decoder", "holes", "seq")

    def __init__(self, decoder: Decoder, seq: int = 0, holes: Holes | None = None) -> None:
        self.decoder = decoder
        self.seq = seq
        self.holes: Holes = {} if holes is None else holes
        self._alone = 1  # entries that are read one by one before it is tried again to join some

    def decode(self, stream: Record, frame: bytes) -> list[Delta]:
        """Read the next entry, which is *frame*. After the end marker nothing is said."""
        held = stream.log
        self.seq = seq = self.seq + 1
        attempt = held.attempt_at(seq)
        if attempt.unary:
            return dialects.get(attempt.dialect).decode_response(frame)
        if held.done_seq is not None and seq > held.done_seq:
            return []
        events = parse(frame, stream.dialect)
        if len(events) == 1:  # nearly always: no list of lists
            return self.decoder.feed(events[0])
        return [delta for event in events for delta in self.decoder.feed(event)]

    def runs(self, stream: Record, upto: int, most: int = MOST) -> Iterator[Run]:
        """Read on through entry *upto*; what is joined is at most *most* bytes in their envelope's holes. Whoever stops
        between two runs has read what came so far, and nothing else. So it is where ``Away`` is raised."""
        while self.seq < upto:
            for template, size, parts in _gathered(stream.log, self.seq, upto, most):
                if template is None:
                    for frame in parts:
                        yield Run(self.decode(stream, frame), 1, frame)
                    continue
                fits = _fitting(template, size, parts, most)
                run = self._joined(stream, template, fits, parts) if fits > 1 else None
                if run is not None:
                    self._alone = 1
                    self.seq += run.size
                    yield run
                else:
                    fits = min(self._alone, size)
                    self._alone *= 4
                    holes = iter(parts)
                    for _ in range(fits):
                        frame = template.fill(holes)
                        yield Run(self.decode(stream, frame), 1, frame)
                if fits < size:
                    break  # and look again from there

    def _joined(self, stream: Record, template: Template, size: int, parts: Sequence[bytes]) -> Run | None:
        """The first *size* entries of *parts* as one; None, and nothing was read, if they cannot be."""
        held = stream.log
        if held.done_seq is not None and self.seq + size > held.done_seq:
            return None
        width = len(template.kinds)
        parts = parts[: size * width]
        hole = self._hole(stream.dialect, template, frozenset(at for at in range(width) if not any(parts[at::width])))
        if hole is None:
            return None
        texts = parts[hole::width]
        if b"" in texts:  # whether that is a delta, only its decoder knows
            return None
        last = list(parts[-width:])
        last[hole] = b"".join(texts)
        frame = template.fill(iter(last))
        decoder = self.decoder.copy()
        deltas = [delta for event in parse(frame, stream.dialect) for delta in decoder.feed(event)]
        if len(deltas) != 1 or not isinstance(said := deltas[0], SAID):
            return None
        self.decoder = decoder
        return Run(deltas, size, frame, said)

    def _hole(self, dialect: Dialect, template: Template, empty: frozenset[int]) -> int | None:
        shape = template, empty
        known = self.holes.get(shape, 0)
        if -TRIES < known <= 0:
            found = probe(template, self.decoder, dialect, empty)
            # The first words of an answer bring more than themselves (its beginning, half a character): asked again.
            known = self.holes[shape] = known - 1 if found is None else found[0] + 1
        return known - 1 if known > 0 else None


def probe(
    template: Template, decoder: Decoder, dialect: Dialect, empty: Container[int] = ()
) -> tuple[int, Said] | None:
    """In which hole of *template* its text is, where nothing is in those of *empty*; and what *decoder*, as it stands
    now, makes of a frame: one delta with exactly that text. None where that is not so."""
    probes = [
        _PROBES[kind] % at if "%" in _PROBES[kind] and at not in empty else "" for at, kind in enumerate(template.kinds)
    ]
    frame = template.fill(iter([each.encode() for each in probes]))
    decoder = decoder.copy()
    deltas = [delta for event in parse(frame, dialect) for delta in decoder.feed(event)]
    if len(deltas) != 1 or not isinstance(deltas[0], SAID):
        return None
    text = usage.said(deltas[0])
    return (probes.index(text), deltas[0]) if text and text in probes else None


def _gathered(held: Log, seq: int, upto: int, most: int) -> Iterator[Group]:
    """The groups of entries seq+1 …; those in one envelope that stand together as one, also across the log's runs."""
    template, count, width = None, 0, 0  # what waits, and its bytes
    parts: list[bytes] = []
    while seq < upto:
        try:
            groups = list(held.groups(seq, upto - seq))
        except Away:
            if count:  # what is there is read first
                yield Group(template, count, parts)
            raise
        for group in groups:
            seq += group.size
            size = sum(map(len, group.parts))
            if group.template is not template or template is None or width + size > most:
                if count:
                    yield Group(template, count, parts)
                template, count, width, parts = group.template, 0, 0, []
            parts += group.parts
            count += group.size
            width += size
    if count:
        yield Group(template, count, parts)


def _fitting(template: Template, size: int, parts: Sequence[bytes], most: int) -> int:
    """How many of the *size* entries are joined at a time: at least one."""
    if sum(map(len, parts)) <= most:
        return size
    width = len(template.kinds)
    total = 0
    for at, part in enumerate(parts):
        total += len(part)
        if total > most:
            return at // width
    return size
