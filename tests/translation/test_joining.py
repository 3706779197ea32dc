"""Whoever joins late, in whichever dialect, ends where those are who were there from the beginning."""

from __future__ import annotations

from typing import Any

import pytest
from tests.translation.answers import (
    CREATED,
    MODEL,
    STREAM,
    STREAMS,
    TARGETS,
    Case,
    arguments,
    decode,
    decode_each,
    encode,
    events_of,
    fold,
    terminal_of,
    wire,
)

from tokenwire import dialects
from tokenwire.dialects.base import Dialect, Frame
from tokenwire.dialects.deltas import Delta, Opaque
from tokenwire.dialects.transcript import Choice, Transcript

#: Answers of more events than this are joined at that many places, evenly.
PLACES = 60


def state(transcript: Transcript) -> Any:
    """What a client holds at the end, however it was told: runs of one kind, not blocks; calls, sources, usage.

    Usage counts where the answer is whole: some dialects tell it at the beginning, of which a joiner hears later, and
    correct it at the end.
    """
    failed = transcript.failed
    return (
        [_state(choice) for _, choice in sorted(transcript.choices.items())],
        transcript.usage if failed is None else None,
        None if failed is None else (failed.code, failed.message, failed.retryable),
    )


def _state(choice: Choice) -> Any:
    runs: list[list[str]] = []
    for kind, _, text, _ in choice.segments():
        if kind in ("tool_call", "signature"):
            continue
        if runs and runs[-1][0] == kind:
            runs[-1][1] += text
        else:
            runs.append([kind, text])
    calls = [(call.id, call.name, arguments(call.arguments), call.ended) for call in choice.tool_calls.values()]
    cited = sorted(repr(sorted(citation.data.items())) for citation in choice.citations)
    return runs, choice.signatures, calls, cited, choice.logprobs, choice.reason, choice.native_reason


def places(count: int) -> list[int]:
    """How many events have passed at each place: none, all, and evenly between."""
    step = max(1, count // PLACES)
    return sorted({*range(0, count + 1, step), count})


def joined(dialect: Dialect, said: list[list[Delta]], at: int, end: Any) -> tuple[list[Frame], list[Frame]]:
    """What a reader is sent who joins after *at* events: the prefix, and the tail from an encoder that was there.

    The encoder of the prefix, if it goes on, must go on like the other; less what a fold does not keep (opaque deltas),
    and where nothing has been said at all.
    """
    past = [delta for deltas in said[:at] for delta in deltas]
    prefixer, teller = (dialect.encoder(STREAM, CREATED, MODEL) for _ in range(2))
    for delta in past:
        teller.feed(delta)
    prefix = prefixer.prefix(fold(past))
    tails = []
    for encoder in (teller.copy(), prefixer.copy()):
        tail = [frame for deltas in said[at:] for delta in deltas for frame in encoder.feed(delta)]
        tails.append(tail + encoder.close(end))
    if past and not any(isinstance(delta, Opaque) for delta in past):
        assert tails[0] == tails[1]
    return prefix, tails[0]


@pytest.mark.untraced
@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.path)
def test_a_prefix_and_the_tail_are_the_whole(case: Case) -> None:
    """In every dialect, at every place."""
    source = dialects.get(case.dialect)
    said = decode_each(source, events_of(source, [case.body]))
    deltas = [delta for each in said for delta in each]
    end = terminal_of(fold(deltas))
    for target in TARGETS:
        dialect = dialects.get(target)
        whole = state(fold(decode(dialect, [encode(dialect, deltas)])))
        for at in places(len(said)):
            prefix, tail = joined(dialect, said, at, end)
            found = state(fold(decode(dialect, [wire(dialect, prefix + tail)])))
            assert found == whole, f"{target}, after {at} events"


def test_long_answers_are_joined_at_some_places_only() -> None:
    assert places(3) == [0, 1, 2, 3]
    assert len(places(10 * PLACES)) == PLACES + 1
