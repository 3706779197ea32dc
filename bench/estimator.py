"""``python bench/estimator.py``: what it costs to know a stream's tokens while it runs, microseconds a token.

``count``: the text that came in half a second (25 tokens, or 150 of a fast model) is counted. ``look``: the same with
reading it off the log, as the relay does for whoever asks for live usage; the frames are a provider's, in envelopes.
Processor time, the best of several rounds: on a machine that is shared, only that says what the work is.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from tokenwire import dialects
from tokenwire.engine.hub import Hub
from tokenwire.engine.states import Policy
from tokenwire.engine.tally import Tally
from tokenwire.measure.estimator import Estimator
from tokenwire.simulator.texts import library
from tokenwire.testing import chat_frames
from tokenwire.testing.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TEXTS = ("keeping-time", "python-ring", "json-config", "german", "greek", "hindi", "chinese")
BATCHES = (25, 150)
TOKENS = 3000
ROUNDS = 7


def count(estimator: Estimator, batches: Sequence[Sequence[str]]) -> Callable[[], float]:
    """Count the text of *batches*, a batch at a time."""
    texts = ["".join(batch) for batch in batches]

    def run() -> float:
        stream = estimator.begin("m")
        begun = time.process_time()
        for text in texts:
            stream.add(text)
            _ = stream.tokens
        return time.process_time() - begun

    return run


def look(estimator: Estimator, batches: Sequence[Sequence[str]]) -> Callable[[], float]:
    """Look at a stream after each of *batches*; appending is not measured."""
    frames = [[chat_frames.text(piece) for piece in batch] for batch in batches]

    def run() -> float:
        hub = Hub(ManualClock(), estimator=estimator)
        stream = hub.open(owner="me", dialect=dialects.get("openai.chat"), model="m", policy=Policy())
        stream.state = stream.state.CONNECTING
        stream.begin()
        tally = Tally()
        took = 0.0
        for batch in frames:
            for frame in batch:
                stream.append([frame], 0)
            begun = time.process_time()
            tally.look(stream)
            tally.tokens(stream)
            took += time.process_time() - begun
        hub.close()
        return took

    return run


def measured(estimator: Estimator) -> list[tuple[str, list[float]]]:
    """For each of ``TEXTS``: counting and looking, in batches of each size."""
    rows = []
    bodies = {text.name: text for text in library()}
    for name in TEXTS:
        pieces = bodies[name].pieces
        pieces = (pieces * (TOKENS // len(pieces) + 1))[:TOKENS]
        row = []
        for work in (count, look):
            for size in BATCHES:
                run = work(estimator, [pieces[at : at + size] for at in range(0, TOKENS, size)])
                row.append(min(run() for _ in range(ROUNDS)) / TOKENS * 1e6)
        rows.append((name, row))
    return rows


def main() -> None:
    """Print the table."""
    estimator = Estimator()
    for text in library():
        estimator.learn("m", text.body, len(text.pieces))
    table = Table("text", *(f"{work}, {size} tokens" for work in ("count", "look") for size in BATCHES))
    for name, row in measured(estimator):
        table.add_row(name, *(f"{value:.2f}" for value in row))
    Console().print(table)


if __name__ == "__main__":
    main()
