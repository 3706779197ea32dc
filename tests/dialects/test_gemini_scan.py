"""The cheap look at a frame: what is plain, what is notable, which errors google-genai would not raise."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.dialects.base import Mark
from tokenwire.dialects.gemini.dialect import DIALECT, Decoder, condense, look, scan

RAISED = Mark.NOTABLE | Mark.ERROR


def frame(value: Any) -> bytes:
    return b"data: %b\r\n\r\n" % json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


def event(*parts: Any, **more: Any) -> dict[str, Any]:
    candidate = {"content": {"parts": list(parts), "role": "model"}, "index": 0, **more}
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 2, "totalTokenCount": 9}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m", "responseId": "r"}


@pytest.mark.parametrize(
    "wire",
    [
        frame(event({"text": "a"})),
        frame(event({"text": ""})),
        frame(event({"text": "a", "thought": True}, {"text": "b"})),
        frame(event({"text": '"finishReason":"STOP","error":{}'})),
        frame(event({"text": "a"}, finishReason=None, safetyRatings=[{"category": "X", "probability": "LOW"}])),
        frame({"candidates": [{"content": {"parts": [{"text": "a"}]}}]}),
        frame(event({"text": "a"})).replace(b"\r\n", b"\n"),
        frame(event({"text": "a"})).replace(b"data: ", b"data:"),
        b'data: {"candidates":[{"content":{"parts":[{"text":"\\ud83c"}]}}]}\n\n',
        b"data: {}\n\n",
    ],
)
def test_plain_frames_have_no_mark_though_usage_is_in_them(wire: bytes) -> None:
    assert scan(wire) == Mark.PLAIN


@pytest.mark.parametrize(
    "wire",
    [
        frame(event({"text": "a"}, finishReason="STOP")),
        frame(event({"text": "a", "thoughtSignature": "c2ln"})),
        frame(event({"functionCall": {"name": "f"}})),  # what STOP means in the end
        frame(event({"functionCall": {"name": "f", "willContinue": True}})),
        frame(event({"text": "a"}, {"inlineData": {"data": ""}})),
        frame(event({"text": "a"}, citationMetadata={"citations": [{"uri": "https://a.example"}]})),
        frame({**event({"text": "a"}), "promptFeedback": {"blockReason": "SAFETY"}}),
        frame({"usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1}}),
        frame({"something": "new"}),
    ],
)
def test_other_frames_have(wire: bytes) -> None:
    assert scan(wire) == Mark.NOTABLE


@pytest.mark.parametrize(
    ("wire", "mark"),
    [
        (frame({"error": {"code": 503, "message": "x", "status": "UNAVAILABLE"}}), RAISED),
        (frame(event(finishReason="MALFORMED_FUNCTION_CALL")), RAISED),  # clients know the word
        (frame({"error": {"message": "x", "status": "UNAVAILABLE"}}), RAISED | Mark.SWALLOWED),
        (frame({"error": {"code": True}}), RAISED | Mark.SWALLOWED),
        (frame({"error": "x"}), RAISED | Mark.SWALLOWED),
        (frame([{"error": {"code": 503}}]), RAISED | Mark.SWALLOWED),
        (frame({"x": 1, "error": {"code": 503}}), RAISED | Mark.SWALLOWED),
        (frame({**event({"text": "a"}), "error": {"code": 503}}), RAISED),  # with it, the text would be lost
        (b"data: <html>\n\n", RAISED | Mark.SWALLOWED),
        (b"event: error\ndata: no JSON\n\n", RAISED | Mark.SWALLOWED),
        (b"data: [DONE]\n\n", Mark.NOTABLE | Mark.SWALLOWED),
    ],
)
def test_what_google_genai_would_not_raise_is_replaced(wire: bytes, mark: int) -> None:
    assert scan(wire) == mark


@settings(deadline=None)
@given(st.binary(max_size=60), st.sampled_from([b"", b"data: ", b"event: error\ndata: "]))
def test_nothing_raises(data: bytes, before: bytes) -> None:
    for wire in (before + data, before + data + b"\n\n"):
        scan(wire)
        condense([wire, wire])


texts = st.text(max_size=3)
parts = st.fixed_dictionaries(
    {},
    optional={
        "text": texts, "thought": st.booleans(), "thoughtSignature": texts,
        "functionCall": st.sampled_from([None, {}, {"name": "f"}]),
    },
)  # fmt: skip


@settings(deadline=None)
@given(
    st.lists(parts, max_size=3),
    st.sampled_from([None, "", "STOP", "OTHER", "FINISH_REASON_UNSPECIFIED"]),
    st.sampled_from([None, {}, {"groundingChunks": []}, {"citations": [{"uri": "u"}]}]),
)
def test_what_is_plain_for_the_quick_look_is_plain(parts: list[Any], end: Any, sources: Any) -> None:
    wire = frame(event(*parts, finishReason=end, groundingMetadata=sources, citationMetadata=sources))
    assert DIALECT.peek is not None
    try:
        DIALECT.peek(wire[len(DIALECT.opening) :])
    except ValueError:
        return
    assert look(wire, Decoder())[0] == Mark.PLAIN


def test_condensing_merges_runs_of_text_and_keeps_everything_else() -> None:
    call = frame(event({"functionCall": {"name": "f", "willContinue": True}}))
    two = frame(event({"text": "x"}, {"text": "y"}))
    frames = [
        frame(event({"text": "a", "thought": True})), frame(event({"text": "b", "thought": True})),
        frame(event({"text": "c"})), frame(event({"text": "d\u2028"})), call, two,
        frame(event({"text": "e"})), frame(event({"text": "f"}) | {"responseId": "s"}), frame(event(index=1)),
    ]  # fmt: skip
    condensed = condense(frames)
    values = [json.loads(each.data) for each in condensed]
    said = [value["candidates"][0]["content"]["parts"] for value in values]
    assert said[:2] == [[{"text": "ab", "thought": True}], [{"text": "cd\u2028"}]]
    assert said[4] == [{"text": "ef"}]
    assert values[4]["responseId"] == "s"
    assert len(values) == 6
    assert "\u2028" not in condensed[1].data
