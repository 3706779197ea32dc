"""A short run of the fuzz target (`fuzz/sse.py`), the same inputs each time; and that it would notice."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from tokenwire.wire.sse import Decoder, Event

FUZZ: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[2] / "fuzz" / "sse.py"), run_name="fuzz_sse")


def test_a_thousand_mutated_streams() -> None:
    assert FUZZ["run"](range(1000), seed=1) == 1000


def test_the_same_seed_gives_the_same_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs: list[Any] = []
    monkeypatch.setitem(FUZZ["run"].__globals__, "check", lambda *args, **kwargs: inputs.append((args, kwargs)))
    for seed in (1, 1, 2):
        FUZZ["run"](range(20), seed=seed)
    assert inputs[:20] == inputs[20:40] != inputs[40:]


@pytest.mark.parametrize(
    "data", [b"", b"\1\2", b"\0\xff\0data: x\n\n", b"\1\xff\3data: x\r\n\r\n\xff", b"\2\0\1" + b"x" * 90]
)
def test_inputs_of_a_coverage_guided_fuzzer(data: bytes) -> None:
    FUZZ["one_input"](data)


@pytest.mark.parametrize(
    "feed",
    [
        lambda self, chunk: [],
        lambda self, chunk: [Event("message", "x")],
        lambda self, chunk: [][0],
    ],
    ids=["loses", "invents", "raises"],
)
def test_a_wrong_decoder_is_noticed(feed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Decoder, "feed", feed)
    with pytest.raises(AssertionError, match=r"^check\(\["):
        FUZZ["run"](range(200), seed=0)
