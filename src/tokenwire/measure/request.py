"""One measured request: what every definition of a latency is computed from, and DESIGN section 7's own figures of it.

A ``Request`` is a trace, not a verdict: when each event of the answer came, of what kind it was and in which piece of
the network's. Tools disagree about which of these events count (``measure.definitions``); ours are the generated ones.

Times are milliseconds since the request was sent, on a clock that only runs forward. What an answer does not have (a
first text, where there was none) is None, never 0.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from tokenwire.measure.timing import gaps, stalls, time_per_output_token

Kind = Literal["structural", "reasoning", "text", "tool_args", "usage", "heartbeat", "error", "done"]
"""What an event brings.

``structural`` begins or ends something and holds nothing generated: a role, an empty delta, a finish reason.
``reasoning``, ``text`` and ``tool_args`` hold something generated, and are not empty. ``usage`` counts tokens and
nothing else, ``heartbeat`` is a comment or a ping, ``done`` an end mark such as ``[DONE]``.
"""

State = Literal["completed", "failed", "cancelled"]
"""``failed``: refused, cut, or ended with an error; ``cancelled``: stopped by who asked."""

GENERATED: Final = frozenset({"reasoning", "text", "tool_args"})
"""The kinds that a reader waits for; section 7 counts no other."""


class Event(Struct, frozen=True, omit_defaults=True):
    """One event of an answer.

    Attributes:
        arrival_ms: of the read that completed it.
        tokens: in it; None if unknown.
        chunk: number of that read, from 0: events of one read have one arrival.
    """

    arrival_ms: float
    kind: Kind
    tokens: int | None = None
    chunk: int = 0


class Request(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request, asked at 0.

    Attributes:
        events: in the order of their arrival.
        ended_ms: the end of the body, or when it was given up.
        first_byte_ms: of the body; None if none came or nobody looked.
        output_tokens: N, reasoning included, by the provider's usage; None if unknown.
        estimated: N was estimated, because the provider did not tell.
    """

    events: tuple[Event, ...]
    ended_ms: float
    first_byte_ms: float | None = None
    output_tokens: int | None = None
    estimated: bool = False
    state: State = "completed"

    def arrivals_ms(self, *kinds: Kind) -> list[float]:
        """When the events of these kinds came, in order; of the generated ones if no kind is named."""
        wanted = kinds or GENERATED
        return [event.arrival_ms for event in self.events if event.kind in wanted]

    @property
    def ttfb_ms(self) -> float | None:
        """To the first byte of the body, whatever it was."""
        return self.first_byte_ms

    @property
    def ttft_ms(self) -> float | None:
        """To the first generated event: a thought, a text or a part of a call."""
        return next(iter(self.arrivals_ms()), None)

    @property
    def ttft_answer_ms(self) -> float | None:
        """To the first text: after the thinking, where a model thinks."""
        return next(iter(self.arrivals_ms("text")), None)

    @property
    def itl_ms(self) -> list[float]:
        """The gaps between one generated event and the next, in order. Events of one read have gaps of 0."""
        return gaps(self.arrivals_ms())

    @property
    def tpot_ms(self) -> float | None:
        """Time per output token after the first; None if they are unknown or fewer than two."""
        arrivals = self.arrivals_ms()
        return time_per_output_token(arrivals[-1] - arrivals[0], self.output_tokens) if arrivals else None

    @property
    def e2e_ms(self) -> float | None:
        """To the last generated event. The end of the body, which may be much later, is ``ended_ms``."""
        return next(reversed(self.arrivals_ms()), None)

    @property
    def stalls_ms(self) -> list[float]:
        """The gaps that a reader notices: over 200 ms, and over five times the median gap."""
        return stalls(self.itl_ms)
