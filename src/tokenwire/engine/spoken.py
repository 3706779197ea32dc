"""What a stream said, read off its log a part at a time, without decoding most of it.

Nearly every entry is text in an envelope (``wire.envelope``), and what is in the envelope's hole is known to be the
text. So of entries that stand together in one envelope the first is decoded, which also brings the decoder up to date,
and of the others the holes are joined: 0.2 us an entry instead of 5. An envelope is only trusted so far when a probe in
its hole decodes to exactly that text.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from msgspec import structs

from tokenwire import dialects
from tokenwire.dialects.deltas import ToolCallDelta
from tokenwire.engine.framing import parse
from tokenwire.engine.runs import probe
from tokenwire.engine.sealed import Away

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenwire.dialects.base import Decoder
    from tokenwire.dialects.deltas import Delta
    from tokenwire.engine.record import Record
    from tokenwire.engine.runs import Said
    from tokenwire.wire.envelope_template import Template

_string = msgspec.json.Decoder(str).decode
#: A whole body that is larger is not read: its pictures or sounds are no text.
MOST_BODY: Final = 256 * 1024


class Place(NamedTuple):
    """Where an envelope has its text: the number of the hole; *delta* is what it becomes, with another text."""

    hole: int
    delta: Said

    def saying(self, text: str) -> Delta:
        if isinstance(self.delta, ToolCallDelta):
            return structs.replace(self.delta, json=text)
        return structs.replace(self.delta, text=text)


class Spoken:
    """One reading of one log, from its beginning on. The stream is an argument and never kept.

    Attributes:
        seq: the newest entry that was read.
        missed: entries that were trimmed before they could be.
        spent: entries decoded so far; an envelope's run counts as one.
    """

    __slots__ = ("_decoder", "_newest", "_places", "missed", "seq", "spent")

    def __init__(self) -> None:
        self._decoder: Decoder | None = None
        self._newest: Template | None = None  # of the newest entry that was read
        self._places: dict[Template, Place | None] = {}
        self.seq = 0
        self.missed = 0
        self.spent = 0

    def end(self, stream: Record) -> int:
        """The entry that is read last, if nothing more comes: nothing is said after the end marker."""
        held = stream.log
        return held.last_frame if held.done_seq is None else held.done_seq

    def read(self, stream: Record, budget: int) -> list[Delta]:
        """The deltas of what came since the last call, runs of one envelope as one delta; about *budget* entries are
        decoded at most (5 us each), and the rest is left for the next call."""
        held, dialect = stream.log, stream.dialect
        end = self.end(stream)
        if held.first > self.seq + 1:
            self.missed += held.first - 1 - self.seq
            self.seq = held.first - 1
        self._decoder = self._decoder or stream.decoder()
        deltas: list[Delta] = []
        last = self.spent + budget
        while self.seq < end and self.spent < last:
            try:
                groups = held.groups(self.seq, end - self.seq)
            except Away as away:  # nobody can wait for them here: they count as those that were trimmed
                self.missed += away.last - self.seq
                self.seq, self._newest = away.last, None
                continue
            for template, size, parts in groups:
                if template is not None and (place := self._enveloped(stream, template, parts, deltas)) is not None:
                    first = 0 if template is self._newest else len(template.kinds)
                    self._newest = template
                    rest = parts[first + place.hole :: len(template.kinds)]
                    if rest:
                        deltas.append(place.saying(_text(b"".join(rest))))
                    self.seq += size
                    continue
                self._newest = None
                frames = parts if template is None else held.after(self.seq, size)
                for frame in frames[: last - self.spent]:
                    self.seq += 1
                    self.spent += 1
                    attempt = held.attempt_at(self.seq)
                    if attempt.unary:
                        deltas += (
                            dialects.get(attempt.dialect).decode_response(frame) if len(frame) <= MOST_BODY else ()
                        )
                    else:
                        decoder = self._decoder
                        deltas += [delta for event in parse(frame, dialect) for delta in decoder.feed(event)]
                if self.spent >= last:
                    break
        return deltas

    def _enveloped(
        self, stream: Record, template: Template, parts: Sequence[bytes], deltas: list[Delta]
    ) -> Place | None:
        """Decode the first frame of a run in *template*, unless the run began earlier. None, and nothing was decoded,
        if all must be."""
        decoder, dialect = self._decoder, stream.dialect
        assert decoder is not None
        place = self._places.get(template)
        if (place is None and template in self._places) or template is self._newest:
            return place
        first = template.fill(iter(parts))
        before = decoder.copy() if place is None else decoder
        opening = [delta for event in parse(first, dialect) for delta in decoder.feed(event)]
        if place is None:
            place = self._places[template] = self._probe(stream, template)
            if place is None:
                self._decoder = before
                return None
        else:  # the same words may belong to another block now
            delta = next((delta for delta in opening if type(delta) is type(place.delta)), place.delta)
            place = self._places[template] = place._replace(delta=delta)
        deltas += opening
        self.spent += 1
        return place

    def _probe(self, stream: Record, template: Template) -> Place | None:
        assert self._decoder is not None
        found = probe(template, self._decoder, stream.dialect)
        return None if found is None else Place(*found)


def _text(body: bytes) -> str:
    """The body of a JSON string as text. Half of a surrogate pair, the other half of which is not here (the answer was
    cut, or it is yet to be read), becomes U+FFFD."""
    try:
        return _string(b'"%b"' % body)
    except msgspec.DecodeError:
        halves: str = json.loads(b'"%b"' % body)
        return halves.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
