"""The recordings of `bench/sse_decoders.py` are fixtures, too: what is timed there must be right."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from tokenwire.testing.plain_sse import read
from tokenwire.wire.sse import Decoder

BENCH: dict[str, Any] = runpy.run_path(
    str(Path(__file__).parents[2] / "bench" / "sse_decoders.py"), run_name="bench_sse_decoders"
)


@pytest.mark.parametrize("size", BENCH["SIZES"].values())
@pytest.mark.parametrize("shape", BENCH["SHAPES"])
def test_recordings_are_decoded_as_the_oracle_says(shape: str, size: int) -> None:
    recorded = BENCH["recording"](shape, 150_000)
    assert recorded == BENCH["recording"](shape, 150_000)
    expected = read(b"".join(recorded)).events
    assert len(expected) == len(recorded)
    decoder = Decoder()
    assert [event for chunk in BENCH["cut"](recorded, size) for event in decoder.feed(chunk)] == expected


@pytest.mark.parametrize("shape", BENCH["SHAPES"])
def test_recordings_are_of_the_stated_size(shape: str) -> None:
    recorded = BENCH["recording"](shape, 150_000)
    mean = sum(map(len, recorded)) / len(recorded)
    assert 250 <= mean <= 320
    assert 0.02 < sum(not event.isascii() for event in recorded) / len(recorded) < 0.05
