"""When two requests have the same answer: a table for each dialect that providers speak."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tokenwire.gateway.cache_key import LEFT_OUT, key_of
from tokenwire.gateway.directory import Target
from tokenwire.gateway.settings import UpstreamSettings
from tokenwire.gateway.ui_chat import CALLER as UI
from tokenwire.gateway.upstreams import upstream_of
from tokenwire.gateway.vendors import BESIDE, OLLAMA_GENERATE, VENDORS, Caller, vendor_at
from tokenwire.gateway.ways import ways_to

TURN = {"role": "user", "content": "hi"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "unit": {"type": "string"}}}
TURNED = {"properties": {"unit": {"type": "string"}, "city": {"type": "string"}}, "type": "object"}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}


class Bench:
    """Requests in one dialect to one upstream, or several."""

    def __init__(self, dialect: str, *spoken: str, **upstream: Any) -> None:
        self.caller: Caller = UI if dialect == "ui-messages" else _caller(dialect)
        base = {"base_url": "http://127.0.0.1:1/v1", "dialect": list(spoken or (dialect,)), "api_key": "k"}
        self.targets = [Target(upstream_of("up", UpstreamSettings(**(base | upstream))), "m")]

    def key(
        self,
        body: dict[str, Any] | bytes,
        owner: str = "me",
        headers: Sequence[tuple[bytes, bytes]] = (),
        ignore: Sequence[str] = (),
    ) -> bytes | None:
        request = self.caller.parse(body if isinstance(body, bytes) else json.dumps(body).encode())
        ways = ways_to(self.targets, self.caller, request)
        return key_of(owner, self.caller, list(headers), request, ways, ignore)


def _caller(dialect: str) -> Caller:
    if dialect == "gemini":
        found = vendor_at("/v1beta/models/up/m:streamGenerateContent", b"alt=sse")
        assert found is not None
        return found
    return OLLAMA_GENERATE if dialect == "ollama.generate" else VENDORS[dialect]


BODIES: dict[str, dict[str, Any]] = {
    "openai.chat": {"model": "up/m", "stream": True, "messages": [TURN]},
    "anthropic": {"model": "up/m", "stream": True, "max_tokens": 5, "messages": [TURN]},
    "openai.responses": {"model": "up/m", "stream": True, "input": [TURN]},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
    "ollama": {"model": "up/m", "messages": [TURN]},
    "ollama.generate": {"model": "up/m", "prompt": "hi"},
}

#: Changes that make no difference, for each dialect.
SAME: list[tuple[str, dict[str, Any]]] = [
    *((dialect, {"temperature": None, "surely-not": None}) for dialect in BODIES),
    *((dialect, {"model": "another name of it"}) for dialect in BODIES if dialect != "gemini"),
    ("openai.chat", {"stream": False}),
    ("openai.chat", {"stream_options": {"include_usage": True}}),
    ("openai.chat", {"user": "u1", "safety_identifier": "s1"}),
    ("openai.chat", {"prompt_cache_key": "p", "prompt_cache_retention": "24h"}),
    ("openai.chat", {"messages": [{"content": "hi", "role": "user"}]}),
    ("anthropic", {"stream": False}),
    ("anthropic", {"metadata": {"user_id": "u1"}}),
    ("anthropic", {"messages": [{"content": "hi", "role": "user"}]}),
    ("openai.responses", {"stream": False}),
    ("openai.responses", {"stream_options": {"include_obfuscation": False}}),
    ("gemini", {"contents": [{"parts": [{"text": "hi"}], "role": "user"}]}),
    ("ollama", {"stream": False, "keep_alive": "5m"}),
    ("ollama.generate", {"stream": True, "keep_alive": 0}),
]

#: Changes that do.
OTHER: list[tuple[str, dict[str, Any]]] = [
    *((dialect, {"temperature": 0.5}) for dialect in BODIES),
    *((dialect, {"nobody-knows": {"what": "it does"}}) for dialect in BODIES),
    ("openai.chat", {"messages": [{"role": "user", "content": "hi "}]}),
    ("openai.chat", {"messages": [{"role": "system", "content": "hi"}]}),
    ("openai.chat", {"messages": [TURN, TURN]}),
    ("openai.chat", {"metadata": {"tag": "a"}}),
    ("openai.chat", {"store": True}),
    ("openai.chat", {"n": 2}),
    ("openai.chat", {"seed": 1}),
    ("openai.chat", {"tools": [TOOL]}),
    ("openai.chat", {"service_tier": "flex"}),
    ("anthropic", {"max_tokens": 6}),
    ("anthropic", {"metadata": {"user_id": "u1", "tag": "a"}}),
    ("anthropic", {"system": "Be brief."}),
    ("anthropic", {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]}),
    ("openai.responses", {"user": "u1"}),
    ("openai.responses", {"metadata": {"tag": "a"}}),
    ("openai.responses", {"previous_response_id": "resp_1"}),
    ("openai.responses", {"input": "hi"}),
    ("gemini", {"generationConfig": {"maxOutputTokens": 5}}),
    ("gemini", {"contents": [{"role": "user", "parts": [{"text": "ho"}]}]}),
    ("gemini", {"cachedContent": "c1"}),
    ("ollama", {"options": {"seed": 1}}),
    ("ollama", {"think": True}),
    ("ollama.generate", {"raw": True}),
    ("ollama.generate", {"prompt": "ho"}),
]


@pytest.mark.parametrize(("dialect", "change"), SAME)
def test_what_makes_no_difference(dialect: str, change: dict[str, Any]) -> None:
    bench = _bench(dialect)
    assert bench.key(BODIES[dialect] | change) == bench.key(BODIES[dialect])


@pytest.mark.parametrize(("dialect", "change"), OTHER)
def test_what_makes_one(dialect: str, change: dict[str, Any]) -> None:
    bench = _bench(dialect)
    assert bench.key(BODIES[dialect] | change) not in (None, bench.key(BODIES[dialect]))


def _bench(dialect: str) -> Bench:
    return Bench(dialect, dialect.removesuffix(".generate"))


def test_every_dialect_of_providers_is_in_the_table() -> None:
    assert set(BODIES) == set(LEFT_OUT) == {*VENDORS, *(vendor.dialect for vendor in BESIDE.values())}


@pytest.mark.parametrize(
    "change",
    [
        {"conversation": "c1"},
        {"conversation": {"id": "c1"}},
        {"background": True},
    ],
)
def test_what_changes_something_is_not_kept(change: dict[str, Any]) -> None:
    assert Bench("openai.responses").key(BODIES["openai.responses"] | change) is None


def test_a_container_has_a_past() -> None:
    assert Bench("anthropic").key(BODIES["anthropic"] | {"container": "c1"}) is None


def test_spelling_makes_no_difference_and_numbers_are_what_is_written() -> None:
    bench = Bench("openai.chat")
    plain = b'{"model":"m","messages":[{"role":"user","content":"h\xc3\xa9"}],"seed":1,"top_p":0.5}'
    wide = b' {"top_p" : 0.50, "seed" : 1,\n "messages" : [ {"content":"h\\u00e9", "role" : "user"} ], "model":"m"}\n'
    assert bench.key(plain) == bench.key(wide)
    for written in (b"1.0", b"18446744073709551617", b"18446744073709551618", b'"1"', b"true"):
        assert bench.key(plain.replace(b'"seed":1', b'"seed":' + written)) != bench.key(plain)
    large = [bench.key(plain.replace(b'"seed":1', b'"seed":1844674407370955161' + digit)) for digit in (b"7", b"8")]
    assert large[0] != large[1]


def test_what_cannot_be_read_is_compared_as_it_came() -> None:
    bench = Bench("openai.chat")
    half = [b'{"model":"m","messages":[{"role":"user","content":"\\ud83d' + rest + b'"}]}' for rest in (b"", b" ", b"")]
    deep = b'{"model":"m","messages":[' + b"[" * 600 + b"]" * 600 + b"]}"
    huge = [b'{"model":"m","messages":[],"seed":1e4' + digits + b"}" for digits in (b"00", b"01")]
    assert bench.key(half[0]) == bench.key(half[2]) != bench.key(half[1])
    assert bench.key(huge[0]) != bench.key(huge[1])
    assert bench.key(deep) == bench.key(deep) is not None


SHOWN: list[tuple[str, Any, Any]] = [
    ("openai.chat", {"tools": [TOOL]}, {"tools": [{**TOOL, "function": {**TOOL["function"], "parameters": TURNED}}]}),  # type: ignore[dict-item]
    (
        "openai.chat",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": TURNED}}},
    ),
    (
        "anthropic",
        {"tools": [{"name": "f", "input_schema": SCHEMA}]},
        {"tools": [{"name": "f", "input_schema": TURNED}]},
    ),
    (
        "anthropic",
        {"messages": [TURN, {"role": "assistant", "content": [{"type": "tool_use", "input": {"a": 1, "b": 2}}]}]},
        {"messages": [TURN, {"role": "assistant", "content": [{"type": "tool_use", "input": {"b": 2, "a": 1}}]}]},
    ),
    (
        "openai.responses",
        {"text": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        {"text": {"format": {"type": "json_schema", "schema": TURNED}}},
    ),
    (
        "gemini",
        {"generationConfig": {"responseSchema": SCHEMA}},
        {"generationConfig": {"responseSchema": TURNED}},
    ),
    (
        "gemini",
        {"contents": [{"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"a": 1, "b": 2}}}]}]},
        {"contents": [{"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"b": 2, "a": 1}}}]}]},
    ),
    ("ollama", {"format": SCHEMA}, {"format": TURNED}),
]


@pytest.mark.parametrize(("dialect", "one", "other"), SHOWN)
def test_the_order_counts_where_a_model_is_shown_it(dialect: str, one: Any, other: Any) -> None:
    bench = Bench(dialect)
    assert bench.key(BODIES[dialect] | one) != bench.key(BODIES[dialect] | other)


def test_elsewhere_it_does_not() -> None:
    bench = Bench("openai.chat")
    turned = {"function": {"parameters": SCHEMA, "description": "d", "name": "f"}, "type": "function"}
    assert bench.key(BODIES["openai.chat"] | {"tools": [TOOL]}) == bench.key(
        BODIES["openai.chat"] | {"tools": [turned]}
    )
    responses = Bench("openai.responses")
    items = [[{"role": "user", "content": "hi"}], [{"content": "hi", "role": "user"}]]
    keys = {responses.key({"model": "m", "input": item}) for item in items}
    assert len(keys) == 1


def test_what_is_to_be_ignored_is() -> None:
    bench = Bench("openai.chat")
    tagged = BODIES["openai.chat"] | {"metadata": {"run": "1"}}
    assert bench.key(tagged, ignore=["metadata"]) == bench.key(BODIES["openai.chat"], ignore=["metadata"])


def test_who_asks_is_part_of_it() -> None:
    bench = Bench("openai.chat")
    assert bench.key(BODIES["openai.chat"], "me") != bench.key(BODIES["openai.chat"], "you")


def test_the_fields_that_go_upstream_are_part_of_it_and_others_are_not() -> None:
    bench = Bench("anthropic")
    body = BODIES["anthropic"]
    plain = bench.key(body)
    assert bench.key(body, headers=[(b"anthropic-beta", b"x")]) != plain
    assert bench.key(body, headers=[(b"anthropic-version", b"2023-06-01")]) == plain, "it is sent in any case"
    for name in (b"traceparent", b"user-agent", b"x-request-id", b"authorization", b"x-stainless-retry-count"):
        assert bench.key(body, headers=[(name, b"x")]) == plain


@pytest.mark.parametrize(("dialect", "spoken"), [("anthropic", "anthropic"), ("anthropic", "openai.chat")])
def test_a_callers_own_key_is_part_of_it(dialect: str, spoken: str) -> None:
    bench = Bench(dialect, spoken, api_key="passthrough")
    keys = {bench.key(BODIES[dialect], headers=[(b"x-api-key", name)]) for name in (b"a", b"b")}
    assert len(keys) == 2


def test_the_same_question_in_another_dialect_is_the_same_if_its_translation_is() -> None:
    """Useful to who has clients of several makes, and exact: the upstream would be asked the same."""
    chat, messages = Bench("openai.chat"), Bench("anthropic", "openai.chat")
    asked = {"model": "up/m", "stream": True, "max_tokens": 5, "messages": [TURN]}
    words = messages.key({"model": "up/m", "stream": True, "max_tokens": 5, "messages": [TURN]})
    assert chat.key(asked) == words
    assert chat.key({**asked, "max_tokens": 6}) != words
    ids = [
        {
            "id": "c1",
            "messages": [{"id": name, "role": "user", "parts": [{"type": "text", "text": "hi"}]}],
            "model": "up/m",
        }
        for name in ("m1", "m2")
    ]
    ui = Bench("ui-messages", "openai.chat")
    assert ui.key(ids[0]) == ui.key(ids[1]), "ids of messages do not go upstream"


def test_the_upstreams_and_their_order_are_part_of_it() -> None:
    bench, other = Bench("openai.chat"), Bench("openai.chat", base_url="http://127.0.0.1:2/v1")
    body = BODIES["openai.chat"]
    keys = [bench.key(body), other.key(body)]
    bench.targets += other.targets
    keys.append(bench.key(body))
    bench.targets.reverse()
    keys.append(bench.key(body))
    bench.targets = [bench.targets[0]._replace(model="m2")]
    keys.append(bench.key(body))
    assert len(set(keys)) == 5


def test_whether_the_usage_is_told_is_part_of_it_where_it_cannot_be_asked_for() -> None:
    wanted = {"stream_options": {"include_usage": True}}
    body = BODIES["openai.chat"]
    silent = Bench("openai.chat", usage=False)
    assert silent.key(body) != silent.key(body | wanted)
    assert silent.key(body | wanted) == silent.key(body | {"stream": False}), "whole answers tell it"
    first = Bench("openai.chat", usage=False)
    first.targets += Bench("openai.chat").targets
    assert first.key(body) != first.key(body | wanted)


def test_nothing_of_a_question_is_in_the_key_itself() -> None:
    key = Bench("openai.chat").key(BODIES["openai.chat"])
    assert key is not None
    assert len(key) == 32
