"""Every recorded stream of Ollama's: decoded, folded, joined late and encoded again; and others' written in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.dialects.ollama_lines import (
    FIXTURES,
    GENERATE,
    OLLAMA,
    STREAMS,
    arguments,
    as_generate,
    deltas_of,
    fold_of,
    joined,
    recorded,
    summary,
    written,
)

from tokenwire import dialects
from tokenwire.dialects.base import Dialect
from tokenwire.dialects.deltas import Delta, Failed
from tokenwire.dialects.transcript import Transcript
from tokenwire.wire import sse
from tokenwire.wire.lines import LineCutter

BOTH = [OLLAMA, GENERATE]

#: Folders of recorded streams by the dialect that they are in.
OTHERS = {
    "anthropic": ("anthropic",),
    "gemini": ("gemini",),
    "openai.responses": ("openai-responses",),
    "openai.chat": ("openai-chat", "azure", "groq", "vllm", "llamacpp", "openrouter", "deepseek", "mistral", "xai"),
}
FOREIGN = [
    (name, str(path.relative_to(FIXTURES)))
    for name, folders in OTHERS.items()
    if name in dialects.names()
    for folder in folders
    for path in sorted((FIXTURES / folder).glob("*.sse"))
]


def body_for(dialect: Dialect, case: str) -> bytes:
    return recorded(case) if dialect is OLLAMA else as_generate(recorded(case))


def foreign(name: str, case: str) -> list[Delta]:
    decoder, parser = dialects.get(name).decoder(), sse.Decoder()
    events = parser.feed((FIXTURES / case).read_bytes()) + parser.close(lenient=True)
    return [delta for event in events for delta in decoder.feed(event)] + decoder.close()


def expectation(case: str) -> dict[str, Any]:
    text = (FIXTURES / "ollama" / f"{case}.expected.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@pytest.mark.parametrize("dialect", BOTH, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("case", STREAMS)
def test_recorded_streams_fold_to_what_is_expected(case: str, dialect: Dialect) -> None:
    want = expectation(case)["expected"]
    got = summary(fold_of(deltas_of(body_for(dialect, case), dialect)))
    for mine, theirs in zip(got["tool_calls"], want["tool_calls"], strict=True):
        theirs["id"] = theirs["id"] or mine["id"]  # any, if none was given
    for name in ("text", "reasoning", "tool_calls", "stop_reason", "complete"):
        assert got[name] == want[name]
    assert got["error"] == (want["error"] and want["error"]["message"])
    if want["usage"] is None:
        assert got["usage"] is None
    else:
        assert {name: got["usage"][name] for name in want["usage"]} == want["usage"]


@pytest.mark.parametrize("dialect", BOTH, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("case", STREAMS)
def test_recorded_streams_decode_alike_wherever_they_are_cut(case: str, dialect: Dialect) -> None:
    """And a look at each frame finds the deltas that the decoder makes, and one end."""
    body = body_for(dialect, case)
    whole = deltas_of(body, dialect)
    for position in range(len(body)):
        cutter, decoder = LineCutter(), dialect.decoder()
        frames = cutter.feed(body[:position]) + cutter.feed(body[position:]) + cutter.close()
        assert b"".join(frames) == body
        looks = [dialect.look(frame, decoder) for frame in frames]
        assert [delta for _, deltas in looks for delta in deltas] + decoder.close() == whole


@pytest.mark.parametrize("case", STREAMS)
def test_a_copied_decoder_goes_on_like_the_first(case: str) -> None:
    decoder = OLLAMA.decoder()
    deltas: list[Delta] = []
    for line in recorded(case).decode().splitlines():
        abandoned, decoder = decoder, decoder.copy()
        deltas += decoder.feed(sse.Event(data=line))
        abandoned.feed(
            sse.Event(data='{"message":{"content":"x","tool_calls":[{"function":{"name":"f"}}]},"done":true}')
        )
    assert deltas + decoder.close() == deltas_of(recorded(case))


@pytest.mark.parametrize("dialect", BOTH, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("case", STREAMS)
def test_encoded_again_a_stream_is_the_recording_but_for_model_and_time(case: str, dialect: Dialect) -> None:
    body = body_for(dialect, case)
    again = written(deltas_of(body, dialect), dialect)
    assert [plain(line) for line in again.splitlines()] == [plain(line) for line in body.splitlines()]


def plain(line: bytes) -> Any:
    """A line without its model, its time, and ids of calls that the recording lacks."""
    value = json.loads(line)
    for entry in (value.get("message") or value).get("tool_calls", []):
        if entry.get("id", "call_exo1") != "call_exo1":
            del entry["id"]
    return {name: member for name, member in value.items() if name not in ("model", "created_at", "code")}


@pytest.mark.parametrize("dialect", BOTH, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("case", STREAMS)
def test_a_late_joiner_is_in_the_same_state_at_every_point(case: str, dialect: Dialect) -> None:
    deltas = deltas_of(body_for(dialect, case), dialect)
    live = summary(fold_of(deltas_of(written(deltas, dialect), dialect)))
    for at in range(len(deltas) + 1):
        assert summary(fold_of(deltas_of(joined(deltas, at, dialect), dialect))) == live


@pytest.mark.parametrize("case", STREAMS)
def test_resuming_is_folding_silently_and_going_on(case: str) -> None:
    encoder = OLLAMA.encoder("st_1", 1.0, "m")
    for delta in deltas_of(recorded(case)):
        twin = encoder.copy()
        assert encoder.feed(delta) == twin.feed(delta)
    assert encoder.copy().prefix(Transcript()) == []


@pytest.mark.parametrize("dialect", BOTH, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("case", [case for case in STREAMS if case != "error-mid-stream"])
def test_a_folded_stream_is_an_answer_that_decodes_to_the_same(case: str, dialect: Dialect) -> None:
    streamed = fold_of(deltas_of(body_for(dialect, case), dialect))
    answer = dialect.fold_response(streamed, "st_1", 1.0, "m")
    assert summary(fold_of(dialect.decode_response(answer))) == summary(streamed)
    assert json.loads(answer)["created_at"] == "1970-01-01T00:00:01.000000000Z"


def test_the_recorded_error_before_the_stream_is_described() -> None:
    body = (FIXTURES / "ollama" / "error-before-stream.json").read_bytes()
    failure = OLLAMA.describe_error(body, 404)
    assert (failure.code, failure.upstream_status, failure.retryable) == ("not_found", 404, False)
    assert failure.message == expectation("error-before-stream")["expected"]["error"]["message"]
    assert OLLAMA.error_body(failure, 404) == body


# -- other vendors' answers in this dialect


@pytest.mark.parametrize("dialect", BOTH, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize(("name", "case"), FOREIGN)
def test_readers_of_ollama_get_what_another_vendor_said(name: str, case: str, dialect: Dialect) -> None:
    """All but what ``Dialect.loses`` names."""
    deltas = foreign(name, case)
    first, second = fold_of(deltas), fold_of(deltas_of(written(deltas, dialect), dialect))
    theirs, ours = first.choice(), second.choice()
    assert ours.text == "".join(each.text for each in theirs.segments() if each.kind in ("text", "refusal"))
    assert ours.reasoning == theirs.reasoning
    assert [(call.id, call.name, arguments(call.arguments)) for call in ours.tool_calls.values()] == [
        (call.id, call.name, arguments(call.arguments)) for call in theirs.tool_calls.values() if call.ended
    ]
    assert ours.logprobs == theirs.logprobs
    if first.failed is not None:
        assert second.failed is not None
        assert (second.failed.code, second.failed.message) == (first.failed.code, first.failed.message)
        return
    assert theirs.reason is not None
    assert ours.reason == dialect.reasons.get(theirs.reason, theirs.reason)
    if first.usage is not None:
        assert second.usage is not None
        assert (second.usage.input, second.usage.output) == (first.usage.input, first.usage.output)


@pytest.mark.parametrize(("name", "case"), FOREIGN)
def test_whoever_joins_another_vendors_answer_late_gets_the_same(name: str, case: str) -> None:
    deltas = foreign(name, case)
    live = summary(fold_of(deltas_of(written(deltas))))
    for at in range(len(deltas) + 1):
        assert summary(fold_of(deltas_of(joined(deltas, at)))) == live


@pytest.mark.parametrize(("name", "case"), [each for each in FOREIGN if each[1].endswith("tool-call.sse")])
def test_a_stream_cut_inside_a_call_is_an_error_and_no_call(name: str, case: str) -> None:
    deltas = foreign(name, case)
    begun = next(at for at, delta in enumerate(deltas) if type(delta).__name__ == "ToolCallDelta")
    cut = [*deltas[: begun + 1], Failed("truncated", "cut", retryable=True)]
    lines = [json.loads(line) for line in written(cut).splitlines()]
    assert lines[-1] == {"error": "cut", "code": "truncated"}
    assert not any("tool_calls" in line.get("message", {}) for line in lines)
