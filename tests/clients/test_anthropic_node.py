"""Anthropic's official npm client, unmodified, in a Node process of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.clients import nodes

from tokenwire.testing import message_frames as m
from tokenwire.testing.http_bytes import LAST_CHUNK, answer, head, http_chunk
from tokenwire.testing.processes import Running

FIXTURES = Path(__file__).parent.parent / "fixtures" / "anthropic"
WHOLE = sorted(path.stem for path in FIXTURES.glob("*.sse") if "error" not in path.stem)
OPENING = head(200, ("content-type", "text/event-stream"), ("transfer-encoding", "chunked"))
Answers = dict[str, Sequence[bytes]]
Node = Callable[..., Any]


@pytest.fixture(scope="module")
def node(relay: Running) -> Iterator[Node]:
    """node(case, model) -> what anthropic.mjs makes of it."""
    with nodes.running("anthropic.mjs", relay.url) as process:
        yield lambda case, model="none": process.value(case, f"claude/{model}")


@pytest.mark.parametrize("case", WHOLE)
def test_the_helper_reads_every_recording(node: Node, answers: Answers, case: str) -> None:
    described = json.loads((FIXTURES / f"{case}.expected.json").read_text("utf-8"))
    frames = (FIXTURES / f"{case}.sse").read_bytes().split(b"\n\n")[:-1]
    answers[f"node-{case}"] = [OPENING, *(http_chunk(frame + b"\n\n") for frame in frames), LAST_CHUNK]
    expected = described["expected"]
    got = node("helper", f"node-{case}")
    assert got["text"] == got["streamed"] == expected["text"]
    assert got["reasoning"] == got["thought"] == (expected["reasoning"] or "")
    assert got["signatures"] == expected.get("signatures", [])
    assert got["calls"] == expected["tool_calls"]
    assert got["citations"] == expected.get("citations", [])
    assert got["reason"] == expected["stop_reason"]
    assert got["usage"].items() >= expected["usage"].items()
    assert bool(got["json"]) == bool(expected["tool_calls"])


def test_the_raw_events(node: Node, answers: Answers) -> None:
    frames = [m.start(), m.PING, m.block(), m.text("Grüße, 世界 "), m.PING, m.text("👩‍👩‍👧"), m.event("new"), m.end()]
    answers["node-raw"] = [OPENING, *map(http_chunk, [*frames, m.finish(output=7), m.STOP]), LAST_CHUNK]
    got = node("raw", "node-raw")
    assert (got["text"], got["error"], got["usage"]["output_tokens"]) == ("Grüße, 世界 👩‍👩‍👧", None, 7)
    assert got["types"] == [
        "message_start", "content_block_start", "content_block_delta", "content_block_delta", "new",
        "content_block_stop", "message_delta", "message_stop",
    ]  # fmt: skip


def test_a_whole_answer_and_what_else_its_users_ask(node: Node, answers: Answers) -> None:
    content = [{"type": "text", "text": "one"}, {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}]
    body: dict[str, Any] = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": content,
        "stop_reason": "tool_use",
    }
    body |= {"usage": {"input_tokens": 3, "output_tokens": 5}}
    answers["node-whole"] = [answer(json.dumps(body).encode())]
    got = node("whole", "node-whole")
    assert (got["text"], got["reason"], got["usage"]["output_tokens"]) == ("one", "tool_use", 5)
    assert got["calls"] == [{"id": "t", "name": "f", "arguments": {"a": 1}}]
    answers["node-count"] = [answer(b'{"input_tokens":14}')]
    assert node("count", "node-count") == {"input_tokens": 14}
    names = node("models")["names"]
    assert {"parrot", "sim/echo", "claude/claude-sonnet-5-5"} <= set(names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("case", ["raw", "helper-fails", "whole"])
@pytest.mark.parametrize(
    ("status", "type", "kind"),
    [
        (400, "invalid_request_error", "BadRequestError"),
        (404, "not_found_error", "NotFoundError"),
        (429, "rate_limit_error", "RateLimitError"),
        (529, "overloaded_error", "InternalServerError"),
    ],
)
def test_failures_before_the_stream(node: Node, answers: Answers, case: str, status: int, type: str, kind: str) -> None:
    body = json.dumps({"type": "error", "error": {"type": type, "message": "said so"}}).encode()
    answers[f"node-{status}"] = [answer(body, status=status)]
    error = node(case, f"node-{status}")["error"]
    assert (error["status"], error["type"]) == (status, type)
    assert error["kind"] in (kind, "OverloadedError")
    assert "said so" in error["message"]


BEGUN = [m.start(), m.block(), m.text("so far")]


@pytest.mark.parametrize("case", ["raw", "helper-fails"])
@pytest.mark.parametrize(
    ("rest", "type", "words"),
    [
        ([http_chunk(m.error()), LAST_CHUNK], "overloaded_error", "Overloaded"),
        ([http_chunk(m.error().partition(b"\n")[2]), LAST_CHUNK], "overloaded_error", "Overloaded"),
        ([http_chunk(m.end() + m.finish()), LAST_CHUNK], "api_error", "incomplete"),
        ([b""], "api_error", "mid-answer"),
    ],
    ids=["error", "unnamed error", "no end", "cut"],
)
def test_failures_within_the_stream(
    node: Node, answers: Answers, case: str, rest: list[bytes], type: str, words: str
) -> None:
    answers["node-within"] = [OPENING, *map(http_chunk, BEGUN), *rest]
    got = node(case, "node-within")
    assert got["error"]["type"] == type
    assert words in got["error"]["message"]
    assert got.get("text", "so far") == "so far"
