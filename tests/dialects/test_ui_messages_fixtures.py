"""Every recorded stream as a UI message stream: told, read back, joined at every point."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.dialects.client_dialects import body_of, deltas_of, fold_of, joined, read, recorded, said

from tokenwire.dialects.deltas import Opaque
from tokenwire.dialects.ui_messages.dialect import DIALECT, VERSIONS
from tokenwire.wire import sse

CASES = recorded()


def lost(reason: Any) -> Any:
    return DIALECT.reasons.get(reason, reason)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", CASES)
def test_a_recorded_stream_folds_to_the_same_after_translation(case: str, version: int) -> None:
    deltas = deltas_of(case)
    told = read(VERSIONS[version], body_of(VERSIONS[version], deltas))
    assert not [delta for delta in told if isinstance(delta, Opaque)]
    first, second = said(fold_of(deltas), lost), said(fold_of(told))
    assert second.pop("reason") == (first.pop("reason") or (None if first["failed"] else "stop"))
    assert second == first


@pytest.mark.untraced
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", CASES)
def test_a_late_joiner_is_told_the_same_at_every_point(case: str, version: int) -> None:
    dialect, deltas = VERSIONS[version], deltas_of(case)
    whole = fold_of(read(dialect, body_of(dialect, deltas)))
    for at in range(len(deltas) + 1):
        body = joined(dialect, deltas, at)
        late = read(dialect, body)
        assert not [delta for delta in late if isinstance(delta, Opaque)]
        assert said(fold_of(late)) == said(whole)
        legal(body)


def legal(body: bytes) -> None:
    """Parts as the AI SDK's rules have them (reference, section 2.3)."""
    parts = [json.loads(event.data) for event in sse.Decoder().feed(body) if event.data != "[DONE]"]
    assert [part["type"] for part in parts[:2]] == ["start", "start-step"]
    assert parts[0]["messageId"] == "msg_1"
    open_: set[str] = set()
    ids: list[str] = []
    for part in parts:
        kind = part["type"]
        if kind.endswith("-start") and "id" in part:
            assert not open_  # one after the other
            open_.add(part["id"])
            ids.append(part["id"])
        elif "delta" in part:
            assert part["id"] in open_
        elif kind.endswith("-end"):
            open_.remove(part["id"])
    assert [id_.split("-")[1] for id_ in ids] == [str(number) for number in range(len(ids))]
    assert not open_


@pytest.mark.parametrize("case", CASES)
def test_a_folded_stream_is_a_message_that_decodes_to_the_same(case: str) -> None:
    fold = fold_of(deltas_of(case))
    if fold.failed is None:
        answer = DIALECT.fold_response(fold, "st_1", 1.0, "m")
        first, second = said(fold, lost), said(fold_of(DIALECT.decode_response(answer)))
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
        abandoned.feed(sse.Event(data='{"type":"error","errorText":"x"}'))
        abandoned.feed(sse.Event(data="[DONE]"))
    assert deltas + decoder.close() == read(DIALECT, wire)
