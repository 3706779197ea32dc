"""Ollama's API as the simulator serves it, byte by byte."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire import dialects
from tokenwire.dialects.transcript import Transcript
from tokenwire.simulator.texts import pick
from tokenwire.simulator.thoughts import thoughts

Get = Callable[..., Any]

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
LAST = ("total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration")


def asked(prompt: str = "hi", **more: Any) -> dict[str, Any]:
    return {"model": "instant", "messages": [{"role": "user", "content": prompt}], **more}


def lines_of(wire: Any) -> list[Any]:
    assert wire.status == 200
    assert wire.complete
    assert wire.body.endswith(b"\n")
    return [json.loads(line) for line in wire.body.split(b"\n")[:-1]]


def text_of(lines: list[Any]) -> str:
    return "".join(line["message"]["content"] for line in lines)


@pytest.fixture
def talk(get: Get) -> Get:
    """talk(body, headers=None, path="/api/chat") -> Wire"""
    return lambda body, headers=None, **more: get(body, headers, **{"path": "/api/chat", **more})


def test_a_request_that_does_not_say_is_answered_by_a_stream(talk: Get) -> None:
    wire = talk(asked("in Japanese"))
    lines = lines_of(wire)
    assert wire.headers["content-type"] == "application/x-ndjson"
    assert len(wire.chunks) == len(lines)
    assert text_of(lines) == pick("in Japanese").body
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert list(lines[0]) == ["model", "created_at", "message", "done"]
    assert list(lines[-1]) == ["model", "created_at", "message", "done", "done_reason", *LAST]
    assert lines[-1]["eval_count"] == len(lines) - 1
    assert lines[-1]["message"] == {"role": "assistant", "content": ""}
    times = [line["created_at"] for line in lines]
    assert len(set(times)) == len(times)


def test_an_answer_that_is_not_streamed_says_it_all_at_once(talk: Get) -> None:
    wire = talk(asked("in Japanese", stream=False))
    body = json.loads(wire.body)
    assert wire.headers["content-type"] == "application/json; charset=utf-8"
    assert body["message"]["content"] == pick("in Japanese").body
    assert (body["done"], body["done_reason"]) == (True, "stop")
    assert all(body[name] > 0 for name in LAST)


def test_generate_says_it_at_the_top_with_a_context(talk: Get) -> None:
    body = {"model": "instant:latest", "prompt": "in Japanese", "system": "Be kind.", "think": True}
    lines = lines_of(talk(body, path="/api/generate"))
    assert "".join(line["response"] for line in lines) == pick("in Japanese").body
    thought = "".join(line.get("thinking", "") for line in lines)
    assert thought == "".join(thoughts("in Japanese", tools=False, results=False))
    assert lines[-1]["model"] == "instant:latest"
    assert len(lines[-1]["context"]) == lines[-1]["prompt_eval_count"] + lines[-1]["eval_count"]
    again = json.loads(talk({**body, "stream": False, "context": [1, 2, 3], "think": "low"}, path="/api/generate").body)
    assert again["context"][:3] == [1, 2, 3]
    assert (again["response"], again["thinking"]) == (pick("in Japanese").body, thought)
    assert "context" not in lines_of(talk({**body, "raw": True}, path="/api/generate"))[-1]


@pytest.mark.parametrize("stream", [True, False])
def test_calls_come_whole_with_objects_as_arguments(talk: Get, stream: bool) -> None:
    wire = talk(asked("weather in Oslo and Lima", tools=[WEATHER], stream=stream, think=True))
    lines = lines_of(wire) if stream else [json.loads(wire.body)]
    calls = [call for line in lines for call in line["message"].get("tool_calls", [])]
    assert [call["function"] for call in calls] == [
        {"index": index, "name": "get_weather", "arguments": {"city": city}}
        for index, city in enumerate(["Oslo", "Lima"])
    ]
    assert len({call["id"] for call in calls}) == 2
    assert text_of(lines) == ""
    assert lines[-1]["done_reason"] == "stop"
    assert any(line["message"].get("thinking") for line in lines)


@pytest.mark.parametrize("named", ["tool_name", "tool_call_id", None])
def test_results_are_answered(talk: Get, named: str | None) -> None:
    call = {"id": "c1", "function": {"name": "get_weather", "arguments": {"city": "Oslo"}}}
    result = {"role": "tool", "content": "rain in Oslo"}
    if named:
        result[named] = "get_weather" if named == "tool_name" else "c1"
    messages = [*asked("weather in Oslo")["messages"], {"role": "assistant", "tool_calls": [call]}, result]
    lines = lines_of(talk({**asked(), "messages": messages, "tools": [WEATHER], "think": "low"}))
    assert "tools have answered" in "".join(line["message"].get("thinking", "") for line in lines)
    text = text_of(lines)
    assert "rain in Oslo" in text
    assert ("get_weather" in text) is (named is not None)


def test_a_format_is_kept_to(talk: Get) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    value = json.loads(text_of(lines_of(talk(asked("a person", format=schema)))))
    assert isinstance(value["age"], int)
    assert isinstance(json.loads(text_of(lines_of(talk(asked("a person", format="json"))))), dict)
    assert text_of(lines_of(talk(asked("in Japanese", format="")))) == pick("in Japanese").body


def test_options_are_kept_to(talk: Get) -> None:
    cut = lines_of(talk(asked("in Japanese", options={"num_predict": 5.0, "temperature": 0.1})))
    assert (len(cut), cut[-1]["done_reason"], cut[-1]["eval_count"]) == (6, "length", 5)
    text = pick("in Japanese").body
    stopped = lines_of(talk(asked("in Japanese", options={"stop": [text[20:23]], "num_predict": -1})))
    assert text_of(stopped) == text[: text.index(text[20:23])]
    assert stopped[-1]["done_reason"] == "stop"
    thought = lines_of(talk(asked("hi", think=True, options={"num_predict": 3})))
    assert [bool(line["message"].get("thinking")) for line in thought] == [True, True, True, False]
    one = lines_of(talk(asked("weather in Oslo", tools=[WEATHER])))[-1]["eval_count"]
    for limit, calls, reason in ((2, 0, "length"), (one, 1, "length"), (3 * one, 2, "stop")):
        short = lines_of(talk(asked("weather in Oslo and Lima", tools=[WEATHER], options={"num_predict": limit})))
        assert len([line for line in short if "tool_calls" in line["message"]]) == calls
        assert short[-1]["done_reason"] == reason
    seeds = [asked("a person", format="json", options={"seed": seed}) for seed in (1, 1, 2)]
    first, same, other = (text_of(lines_of(talk(body))) for body in seeds)
    assert first == same != other


def test_log_probabilities_are_told_if_asked_for(talk: Get) -> None:
    *lines, last = lines_of(talk(asked("hi", logprobs=True, top_logprobs=2)))
    entries = [entry for line in lines for entry in line["logprobs"]]
    assert [entry["token"] for entry in entries] == [line["message"]["content"] for line in lines]
    assert all(len(entry["top_logprobs"]) == 2 for entry in entries)
    assert "logprobs" not in last
    whole = json.loads(talk(asked("hi", logprobs=True, stream=False)).body)
    assert "".join(entry["token"] for entry in whole["logprobs"]) == whole["message"]["content"]


def test_json_is_escaped_as_go_does(talk: Get) -> None:
    wire = talk({**asked("<a> & \u2028 é"), "model": "echo"})
    assert b"<" not in wire.body
    assert b"&" not in wire.body
    assert "\u2028".encode() not in wire.body
    assert text_of(lines_of(wire)) == "<a> & \u2028 é"


@pytest.mark.parametrize(("keep", "reason"), [(None, "load"), ("5m", "load"), (0, "unload")])
def test_without_a_prompt_a_model_is_loaded_or_unloaded(talk: Get, keep: Any, reason: str) -> None:
    body = {"model": "instant", "keep_alive": keep}
    for path, member in (("/api/chat", "message"), ("/api/generate", "response")):
        found = json.loads(talk(body, path=path).body)
        assert (found["done"], found["done_reason"]) == (True, reason)
        assert member in found


def test_the_same_seed_gives_the_same_bytes(talk: Get) -> None:
    bodies = [talk(asked("weather in Oslo", tools=[WEATHER]), {"x-sim-seed": seed}).body for seed in ("7", "7", "8")]
    assert bodies[0] == bodies[1] != bodies[2]


def test_switches_set_the_length_and_the_times(talk: Get) -> None:
    switches = {"x-sim-tokens": "7", "x-sim-ttft-ms": "100", "x-sim-interval-ms": "10", "x-sim-seed": "1"}
    lines = lines_of(talk({**asked(), "model": "gpt-4o"}, switches))
    assert len(lines) == 8
    assert 150_000_000 < lines[-1]["total_duration"] - lines[-1]["load_duration"] < 170_000_000


def test_an_answer_out_of_the_ordinary_is_none_of_ollamas(talk: Get) -> None:
    wire = talk(asked(), {"x-sim-answer": "refusal"})
    assert (wire.status, "x-sim-answer" in json.loads(wire.body)["error"]) == (400, True)


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
def test_our_own_decoder_reads_what_the_simulator_sends(talk: Get, path: str) -> None:
    dialect = dialects.get("ollama" if path == "/api/chat" else "ollama.generate")
    body = {**asked("weather in Oslo and Lima", tools=[WEATHER], think=True), "prompt": "in Japanese"}
    seed = {"x-sim-seed": "3"}
    streamed, whole = Transcript(), Transcript()
    decoder = dialect.decoder()
    for line in talk(body, seed, path=path).body.splitlines(keepends=True):
        for delta in dialect.look(line, decoder)[1]:
            streamed.apply(delta)
    assert decoder.close() == []
    for delta in dialect.decode_response(talk({**body, "stream": False}, seed, path=path).body):
        whole.apply(delta)
    first, second = streamed.choice(), whole.choice()
    assert first.reason == second.reason == ("tool_use" if path == "/api/chat" else "stop")
    assert (first.text, first.reasoning) == (second.text, second.reasoning)
    calls = [[(call.name, call.arguments) for call in choice.tool_calls.values()] for choice in (first, second)]
    assert calls[0] == calls[1]
    assert streamed.usage is not None
    assert whole.usage is not None
    assert (streamed.usage.input, streamed.usage.output) == (whole.usage.input, whole.usage.output)
    assert streamed.opaque == whole.opaque == (path == "/api/generate")  # the context


# -- the other routes


def test_models_and_version_are_told(talk: Get) -> None:
    tags = json.loads(talk(None, path="/api/tags", method="GET").body)["models"]
    names = [entry["name"] for entry in tags]
    assert {"instant:latest", "echo:latest", "fault-cut:latest"} <= set(names)
    assert "fault-pings:latest" not in names
    assert set(tags[0]["details"]) == {
        "parent_model", "format", "family", "families", "parameter_size", "quantization_level",
    }  # fmt: skip
    assert "version" in json.loads(talk(None, path="/api/version", method="GET").body)
    for name in ("instant", "instant:latest", "fault-cut-3"):
        shown = json.loads(talk({"model": name}, path="/api/show").body)
        assert "thinking" in shown["capabilities"]


@pytest.mark.parametrize(
    ("body", "path", "status", "message"),
    [
        (b"", "/api/chat", 400, "missing request body"),
        (b"{", "/api/chat", 400, "invalid JSON"),
        (b"[" * 100_000, "/api/chat", 400, "invalid JSON"),
        ([], "/api/chat", 400, "cannot unmarshal"),
        ({}, "/api/chat", 400, "model is required"),
        ({"model": "instant", "options": 7}, "/api/chat", 400, "cannot unmarshal"),
        ({"model": "instant", "prompt": 7}, "/api/generate", 400, "cannot unmarshal"),
        (asked(model="nope"), "/api/chat", 404, "model 'nope' not found"),
        (asked(model="fault-nope"), "/api/chat", 404, "model 'fault-nope' not found"),
        (asked(think="hard"), "/api/chat", 400, 'invalid think value: "hard"'),
        (asked(format="xml"), "/api/chat", 400, 'invalid format: "xml"'),
        (asked(format={"type": "nope"}), "/api/chat", 400, "invalid schema in 'format'"),
        (asked("get weather", tools=[{"function": {"name": "get_weather", "parameters": {"allOf": 1}}}]), "/api/chat",
         400, "invalid schema in 'tools'"),
        ({"model": "nope"}, "/api/show", 404, "model 'nope' not found"),
        ({}, "/api/show", 400, "model is required"),
        (b"{", "/api/show", 400, "invalid JSON"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_in_ollamas_words(talk: Get, body: Any, path: str, status: int, message: str) -> None:
    wire = talk(body, path=path)
    assert wire.status == status
    assert message in json.loads(wire.body)["error"]


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/chat"), ("POST", "/api/tags")])
def test_another_method_is_not_allowed(talk: Get, method: str, path: str) -> None:
    wire = talk(None, path=path, method=method)
    assert (wire.status, wire.body) == (405, b"405 method not allowed")


def test_a_request_that_is_none_is_refused_as_ollama_does(talk: Get) -> None:
    wire = talk(b"", {"content-length": "x"}, path="/api/chat")
    assert wire.status == 400
    assert isinstance(json.loads(wire.body)["error"], str)


def test_it_tells_of_its_routes(get: Get) -> None:
    assert b"/api/generate" in get(None, method="GET", path="/").body
