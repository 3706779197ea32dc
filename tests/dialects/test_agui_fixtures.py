"""Every recorded stream as an AG-UI run: told, read back, joined at every point."""

from __future__ import annotations

import json

import pytest
from tests.dialects.client_dialects import body_of, deltas_of, fold_of, joined, read, recorded, said

from tokenwire.dialects.agui.dialect import DIALECT
from tokenwire.dialects.deltas import Opaque
from tokenwire.wire import sse

CASES = recorded()


@pytest.mark.parametrize("case", CASES)
def test_a_recorded_stream_folds_to_the_same_after_translation(case: str) -> None:
    deltas = deltas_of(case)
    told = read(DIALECT, body_of(DIALECT, deltas))
    assert not [delta for delta in told if isinstance(delta, Opaque)]
    first, second = said(fold_of(deltas)), said(fold_of(told))
    assert second.pop("reason") == (first.pop("reason") or (None if first["failed"] else "stop"))
    assert second == first


@pytest.mark.parametrize("case", CASES)
def test_a_late_joiner_is_told_the_same_at_every_point(case: str) -> None:
    dialect, deltas = DIALECT, deltas_of(case)
    whole = fold_of(read(dialect, body_of(dialect, deltas)))
    for at in range(len(deltas) + 1):
        body = joined(dialect, deltas, at)
        late = read(dialect, body)
        assert not [delta for delta in late if isinstance(delta, Opaque)]
        assert said(fold_of(late)) == said(whole)
        legal(body)


def legal(body: bytes) -> None:
    """Events as the clients' verifier has them (reference, section 3)."""
    events = [json.loads(event.data) for event in sse.Decoder().feed(body)]
    assert events[0] == {"type": "RUN_STARTED", "threadId": "thread_1", "runId": "run_1"}
    assert [event["type"] for event in events].count("RUN_STARTED") == 1
    open_: set[tuple[str, str]] = set()
    for event in events[1:]:
        family, _, step = event["type"].rpartition("_")
        key = family, event.get("messageId") or event.get("toolCallId") or ""
        if step == "START":
            assert key not in open_
            open_.add(key)
        elif step in ("CONTENT", "ARGS"):
            assert key in open_
            assert event["delta"]
        elif step == "END":
            open_.remove(key)
    assert events[-1]["type"] in ("RUN_FINISHED", "RUN_ERROR")
    assert not open_ or (events[-1]["type"] == "RUN_ERROR" and {family for family, _ in open_} == {"TOOL_CALL"})


@pytest.mark.parametrize("case", CASES)
def test_a_folded_stream_is_a_message_that_decodes_to_the_same(case: str) -> None:
    fold = fold_of(deltas_of(case))
    if fold.failed is None:
        answer = DIALECT.fold_response(fold, "st_1", 1.0, "m")
        first, second = said(fold), said(fold_of(DIALECT.decode_response(answer)))
        assert second.pop("reason") == (first.pop("reason") or "stop")
        assert second == first


@pytest.mark.parametrize("case", CASES)
def test_a_copied_decoder_goes_on_like_the_first(case: str) -> None:
    wire = body_of(DIALECT, deltas_of(case))
    decoder = DIALECT.decoder()
    deltas = []
    for event in sse.Decoder().feed(wire):
        abandoned, decoder = decoder, decoder.copy()
        deltas += decoder.feed(event)
        abandoned.feed(sse.Event(data='{"type":"RUN_ERROR","message":"x"}'))
    assert deltas + decoder.close() == read(DIALECT, wire)
