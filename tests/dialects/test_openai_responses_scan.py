"""The cheap look at a frame: what is plain, what is notable, which errors the SDKs would swallow. Condensing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwire.dialects.base import Mark
from tokenwire.dialects.openai_responses.dialect import DIALECT, Decoder, look, scan, sequence_of
from tokenwire.wire import sse

OPENING = DIALECT.opening


def frame(kind: str, **fields: Any) -> bytes:
    kind = kind if kind in ("error", "keepalive") else f"response.{kind}"
    return sse.encode(json.dumps({"type": kind, **fields}), event=kind)


def text(delta: str, number: int = 4, **more: Any) -> bytes:
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    return frame("output_text.delta", **place, delta=delta, logprobs=[], sequence_number=number, **more)


@pytest.mark.parametrize(
    "each",
    [
        text("a"),
        text("", obfuscation="xyz"),
        text('"},"type":"response.completed'),
        OPENING + b'{ "output_index":0, "delta" : "a", "type":"response.output_text.delta" }\n\n',
        text("a").replace(b"logprobs", b"log"),
        frame("created", response={"id": "r"}),
        frame("output_item.added", output_index=0, item={"type": "message"}),
        frame("function_call_arguments.delta", output_index=0, delta="{"),
        frame("reasoning_summary_text.delta", output_index=0, delta="t"),
        frame("output_text.delta", delta="a", logprobs=[{"token": "a"}]),
        frame("keepalive", sequence_number=3),
        b"data: [DONE]\n\n",
    ],
)
def test_plain_frames_have_no_mark(each: bytes) -> None:
    assert scan(each) == Mark.PLAIN


@pytest.mark.parametrize(
    ("each", "mark"),
    [
        (frame("output_item.done", item={"type": "reasoning", "encrypted_content": "x"}), Mark.NOTABLE),
        (frame("web_search_call.searching"), Mark.NOTABLE),
        (frame("output_text.delta", delta=3, output_index=0), Mark.PLAIN),  # nothing is said
        (frame("completed", response={}), Mark.NOTABLE | Mark.DONE),
        (frame("incomplete", response={}), Mark.NOTABLE | Mark.DONE),
        (b'data: {"type":"response.completed"}\r\n\r\n', Mark.NOTABLE | Mark.DONE),
        (b'event: response.completed\ndata: {"type":\ndata: "response.completed"}\n', Mark.NOTABLE | Mark.DONE),
    ],
)
def test_other_frames_have(each: bytes, mark: int) -> None:
    assert scan(each) == mark


RAISED = Mark.NOTABLE | Mark.ERROR


@pytest.mark.parametrize(
    ("each", "mark"),
    [
        (frame("error", error={"type": "x", "message": "y"}), RAISED),
        (frame("failed", response={"status": "failed", "error": {"code": "x", "message": "y"}}), RAISED),
        (b'data: {"error":{"message":"x"}}\n\n', RAISED),
        (frame("error", code="x", message="flat", param=None), RAISED | Mark.SWALLOWED),
        (frame("completed", response={"status": "failed"}), RAISED | Mark.SWALLOWED),
        (b"event: error\ndata: no JSON\n\n", RAISED | Mark.SWALLOWED),
        (b"data: <html>\n\n", RAISED | Mark.SWALLOWED),
        (b'data: {"detail":"nope"}\n\n', RAISED | Mark.SWALLOWED),
    ],
)
def test_errors_that_the_sdks_would_not_tell_are_replaced(each: bytes, mark: int) -> None:
    assert scan(each) == mark


def test_what_is_generated_beside_a_failure_is_not_lost() -> None:
    output = [{"type": "message", "content": [{"type": "output_text", "text": "a"}]}]
    mark, deltas = look(frame("completed", response={"status": "failed", "output": output}), Decoder())
    assert mark == RAISED
    assert len(deltas) == 2


def test_chat_chunks_end_with_their_own_marker() -> None:
    decoder = Decoder()
    chunk = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    assert look(chunk, decoder)[0] == Mark.PLAIN
    assert look(b"data: [DONE]\n\n", decoder)[0] & Mark.DONE


@given(st.binary(max_size=60), st.sampled_from([b"", OPENING, b"data: ", b"event: error\ndata: "]))
def test_nothing_raises(data: bytes, before: bytes) -> None:
    scan(before + data)
    scan(before + data + b"\n\n")
    sequence_of(before + data + b"\n\n")
    assert DIALECT.condense is not None
    DIALECT.condense([before + data + b"\n\n"])


@given(st.text(max_size=20), st.sampled_from(["delta", "text"]), st.integers(-1, 3) | st.none() | st.text(max_size=1))
def test_what_is_plain_for_the_quick_look_is_plain(said: str, member: str, index: Any) -> None:
    each = frame("output_text.delta", **{member: said}, output_index=index)
    try:
        assert DIALECT.peek is not None
        DIALECT.peek(each[len(OPENING) :])
    except ValueError:
        return
    mark, deltas = look(each, Decoder())
    assert mark == Mark.PLAIN
    assert len(deltas) == bool(said)


def test_condensing_merges_deltas_and_keeps_everything_else() -> None:
    scored = text("e", 9).replace(b'"logprobs": []', b'"logprobs": [{"token":"e"}]')
    frames = [
        frame("created", response={"id": "r"}, sequence_number=0), text("a", 1, obfuscation="x"), text("b", 2),
        frame("keepalive", sequence_number=3), text("c", 4), text("other", 5, agent={"agent_name": "x"}),
        text("d", 8), scored, frame("refusal.delta", output_index=0, delta="n", sequence_number=10),
        frame("refusal.delta", output_index=0, delta="o", sequence_number=11),
        b'data: {"type":"response.output_text.delta","output_index":0,"delta":"nameless"}\n\n',
    ]  # fmt: skip
    assert DIALECT.condense is not None
    condensed = [(each.event, json.loads(each.data)) for each in DIALECT.condense(frames)]
    assert [(data.get("delta"), data.get("sequence_number")) for _, data in condensed] == [
        (None, 0), ("abc", 4), ("other", 5), ("de", 9), ("no", 11), ("nameless", None)
    ]  # fmt: skip
    assert condensed[3][1]["logprobs"] == [{"token": "e"}]
    assert "obfuscation" not in condensed[1][1]
    assert condensed[-1][0] is None


def test_the_number_of_a_frame() -> None:
    assert sequence_of(text("a", 7)) == 7
    assert sequence_of(text("a", 7).replace(b"\n", b"\r\n")) == 7
    assert sequence_of(text("a", 7) + b"data: {}\n\n") == 7
    for odd in (b"data: [DONE]\n\n", b": hb\n\n", b"", b'data: {"sequence_number":"x"}\n\n', b"data: [[[\n\n"):
        assert sequence_of(odd) is None
