"""OpenAI's npm client reads Responses streams of ours, live and joined at every event, as it reads the recordings."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tokenwire import dialects
from tokenwire.dialects.base import encode_frames
from tokenwire.dialects.deltas import (
    Citation,
    Delta,
    Failed,
    Finished,
    Logprobs,
    ReasoningDelta,
    ReasoningSignature,
    Terminal,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    Usage,
)
from tokenwire.dialects.transcript import Transcript

SCRIPTS = Path(__file__).parent / "node"
FIXTURES = Path(__file__).parent.parent / "fixtures" / "openai-responses"
DIALECT = dialects.get("openai.responses")
Read = Callable[[list[bytes]], list[Any]]

SAID: list[Delta] = [
    ReasoningDelta("Let me"), ReasoningDelta(" see"), ReasoningSignature("S", dialect="openai.responses"),
    TextDelta("Hello", block=1), Citation({"url": "https://a.example", "title": "A"}, block=1),
    Logprobs([{"token": "Hello", "logprob": -0.5, "bytes": [72], "top_logprobs": []}]), TextDelta(" wörld\n", block=1),
    ToolCallStarted("call_a", "f", block=2), ToolCallStarted("call_b", "g", block=3), ToolCallDelta('{"x":', block=2),
    ToolCallDelta('{"y":2}', block=3), ToolCallDelta("1}", block=2), ToolCallEnded(block=3), ToolCallEnded(block=2),
    TextDelta("Bye.", block=4), Finished("tool_use"), Usage(10, 20, cached_input=3, reasoning=4),
]  # fmt: skip


@pytest.fixture(scope="module")
def read(node_program: str, missing: Callable[[str], None]) -> Read:
    """read(bodies) -> what the client makes of each."""
    if not (SCRIPTS / "node_modules" / "openai").is_dir():
        missing("no npm clients: run .ci/node-packages")

    def run(bodies: list[bytes]) -> list[Any]:
        command = [node_program, str(SCRIPTS / "responses.mjs")]
        given = json.dumps([body.decode() for body in bodies])
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        results: list[Any] = json.loads(done.stdout)
        return results

    return run


def joined(at: int, end: Terminal) -> bytes:
    """What a reader gets who joins after the first *at* deltas."""
    live, late, fold = DIALECT.encoder("st_1", 1.0, "m"), DIALECT.encoder("st_1", 1.0, "m"), Transcript()
    for delta in SAID[:at]:
        live.feed(delta)
        fold.apply(delta)
    tail = [frame for delta in SAID[at:] for frame in live.feed(delta)]
    return encode_frames([*late.prefix(fold), *tail, *live.close(end)])


def test_the_client_ends_where_it_would_have_from_wherever_it_joins(read: Read) -> None:
    results = read([joined(at, Terminal("completed")) for at in range(len(SAID) + 1)])
    wanted = results[0]["helper"]
    assert (wanted["id"], wanted["status"], wanted["output_text"]) == ("resp_1", "completed", "Hello wörld\nBye.")
    assert [item["type"] for item in wanted["output"]] == [
        "reasoning", "message", "function_call", "function_call", "message"
    ]  # fmt: skip
    assert [item["arguments"] for item in wanted["output"][2:4]] == ['{"x":1}', '{"y":2}']
    for result in results:
        assert result["helper"] == wanted
        assert result["raw"]["texts"] == {"1": "Hello wörld\n", "4": "Bye."}
        numbers = result["raw"]["numbers"]
        assert numbers == sorted(set(numbers))


def test_the_client_raises_what_went_wrong(read: Read) -> None:
    end = Terminal("failed", error=Failed("overloaded", "too much", True, 503))
    for result in read([joined(at, end) for at in range(0, len(SAID), 3)]):
        for way in ("helper", "raw"):
            assert result[way]["error"] == {"raised": True, "code": "overloaded", "message": "too much"}


def test_condensed_recordings_are_read_like_the_recordings(read: Read) -> None:
    assert DIALECT.condense is not None
    for path in sorted(FIXTURES.glob("*.sse")):
        wire = path.read_bytes()
        if b"event: response.completed" not in wire:
            continue
        frames = [frame + b"\n\n" for frame in wire.split(b"\n\n")[:-1]]
        late = [encode_frames(DIALECT.condense(frames[:at])) + b"".join(frames[at:]) for at in range(1, len(frames), 2)]
        first, *others = read([wire, *late])
        assert "error" not in first["helper"]
        for other in others:
            assert other["helper"] == first["helper"]
            assert other["raw"]["texts"] == first["raw"]["texts"]
