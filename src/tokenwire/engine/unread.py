"""What an answer may cost while nobody reads it.

``finish`` runs to the end without readers, and a model that never stops would run as long as its deadlines let it. Only
what is generated meanwhile counts: what was read, and the prompt, are paid for whether or not it goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import structs

from tokenwire.dialects.deltas import Failed
from tokenwire.measure.tokens import whole

if TYPE_CHECKING:
    from tokenwire.engine.stream import Stream
    from tokenwire.engine.tally import Tally

#: Who lingers no longer is bounded enough by that: a minute of the quickest models is some thousand tokens.
COUNTED_FROM: Final = 60.0


class Unread:
    """One per stream that nobody reads, from the leaving of its last reader to the coming of the next: part of its
    ``Tally``, and looked at by ``engine.live``. Nothing is counted while somebody reads."""

    __slots__ = ("_before",)

    def __init__(self) -> None:
        self._before: float | None = None  # tokens when it was first looked at

    def look(self, stream: Stream, tally: Tally) -> Failed | None:
        """Whether that is enough, and why; *tally* is up to date."""
        tokens = tally.tokens(stream)
        if self._before is None:
            self._before = tokens
            return None
        policy = stream.policy
        cost = self._cost(stream, tally)
        if cost is None:
            spent = tokens - self._before
            if spent < policy.unread_tokens:
                return None
            said = f"about {whole(spent)} tokens were generated (limits.unread_tokens is {policy.unread_tokens:g})"
        elif cost < policy.unread_usd:
            return None
        else:
            said = f"{cost:.4g} USD were spent (limits.unread_cost_usd is {policy.unread_usd:g})"
        return Failed(code="cost_cap", message=f"nobody reads this answer, and since then {said}")

    def _cost(self, stream: Stream, tally: Tally) -> float | None:
        """Of what was generated since; None without a price."""
        usage = tally.usage(stream)
        meter = stream.meter
        if usage.cost_usd is None or meter is None:
            return None
        assert self._before is not None
        before = meter.priced(structs.replace(usage, output=whole(self._before)), stream.created).cost_usd
        return None if before is None else usage.cost_usd - before
