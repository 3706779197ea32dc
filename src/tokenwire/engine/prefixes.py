"""What those who join a stream late are told first: one legal prefix in their dialect.

In the provider's own dialect it is the provider's frames, condensed, where these mean something only in the order in
which they came; elsewhere an encoder's prefix of the transcript. What was read for one joiner is kept for the next, who
costs what came since: once there was one, others will come. It holds what was said, once for each of the two ways.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenwire.dialects.base import Mark, encode_frames
from tokenwire.dialects.transcript import Transcript
from tokenwire.engine.runs import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tokenwire.dialects.base import Dialect, Frame
    from tokenwire.engine.record import Record


class Prefixes:
    """Of one stream. As in ``engine.leaving``, the stream is an argument and never kept."""

    __slots__ = ("_condensed", "_reader", "_told", "_transcript")

    def __init__(self) -> None:
        self._reader: Reading | None = None
        self._transcript = Transcript()  # of what it has read
        self._told: Reading | None = None
        self._condensed: list[Frame] = []  # of what that one has

    def of(self, stream: Record, dialect: Dialect, upto: int) -> list[Frame]:
        """The prefix in *dialect* of the entries up to *upto*. Linear in what came since the last call, and in what is
        told.

        Raises ``NotResumable`` (410) if what has to be read is no longer held.
        """
        if dialect.condense is not None and dialect is stream.dialect and not stream.unary:
            return self._shown(stream, dialect.condense, upto)
        self._reader, begun = _at(self._reader, stream, upto)
        if begun:
            self._transcript = Transcript()
        for _ in folded(stream, self._reader, self._transcript, upto):
            pass
        if self._transcript.silent:
            return []
        encoder = stream.encoder(dialect)
        frames = encoder.prefix(self._transcript.copy())
        if dialect is stream.dialect and not stream.unary and not stream.hide_usage:
            # What follows are the provider's own frames, and not this encoder's: what it keeps for its end is told now.
            pending = getattr(encoder, "pending", None)
            frames += pending() if pending is not None else []
        return frames

    def _shown(self, stream: Record, condense: Callable[[Iterable[bytes]], list[Frame]], upto: int) -> list[Frame]:
        self._told, begun = _at(self._told, stream, upto)
        shown = [] if begun else [encode_frames([frame]) for frame in self._condensed]
        notable = stream.log.notable
        hide = Mark.SWALLOWED | Mark.USAGE_ONLY if stream.hide_usage else Mark.SWALLOWED
        try:
            # What is hidden has no text: it never is among entries that are read at once.
            shown.extend(
                run.frame for run in self._told.runs(stream, upto) if not notable.get(self._told.seq, Mark.PLAIN) & hide
            )
        finally:  # also where the rest is ``Away``
            self._condensed = condense(shown)
        return list(self._condensed)


def folded(stream: Record, reading: Reading, fold: Transcript, upto: int) -> Iterator[None]:
    """Fold what *reading* reads through entry *upto* into *fold*; in steps of one run, 20 us."""
    for run in reading.runs(stream, upto):
        if run.said is not None:
            fold.apply_run(run.said, run.size)
        else:
            for delta in run.deltas:
                fold.apply(delta)
        yield


def _at(reading: Reading | None, stream: Record, upto: int) -> tuple[Reading, bool]:
    """A reading that can go on through *upto*: *reading*, else one from the beginning (True)."""
    if reading is not None and stream.log.first - 1 <= reading.seq <= upto:
        return reading, False
    if stream.log.first > 1:
        raise stream.trimmed()
    return Reading(stream.decoder()), True
