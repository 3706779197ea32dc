"""How Gemini's look-alike says no, its list of models, and its count of tokens."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

Generate = Callable[..., dict[str, Any]]
Gemini = Callable[..., Any]

USER = {"role": "user", "parts": [{"text": "weather in Oslo"}]}
CALL = {"functionCall": {"name": "f", "args": {}}}
CALLS = {"role": "model", "parts": [CALL]}
RESULT = {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": "rain"}}}]}
TOOL = {"name": "f", "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}}}
THINK = {"thinkingConfig": {"thinkingBudget": 512}}


def refused(wire: Any, status: int, word: str) -> str:
    body = json.loads(wire.body)
    assert (wire.status, body["error"]["code"], body["error"]["status"]) == (status, status, word)
    assert wire.headers["content-type"] == "application/json; charset=UTF-8"
    return str(body["error"]["message"])


def said(wire: Any) -> str:
    return refused(wire, 400, "INVALID_ARGUMENT")


def config(**fields: Any) -> dict[str, Any]:
    return {"generationConfig": fields}


def declared(*tools: Any) -> dict[str, Any]:
    return {"tools": [{"functionDeclarations": list(tools)}]}


def calling(**fields: Any) -> dict[str, Any]:
    return {"toolConfig": {"functionCallingConfig": fields}}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"contents": []}, "* GenerateContentRequest.contents: contents is not specified"),
        ({"contents": "hi"}, "Invalid value at 'contents': Expected `array`, got `str`"),
        ({"contents": [{"role": "user"}]}, "* GenerateContentRequest.contents[0].parts: contents.parts must not be"),
        ({"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]}, "Please use a valid role: user, model."),
        ({"contents": [{"parts": [{}]}]}, "* GenerateContentRequest.contents[0].parts[0].data: required oneof"),
        ({"contents": [{"parts": [{"text": "x", **CALL}]}]}, "Invalid value at 'GenerateContentRequest.contents[0]"),
        ({"contents": [{"parts": [{"text": "x", "type": "text"}]}]}, "Invalid JSON payload received. Unknown name "
         "\"type\" at 'contents[0].parts[0]': Cannot find field."),
        ({"contents": [USER, {"role": "model", "parts": [{"functionCall": {}}]}]}, "* GenerateContentRequest."
         "contents[1].parts[0].function_call.name: Name cannot be empty."),
        ({"contents": [USER, RESULT]}, "Please ensure that function response turn comes immediately after a function"),
        ({"contents": [USER, CALLS, USER]}, "Please ensure that function call turn is followed by its function resp"),
        ({"contents": [CALLS, RESULT]}, "Please ensure that function call turn comes immediately after a user turn"),
        ({"contents": [USER, {**CALLS, "parts": [CALL, CALL]}, RESULT]}, "Please ensure that the number of function"),
        ({"contents": [USER, {**CALLS, "parts": [{"functionCall": {"name": "g"}}]}, RESULT]}, "Please ensure that "
         "the names of the function response parts"),
        ({"systemInstruction": {"parts": []}}, "* GenerateContentRequest.system_instruction.parts"),
        ({"messages": []}, 'Invalid JSON payload received. Unknown name "messages": Cannot find field.'),
        (config(maxOutputTokens=0), "Invalid value at 'generation_config.max_output_tokens': Expected `int` >= 1"),
        (config(temperature=3), "Invalid value at 'generation_config.temperature'"),
        (config(stopSequences=list("abcdef")), "Invalid value at 'generation_config.stop_sequences'"),
        (config(candidateCount=9), "Invalid value at 'generation_config.candidate_count'"),
        (config(n=2), "Invalid JSON payload received. Unknown name \"n\" at 'generation_config'"),
        (config(responseMimeType="text/html"), "* GenerateContentRequest.generation_config.response_mime_type: "),
        (config(responseSchema={"type": "STRING"}), "* GenerateContentRequest.generation_config.response_schema: "),
        (
            config(responseMimeType="application/json", responseSchema={}, responseJsonSchema={}),
            "* GenerateContentRequest.generation_config: only one of response_schema and response_json_schema",
        ),
        (
            config(responseMimeType="application/json", responseJsonSchema={"not": {}}),
            "* GenerateContentRequest.generation_config.response_schema: ",
        ),
        (declared({"name": "1f"}), "* GenerateContentRequest.tools.function_declarations[0].name: Invalid function"),
        (declared({**TOOL, "parametersJsonSchema": {}}), "* GenerateContentRequest.tools.function_declarations[0]: "
         "only one of"),
        (declared(TOOL, TOOL), "Duplicate function declaration found: f"),
        ({**declared({"name": "f", "parametersJsonSchema": {"not": {}}}), **calling(mode="ANY")},
         "* GenerateContentRequest.tools.function_declarations.parameters: "),
        (calling(mode="ANY"), "Function calling config is set without function_declarations."),
        (calling(mode="auto"), "Invalid value at 'tool_config.function_calling_config.mode'"),
        ({**declared(TOOL), **calling(allowedFunctionNames=["f"])}, "Allowed function names can only be set when"),
        ({**declared(TOOL), **calling(mode="ANY", allowedFunctionNames=["g"])}, "Allowed function name g is not in"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("call", ["generateContent", "streamGenerateContent"])
def test_a_request_that_is_wrong_is_told_so(
    gemini: Gemini, generate: Generate, change: dict[str, Any], expected: str, call: str
) -> None:
    assert said(gemini(generate(**change), call=call)).startswith(expected)


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_refused(gemini: Gemini, body: bytes) -> None:
    assert said(gemini(body)).startswith("Invalid JSON payload received.")


@pytest.mark.parametrize("depth", [60, 300, 450, 700])
def test_a_schema_nested_too_deeply_is_refused(gemini: Gemini, generate: Generate, depth: int) -> None:
    schema: Any = {"type": "STRING"}
    for _ in range(depth):
        schema = {"type": "ARRAY", "items": schema, "minItems": "1"}
    wire = gemini(generate(**config(responseMimeType="application/json", responseSchema=schema)))
    assert said(wire).startswith(("* GenerateContentRequest.generation_config.response_schema: ", "Invalid JSON"))


def test_a_wrong_field_is_named_in_the_details(gemini: Gemini, generate: Generate) -> None:
    [detail] = json.loads(gemini(generate(**config(seed="x"))).body)["error"]["details"]
    assert detail["@type"] == "type.googleapis.com/google.rpc.BadRequest"
    assert [each["field"] for each in detail["fieldViolations"]] == ["generation_config.seed"]


def test_without_events_an_error_is_in_an_array(gemini: Gemini, generate: Generate) -> None:
    wire = gemini(generate(), model="fault-overloaded", query="")
    assert wire.status == 503
    [value] = json.loads(wire.body)
    assert value["error"]["status"] == "UNAVAILABLE"
    assert "error" in json.loads(gemini(generate(), model="fault-overloaded").body)


def test_names_may_be_written_with_underscores(gemini: Gemini, generate: Generate) -> None:
    body = {
        "contents": [{"parts": [{"text": "weather"}]}],
        "system_instruction": {"parts": [{"text": "x"}]},
        "tools": [{"function_declarations": [{"name": "get_weather", "parameters_json_schema": {
            "properties": {"first_name": {"const": "a_b"}}, "required": ["first_name"]}}]}],
        "generation_config": {"max_output_tokens": 99},
    }  # fmt: skip
    [first, *_] = gemini(body).elements
    assert first["candidates"][0]["content"]["parts"][0]["functionCall"]["args"] == {"first_name": "a_b"}


@pytest.mark.parametrize("method", ["generateContent", "countTokens"])
def test_an_unknown_model_is_not_found(gemini: Gemini, generate: Generate, method: str) -> None:
    message = refused(gemini(generate(), model="nothing", call=method, query=""), 404, "NOT_FOUND")
    assert message.startswith(f"models/nothing is not found for API version v1beta, or is not supported for {method}.")


def test_somebody_must_be_calling(gemini: Gemini, generate: Generate) -> None:
    message = refused(gemini(generate(), key=None), 403, "PERMISSION_DENIED")
    assert message.startswith("Method doesn't allow unregistered callers")
    assert gemini(generate(), key=None, query="?alt=sse&key=mine").status == 200
    assert gemini(generate(), {"authorization": "Bearer mine"}, key=None).status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1beta/models/instant:generateContent"),
        ("POST", "/v1beta/models/instant:embedContent"),
        ("POST", "/v1beta/models"),
        ("DELETE", "/v1beta/models/instant"),
        ("GET", "/v1beta/files"),
    ],
)
def test_other_routes_are_not_found(gemini: Gemini, method: str, path: str) -> None:
    assert refused(gemini(None, method=method, path=path), 404, "NOT_FOUND").endswith(f"{method} {path}")


def test_a_colon_may_be_escaped(gemini: Gemini, generate: Generate) -> None:
    assert gemini(generate(), path="/v1beta/models/instant%3AgenerateContent").status == 200


def test_what_is_not_http_is_refused_in_googles_words(gemini: Gemini, play: Any) -> None:
    async def scenario(simulator: Any) -> bytes:
        reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
        writer.write(b"POST /v1beta/models/echo:generateContent HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n")
        raw = await reader.read()
        writer.close()
        return bytes(raw)

    raw = play(scenario)
    assert raw.startswith(b"HTTP/1.1 400")
    assert b'"status": "INVALID_ARGUMENT"' in raw


@pytest.mark.parametrize("name", ["seed", "fault", "answer"])
def test_a_switch_with_nonsense_is_refused(gemini: Gemini, generate: Generate, name: str) -> None:
    assert "nonsense" in said(gemini(generate(), {f"x-sim-{name}": "nonsense"}))


def test_answers_of_other_vendors_are_refused(gemini: Gemini, generate: Generate) -> None:
    message = said(gemini(generate(), {"x-sim-answer": "pause"}))
    assert message == "x-sim-answer: pause is no answer of /v1beta/models/instant:streamGenerateContent"


def test_signatures_must_come_back_whole_and_with_their_part(gemini: Gemini, generate: Generate) -> None:
    tools = declared({"name": "f"}, {"name": "g"})
    asked = generate("call f", **tools, generationConfig=THINK)
    [event, *_] = gemini(asked).elements
    [part] = event["candidates"][0]["content"]["parts"]
    turns = [USER, {"role": "model", "parts": [part]}, RESULT]
    assert gemini({**asked, "contents": turns}).status == 200

    def told(signature: Any, name: str = "f", **more: Any) -> Any:
        call = {"functionCall": {"name": name, "args": {}}}
        signed = call if signature is None else {**call, "thoughtSignature": signature}
        result = {"role": "user", "parts": [{"functionResponse": {"name": name, "response": {}}}]}
        contents = [USER, {"role": "model", "parts": [signed]}, result]
        return gemini({**asked, "contents": contents, **more})

    genuine = part["thoughtSignature"]
    assert "missing a thought_signature" in said(told(None))
    assert told(None, generationConfig={}).status == 200
    assert said(told(genuine[:-8] + "AAAAAAA=")) == "Corrupted thought signature."
    assert said(told(genuine, "g")) == "Corrupted thought signature."
    assert said(told("no base 64")) == "Corrupted thought signature."
    assert said(told("x")) == "Corrupted thought signature."
    assert told("skip_thought_signature_validator").status == 200
    assert told(base64.b64encode(b"skip_thought_signature_validator").decode()).status == 200
    earlier = [USER, CALLS, RESULT, {"role": "model", "parts": [{"text": "rain"}]}, USER]
    assert gemini({**asked, "contents": earlier}).status == 200


def test_models_are_listed_in_pages(gemini: Gemini) -> None:
    seen: list[str] = []
    token, sizes = "", []
    while True:
        page = json.loads(gemini(None, method="GET", path=f"/v1beta/models?pageSize=25&pageToken={token}").body)
        seen += [model["name"] for model in page["models"]]
        sizes.append(len(page["models"]))
        token = page.get("nextPageToken", "")
        if not token:
            break
    assert sizes[:-1] == [25] * (len(sizes) - 1)
    assert seen[0] == "models/gemini-2.0-flash"
    assert len(seen) == len(set(seen)) > 40
    assert len(json.loads(gemini(None, method="GET", path="/v1beta/models").body)["models"]) == 50


def test_a_model_can_be_asked_for(gemini: Gemini) -> None:
    model = json.loads(gemini(None, method="GET", path="/v1beta/models/echo").body)
    assert (model["name"], model["displayName"]) == ("models/echo", "Echo")
    assert model["supportedGenerationMethods"] == ["generateContent", "countTokens"]
    refused(gemini(None, method="GET", path="/v1beta/models/nothing"), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("query", "expected"),
    [("pageSize=x", "Invalid value at 'page_size'"), ("pageToken=x", "Page token"), ("pageToken=cGFnZTo5OTk5", "Page")],
)
def test_a_page_that_is_not_there_is_refused(gemini: Gemini, query: str, expected: str) -> None:
    assert said(gemini(None, method="GET", path=f"/v1beta/models?{query}")).startswith(expected)


def test_tokens_are_counted(gemini: Gemini, generate: Generate) -> None:
    def count(body: Any) -> Any:
        return json.loads(gemini(body, call="countTokens", query="").body)

    assert count(generate("one two")) == {
        "totalTokens": 6,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 6}],
    }
    whole = generate("one two", systemInstruction={"parts": [{"text": "be brief"}]}, **declared(TOOL))
    counted = count({"generateContentRequest": {"model": "models/instant", **whole}})["totalTokens"]
    [*_, last] = gemini(whole).elements
    assert counted == last["usageMetadata"]["promptTokenCount"] > 20
    assert said(gemini({}, call="countTokens", query="")).startswith("* CountTokensRequest.contents")
    assert said(gemini({"generateContentRequest": {}}, call="countTokens", query="")).startswith("* GenerateContent")
