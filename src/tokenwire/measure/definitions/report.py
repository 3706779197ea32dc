"""What a definition makes of requests, and the arithmetic that all of them share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from tokenwire.measure.percentiles import quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tokenwire.measure.request import Event, Request

Figures = dict[str, float | list[float] | None]
"""One request's figures by the tool's names; a list where the tool keeps one value for each gap."""

Summary = dict[str, dict[str, float | None]]
"""Statistics of each figure by the tool's names, and under ``COUNTS`` what it counts and divides by the duration."""

#: Not a tool's name: each has its own place for these.
COUNTS: Final = "counts"


class Report(Struct, frozen=True):
    """What a tool would print for some requests.

    Attributes:
        tool: its name.
        difference: how its figures differ from ours, in one sentence.
        requests: each request's figures, in order; None for one that the tool measures nothing of.
    """

    tool: str
    difference: str
    requests: tuple[Figures | None, ...]
    summary: Summary


class Definition(Struct, frozen=True):
    """How one tool measures.

    Attributes:
        name: what it is chosen by.
        tool: its name and the command that prints these figures.
        source: what was read, and at which commit.
        difference: how its figures differ from ours, in one sentence.
        figures: one request's, or None if the tool measures nothing of it.
        summarise: all requests, each one's figures beside it, and how long they took in seconds.
    """

    name: str
    tool: str
    source: str
    difference: str
    figures: Callable[[Request], Figures | None]
    summarise: Callable[[Sequence[tuple[Request, Figures | None]], float | None], Summary]

    def report(self, requests: Iterable[Request], wall_s: float | None = None) -> Report:
        """What the tool would print.

        Args:
            wall_s: how long the requests took altogether, seconds; without it there are no figures per second.
        """
        pairs = [(request, self.figures(request)) for request in requests]
        return Report(self.tool, self.difference, tuple(each for _, each in pairs), self.summarise(pairs, wall_s))


def known(pairs: Iterable[tuple[Request, Figures | None]], name: str) -> list[float]:
    """The figure *name* of every request that has it; of lists all that is in them, put together."""
    found: list[float] = []
    for _, figures in pairs:
        value = figures.get(name) if figures else None
        if isinstance(value, list):
            found += value
        elif value is not None:
            found.append(value)
    return found


def mean(values: Sequence[float]) -> float:
    """Raises ``ZeroDivisionError`` for none."""
    return math.fsum(values) / len(values)


def deviation(values: Sequence[float], *, sample: bool = False) -> float | None:
    """The standard deviation of these values; as a *sample* of more, divided by one less, None for a single one."""
    if sample and len(values) < 2:
        return None
    middle = mean(values)
    return math.sqrt(math.fsum((value - middle) ** 2 for value in values) / (len(values) - sample))


def quantiles(values: Sequence[float], names: Mapping[str, float]) -> dict[str, float | None]:
    """Quantiles under these names, by linear interpolation, however few values there are."""
    return {name: quantile(values, q) for name, q in names.items()}


def per(count: float, duration: float | None) -> float | None:
    """None for an unknown duration, and for none at all."""
    return count / duration if duration else None


def counted_tokens(request: Request, events: Sequence[Event]) -> int | None:
    """The tokens of *events*, for a tool that counts by a tokenizer of its own; where they are not all known, those of
    the whole answer by the provider."""
    tokens = [event.tokens for event in events if event.tokens is not None]
    return sum(tokens) if len(tokens) == len(events) else request.output_tokens
