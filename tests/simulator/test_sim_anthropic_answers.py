"""What Claude's look-alike answers: tools, thinking, citations, searches, limits, usage of the cache."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from tokenwire.simulator.texts import pick
from tokenwire.simulator.tokens import pieces
from tokenwire.simulator.vendors.anthropic.thinking import genuine, genuine_redacted

Message = Callable[..., dict[str, Any]]
Tell = Callable[..., Any]

CITY: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
WEATHER = {"name": "get_weather", "description": "Weather now", "input_schema": CITY}
CLOCK = {"name": "get_time", "input_schema": {"type": "object"}}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}


@pytest.fixture
def whole(tell: Tell, message: Message) -> Callable[..., Any]:
    """whole(content, headers=None, **fields) -> the message object of an answer that is not streamed."""

    def ask(content: Any, headers: dict[str, str] | None = None, **fields: Any) -> Any:
        wire = tell(message(content, stream=False, **fields), headers)
        assert wire.status == 200, wire.body
        return json.loads(wire.body)

    return ask


def kinds(answer: Any) -> list[str]:
    return [block["type"] for block in answer["content"]]


def spoken(answer: Any) -> str:
    return "".join(block["text"] for block in answer["content"] if block["type"] == "text")


# Tools


def test_a_fitting_tool_is_called_with_valid_arguments(whole: Any) -> None:
    answer = whole("weather in Oslo and Lima", tools=[WEATHER, CLOCK])
    assert kinds(answer) == ["text", "tool_use", "tool_use"]
    assert answer["stop_reason"] == "tool_use"
    for block, city in zip(answer["content"][1:], ("Oslo", "Lima"), strict=True):
        jsonschema.validate(block["input"], CITY)
        assert (block["name"], block["input"]["city"]) == ("get_weather", city)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, ["text"]),
        ({"type": "none"}, ["text"]),
        ({"type": "any"}, ["tool_use"]),
        ({"type": "tool", "name": "get_time"}, ["tool_use"]),
    ],
)
def test_the_choice_of_tools_decides(whole: Any, choice: Any, expected: list[str]) -> None:
    answer = whole("Tell me a joke", tools=[WEATHER, CLOCK], tool_choice=choice)
    assert kinds(answer) == expected
    if choice["type"] == "tool":
        assert answer["content"][0]["name"] == "get_time"
        assert answer["stop_reason"] == "tool_use"


def test_parallel_calls_can_be_forbidden(whole: Any) -> None:
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    assert kinds(whole("weather in Oslo and Lima", tools=[WEATHER], tool_choice=choice)) == ["text", "tool_use"]


@pytest.mark.parametrize(
    "kind", ["bash_20250124", "text_editor_20250728", "computer_20250124", "memory_20250818", "code_execution_20250825"]
)
def test_tools_that_anthropic_defines(whole: Any, kind: str) -> None:
    name = kind.rpartition("_")[0]
    answer = whole(f"use {name.replace('_', ' ')}", tools=[{"type": kind, "name": name}])
    assert kinds(answer) == (["text"] if name == "code_execution" else ["text", "tool_use"])


def test_after_the_results_comes_an_answer_that_quotes_them(whole: Any, tell: Tell) -> None:
    question = {"role": "user", "content": "weather in Oslo and Lima"}
    answer = whole("weather in Oslo and Lima", tools=[WEATHER])
    calls = [block["id"] for block in answer["content"] if block["type"] == "tool_use"]
    results = [
        {"type": "tool_result", "tool_use_id": calls[0], "content": "rain"},
        {"type": "tool_result", "tool_use_id": calls[1], "content": [{"type": "text", "text": "sun"}]},
    ]
    turns = [question, {"role": "assistant", "content": answer["content"]}, {"role": "user", "content": results}]
    body = {"model": "instant", "max_tokens": 500, "messages": turns, "tools": [WEATHER]}
    final = json.loads(tell(body).body)
    assert kinds(final) == ["text"]
    assert all(word in spoken(final) for word in ("`get_weather`: rain", "`get_weather`: sun"))
    # A second round: both rounds' results are quoted.
    again = {"type": "tool_use", "id": "toolu_2", "name": "get_time", "input": {}}
    turns += [
        {"role": "assistant", "content": [again]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_2", "content": "noon"}]},
    ]
    both = spoken(json.loads(tell(body).body))
    assert both.index("rain") < both.index("noon")
    assert "`get_time`: noon" in both


def test_values_are_whole_unless_fragments_are_wanted_eagerly(tell: Tell, message: Message) -> None:
    def fragments(**fields: Any) -> list[str]:
        events = tell(message("weather in Oslo", tools=[{**WEATHER, **fields}], max_tokens=13)).messages
        assert events[-2]["delta"]["stop_reason"] == "max_tokens"
        return [event["delta"]["partial_json"] for event in events if "partial_json" in event.get("delta", {})]

    patient = fragments()
    assert patient[0] == ""
    assert "".join(patient) == '{"city": "Oslo"'  # a whole key with its value
    assert "".join(fragments(eager_input_streaming=True)).startswith('{"city": "Oslo",')


def test_a_call_that_was_cut_has_what_was_whole(whole: Any) -> None:
    cut = whole("weather in Oslo", tools=[WEATHER], max_tokens=12)
    assert (cut["stop_reason"], cut["content"][1]["input"]) == ("max_tokens", {"city": "Oslo"})
    eager = {**WEATHER, "eager_input_streaming": True}
    assert whole("weather in Oslo", tools=[eager], max_tokens=13)["content"][1]["input"] == {"city": "Oslo"}
    assert whole("weather in Oslo", tools=[eager], max_tokens=7)["content"][1]["input"] == {}
    assert whole("the time", tools=[CLOCK])["content"][1]["input"] == {}


def test_values_come_in_bursts_unless_wanted_eagerly(tell: Tell, message: Message) -> None:
    from tokenwire.simulator.vendors.anthropic.blocks import bursts_of

    value = {"a": [1, 2], "b": {"c": "ż"}}
    assert ["".join(burst) for burst in bursts_of(value)] == ['{"a": [1, 2]', ', "b": {"c": "ż"}}']
    assert bursts_of({}) == []
    assert json.loads("".join(map("".join, bursts_of(["not", "an", "object"])))) == ["not", "an", "object"]


# Thinking


@pytest.mark.parametrize(
    ("thinking", "more", "expected"),
    [
        ({"type": "enabled", "budget_tokens": 1024}, {}, True),
        ({"type": "adaptive"}, {}, True),
        ({"type": "adaptive"}, {"output_config": {"effort": "low"}}, False),
        ({"type": "disabled"}, {}, False),
        ({"type": "between_tools"}, {}, False),
    ],
)
def test_thinking_comes_when_it_is_asked_for(whole: Any, thinking: Any, more: Any, expected: bool) -> None:
    answer = whole("why is the sky blue", thinking=thinking, **more)
    assert kinds(answer) == (["thinking", "text"] if expected else ["text"])
    if expected:
        block = answer["content"][0]
        assert "why is the sky blue" in block["thinking"]
        assert genuine(block["thinking"], block["signature"])
        thought = len(pieces(block["thinking"].partition("\n\n")[0]))
        assert thought < answer["usage"]["output_tokens_details"]["thinking_tokens"] < answer["usage"]["output_tokens"]
    assert spoken(answer) == pick("why is the sky blue").body


def test_thinking_can_be_hidden(tell: Tell, message: Message) -> None:
    wire = tell(message("why", thinking={"type": "adaptive", "display": "omitted"}))
    deltas = [event["delta"] for event in wire.messages if event["type"] == "content_block_delta"]
    assert deltas[0]["type"] == "signature_delta"
    assert {delta["type"] for delta in deltas[1:]} == {"text_delta"}
    assert wire.messages[-2]["usage"]["output_tokens_details"]["thinking_tokens"] > 20


@pytest.mark.parametrize("how", ["switch", "magic"])
def test_thinking_can_be_redacted(whole: Any, how: str) -> None:
    prompt = "why " + "ANTHROPIC_MAGIC_STRING_TRIGGER_REDACTED_THINKING_46C9" * (how == "magic")
    headers = {"x-sim-answer": "redacted"} if how == "switch" else None
    answer = whole(prompt, headers, thinking={"type": "adaptive"})
    assert kinds(answer) == ["redacted_thinking", "text"]
    assert genuine_redacted(answer["content"][0]["data"])


def test_thinking_that_is_cut_has_no_signature(tell: Tell, message: Message) -> None:
    wire = tell(message("why", thinking={"type": "adaptive"}, max_tokens=5))
    kinds = [event["delta"]["type"] for event in wire.messages if event["type"] == "content_block_delta"]
    assert set(kinds) == {"thinking_delta"}
    assert wire.messages[-2]["delta"]["stop_reason"] == "max_tokens"


def test_thinking_goes_on_between_tools(whole: Any, tell: Tell, message: Message) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    first = whole("weather in Oslo", tools=[WEATHER], thinking=thinking)
    assert kinds(first) == ["thinking", "text", "tool_use"]
    body = message("weather in Oslo", tools=[WEATHER], thinking={"type": "between_tools"}, stream=False)
    result = {"type": "tool_result", "tool_use_id": first["content"][2]["id"], "content": "rain"}
    body["messages"] += [{"role": "assistant", "content": first["content"]}, {"role": "user", "content": [result]}]
    second = json.loads(tell(body).body)
    assert kinds(second) == ["thinking", "text"]
    assert "The tools have answered" in second["content"][0]["thinking"]


# Sources


def test_sources_of_every_kind_are_cited(whole: Any) -> None:
    on = {"enabled": True}
    text = "Cats sleep. Sparrows eat seeds! Dogs bark"
    content = [
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Nothing."}},
        {"type": "document", "title": "Birds", "citations": on,
         "source": {"type": "text", "media_type": "text/plain", "data": text}},
        {"type": "document", "citations": on,
         "source": {"type": "content", "content": [{"type": "text", "text": "Fish swim."},
                                                   {"type": "text", "text": "Sparrows fly."}]}},
        {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "Sparrows sing."}],
         "citations": on},
        {"type": "text", "text": "What do sparrows eat?"},
    ]  # fmt: skip
    answer = whole(content)
    cited = [block for block in answer["content"] if "citations" in block]
    first, second, third = (block["citations"][0] for block in cited)
    assert first["type"] == "char_location"
    assert text[first["start_char_index"] : first["end_char_index"]] == first["cited_text"] == "Sparrows eat seeds! "
    assert (first["document_index"], first["document_title"]) == (1, "Birds")
    assert (second["type"], second["start_block_index"], second["end_block_index"]) == ("content_block_location", 1, 2)
    assert (third["type"], third["search_result_index"], third["source"]) == ("search_result_location", 0, "s")
    assert spoken(answer) == "As noted, Sparrows eat seeds; also, Sparrows fly; also, Sparrows sing."


def test_a_pdf_and_an_empty_text_are_cited_as_far_as_they_go(whole: Any) -> None:
    on = {"enabled": True}
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
    empty = {"type": "text", "media_type": "text/plain", "data": ""}
    content = [
        {"type": "document", "title": "Paper", "source": pdf, "citations": on},
        {"type": "document", "source": empty, "citations": on},
        {"type": "document", "source": {"type": "content", "content": "as a string"}, "citations": on},
        {"type": "text", "text": "What?"},
    ]
    found = [block["citations"][0] for block in whole(content)["content"] if "citations" in block]
    assert (found[0]["type"], found[0]["start_page_number"], found[0]["end_page_number"]) == ("page_location", 1, 2)
    assert (found[1]["start_char_index"], found[1]["end_char_index"], found[1]["cited_text"]) == (0, 0, "")
    assert found[2]["cited_text"] == "as a string"


def test_sources_that_a_tool_brought_are_cited(tell: Tell, message: Message) -> None:
    found = {"type": "search_result", "source": "s", "title": "t", "citations": {"enabled": True},
             "content": [{"type": "text", "text": "It rains."}]}  # fmt: skip
    body = message("weather in Oslo", tools=[WEATHER])
    body["messages"] += [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "get_weather", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [found]}]},
    ]
    kinds = [event["delta"]["type"] for event in tell(body).messages if event["type"] == "content_block_delta"]
    assert "citations_delta" in kinds


# The web search


def test_a_search_leaves_its_traces(whole: Any) -> None:
    answer = whole("search the news about Oslo", tools=[{**SEARCH, "allowed_domains": ["news.test"]}])
    assert kinds(answer)[:3] == ["text", "server_tool_use", "web_search_tool_result"]
    call, found = answer["content"][1:3]
    assert call["id"].startswith("srvtoolu_01")
    assert call["input"] == {"query": "Oslo"}
    assert found["tool_use_id"] == call["id"]
    urls = [result["url"] for result in found["content"]]
    assert all(url.startswith("https://news.test/") for url in urls)
    cited = [block["citations"][0] for block in answer["content"] if "citations" in block]
    assert [citation["url"] for citation in cited] == urls
    assert answer["stop_reason"] == "end_turn"
    assert answer["usage"]["server_tool_use"]["web_search_requests"] == 1


def test_what_a_search_finds_is_billed_as_input(tell: Tell, message: Message) -> None:
    events = tell(message("search the news about Oslo", tools=[SEARCH])).messages
    assert events[-2]["usage"]["input_tokens"] > events[0]["message"]["usage"]["input_tokens"] + 100


@pytest.mark.parametrize(
    ("prompt", "more", "expected"),
    [
        ("a joke", {}, False),
        ("a joke", {"tool_choice": {"type": "any"}}, True),
        ("a joke", {"tool_choice": {"type": "tool", "name": "web_search"}}, True),
        ("search it", {"tool_choice": {"type": "none"}}, False),
    ],
)
def test_whether_a_search_is_made(whole: Any, prompt: str, more: Any, expected: bool) -> None:
    assert ("server_tool_use" in kinds(whole(prompt, tools=[SEARCH], **more))) is expected


def test_a_search_may_fail_or_pause_the_turn(whole: Any, tell: Tell, message: Message) -> None:
    failed = whole("search", {"x-sim-answer": "search-error"}, tools=[SEARCH])
    assert failed["content"][2]["content"]["type"] == "web_search_tool_result_error"
    paused = whole("search", {"x-sim-answer": "pause"}, tools=[SEARCH])
    assert (paused["stop_reason"], kinds(paused)[-1]) == ("pause_turn", "web_search_tool_result")
    body = message("search", tools=[SEARCH], stream=False)
    body["messages"].append({"role": "assistant", "content": paused["content"]})
    gone_on = json.loads(tell(body).body)
    assert (gone_on["stop_reason"], kinds(gone_on)) == ("end_turn", ["text"])
    assert tell(message("search"), {"x-sim-answer": "pause"}).status == 400


# Ends


def test_limits_and_stop_sequences(whole: Any) -> None:
    answer = whole("one two three four", model="echo", max_tokens=2)
    assert (spoken(answer), answer["stop_reason"], answer["usage"]["output_tokens"]) == ("one two", "max_tokens", 2)
    answer = whole("one two three four", model="echo", stop_sequences=["zzz", " four", " thr"])
    assert (spoken(answer), answer["stop_reason"], answer["stop_sequence"]) == ("one two", "stop_sequence", " thr")
    answer = whole("one two", model="echo", stop_sequences=["one"])
    assert (answer["content"], answer["stop_sequence"]) == ([], "one")
    assert whole("one", model="echo", max_tokens=1)["stop_reason"] == "end_turn"
    assert whole("one two", model="echo", stop_sequences=["", "zzz"])["stop_reason"] == "end_turn"


@pytest.mark.parametrize("how", ["switch", "magic"])
def test_a_refusal_has_no_blocks(whole: Any, how: str) -> None:
    prompt = "x " + "ANTHROPIC_MAGIC_STRING_TRIGGER_REFUSAL_1FAE" * (how == "magic")
    answer = whole(prompt, {"x-sim-answer": "refusal"} if how == "switch" else None)
    assert (answer["content"], answer["stop_reason"]) == ([], "refusal")
    assert answer["stop_details"]["category"] == "cyber"


def test_the_context_window_may_be_full(whole: Any) -> None:
    answer = whole("hi", {"x-sim-answer": "context-window"})
    assert answer["stop_reason"] == "model_context_window_exceeded"


@pytest.mark.parametrize("field", ["output_config", "output_format"])
def test_structured_output_is_valid(whole: Any, field: str) -> None:
    wanted = {"type": "json_schema", "schema": CITY}
    answer = whole("a city", **{field: wanted if field == "output_format" else {"format": wanted}})
    jsonschema.validate(json.loads(spoken(answer)), CITY)


# The cache


def test_a_prompt_with_a_breakpoint_is_written_to_the_cache_and_read_in_the_next_turn(whole: Any, tell: Tell) -> None:
    system = [{"type": "text", "text": "word " * 1200, "cache_control": {"type": "ephemeral"}}]
    first = whole("hi", system=system)["usage"]
    assert first["cache_creation_input_tokens"] == first["cache_creation"]["ephemeral_5m_input_tokens"] > 1200
    assert first["cache_read_input_tokens"] == 0
    assert 0 < first["input_tokens"] < 20
    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": [{"type": "text", "text": "more " * 100,
                                      "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
    ]  # fmt: skip
    body = {"model": "instant", "max_tokens": 9, "system": system, "messages": turns}
    second = json.loads(tell(body).body)["usage"]
    assert second["cache_read_input_tokens"] >= first["cache_creation_input_tokens"]
    assert second["cache_creation"]["ephemeral_1h_input_tokens"] == second["cache_creation_input_tokens"] > 100
    assert second["input_tokens"] == 0


def test_a_short_prompt_is_not_cached(whole: Any) -> None:
    usage = whole("hi", cache_control={"type": "ephemeral"})["usage"]
    assert (usage["cache_creation_input_tokens"], usage["cache_read_input_tokens"]) == (0, 0)
    long = whole("word " * 2000, cache_control={"type": "ephemeral", "ttl": "1h"})["usage"]
    assert long["cache_creation"]["ephemeral_1h_input_tokens"] > 2000


def test_tokens_can_be_counted_before(tell: Tell, message: Message, whole: Any) -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    fields = {"content": [{"type": "text", "text": "hi there"}, image], "tools": [CLOCK], "system": "be brief"}
    body = message(**fields)
    del body["max_tokens"], body["stream"]
    wire = tell(body, path="/v1/messages/count_tokens")
    counted = json.loads(wire.body)["input_tokens"]
    assert counted > 1500
    assert whole(**fields)["usage"]["input_tokens"] == counted
    assert "request-id" in wire.headers
