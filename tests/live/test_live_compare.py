"""What is called a difference, and what is hidden: against our own fixtures, as they are and changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from live.cases import CASES, MODELS, SPEECHES, choose
from live.compare import FIXTURES, differences, fields_of
from live.reading import Reading, expectation, fixture, understand
from live.record import Read, Recording
from live.redact import Redactor

from tokenwire import dialects
from tokenwire.wire import sse

CHAT = dialects.get("openai.chat")
SPEECH = SPEECHES["openai.chat"]


def recorded(file: str, how: str = "complete", **changes: Any) -> Recording:
    """A fixture as if it had just been recorded; *changes*: text of the body that is something else."""
    path = FIXTURES / "openai-chat" / file
    told = json.loads(path.with_suffix("").with_suffix(".expected.json").read_text("utf-8"))
    body = path.read_text("utf-8")
    for old, new in changes.pop("change", {}).items():
        assert old in body
        body = body.replace(old, new)
    headers = {**told["http"]["headers"], **changes.pop("headers", {})}
    fields = [(name.encode(), value.encode()) for name, value in headers.items() if value is not None]
    status = changes.pop("status", told["http"]["status"])
    assert not changes
    return Recording(status, fields, [Read(1.0, body.encode())], how, 1.0)


def found(recording: Recording, case: str = "text") -> list[str]:
    return differences(case, recording, read(recording), SPEECH, "openai-chat")


def read(recording: Recording) -> Reading:
    return understand(CHAT, recording.status, recording.body)


@pytest.mark.parametrize("case", ["text", "tool-call"])
def test_what_we_know_is_no_difference(case: str) -> None:
    said = found(recorded(f"{case}.sse"), case)
    assert [each for each in said if each != "no usage came"] == []


def test_all_that_is_new_is_said() -> None:
    change = {
        '"finish_reason":"stop"': '"finish_reason":"bored","mood":{"now":1}',
        "data: [DONE]": ": bye\n\ndata:[DONE]",
    }
    said = found(recorded("text.sse", change=change, headers={"x-new": "1", "x-request-id": None, "date": "now"}))
    assert "headers new to us: x-new" in said
    assert "headers that were not there: x-request-id" in said
    assert "framing: comments (1)" in said
    assert "framing: data lines without a space (1)" in said
    assert "finish reason 'bored' is not known" in said
    assert "field new to us (1): choices[].mood.now: number" in said


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"data: [DONE]\n\n": ""}, "the end marker [DONE] is not the last event"),
        ({'"finish_reason":"stop"': '"finish_reason":null'}, "no finish reason came"),
        ({"data: [DONE]": 'data: {"error":{"message":"it broke","code":"oops"}}'}, "it failed: oops: it broke"),
        ({"data: [DONE]": 'data: {"object":"surprise","x":1}\n\ndata: [DONE]'}, "field new to us (1): x: number"),
    ],
)
def test_an_end_that_is_none(change: dict[str, str], word: str) -> None:
    said = found(recorded("text.sse", change=change))
    assert any(word in each for each in said), said


def test_what_is_not_understood_is_shown_by_its_shape() -> None:
    body = b'data: {"choices":[{"index":0,"delta":{"content":"a","hologram":{"x":1}},"finish_reason":null}]}\n\n'
    said = found(Recording(200, [], [Read(1.0, body)], "complete", None))
    assert "content-type is 'missing'" in said
    assert "field new to us (1): choices[].delta.hologram.x: number" in said
    strange = Recording(200, [], [Read(1.0, b"data: [1]\n\nevent: odd\ndata: x\n\n")], "complete", None)
    assert any(each.startswith("not understood") or "failed" in each for each in found(strange))
    assert "nothing was generated" in found(strange)


def test_a_tool_call_has_arguments_that_are_json() -> None:
    said = found(recorded("text.sse"), "tool-call")
    assert "no tool was called" in said
    broken = found(recorded("tool-call.sse", change={'\\"}"': '"'}), "tool-call")
    assert any("are no JSON" in each for each in broken)


def test_an_error_is_told_in_its_own_words() -> None:
    path = FIXTURES / "openai-chat" / "error-before-stream.json"
    recording = Recording(429, [], [Read(1.0, path.read_bytes())], "complete", None)
    (said,) = found(recording)
    assert said.startswith("status 429: rate_limit_exceeded: Example: too many tokens")
    assert expectation(read(recording))["error"]["type"] == "tokens"


def test_what_was_cancelled_needs_no_end() -> None:
    body = (FIXTURES / "openai-chat" / "text.sse").read_bytes()
    recording = recorded("text.sse", "cancelled")
    recording.reads = [Read(1.0, body[: len(body) // 2])]
    assert found(recording, "cancelled") == []
    recording.how = "complete"
    assert found(recording, "cancelled") == ["the answer should have been cancelled, and was: complete"]


@pytest.mark.parametrize("file", ["text.sse", "tool-call.sse", "refusal.sse", "usage.sse", "error-mid-stream.sse"])
def test_a_fixture_to_be_says_what_the_fixture_says(file: str) -> None:
    path = FIXTURES / "openai-chat" / file
    told = json.loads(path.with_suffix("").with_suffix(".expected.json").read_text("utf-8"))
    recording = recorded(file)
    headers = Redactor([]).headers(recording.headers)
    made = fixture(read(recording), recording, headers, folder="openai-chat", case=told["case"], file=file)
    assert made["expected"] == told["expected"]
    assert (made["dialect"], made["case"], made["file"]) == (told["dialect"], told["case"], told["file"])
    assert made["http"]["headers"].keys() == told["http"]["headers"].keys()
    assert made["recorded"]["reads"] == [[1.0, len(recording.body)]]


def test_arguments_that_are_no_json_stay_text() -> None:
    recording = recorded("tool-call.sse", change={'\\"}"': '"'})
    assert isinstance(expectation(read(recording))["tool_calls"][0]["arguments"], str)


def test_fields_and_their_kinds() -> None:
    parser = sse.Decoder()
    events = parser.feed(
        b'event: e\ndata: {"a":[{"b":1},{"b":"x"},{"b":null}],"c":true}\n\ndata: [DONE]\n\ndata: 1\n\n'
    )
    assert list(fields_of(events)) == ["e: a[].b: number", "e: a[].b: str", "e: c: bool", ": number"]


# ---------------------------------------------------------------------- what is asked


def test_every_dialect_can_be_asked_everything() -> None:
    for name, speech in SPEECHES.items():
        assert all((FIXTURES / folder).is_dir() for folder in speech.folders), name
        for case in CASES:
            body = speech.body(case, "m", True)
            # Gemini has both in the address, and Ollama streams unless it is told not to.
            assert (body.get("model", "m"), body.get("stream", True)) == ("m", True)
            assert ("tools" in body) is (case == "tool-call")
    assert "stream_options" not in SPEECHES["openai.chat"].body("text", "m", False)


@pytest.mark.parametrize(
    ("provider", "listed", "chosen"),
    [
        ("openai", ["tts-1", "gpt-4o-mini"], "gpt-4o-mini"),
        ("openai", [], MODELS["openai"]),
        ("anthropic", ["x", "claude-haiku-4-5-20251001", "claude-haiku-4-5-20260101"], "claude-haiku-4-5-20260101"),
        ("openai", ["something-else"], "something-else"),
        ("local", ["llama"], "llama"),
        ("local", [], None),
    ],
)
def test_the_model_that_is_asked(provider: str, listed: list[str], chosen: str | None) -> None:
    assert choose(provider, listed) == chosen


# ---------------------------------------------------------------------- what is hidden


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("key sk-proj-abcDEF123 end", "key redacted end"),
        ("Incorrect API key provided: sk-abcd****wxyz.", "Incorrect API key provided: redacted."),
        ("gsk_abcdef123456", "redacted"),
        ("in organization org-7fa8b2c9d0 on tokens", "in organization redacted on tokens"),
        ("Bearer abc.def-ghi", "redacted"),
        ("my-own-secret-value, really", "redacted, really"),
        ("a user-friendly project-based risk-averse answer", "a user-friendly project-based risk-averse answer"),
        ("chatcmpl-9xYz0123456789 req_7f3d0c5a19e84b6ab2c4", "chatcmpl-9xYz0123456789 req_7f3d0c5a19e84b6ab2c4"),
    ],
)
def test_secrets_do_not_stay(text: str, hidden: str) -> None:
    redactor = Redactor(["my-own-secret-value", "my-own", "x"])
    assert redactor.body(text.encode()).decode() == hidden


def test_headers_that_name_the_caller_stay_without_their_value() -> None:
    fields = [
        (b"Set-Cookie", b"a=b"),
        (b"OpenAI-Organization", b"acme"),
        (b"X-Request-Id", b"r1"),
        (b"x", b"sk-123456789"),
    ]
    assert Redactor([]).headers(fields) == {
        "set-cookie": "redacted",
        "openai-organization": "redacted",
        "x-request-id": "r1",
        "x": "redacted",
    }


def test_recordings_are_no_part_of_the_repository() -> None:
    ignored = (Path(__file__).parents[2] / ".gitignore").read_text("utf-8").split()
    assert "recordings/" in ignored
