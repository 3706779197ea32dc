"""What Gemini's look-alike answers: calls, results, schemas, limits, thoughts and searches."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from tokenwire.simulator.texts import pick
from tokenwire.simulator.tokens import pieces
from tokenwire.simulator.vendors.gemini.schemas import json_schema

Generate = Callable[..., dict[str, Any]]

CITY = {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]}
WEATHER = {"name": "get_weather", "description": "Weather now", "parameters": CITY}
CLOCK = {"name": "get_time"}
TOOLS = [{"functionDeclarations": [WEATHER, CLOCK]}]
SHOWN = {"thinkingConfig": {"includeThoughts": True}}
SECRET = {"thinkingConfig": {"thinkingLevel": "HIGH"}}


@pytest.fixture
def whole(gemini: Any, generate: Generate) -> Callable[..., Any]:
    """whole(prompt, headers=None, *, model, **fields) -> the answer at once."""

    def ask(prompt: Any, headers: Any = None, *, model: str = "instant", **fields: Any) -> Any:
        wire = gemini(generate(prompt, **fields), headers, model=model, call="generateContent", query="")
        assert wire.status == 200, wire.body
        return json.loads(wire.body)

    return ask


def parts(answer: Any) -> list[Any]:
    found: list[Any] = answer["candidates"][0]["content"]["parts"]
    return found


def text(answer: Any) -> str:
    return "".join(part["text"] for part in parts(answer) if not part.get("thought"))


def called(answer: Any) -> list[tuple[str, Any]]:
    found = [part["functionCall"] for part in parts(answer)]
    return [(call["name"], call["args"]) for call in found]


def finish(answer: Any) -> str:
    return str(answer["candidates"][0]["finishReason"])


def config(**fields: Any) -> dict[str, Any]:
    return {"generationConfig": fields}


def mode(name: str, *allowed: str) -> dict[str, Any]:
    names = {"allowedFunctionNames": list(allowed)} if allowed else {}
    return {"tools": TOOLS, "toolConfig": {"functionCallingConfig": {"mode": name, **names}}}


def test_a_fitting_function_is_called(whole: Any) -> None:
    assert called(whole("weather in Oslo", tools=TOOLS)) == [("get_weather", {"city": "Oslo"})]
    assert called(whole("weather and time", tools=TOOLS))[1] == ("get_time", {})
    assert text(whole("tell me a joke", tools=TOOLS)) == pick("tell me a joke").body
    assert text(whole("weather in Oslo", **mode("NONE"))) == pick("weather in Oslo").body
    assert called(whole("hi", **mode("ANY")))[0][0] == "get_weather"
    assert called(whole("weather", **mode("ANY", "get_time"))) == [("get_time", {})]
    assert called(whole("weather in Oslo", **mode("VALIDATED", "get_weather"))) == [("get_weather", {"city": "Oslo"})]


def test_what_functions_said_is_in_the_answer(whole: Any) -> None:
    def result(name: str, response: Any) -> Any:
        return {"functionResponse": {"name": name, "response": response}}

    call = {"functionCall": {"name": "get_weather", "args": {"city": "Oslo"}}}
    time = {"functionCall": {"name": "get_time"}}
    turns = [
        {"role": "user", "parts": [{"text": "weather and time"}]},
        {"role": "model", "parts": [call]},
        {"role": "function", "parts": [result("get_weather", {"output": "rain"})]},
        {"role": "model", "parts": [time, call]},
        {"role": "user", "parts": [result("get_time", {"hour": 9, "zone": "CET"}), result("get_weather", {"a": 1})]},
    ]
    said = text(whole("", contents=turns, tools=TOOLS))
    for expected in ("`get_weather`: rain", '`get_time`: {"hour":9,"zone":"CET"}', '`get_weather`: {"a":1}'):
        assert expected in said
    assert called(whole("", contents=turns, **mode("ANY")))[0][0] == "get_weather"


def test_structured_output_is_indented_json_for_the_schema(whole: Any) -> None:
    schema = {
        "type": "OBJECT",
        "properties": {
            "name": {"type": "STRING"},
            "tags": {"type": "ARRAY", "items": {"type": "STRING"}, "minItems": "2"},
            "age": {"type": "INTEGER", "nullable": True},
        },
        "required": ["name", "tags", "age"],
        "propertyOrdering": ["tags", "name"],
    }
    answer = whole("a person", **config(responseMimeType="application/json", responseSchema=schema))
    value = json.loads(text(answer))
    assert list(value)[:2] == ["tags", "name"]
    jsonschema.validate(value, json_schema(schema))
    assert text(answer) == json.dumps(value, indent=2, ensure_ascii=False)
    plain = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    answer = whole("a city", **config(responseMimeType="application/json", responseJsonSchema=plain))
    jsonschema.validate(json.loads(text(answer)), plain)
    assert "title" in json.loads(text(whole("hi", **config(responseMimeType="application/json"))))


def test_one_of_several_words_is_chosen(whole: Any) -> None:
    schema = {"type": "STRING", "format": "enum", "enum": ["red", "green"]}
    answer = whole("green", **config(responseMimeType="text/x.enum", responseSchema=schema))
    assert text(answer) in ("red", "green")
    assert text(whole("green", model="echo", **config(responseMimeType="text/x.enum"))) == "green"


def test_googles_schemas_become_json_schemas() -> None:
    assert json_schema({"type": ["STRING", "NULL"], "min_length": 2}) == {"type": ["string", "null"], "minLength": 2}
    assert json_schema({"anyOf": [{"type": "STRING"}, {"type": "NUMBER"}]}) == {
        "anyOf": [{"type": "string"}, {"type": "number"}]
    }
    assert json_schema({"type": "STRING", "nullable": True, "example": "x"}) == {
        "anyOf": [{"type": "string"}, {"type": "null"}]
    }
    assert json_schema(True) is True
    for order in (["b", {}, "z"], 5):
        found = json_schema({"properties": {"a": {}, "b": {}}, "propertyOrdering": order})
        assert set(found["properties"]) == {"a", "b"}


def test_a_limit_counts_thoughts_as_well(whole: Any) -> None:
    answer = whole("one two three four", model="echo", **config(maxOutputTokens=2))
    assert (text(answer), finish(answer), answer["usageMetadata"]["candidatesTokenCount"]) == (
        "one two", "MAX_TOKENS", 2,
    )  # fmt: skip
    answer = whole("hi", **config(maxOutputTokens=5, **SHOWN))
    assert finish(answer) == "MAX_TOKENS"
    assert text(answer) == ""
    assert answer["usageMetadata"]["thoughtsTokenCount"] == 5
    assert "candidatesTokenCount" not in answer["usageMetadata"]


def test_a_call_that_is_cut_is_not_made(whole: Any) -> None:
    answer = whole("weather in Oslo and Rome", tools=TOOLS, **config(maxOutputTokens=9))
    assert called(answer) == [("get_weather", {"city": "Oslo"})]
    assert finish(answer) == "MAX_TOKENS"
    assert finish(whole("weather in Oslo", tools=TOOLS, **config(maxOutputTokens=2))) == "MAX_TOKENS"


def test_stop_sequences_end_the_text(whole: Any) -> None:
    answer = whole("one two three", model="echo", **config(stopSequences=["thr", "", "zzz"]))
    assert (text(answer), finish(answer)) == ("one two ", "STOP")
    assert text(whole("one two", model="echo", **config(stopSequences=["x"]))) == "one two"


@pytest.mark.parametrize("fields", [SHOWN, SECRET])
def test_thoughts_are_shown_if_asked_for_and_always_counted(whole: Any, fields: Any) -> None:
    answer = whole("why is the sky blue", **config(**fields))
    thought = [part for part in parts(answer) if part.get("thought")]
    assert bool(thought) == (fields is SHOWN)
    assert all("The user wrote: “why is the sky blue”." in part["text"] for part in thought)
    assert text(answer) == pick("why is the sky blue").body
    assert answer["usageMetadata"]["thoughtsTokenCount"] > 20
    assert "thoughtSignature" in parts(answer)[-1]


@pytest.mark.parametrize("fields", [{"thinkingBudget": 0}, {"thinkingLevel": "MINIMAL", "includeThoughts": True}])
def test_thinking_can_be_switched_off(whole: Any, fields: Any) -> None:
    answer = whole("hi", **config(thinkingConfig=fields))
    assert "thoughtsTokenCount" not in answer["usageMetadata"]
    assert len(parts(answer)) == 1


def test_secret_thoughts_are_counted_with_the_event_that_follows_them(gemini: Any) -> None:
    body = {"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": SECRET}
    events = gemini(body, model="fault-eof-20").elements
    assert events == []  # the first event holds more tokens than that


def test_a_search_grounds_the_answer_by_bytes(whole: Any) -> None:
    answer = whole("search for emoji", tools=[{"googleSearch": {}}])
    found = answer["candidates"][0]["groundingMetadata"]
    raw = text(answer).encode()
    assert len(found["groundingChunks"]) == 3
    for number, support in enumerate(found["groundingSupports"]):
        segment = support["segment"]
        assert raw[segment["startIndex"] : segment["endIndex"]].decode() == segment["text"]
        assert support["groundingChunkIndices"] == [number]
    assert len(raw) > len(text(answer))
    usage = answer["usageMetadata"]
    assert usage["toolUsePromptTokenCount"] > 0
    assert usage["totalTokenCount"] == (
        usage["promptTokenCount"] + usage["candidatesTokenCount"] + usage["toolUsePromptTokenCount"]
    )
    assert "groundingMetadata" not in whole("a joke", tools=[{"googleSearch": {}}])["candidates"][0]
    assert "groundingMetadata" in whole("latest", tools=[{"googleSearchRetrieval": {}}])["candidates"][0]
    cut = whole("search for emoji", tools=[{"googleSearch": {}}], **config(maxOutputTokens=9))
    assert "groundingMetadata" not in cut["candidates"][0]


def test_answers_out_of_the_ordinary(whole: Any) -> None:
    blocked = whole("hi", {"x-sim-answer": "blocked"})
    assert blocked["promptFeedback"] == {"blockReason": "PROHIBITED_CONTENT"}
    assert "candidates" not in blocked
    stopped = whole("hi", {"x-sim-answer": "refusal"})
    assert (text(stopped), finish(stopped)) == ("Well, ", "SAFETY")
    assert stopped["candidates"][0]["safetyRatings"][0]["blocked"] is True
    malformed = whole("hi", {"x-sim-answer": "malformed-call"})["candidates"][0]
    assert malformed["finishReason"] == "MALFORMED_FUNCTION_CALL"
    assert malformed["finishMessage"].startswith("Malformed function call: ")
    assert "content" not in malformed


@pytest.mark.parametrize("answer", ["blocked", "refusal", "malformed-call"])
def test_answers_out_of_the_ordinary_end_their_stream(gemini: Any, generate: Generate, answer: str) -> None:
    wire = gemini(generate(), {"x-sim-answer": answer})
    assert wire.complete
    assert wire.elements[-1].keys() & {"promptFeedback", "candidates"}


def test_the_length_can_be_set(whole: Any) -> None:
    for tokens in (0, 3):
        answer = whole("hi", {"x-sim-tokens": str(tokens)})
        assert len(pieces(text(answer))) == tokens == answer["usageMetadata"].get("candidatesTokenCount", 0)
        assert finish(answer) == "STOP"


def test_earlier_turns_are_cached_if_they_are_long(whole: Any) -> None:
    turns = [
        {"role": "user", "parts": [{"text": "word " * 1100}, {"inlineData": {"mimeType": "image/png", "data": ""}}]},
        {"role": "model", "parts": [{"text": "well"}]},
        {"role": "user", "parts": [{"text": "go on"}]},
    ]
    usage = whole("", contents=turns)["usageMetadata"]
    assert 1100 < usage["cachedContentTokenCount"] < usage["promptTokenCount"]
    assert usage["cacheTokensDetails"][0]["tokenCount"] == usage["cachedContentTokenCount"]
    assert "cachedContentTokenCount" not in whole("hi")["usageMetadata"]
