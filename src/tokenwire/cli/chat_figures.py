"""The figures of one answer, while it comes and after: TTFT, tokens per second, tokens, cost (DESIGN section 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenwire.dialects.deltas import (
    GENERATED,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)

if TYPE_CHECKING:
    from tokenwire.client import Answer, Update

#: The vendors' rule of thumb for English; in bytes it is not far off for other scripts either.
_BYTES_PER_TOKEN = 4
#: Tokens that came in one read have one time: a rate within less than this would be the speed of our own loop.
_SHORTEST_NS = 10_000_000


class Figures:
    """Fed with every update and its time (nanoseconds, monotonic).

    *asked_ns*: when the request was sent. None: by somebody else, and only the relay knows its times, at the end.
    """

    def __init__(self, asked_ns: int | None) -> None:
        self._asked_ns = asked_ns
        self._first_ns: int | None = None
        self._last_ns = 0
        self._events = 0
        self._bytes = 0
        self._counted = 0  # by the provider, and what came since is estimated
        self._exact = False

    def take(self, update: Update, now_ns: int) -> None:
        if isinstance(update, GENERATED):
            self._first_ns = now_ns if self._first_ns is None else self._first_ns
            self._last_ns = now_ns
            self._events += 1
            self._exact = False
            if isinstance(update, TextDelta | ReasoningDelta | RefusalDelta):
                self._bytes += len(update.text.encode())
            elif isinstance(update, ToolCallDelta):
                self._bytes += len(update.json)
        elif isinstance(update, Usage) and update.output is not None:
            self._counted = update.output
            self._events = self._bytes = 0
            self._exact = not update.estimated

    def ended(self, answer: Answer) -> None:
        """The stream is over: its usage, if there is one, is the last word."""
        done = answer.done
        if self._asked_ns is None and done is not None and done.ttft_ms is not None and done.e2e_ms is not None:
            self._asked_ns, self._first_ns, self._last_ns = 0, int(done.ttft_ms * 1e6), int(done.e2e_ms * 1e6)
        if answer.usage is not None and answer.usage.output is not None:
            self._counted = answer.usage.output
            self._events = self._bytes = 0
            self._exact = not answer.usage.estimated

    @property
    def tokens(self) -> int:
        """Output tokens so far. Each event has one at least."""
        return self._counted + max(self._events, round(self._bytes / _BYTES_PER_TOKEN))

    @property
    def ttft(self) -> float | None:
        """Seconds from the request to the first generated event; None without one."""
        return None if self._first_ns is None or self._asked_ns is None else (self._first_ns - self._asked_ns) / 1e9

    @property
    def rate(self) -> float | None:
        """Tokens per second between the first and the last; None while there are not two of them."""
        if (
            self.ttft is None
            or self._first_ns is None
            or self._last_ns - self._first_ns < _SHORTEST_NS
            or self.tokens < 2
        ):
            return None
        return (self.tokens - 1) / ((self._last_ns - self._first_ns) / 1e9)

    def line(self, now_ns: int, cost_usd: float | None, *, dot: str = "·") -> str:
        """All of it in one line; estimates are marked ``~``."""
        if self._first_ns is None:
            return "" if self._asked_ns is None else f"{(now_ns - self._asked_ns) / 1e9:.1f} s without a token"
        about = "" if self._exact else "~"
        parts = [] if self.ttft is None else [f"TTFT {self.ttft * 1000:.0f} ms"]
        if self.rate is not None:
            parts.append(f"{about}{self.rate:.0f} tokens/s")
        parts.append(f"{about}{self.tokens} token{'' if self.tokens == 1 else 's'}")
        if cost_usd is not None:
            parts.append(dollars(cost_usd))
        return f" {dot} ".join(parts)


def dollars(amount: float) -> str:
    """Cents where there are some; of less, two digits that say something."""
    if amount >= 1 or amount <= 0:
        return f"${amount:.2f}"
    places = 2
    while amount < 10 ** (1 - places) and places < 9:
        places += 1
    return f"${amount:.{places}f}"
