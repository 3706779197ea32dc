"""What one stream has used so far, while it runs: its provider's counts as they come, and an estimate from there on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenwire.dialects.deltas import Usage
from tokenwire.dialects.transcript import merge_usage
from tokenwire.engine.spoken import Spoken
from tokenwire.measure.tokenizers import ExactCount
from tokenwire.measure.tokens import whole
from tokenwire.measure.usage import said

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenwire.dialects.deltas import Delta
    from tokenwire.engine.reader import Reader
    from tokenwire.engine.stream import Stream
    from tokenwire.engine.unread import Unread
    from tokenwire.measure.estimator import Count

#: Entries decoded in one look, at most: 2 ms.
LOOK: Final = 256


class Tally:
    """One per stream whose usage is asked for while it runs. As in ``engine.leaving``, the stream is an argument.

    Attributes:
        readers: who is told of it (``engine.live``), and what each was told last.
        queued: whether a look is due.
        unread: what it may still cost, while nobody reads it.
    """

    __slots__ = ("_count", "_since", "_spoken", "_taken", "_told", "queued", "readers", "unread")

    def __init__(self) -> None:
        self._taken: int | None = None  # entries that were brought; None: they are read here
        self.readers: dict[Reader, Usage | None] = {}
        self.queued = False
        self.unread: Unread | None = None
        self._spoken = Spoken()
        self._count: Count | ExactCount | None = None
        self._told = Usage()
        self._since = False  # something was said that the provider has not counted

    def look(self, stream: Stream) -> None:
        """Read what came since the last look, ``LOOK`` entries at a time."""
        if not stream.log.last or self._taken is not None:
            return  # before its first entry its dialect and its model may still change
        count = self._counting(stream)
        for delta in self._spoken.read(stream, LOOK):
            self._add(count, delta)

    def take(self, stream: Stream, deltas: Sequence[Delta], seq: int) -> None:
        """*deltas* is what entries up to *seq* have brought since the last call: they are not read here again."""
        count = self._counting(stream)
        for delta in deltas:
            self._add(count, delta)
        self._taken = seq

    def _add(self, count: Count | ExactCount, delta: Delta) -> None:
        if isinstance(delta, Usage):
            self._told = merge_usage(self._told, delta)
            if delta.output is not None:
                count.told(delta.output)
                self._since = False
        elif text := said(delta):
            count.add(text)
            self._since = True

    def tokens(self, stream: Stream) -> float:
        """About how many tokens the answer has. What was not read yet, or cannot be, is taken to be like the rest."""
        read = self._spoken.seq - self._spoken.missed if self._taken is None else self._taken
        if self._count is None or not read:
            return 0.0
        missing = self._spoken.end(stream) - read
        tokens = self._count.tokens
        return tokens * (1 + missing / read) if missing and self._told.output is None else tokens

    def usage(self, stream: Stream) -> Usage:
        """Of the stream so far: what its provider told, and where it did not, or more was said since, an estimate."""
        told, meter = self._told, stream.meter
        input_ = told.input
        if input_ is None and meter is not None:
            hub = stream.hub
            input_ = meter.prompt(hub.estimator.counter(stream.model), hub.worker)
        usage = Usage(
            input=input_,
            output=whole(self.tokens(stream)),
            cached_input=told.cached_input,
            cache_write=told.cache_write,
            reasoning=told.reasoning,
            estimated=self._since or told.input is None,
        )
        return usage if meter is None else meter.priced(usage, stream.created)

    def _counting(self, stream: Stream) -> Count | ExactCount:
        count = self._count
        if count is None:
            count = self._count = self._begin(stream)
        return count

    def _begin(self, stream: Stream) -> Count | ExactCount:
        """By the tokenizer of who answers, where it has one."""
        hub, model = stream.hub, stream.model
        tokenizer = hub.tokenizers.get(model.partition("/")[0])
        if tokenizer is None:
            return hub.estimator.begin(model)
        return ExactCount(lambda: hub.estimator.begin(model), tokenizer, hub.worker)
