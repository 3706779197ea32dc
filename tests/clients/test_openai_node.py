"""The official npm client and npm's eventsource-parser, unmodified, in Node processes of their own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.clients import nodes

from tokenwire.testing.plain_sse import read
from tokenwire.testing.processes import Running, wait_for

SCRIPTS = Path(__file__).parent / "node"
Node = Callable[..., Any]


@pytest.fixture(scope="session")
def program(node_program: str, missing: Callable[[str], None]) -> str:
    if not (SCRIPTS / "node_modules" / "openai").is_dir():
        missing("no npm clients: run .ci/node-packages")
    return node_program


@pytest.fixture(scope="module")
def node(program: str, relay: Running) -> Iterator[Node]:
    """node(case, model="sim/instant") -> what openai.mjs makes of it. The process stays: its end cannot be what closes
    a connection."""
    with nodes.running("openai.mjs", f"{relay.url}/v1") as process:
        yield lambda case, model="sim/instant": process.value(case, model)


def test_text(node: Node) -> None:
    answer = node("text", "sim/echo")
    assert answer["text"][0] == "Grüße, 世界 👩‍👩‍👧"
    assert answer["chunks"] > 5
    assert (answer["reasons"], answer["usage"]) == (["stop"], None)


def test_usage(node: Node) -> None:
    answer = node("usage", "sim/echo")
    assert answer["usage"]["completion_tokens"] == 3
    assert answer["chunks"] == 3 + 3  # opening, finish and usage


def test_alternatives(node: Node) -> None:
    answer = node("alternatives")
    first, second = answer["text"]
    assert first
    assert second
    assert first != second
    assert answer["reasons"] == ["stop", "stop"]


@pytest.mark.parametrize(("case", "cities"), [("tool", ["Oslo"]), ("tools", ["Oslo", "Kyoto"])])
def test_tool_calls(node: Node, case: str, cities: list[str]) -> None:
    answer = node(case)
    assert [call["name"] for call in answer["calls"]] == ["get_weather"] * len(cities)
    assert [json.loads(call["arguments"])["city"] for call in answer["calls"]] == cities
    assert answer["reasons"] == ["tool_calls"]


def test_structured_output(node: Node) -> None:
    answer = json.loads(node("structured")["text"][0])
    assert answer.keys() == {"city", "days"}
    assert isinstance(answer["days"], int)


def test_a_whole_answer(node: Node) -> None:
    answer = node("whole", "sim/echo")
    assert answer["text"] == "one two three"
    assert answer["usage"]["completion_tokens"] == 3


def test_models(node: Node) -> None:
    assert {"parrot", "sim/echo"} <= set(node("models")["names"])


def test_the_helper(node: Node) -> None:
    answer = node("helper", "sim/echo")
    assert answer["text"] == answer["final"] == "one two three"
    assert (answer["deltas"], answer["reason"]) == (3, "stop")
    assert node("helper-tools")["calls"] == ["Oslo", "Kyoto"]


@pytest.mark.parametrize(
    ("model", "kind", "status", "code"),
    [
        ("sim/fault-error-before-400", "BadRequestError", 400, None),
        ("sim-echo", "NotFoundError", 404, "model_not_found"),
        ("sim/fault-429-2500", "RateLimitError", 429, "rate_limit_exceeded"),
        ("sim/fault-error-before", "InternalServerError", 500, None),
        ("sim/fault-overloaded", "InternalServerError", 503, None),
        ("gone/any", "InternalServerError", 502, "connect_failed"),
    ],
)
def test_failures_before_the_stream(node: Node, model: str, kind: str, status: int, code: str | None) -> None:
    error = node("fails", model)["error"]
    assert (error["kind"], error["status"], error["code"]) == (kind, status, code)
    if status == 404:
        assert "sim/echo" in error["message"]
        assert error["param"] == "model"
    if status == 429:
        assert error["retryAfter"] == "2500"


@pytest.mark.parametrize("fault", ["error-mid", "malformed", "cut", "eof"])
def test_failures_within_the_stream(node: Node, fault: str) -> None:
    answer = node("fails", f"sim/fault-{fault}")
    assert answer["text"]
    assert answer["error"] is not None
    assert answer["error"]["kind"] == "APIError"
    assert answer["error"]["status"] is None


@pytest.mark.parametrize("fault", ["cut", "error-mid"])
def test_failures_within_the_helpers_stream(node: Node, fault: str) -> None:
    assert node("helper-fails", f"sim/fault-{fault}")["error"] is not None


@pytest.mark.parametrize("case", ["abort", "break"])
def test_leaving_ends_the_providers_work(node: Node, stats: Callable[[], dict[str, int]], case: str) -> None:
    assert node(case) == {"tokens": 3, "aborted": True}
    wait_for(stats, lambda now: (now["aborted"], now["active"]) == (1, 0))


def test_eventsource_parser_reads_what_was_sent(
    program: str, relay: Running, fetch: Callable[..., Any], chat: Callable[..., dict[str, Any]]
) -> None:
    def events_at(url: str, *body: str) -> dict[str, Any]:
        command = [program, str(SCRIPTS / "events.mjs"), url, *body]
        done = subprocess.run(command, capture_output=True, timeout=30, check=True, stdin=subprocess.DEVNULL)
        result: dict[str, Any] = json.loads(done.stdout)
        assert result["errors"] == []
        assert result["type"].startswith("text/event-stream")
        return result

    request = chat("sim/echo", "Grüße, 世界 👩‍👩‍👧")
    vendor = events_at(f"{relay.url}/v1/chat/completions", json.dumps(request))["events"]
    assert vendor[-1] == {"id": None, "event": None, "data": "[DONE]"}
    assert "".join(text_of(event["data"]) for event in vendor[:-1]) == request["messages"][0]["content"]

    # A slow one, so that heartbeats are among the bytes; native, so that every event has a name and an id.
    request = chat("sim/instant", tokens=3, interval_ms=700)
    started = fetch(f"{relay.url}/v1/streams", {"dialect": "openai.chat", "request": request})
    native = events_at(relay.url + started["events"])
    assert native["comments"]
    # Estimates are told beside the log, to whoever reads while they grow.
    events = [event for event in native["events"] if '"estimated":true' not in event["data"]]
    assert len(events) < len(native["events"])
    assert [event["event"] for event in events] == ["started", "text", "text", "text", "usage", "done"]
    again = read(raw(relay.url + started["events"])).events
    assert [(each["id"], each["event"], each["data"]) for each in events] == [
        (event.id, event.event, event.data) for event in again
    ]


def text_of(data: str) -> str:
    return "".join(choice["delta"].get("content") or "" for choice in json.loads(data)["choices"])


def raw(url: str) -> bytes:
    from urllib.request import urlopen

    with urlopen(url, timeout=20) as answer:
        return bytes(answer.read())
