"""generateContent byte by byte, over a socket: order, form and time; and that recorded streams look the same."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tokenwire.simulator.texts import pick
from tokenwire.simulator.tokens import pieces

Generate = Callable[..., dict[str, Any]]
Gemini = Callable[..., Any]

RECORDED = Path(__file__).parent.parent / "fixtures" / "gemini"
CITY = {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]}
WEATHER = {"name": "get_weather", "description": "Weather now", "parameters": CITY}
CLOCK = {"name": "get_time", "parameters": CITY}
TOOLS = [{"functionDeclarations": [WEATHER, CLOCK]}]
THINK = {"thinkingConfig": {"includeThoughts": True}}
SECRET = {"thinkingConfig": {"thinkingBudget": -1}}
PERSON = {"type": "OBJECT", "properties": {"name": {"type": "STRING"}}}
LONG = [
    {"role": "user", "parts": [{"text": "word " * 1200}]},
    {"role": "model", "parts": [{"text": "A"}]},
    {"role": "user", "parts": [{"text": "A B C"}]},
]

#: Recorded stream -> (prompt, fields, headers) of a request that the simulator answers in the same way.
ALIKE: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "text": ("hi", {}, {}),
    "thinking": ("hi", {"generationConfig": THINK}, {}),
    "tool-call": ("weather in Oslo", {"tools": TOOLS, "generationConfig": SECRET}, {}),
    "parallel-tool-calls": ("weather in Oslo and Rome", {"tools": TOOLS, "generationConfig": SECRET}, {}),
    "structured-json": (
        "hi",
        {"generationConfig": {"responseMimeType": "application/json", "responseSchema": PERSON}},
        {},
    ),
    "grounding": ("search the news", {"tools": [{"googleSearch": {}}]}, {}),
    "safety-stop": ("hi", {}, {"x-sim-answer": "refusal"}),
    "prompt-blocked": ("hi", {}, {"x-sim-answer": "blocked"}),
    "usage": ("hi", {"contents": LONG, "generationConfig": SECRET}, {"signed": "no"}),
    "error-mid-stream": ("hi", {}, {"x-sim-fault": "overloaded-mid:2"}),
}


def recorded(case: str) -> list[Any]:
    body = (RECORDED / f"{case}.sse").read_bytes()
    return [json.loads(block.removeprefix(b"data: ")) for block in body.split(b"\r\n\r\n") if block]


def shape(value: Any) -> Any:
    """Names and types of everything in *value*."""
    if isinstance(value, dict):
        return {name: shape(value[name]) for name in value}
    return [shape(each) for each in value[:1]] if isinstance(value, list) else type(value).__name__


def candidates(events: list[Any]) -> list[Any]:
    return [candidate for event in events for candidate in event.get("candidates", ())]


def parts(events: list[Any], index: int = 0) -> list[Any]:
    found = [each for each in candidates(events) if each["index"] == index]
    return [part for candidate in found for part in candidate.get("content", {}).get("parts", ())]


def text(events: list[Any], index: int = 0) -> str:
    return "".join(part["text"] for part in parts(events, index) if "text" in part and not part.get("thought"))


def calls(events: list[Any]) -> list[Any]:
    return [part["functionCall"] for part in parts(events) if "functionCall" in part]


def candidate_shapes(events: list[Any]) -> set[str]:
    """The different forms of candidates, without their arguments."""
    found = []
    for candidate in candidates(events):
        form = shape(candidate)
        for part in form.get("content", {}).get("parts", ()):
            if "functionCall" in part:
                part["functionCall"]["args"] = {}
        found.append(json.dumps(form))
    return set(found)


@pytest.mark.parametrize("case", sorted(ALIKE))
def test_a_recorded_stream_and_ours_look_the_same(gemini: Gemini, generate: Generate, case: str) -> None:
    prompt, fields, headers = ALIKE[case]
    wire = gemini(generate(prompt, **fields), headers)
    ours, theirs = wire.elements, recorded(case)
    if "signed" in headers:  # ours is always signed after thinking, and that recording is not
        for part in parts(ours):
            part.pop("thoughtSignature", None)
    assert candidate_shapes(ours) == candidate_shapes(theirs)
    assert [event.keys() - {"candidates"} for event in ours[-1:]] == [theirs[-1].keys() - {"candidates"}]
    if "usageMetadata" in ours[-1]:
        extra = {"cacheTokensDetails", "toolUsePromptTokenCount"}
        assert ours[-1]["usageMetadata"].keys() - extra == theirs[-1]["usageMetadata"].keys()
    expected = json.loads((RECORDED / f"{case}.expected.json").read_text("utf-8"))["http"]
    assert wire.status == expected["status"]
    assert wire.headers["content-type"] == expected["headers"]["content-type"]


def test_every_recorded_stream_has_its_like() -> None:
    assert {path.stem for path in RECORDED.glob("*.sse")} == set(ALIKE)


def test_a_refused_request_looks_as_recorded(gemini: Gemini, generate: Generate) -> None:
    theirs = json.loads((RECORDED / "error-before-stream.json").read_bytes())
    wire = gemini(generate(), model="fault-429-37000")
    ours = json.loads(wire.body)
    assert wire.status == 429
    assert list(ours["error"]) == list(theirs["error"])
    assert [each["@type"] for each in ours["error"]["details"]] == [
        each["@type"] for each in theirs["error"]["details"]
    ]
    assert ours["error"]["details"][1] == theirs["error"]["details"][1]
    assert wire.body.startswith(b'{\n  "error": {\n    "code": 429,')


def test_every_event_is_an_http_chunk_of_compact_json_with_crlf(gemini: Gemini, generate: Generate) -> None:
    wire = gemini(generate("explain tides"))
    assert wire.complete
    for chunk, event in zip(wire.chunks, wire.elements, strict=True):
        packed = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        assert chunk == b"data: " + packed + b"\r\n\r\n"


def test_the_head_is_googles(gemini: Gemini, generate: Generate) -> None:
    headers = gemini(generate()).headers
    assert headers["content-type"] == "text/event-stream"
    assert re.fullmatch(r"gfet4t7; dur=\d+", headers["server-timing"])
    assert not [name for name in headers if "request-id" in name or "ratelimit" in name]
    unary = gemini(generate(), call="generateContent", query="").headers
    assert unary["content-type"] == "application/json; charset=UTF-8"
    assert unary["x-gemini-service-tier"] == "standard"


def test_text_comes_in_groups_of_tokens(gemini: Gemini, generate: Generate) -> None:
    said = pick("explain tides")
    events = gemini(generate("explain tides")).elements
    assert text(events) == said.body
    assert parts(events)[0] == {"text": said.pieces[0]}
    assert len(said.pieces) / 20 < len(events) < len(said.pieces) / 5
    single = gemini(generate("explain tides"), {"x-sim-group": "1"}).elements
    assert [part["text"] for part in parts(single)] == list(said.pieces)
    assert [each.get("finishReason") for each in candidates(events)] == [None] * (len(events) - 1) + ["STOP"]


def test_scripts_and_odd_characters_arrive_as_they_are(gemini: Gemini, generate: Generate) -> None:
    prompt = "odd unicode characters for a parser"
    wire = gemini(generate(prompt))
    assert text([json.loads(line[6:]) for line in wire.body.split(b"\r\n") if line]) == pick(prompt).body
    assert "\u2028".encode() in wire.body


def test_usage_is_cumulative_in_every_event(gemini: Gemini, generate: Generate) -> None:
    events = gemini(generate("explain tides", generationConfig=THINK)).elements
    counts = [event["usageMetadata"] for event in events]
    thought = [part for part in parts(events) if part.get("thought")]
    assert "candidatesTokenCount" not in counts[len(thought) - 1]
    assert counts[-1]["thoughtsTokenCount"] == sum(len(pieces(part["text"])) for part in thought)
    for name in ("candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount"):
        values = [count.get(name, 0) for count in counts]
        assert values == sorted(values)
    last = counts[-1]
    assert last["candidatesTokenCount"] == len(pick("explain tides").pieces)
    assert last["totalTokenCount"] == (
        last["promptTokenCount"] + last["candidatesTokenCount"] + last["thoughtsTokenCount"]
    )
    assert last["promptTokensDetails"] == [{"modality": "TEXT", "tokenCount": last["promptTokenCount"]}]


def test_ids_are_one_for_the_stream_and_another_for_each_call(gemini: Gemini, generate: Generate) -> None:
    events = gemini(generate("weather in Oslo and Rome", tools=TOOLS), model="gemini-2.0-flash",
                    headers={"x-sim-interval-ms": "0", "x-sim-ttft-ms": "0"}).elements  # fmt: skip
    [name] = {event["responseId"] for event in events}
    assert re.fullmatch(r"[A-Za-z0-9_-]{17,23}", name)
    assert {event["modelVersion"] for event in events} == {"gemini-2.0-flash"}
    ids = [call["id"] for call in calls(events)]
    assert len(set(ids)) == 2
    assert all(re.fullmatch(r"[a-z0-9]{8}", each) for each in ids)


def test_calls_come_whole_and_only_the_first_is_signed(gemini: Gemini, generate: Generate) -> None:
    events = gemini(generate("weather in Oslo, Rome, Lima and Bonn", tools=TOOLS)).elements
    found = [part for part in parts(events) if "functionCall" in part]
    assert [part["functionCall"]["args"]["city"] for part in found] == ["Oslo", "Rome", "Lima", "Bonn"]
    assert ["thoughtSignature" in part for part in found] == [True, False, False, False]
    assert candidates(events)[-1] == {
        "content": {"parts": [{"text": ""}], "role": "model"},
        "finishReason": "STOP",
        "index": 0,
    }


def test_parallel_calls_share_events_or_do_not(gemini: Gemini, generate: Generate) -> None:
    shared = set()
    for seed in range(12):
        body = generate("weather in Oslo, Rome, Lima and Bonn", tools=TOOLS)
        events = gemini(body, {"x-sim-seed": str(seed)}).elements
        shared.add(tuple(len(each["content"]["parts"]) for each in candidates(events)[:-1]))
    assert {sizes[0] for sizes in shared} == {1}
    assert len(shared) > 1


def test_without_events_the_stream_is_one_array_in_pieces(gemini: Gemini, generate: Generate) -> None:
    seed = {"x-sim-seed": "4"}
    wire = gemini(generate("explain tides"), seed, query="")
    assert wire.headers["content-type"] == "application/json; charset=UTF-8"
    first, *middle, last = wire.chunks
    assert first.startswith(b'[{\n  "candidates": [')
    assert all(chunk.startswith(b",\r\n{\n") for chunk in middle)
    assert all(chunk.endswith(b"}\n") for chunk in (first, *middle))
    assert last == b"]"
    assert wire.elements == gemini(generate("explain tides"), seed).elements


def test_candidates_alternate_and_have_texts_of_their_own(gemini: Gemini, generate: Generate) -> None:
    events = gemini(generate("a table", generationConfig={"candidateCount": 2})).elements
    assert [text(events, index) for index in (0, 1)] == [pick("a table", variant=n).body for n in (0, 1)]
    assert [each["index"] for each in candidates(events)][:2] in ([0, 1], [1, 0])
    assert events[-1]["usageMetadata"]["candidatesTokenCount"] == sum(
        len(pick("a table", variant=n).pieces) for n in (0, 1)
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"generationConfig": {**THINK, "candidateCount": 2}},
        {"generationConfig": SECRET},
        {"tools": TOOLS, "generationConfig": THINK},
        {"tools": [{"googleSearch": {}}]},
    ],
)
def test_the_whole_answer_says_what_the_stream_does(gemini: Gemini, generate: Generate, fields: Any) -> None:
    prompt, seed = "weather news in Oslo and Rome", {"x-sim-seed": "3"}
    events = gemini(generate(prompt, **fields), seed).elements
    whole = json.loads(gemini(generate(prompt, **fields), seed, call="generateContent", query="").body)
    for index in range(len(whole["candidates"])):
        assert text([whole], index) == text(events, index)
    assert calls([whole]) == calls(events)
    signatures = [
        [part["thoughtSignature"] for part in parts(each) if "thoughtSignature" in part] for each in ([whole], events)
    ]
    assert signatures[0] == signatures[1]
    thoughts = ["".join(part["text"] for part in parts(each) if part.get("thought")) for each in ([whole], events)]
    assert thoughts[0] == thoughts[1]
    final = [each for each in candidates(events) if "finishReason" in each]
    assert [each["finishReason"] for each in final] == [each["finishReason"] for each in whole["candidates"]]
    assert [each.get("groundingMetadata") for each in final] == [
        each.get("groundingMetadata") for each in whole["candidates"]
    ]
    assert {name: whole[name] for name in ("usageMetadata", "responseId")} == {
        name: events[-1][name] for name in ("usageMetadata", "responseId")
    }


def test_the_same_seed_gives_the_same_bytes(gemini: Gemini, generate: Generate) -> None:
    body = generate("weather in Oslo and Rome", tools=TOOLS, generationConfig=THINK)
    one = gemini(body, {"x-sim-seed": "11"})
    assert gemini(body, {"x-sim-seed": "11", "x-sim-ttft-ms": "5"}).body == one.body
    assert gemini(body, {"x-sim-seed": "12"}).body != one.body


@pytest.mark.parametrize("query", ["", "?alt=sse"])
def test_old_clients_get_what_they_can_read(gemini: Gemini, generate: Generate, query: str) -> None:
    wire = gemini(generate("old"), model="echo", query=query, version="1.0", close=False)
    assert "transfer-encoding" not in wire.headers
    assert b'"old"' in wire.body
