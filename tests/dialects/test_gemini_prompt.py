"""generateContent requests, read: as google-genai writes them, and as they come otherwise."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from google import genai
from google.genai import types

from tokenwire.dialects.gemini.prompt import PROMPTS
from tokenwire.dialects.gemini.request import parse_request, rewrite
from tokenwire.dialects.prompt.fit import translate
from tokenwire.dialects.prompt.vocabulary import (
    Call,
    Foreign,
    Media,
    Prompt,
    Reasoning,
    Result,
    Said,
    Thought,
)
from tokenwire.errors import RequestRefused

ANSWER = b'{"candidates":[{"content":{"parts":[{"text":"a"}],"role":"model"},"finishReason":"STOP"}]}'


def read(body: Any) -> Prompt:
    return PROMPTS.read(parse_request(json.dumps(body).encode(), model="m", stream=True))


def asked(contents: Any, config: Any = None) -> bytes:
    """The body that google-genai sends for it."""
    bodies: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(request.read())
        return httpx.Response(200, content=ANSWER, headers={"content-type": "application/json"})

    network = httpx.Client(transport=httpx.MockTransport(answer))
    options = types.HttpOptions(base_url="http://relay.test", httpx_client=network)
    with genai.Client(api_key="k", http_options=options) as client:
        client.models.generate_content(model="m", contents=contents, config=config)
    return bodies[0]


def weather(city: str, days: int = 1) -> str:
    """Tells the weather."""
    return f"{city} {days}"


def test_everything_that_google_genai_sends_is_read() -> None:
    schema = {"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": True}}, "required": ["a"]}
    declared: Any = {"name": "g", "description": "d", "parameters_json_schema": {"type": "object", "title": "G"}}
    safety: Any = {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}
    config = types.GenerateContentConfig(
        system_instruction="Be kind.", temperature=0.5, top_p=0.25, top_k=40, candidate_count=2, max_output_tokens=77,
        stop_sequences=["END"], seed=7, presence_penalty=0.5, frequency_penalty=0.25, response_logprobs=True,
        logprobs=3, response_mime_type="application/json", response_schema=schema,
        thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_level=types.ThinkingLevel.LOW),
        tools=[weather, types.Tool(function_declarations=[declared])],
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        tool_config=types.ToolConfig(function_calling_config=types.FunctionCallingConfig(
            mode=types.FunctionCallingConfigMode.ANY, allowed_function_names=["g"])),
        safety_settings=[safety],
    )  # fmt: skip
    prompt = PROMPTS.read(parse_request(asked("Hi", config), model="m", stream=False))
    assert [(turn.role, turn.parts) for turn in prompt.turns] == [
        ("system", [Said(text="Be kind.", where="systemInstruction.parts.0")]),
        ("user", [Said(text="Hi", where="contents.0.parts.0")]),
    ]
    assert (prompt.temperature, prompt.top_p, prompt.top_k, prompt.n, prompt.max_tokens) == (0.5, 0.25, 40, 2, 77)
    assert (prompt.stop, prompt.seed, prompt.presence_penalty, prompt.frequency_penalty) == (["END"], 7, 0.5, 0.25)
    assert (prompt.logprobs, prompt.where["max_tokens"]) == (3, "generationConfig.maxOutputTokens")
    assert prompt.output is not None
    assert prompt.output.schema is not None
    assert prompt.output.schema["type"] == "object"
    assert prompt.output.schema["properties"]["a"] == {"type": ["string", "null"]}
    assert prompt.output.where == "generationConfig.responseSchema"
    assert prompt.reasoning == Reasoning(effort="low", show=True, where="generationConfig.thinkingConfig")
    first, second = prompt.tools
    assert (first.name, first.description) == ("weather", "Tells the weather.")
    assert first.parameters is not None
    assert first.parameters["properties"]["city"]["type"] == "string"
    assert (second.name, second.parameters) == ("g", {"type": "object", "title": "G"})
    assert prompt.tool_choice is not None
    assert (prompt.tool_choice.mode, prompt.tool_choice.names) == ("required", ["g"])
    assert set(prompt.rest) <= PROMPTS.harmless
    assert "safetySettings" in prompt.rest


def test_googles_own_tools_are_left_over_under_their_names() -> None:
    config = types.GenerateContentConfig(
        tools=[types.Tool(google_search=types.GoogleSearch()), types.Tool(code_execution=types.ToolCodeExecution())]
    )
    request = parse_request(asked("Hi", config), model="m", stream=True)
    assert set(PROMPTS.read(request).rest) == {"tools.0.googleSearch", "tools.1.codeExecution"}
    with pytest.raises(RequestRefused, match=r"tools\.0\.googleSearch"):
        translate(request, PROMPTS, PROMPTS, "other", "m")


@pytest.mark.parametrize(
    "member",
    [
        {"cachedContent": "cachedContents/1"}, {"generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}},
        {"generationConfig": {"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING"}}},
        {"generationConfig": {"speechConfig": {"voice": "x"}}}, {"toolConfig": {"retrievalConfig": {"lat": 1}}},
        {"generationConfig": {"thinkingConfig": {"new": 1}}},
    ],
)  # fmt: skip
def test_what_only_gemini_can_do_is_left_over(member: dict[str, Any]) -> None:
    rest = read({"contents": [], **member}).rest
    assert len(rest) == 1
    assert set(rest).isdisjoint(PROMPTS.harmless)


def test_a_history_of_the_sdk_is_read_with_its_files() -> None:
    contents = [
        types.Content(role="user", parts=[
            types.Part.from_bytes(data=b"\xff\xfe\xfd", mime_type="image/png"),
            types.Part.from_uri(file_uri="https://a.example/b.pdf", mime_type="application/pdf"),
            types.Part.from_uri(file_uri="gs://bucket/film.mp4", mime_type="video/mp4"),
        ]),
        types.Content(role="model", parts=[types.Part(text="hm", thought=True), types.Part(text="A")]),
        types.Content(role="model", parts=[types.Part(text="B"), types.Part(text="", thought_signature=b"sig")]),
    ]  # fmt: skip
    user, model = PROMPTS.read(parse_request(asked(contents), model="m", stream=True)).turns
    image, file, film = user.parts
    assert image == Media(kind="image", mime="image/png", data="//79", where="contents.0.parts.0.inlineData")
    assert isinstance(file, Media)
    assert (file.kind, file.url, file.file_id) == ("file", "https://a.example/b.pdf", None)
    assert isinstance(film, Media)
    assert (film.kind, film.url, film.file_id, film.vendor) == ("video", None, "gs://bucket/film.mp4", "gemini")
    assert [type(part) for part in model.parts] == [Thought, Said, Thought]
    assert isinstance(model.parts[1], Said)
    assert model.parts[1].text == "AB"
    assert isinstance(model.parts[2], Thought)
    assert (model.parts[2].signature, model.parts[2].dialect) == ("c2ln", "gemini")


def test_snake_case_is_read_as_camel_case() -> None:
    prompt = read({
        "contents": [{"parts": [{"inline_data": {"mime_type": "audio/wav", "data": "AAAA"}}]}],
        "system_instruction": {"parts": [{"text": "x"}]}, "generation_config": {"top_k": 4.0, "max_output_tokens": 3},
        "tools": [{"function_declarations": [{"name": "f", "parameters": {
            "type": "OBJECT", "properties": {"max_len": {"type": "INTEGER", "format": "int64"}},
            "property_ordering": ["max_len"], "any_of": [{"type": "STRING", "min_length": "3", "nullable": True}],
        }}]}],
        "tool_config": {"function_calling_config": {"mode": "NONE"}}, "safety_settings": [],
    })  # fmt: skip
    assert (prompt.top_k, prompt.max_tokens, prompt.rest) == (4, 3, {})
    assert prompt.tool_choice is not None
    assert prompt.tool_choice.mode == "none"
    assert prompt.tools[0].parameters == {
        "type": "object", "properties": {"max_len": {"type": "integer", "format": "int64"}},
        "anyOf": [{"type": ["string", "null"], "minLength": 3}],
    }  # fmt: skip
    media = prompt.turns[1].parts[0]
    assert isinstance(media, Media)
    assert media.kind == "audio"


def test_results_are_given_to_calls_by_id_by_name_or_in_order() -> None:
    def call(name: str, **more: Any) -> dict[str, Any]:
        return {"functionCall": {"name": name, "args": {}, **more}}

    def result(response: Any, **more: Any) -> dict[str, Any]:
        return {"functionResponse": {"response": response, **more}}

    prompt = read({"contents": [
        {"role": "user", "parts": [{"text": "q"}]},
        {"role": "model", "parts": [call("f"), call("g", id="x"), call("f"), call("h", id="x")]},
        {"role": "user", "parts": [
            result({"output": "1"}, id="x", name="g"), result({"error": "2"}, name="f"),
            result({"a": 3, "b": 4}, name="f"), result("5"), {"text": "and?"},
        ]},
        {"role": "function", "parts": [result(None, id="late", name="k", parts=[
            {"inlineData": {"mimeType": "image/png", "data": "A"}}, {"fileData": {"fileUri": "https://a.example"}}])]},
    ]})  # fmt: skip
    calls = [part for part in prompt.turns[1].parts if isinstance(part, Call)]
    assert len({each.id for each in calls}) == 4
    assert calls[1].id == "x"
    results = [part for turn in prompt.turns for part in turn.parts if isinstance(part, Result)]
    assert [each.call_id for each in results] == [calls[1].id, calls[0].id, calls[2].id, calls[3].id, "late"]
    assert [each.name for each in results] == ["g", "f", "f", "h", "k"]
    texts = [each.parts[0].text for each in results if isinstance(each.parts[0], Said)]
    assert texts == ["1", "2", '{"a":3,"b":4}', '"5"', ""]
    assert [each.error for each in results] == [False, True, False, False, False]
    assert len(results[4].parts) == 3
    assert [turn.role for turn in prompt.turns] == ["user", "assistant", "tool", "user", "tool"]


def test_parts_that_only_gemini_knows_are_foreign() -> None:
    parts = [
        {"executableCode": {"code": "1"}}, {"codeExecutionResult": {}},
        {"fileData": {"fileUri": "https://a.example/v", "mimeType": "video/mp4"}, "videoMetadata": {"fps": 1}},
        {"inlineData": {"data": "AA-_", "mimeType": "image/png"}, "mediaResolution": {"level": "MEDIA_RESOLUTION_LOW"}},
    ]  # fmt: skip
    read_parts = read({"contents": [{"role": "model", "parts": parts}]}).turns[0].parts
    foreign = [part for part in read_parts if isinstance(part, Foreign)]
    assert [part.kind for part in foreign] == ["executableCode", "codeExecutionResult", "videoMetadata"]
    assert foreign[0].where == "contents.0.parts.0.executableCode"
    image = read_parts[-1]
    assert isinstance(image, Media)
    assert (image.data, image.detail) == ("AA+/", "low")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "contents"), ({"contents": "Hi"}, "contents"), ({"contents": ["Hi"]}, "contents.0"),
        ({"contents": [{"role": "assistant", "parts": []}]}, "contents.0.role"),
        ({"contents": [{"parts": "x"}]}, "contents.0.parts"), ({"contents": [{"parts": ["x"]}]}, "contents.0.parts.0"),
        ({"contents": [{"parts": [{"text": 7}]}]}, "contents.0.parts.0.text"),
        ({"contents": [{"parts": [{"functionCall": {}}]}]}, "contents.0.parts.0.functionCall.name"),
        ({"contents": [{"parts": [{"functionCall": {"name": "f", "args": 1}}]}]},
         "contents.0.parts.0.functionCall.args"),
        ({"contents": [{"parts": [{"functionResponse": {"name": "f"}}]}]}, "contents.0.parts.0.functionResponse"),
        ({"contents": [{"parts": [{"inlineData": {}}]}]}, "contents.0.parts.0.inlineData.data"),
        ({"contents": [{"parts": [{"fileData": {}}]}]}, "contents.0.parts.0.fileData.fileUri"),
        ({"contents": [], "tools": {}}, "tools"), ({"contents": [], "tools": [1]}, "tools.0"),
        ({"contents": [], "tools": [{"functionDeclarations": [{}]}]}, "tools.0.functionDeclarations.0.name"),
        ({"contents": [], "tools": [{"functionDeclarations": [{"name": "f", "parameters": 1}]}]},
         "tools.0.functionDeclarations.0.parameters"),
        ({"contents": [], "generationConfig": []}, "generationConfig"),
        ({"contents": [], "generationConfig": {"temperature": "hot"}}, "generationConfig.temperature"),
        ({"contents": [], "generationConfig": {"seed": 1.5}}, "generationConfig.seed"),
        ({"contents": [], "generationConfig": {"stopSequences": [1]}}, "generationConfig.stopSequences"),
        ({"contents": [], "generationConfig": {"responseLogprobs": 1}}, "generationConfig.responseLogprobs"),
        ({"contents": [], "generationConfig": {"responseJsonSchema": 1}}, "generationConfig.responseJsonSchema"),
        ({"contents": [], "generationConfig": {"thinkingConfig": {"thinkingLevel": "much"}}},
         "generationConfig.thinkingConfig.thinkingLevel"),
        ({"contents": [], "toolConfig": {"functionCallingConfig": {"mode": "MAYBE"}}},
         "toolConfig.functionCallingConfig.mode"),
        ({"contents": [], "toolConfig": {"functionCallingConfig": {"allowedFunctionNames": [1]}}},
         "toolConfig.functionCallingConfig.allowedFunctionNames"),
        ({"contents": [], "systemInstruction": {"parts": [{}]}}, "systemInstruction.parts.0"),
        ({"contents": [], "labels": 1}, "labels"), ({"contents": [], "serviceTier": 1}, "serviceTier"),
    ],
)  # fmt: skip
def test_what_is_not_as_it_must_be_is_refused_by_name(body: Any, param: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        read(body)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_the_body_goes_on_as_it_came() -> None:
    body = b'{"model":"models/x","contents":[ {"parts":[{"text":"\\ud83c 1.0"}]} ],"generation_config":{"topK":1e0}}'
    request = parse_request(body, model="m", stream=True)
    assert (request.model, request.stream, request.include_usage) == ("m", True, True)
    sent = rewrite(request, model="other")
    assert sent == b'{"contents":[ {"parts":[{"text":"\\ud83c 1.0"}]} ],"generation_config":{"topK":1e0}}'


def test_settings_that_say_nothing_say_nothing() -> None:
    prompt = read({
        "contents": [], "systemInstruction": "x", "labels": {}, "serviceTier": None,
        "generationConfig": {
            "responseMimeType": "application/json", "responseModalities": ["TEXT"], "responseLogprobs": False,
            "logprobs": 3, "thinkingConfig": {"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"},
        },
        "toolConfig": {"functionCallingConfig": {"mode": "MODE_UNSPECIFIED"}},
    })  # fmt: skip
    assert prompt.turns[0].parts == [Said(text="x", where="systemInstruction")]
    assert (prompt.reasoning, prompt.logprobs, prompt.tool_choice, prompt.metadata) == (None, None, None, None)
    assert prompt.output is not None
    assert prompt.output.schema is None


def test_what_others_have_under_another_name_is_read() -> None:
    prompt = read({"contents": [], "labels": {"run": "7"}, "serviceTier": "flex"})
    assert (prompt.metadata, prompt.service_tier) == ({"run": "7"}, "flex")


def test_schemas_in_every_corner() -> None:
    schema = {
        "type": "OBJECT", "nullable": True, "enum": ["a"], "defs": {"x": {"type": "TYPE_UNSPECIFIED"}}, "example": 1,
        "additionalProperties": True, "items": {"ref": "#/$defs/x"}, "prefixItems": [{"type": "NUMBER"}],
        "minItems": "2", "maxItems": 3, "properties": {"p": {"anyOf": [{"type": "STRING"}], "nullable": True}},
    }  # fmt: skip
    declared = read({"contents": [], "tools": [{"functionDeclarations": [{"name": "f", "parameters": schema}]}]})
    assert declared.tools[0].parameters == {
        "type": ["object", "null"], "enum": ["a", None], "$defs": {"x": {}}, "additionalProperties": True,
        "items": {"$ref": "#/$defs/x"}, "prefixItems": [{"type": "number"}], "minItems": 2, "maxItems": 3,
        "properties": {"p": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
    }  # fmt: skip


@pytest.mark.untraced
def test_a_long_history_costs_what_it_is() -> None:
    """Pieces of a streamed text, calls without ids: each is looked at once."""
    pieces = [{"role": "model", "parts": [{"text": "ab"}]} for _ in range(10_000)]
    calls = [{"functionCall": {"name": "f"}} for _ in range(10_000)]
    results = [{"functionResponse": {"name": "f", "response": {"output": "x"}}} for _ in range(10_000)]
    contents = [*pieces, {"role": "model", "parts": calls}, {"role": "user", "parts": results}]
    prompt = read({"contents": contents})
    assert isinstance(prompt.turns[0].parts[0], Said)
    assert len(prompt.turns[0].parts[0].text) == 20_000
    assert len(prompt.turns[1].parts) == 10_000
