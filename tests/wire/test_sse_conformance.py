"""The conformance set, `conformance/sse.json`, used in every direction: decoder and oracle against the table."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tokenwire.errors import EventTooLarge
from tokenwire.testing.plain_sse import read
from tokenwire.wire.sse import DEFAULT_LIMIT, Decoder, Event

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "conformance" / "sse.json").read_text("ascii"))[
    "cases"
]

# A new decoder takes its first chunk by the general route. These chunks before it open each of the fast paths.
FIRST_CHUNKS = {
    "data-first": (b"data: first\n\n", Event("message", "first")),
    "type-first": (b"event: t\ndata: first\n\n", Event("t", "first")),
    "crlf-first": (b"data: first\r\n\r\n", Event("message", "first")),
}


def wire_of(case: dict[str, Any]) -> bytes:
    wire: str = case["wire"]
    return wire.encode("latin-1")


def cases(choose: Callable[[dict[str, Any]], bool] = lambda case: True) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [case for case in CASES if choose(case)], ids=lambda case: case["name"])


def events_of(case: dict[str, Any]) -> list[Event]:
    return [Event(**event) for event in case["events"]]


def limit_of(case: dict[str, Any]) -> int:
    limit: int = case.get("limit", DEFAULT_LIMIT)
    return limit


def follow(decoder: Decoder, chunks: list[bytes], *, lenient: bool = False) -> tuple[list[Event], list[Event] | str]:
    """The events of the chunks, and those of the end or how reading failed."""
    events: list[Event] = []
    try:
        for chunk in chunks:
            events += decoder.feed(chunk)
        return events, decoder.close(lenient=lenient)
    except EventTooLarge:
        return events, "event_too_large"


def check(case: dict[str, Any], chunks: list[bytes]) -> None:
    decoder = Decoder(limit_of(case))
    assert follow(decoder, chunks) == (events_of(case), case.get("error", []))
    assert decoder.last_event_id == case["last_event_id"]


@cases()
def test_whole(case: dict[str, Any]) -> None:
    check(case, [wire_of(case)])


@cases()
def test_byte_by_byte(case: dict[str, Any]) -> None:
    check(case, [bytes([byte]) for byte in wire_of(case)])


@cases()
def test_byte_by_byte_with_empty_chunks_between(case: dict[str, Any]) -> None:
    check(case, [chunk for byte in wire_of(case) for chunk in (b"", bytes([byte]), b"")])


@cases()
def test_every_cut(case: dict[str, Any]) -> None:
    wire = wire_of(case)
    for cut in range(len(wire) + 1):
        check(case, [wire[:cut], wire[cut:]])


@pytest.mark.untraced
@cases(lambda case: len(case["wire"]) <= 40)  # some 800 pairs; longer streams have every single cut
def test_every_pair_of_cuts_of_short_streams(case: dict[str, Any]) -> None:
    wire = wire_of(case)
    for first, second in combinations(range(len(wire) + 1), 2):
        check(case, [wire[:first], wire[first:second], wire[second:]])


# A BOM in the middle of a stream is another case, and the first chunk must be within the limit.
@pytest.mark.untraced
@cases(lambda case: not case["wire"].startswith("\xef") and "limit" not in case)
def test_every_cut_on_the_fast_paths(case: dict[str, Any]) -> None:
    wire = wire_of(case)
    for before, (first_chunk, first_event) in FIRST_CHUNKS.items():
        for cut in range(len(wire) + 1):
            decoder = Decoder()
            chunks = [first_chunk, wire[:cut], wire[cut:]]
            assert follow(decoder, chunks) == ([first_event, *events_of(case)], []), (before, cut)
            assert decoder.last_event_id == case["last_event_id"], (before, cut)


@cases(lambda case: case["wire"].endswith(("\n\n", "\r\r", "\r\n\r\n")) and "error" not in case)
def test_with_something_following(case: dict[str, Any]) -> None:
    decoder = Decoder(limit_of(case))
    events = decoder.feed(wire_of(case) + b"id: z\ndata: z\n\n")
    assert events[:-1] == events_of(case)
    assert (events[-1].event, events[-1].data, events[-1].id) == ("message", "z", "z")


@cases()
def test_lenient_end(case: dict[str, Any]) -> None:
    at_end = case.get("at_end", {"events": [], "last_event_id": case["last_event_id"]})
    wire = wire_of(case)
    for cut in range(len(wire) + 1):
        decoder = Decoder(limit_of(case))
        end: list[Event] | str = case.get("error") or [Event(**event) for event in at_end["events"]]
        assert follow(decoder, [wire[:cut], wire[cut:]], lenient=True) == (events_of(case), end)
        assert decoder.last_event_id == at_end["last_event_id"]


@cases()
def test_the_oracle_agrees(case: dict[str, Any]) -> None:
    reading = read(wire_of(case), limit_of(case))
    assert reading.events == events_of(case)
    assert reading.last_event_id == case["last_event_id"]
    assert reading.too_large == ("error" in case)
    at_end = case.get("at_end", {"events": [], "last_event_id": case["last_event_id"]})
    if "error" not in case:
        assert reading.at_end == [Event(**event) for event in at_end["events"]]
        assert reading.last_event_id_at_end == at_end["last_event_id"]


def test_the_table_is_well_formed() -> None:
    names = [case["name"] for case in CASES]
    assert len(set(names)) == len(names) >= 180
    for case in CASES:
        assert case.keys() <= {"name", "wire", "events", "last_event_id", "at_end", "limit", "error"}
        assert all(event.keys() == {"event", "data", "id", "retry"} for event in case["events"])
        assert case.get("error", "event_too_large") == "event_too_large"
